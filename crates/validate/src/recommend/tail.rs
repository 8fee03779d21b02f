//! What to do about the slowest requests: where they lose their time decides, and the verdicts on the
//! ratio of p99 to p50 whether anything is to be done.

use std::collections::BTreeMap;

use crate::analysis::Stage;
use crate::analysis::latency::{CellLatency, tail_ratio};
use crate::figures::Cell;
use crate::figures::published::runs;
use crate::format::count;
use crate::plan::{CellSpec, Load};
use crate::results::Results;
use crate::stats::TrialUnit;
use crate::verdict::{Outcome, Verdict, tail_ratios};

use crate::results::recommendation::{AdviceFigure, Recommendation, Support, Topic, Unit};

/// p99 over p50 beyond which a tail is excessive, where the plan doesn't say.
const RATIO_MAX: f64 = 3.0;

pub(super) fn advise(results: &Results) -> Recommendation {
    let mut judged = tail_ratios(&results.plan, &results.cells, RATIO_MAX);
    judged.retain(|verdict| verdict.outcome != Outcome::NotRun);
    let beyond_by = |verdict: &Verdict| verdict.figure.map(|ratio| ratio / verdict.limit);
    let ratios = judged.iter().filter_map(|verdict| Some((verdict, beyond_by(verdict)?)));
    let worst = ratios.max_by(|(_, one), (_, other)| one.total_cmp(other));
    let Some((worst, _)) = worst else {
        return Recommendation::missing(Topic::TailLatency, "No cell has answers to rank.");
    };
    let (limit, name) = (limits(&judged), name(worst));
    // A cell without any answer fails its limit and has no tail.
    let beyond = judged.iter().any(|one| one.outcome == Outcome::Fail && one.figure.is_some());
    let unsure = judged.iter().find(|one| one.outcome != Outcome::Pass);
    let listed: Vec<&CellLatency> =
        results.analysis.latency.cells.iter().filter(|cell| is_judged(results, cell)).collect();
    let stages = spikes_by_stage(&listed);
    let (support, advice) = match (beyond, unsure) {
        (true, _) => (Support::Shown, remedy(&stages)),
        (false, None) => {
            let advice = format!(
                "The tail needs nothing: p99 stays within {limit} times the median in every cell."
            );
            (Support::Shown, advice)
        }
        (false, Some(_)) => {
            let advice = "No cell is shown to be beyond its limit, but the samples do not show that all \
                          stay within it.";
            (Support::Partly, advice.to_owned())
        }
    };
    let mut recommendation = Recommendation::new(Topic::TailLatency, support, advice);
    let basis = if worst.trials.is_some_and(|trials| trials.unit == TrialUnit::Runs) {
        "over runs"
    } else {
        "within run"
    };
    let at_least = is_bound(results, worst);
    recommendation.evidence.push(format!(
        "The largest p99/p50 beside its limit is {}{:.2}{} ({name}); the limit is {}.",
        if at_least { "at least " } else { "" },
        worst.figure.unwrap_or_default(),
        match (worst.interval.low, worst.interval.high) {
            (Some(low), Some(high)) => format!(" ({low:.2} to {high:.2}, {basis})"),
            _ => String::new(),
        },
        worst.limit
    ));
    let spikes: usize = listed.iter().map(|cell| cell.spikes.count).sum();
    if spikes > 0 {
        let by_stage: Vec<String> =
            stages.iter().map(|(stage, n)| format!("{} {}", count(*n), stage.label())).collect();
        recommendation.evidence.push(format!(
            "{} requests were spikes{}{}.",
            count(spikes),
            if by_stage.is_empty() {
                ""
            } else {
                "; of the longest, by the stage that took longest beyond its median: "
            },
            by_stage.join(", ")
        ));
    }
    if let (false, Some(unsure)) = (beyond, unsure) {
        recommendation.missing = Some(format!("{}: {}.", self::name(unsure), unsure.reason));
    }
    recommendation.figure = worst.figure.map(|value| AdviceFigure {
        value,
        interval: worst.interval,
        unit: Unit::Ratio,
        basis: basis.into(),
    });
    recommendation
}

fn name(verdict: &Verdict) -> String {
    verdict.spec.as_ref().map(CellSpec::label).unwrap_or_default()
}

/// Whether its sample supports no p99, so that the figure is a bound from below.
fn is_bound(results: &Results, verdict: &Verdict) -> bool {
    let figures = verdict.spec.iter().flat_map(|spec| runs(spec, &results.cells));
    figures.filter_map(Cell::figures).filter_map(tail_ratio).any(|tail| tail.at_least)
}

/// The limits of the cells, in words.
fn limits(judged: &[Verdict]) -> String {
    let limits = || judged.iter().map(|verdict| verdict.limit);
    let (least, most) = (limits().fold(f64::INFINITY, f64::min), limits().fold(0.0_f64, f64::max));
    if least < most { format!("{least} to {most}") } else { most.to_string() }
}

/// Whether a cell is no ramp.
fn is_judged(results: &Results, cell: &CellLatency) -> bool {
    let found = results.cells.iter().find(|of| of.index == cell.cell);
    !found.is_some_and(|of| matches!(of.spec.load, Load::Ramp { .. }))
}

/// Listed spikes by the stage they came from, most first.
fn spikes_by_stage(cells: &[&CellLatency]) -> Vec<(Stage, usize)> {
    let mut stages: BTreeMap<Stage, usize> = BTreeMap::new();
    for stage in cells.iter().flat_map(|cell| &cell.spikes.longest).filter_map(|spike| spike.stage)
    {
        *stages.entry(stage).or_insert(0) += 1;
    }
    let mut stages: Vec<(Stage, usize)> = stages.into_iter().collect();
    stages.sort_by_key(|&(_, n)| std::cmp::Reverse(n));
    stages
}

fn remedy(stages: &[(Stage, usize)]) -> String {
    let Some((stage, _)) = stages.first() else {
        return "The tail is beyond the bar; the target does not tell its stages, so not where it comes \
                from."
            .into();
    };
    match stage {
        Stage::Queue => "The tail is beyond the bar and comes from waiting for a batch: lower the \
                         concurrency limit, or add replicas.",
        Stage::Compute => "The tail is beyond the bar and comes from batches that take longer than most: \
                           lower max_batch_tokens, and keep very long texts on replicas of their own.",
        Stage::Copy => "The tail is beyond the bar and comes from handing batches to the device: look for \
                        other users of the bus and the host's memory.",
        Stage::Tokenize => "The tail is beyond the bar and comes from tokenising: give the host more cores.",
        Stage::Reply => "The tail is beyond the bar and comes after the answer: look at the network and at \
                         what stands between the server and its clients.",
        Stage::Generator => "The tail is beyond the bar but comes from the load generator: measure again \
                             from a machine with more room before changing the server.",
    }
    .into()
}
