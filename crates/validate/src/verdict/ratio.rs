//! Judges the limits on a percentile of latency over that of another cell, the baseline.
//!
//! Within one run the interval of the ratio is composed of those of the two percentiles and is wider than necessary,
//! as in `tail.rs`; if the cell's sample does not support the percentile, the figure is a lower bound. Over several runs of both it is Welch's (1947) t interval on the logarithms. A baseline that was
//! not run, or that does not have the percentile, shows nothing: the limit is then neither met nor missed.

use crate::figures::{Cell, Figures};
use crate::plan::{Bar, CellSpec};
use crate::stats::{Interval, Percentile, PercentileFigure, TrialUnit, Trials, Welch};

use super::{
    Criterion, Outcome, Verdict, fails_unanswered, judge_upper_limit, reason_not_run,
    require_all_runs,
};

type Level = fn(&Figures) -> &Percentile;

/// Judges the ratios that `bar` limits, by the runs of its cell and of its baseline.
pub(super) fn judge(
    bar: &Bar,
    spec: &CellSpec,
    runs: &[&Cell],
    baseline: &CellSpec,
    baseline_runs: &[&Cell],
) -> Vec<Verdict> {
    let p50: Level = |figures| &figures.latency.p50;
    let p99: Level = |figures| &figures.latency.p99;
    let limits = [
        (Criterion::LatencyP50Ratio, p50, bar.latency_p50_ratio_max),
        (Criterion::LatencyP99Ratio, p99, bar.latency_p99_ratio_max),
    ];
    let judge = |(criterion, level, limit): (Criterion, Level, Option<f64>)| {
        let mut verdict = Verdict::not_run(Some(spec.clone()), criterion, limit?);
        verdict.baseline = Some(baseline.label());
        judge_ratio(&mut verdict, level, runs, baseline_runs);
        require_all_runs(&mut verdict, runs);
        require_all_runs(&mut verdict, baseline_runs);
        Some(verdict)
    };
    limits.into_iter().filter_map(judge).collect()
}

fn judge_ratio(verdict: &mut Verdict, level: Level, runs: &[&Cell], baseline_runs: &[&Cell]) {
    let own: Vec<&Figures> = runs.iter().filter_map(|cell| cell.figures()).collect();
    let alone: Vec<&Figures> = baseline_runs.iter().filter_map(|cell| cell.figures()).collect();
    if own.is_empty() {
        verdict.reason = reason_not_run(runs);
        return;
    }
    if fails_unanswered(verdict, &own) {
        return;
    }
    if alone.is_empty() {
        verdict.reason = format!("its baseline was not run: {}", reason_not_run(baseline_runs));
        return;
    }
    if alone.iter().any(|figures| figures.successes == 0 || figures.stopped_clients > 0) {
        verdict.outcome = Outcome::NotShown;
        verdict.reason = "its baseline did not answer the whole of its load".into();
        return;
    }
    match (own.as_slice(), alone.as_slice()) {
        ([own], [alone]) => judge_within_run(verdict, level, own, alone),
        (own, alone) => judge_over_runs(verdict, level, own, alone),
    }
}

fn judge_within_run(verdict: &mut Verdict, level: Level, own: &Figures, alone: &Figures) {
    let trials = [own.latency.trials, alone.latency.trials];
    verdict.trials = trials.into_iter().min_by_key(|trials| trials.count);
    let (own, alone) = (level(own), level(alone));
    let over = |one: Option<f64>, other: Option<f64>| Some(one? / other.filter(|&ms| ms > 0.0)?);
    let (own_ms, at_least) = match own.shown {
        PercentileFigure::AtLeast { ms, .. } => (Some(ms), true),
        shown => (shown.exactly(), false),
    };
    verdict.figure = over(own_ms, alone.shown.exactly());
    verdict.at_least = verdict.figure.is_some() && at_least;
    verdict.interval = Interval {
        low: over(own.interval_ms.low, alone.interval_ms.high),
        high: over(own.interval_ms.high, alone.interval_ms.low),
    };
    judge_upper_limit(verdict, "batches");
    let whole = verdict.figure.is_some() && !verdict.at_least;
    if !whole && verdict.outcome != Outcome::Fail {
        let (name, needed) =
            if own.level < 0.9 { ("p50", "an answer") } else { ("p99", "400 batches or rounds") };
        let counts = trials.map(|trials| format!("{} {}", trials.count, trials.unit.label()));
        verdict.outcome = Outcome::NotShown;
        verdict.reason = format!(
            "a {name} needs {needed}, this cell has {} and its baseline {}",
            counts[0], counts[1]
        );
    }
}

/// Judges the ratio with the run as the unit.
fn judge_over_runs(verdict: &mut Verdict, level: Level, own: &[&Figures], alone: &[&Figures]) {
    let count = own.len().min(alone.len());
    verdict.trials = Some(Trials { count, unit: TrialUnit::Runs });
    let exact = |runs: &[&Figures]| -> Option<Vec<f64>> {
        runs.iter().map(|figures| level(figures).shown.exactly()).collect()
    };
    let both = exact(own).zip(exact(alone));
    let Some(welch) = both.and_then(|(own, alone)| Welch::of_logarithms(&alone, &own)) else {
        verdict.outcome = Outcome::NotShown;
        verdict.reason =
            "it and its baseline need two runs or more, each with the batches of the percentile"
                .into();
        return;
    };
    let (ratio, interval) = welch.ratio();
    (verdict.figure, verdict.interval) = (Some(ratio), interval);
    judge_upper_limit(verdict, "runs");
}
