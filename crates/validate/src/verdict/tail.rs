//! Judges the limit on p99 / p50 of latency.
//!
//! Within one run the interval of the ratio is composed of those of the two percentiles and is wider than
//! necessary: a verdict may be "not shown" where a finer interval would pass or fail, never the reverse. If
//! the sample does not support a p99, the ratio at the level that it supports is a lower bound: it can show
//! that the limit is missed, but not that it is met.

use crate::analysis::latency::tail_ratio;
use crate::figures::Figures;
use crate::stats::{TrialUnit, Trials, mean_over_runs};

use super::{Outcome, Verdict, fails_unanswered, judge_upper_limit};

pub(super) fn judge(verdict: &mut Verdict, runs: &[&Figures]) {
    if fails_unanswered(verdict, runs) {
        return;
    }
    match runs {
        [figures] => judge_within_run(verdict, figures),
        _ => judge_over_runs(verdict, runs),
    }
}

fn judge_within_run(verdict: &mut Verdict, figures: &Figures) {
    let trials = figures.latency.trials;
    verdict.trials = Some(trials);
    let Some(tail) = tail_ratio(figures) else {
        verdict.outcome = Outcome::NotShown;
        verdict.reason = "no request was measured".into();
        return;
    };
    verdict.figure = Some(tail.ratio);
    verdict.at_least = tail.at_least;
    verdict.interval = tail.interval;
    judge_upper_limit(verdict, "batches");
    if tail.at_least && verdict.outcome != Outcome::Fail {
        verdict.outcome = Outcome::NotShown;
        verdict.reason =
            format!("a p99 needs 400 {}, this cell has {}", trials.unit.label(), trials.count);
    }
}

/// Judges the ratio with the run as the unit.
fn judge_over_runs(verdict: &mut Verdict, runs: &[&Figures]) {
    verdict.trials = Some(Trials { count: runs.len(), unit: TrialUnit::Runs });
    let exact = |figures: &&Figures| Some(tail_ratio(figures).filter(|tail| !tail.at_least)?.ratio);
    let ratios: Option<Vec<f64>> = runs.iter().map(exact).collect();
    let Some(over_runs) = ratios.as_deref().and_then(mean_over_runs) else {
        verdict.outcome = Outcome::NotShown;
        verdict.reason = "not every run has the batches that a p99 needs".into();
        return;
    };
    verdict.figure = Some(over_runs.mean);
    verdict.interval = over_runs.interval;
    judge_upper_limit(verdict, "runs");
}
