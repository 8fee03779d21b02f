//! The slowest requests: the verdicts on p99 / p50 decide whether action is needed, and the stage in which the
//! spikes spent their time decides which action.

use std::collections::BTreeMap;

use crate::analysis::Stage;
use crate::format::count;
use crate::plan::{CellSpec, Load};
use crate::results::Results;
use crate::stats::TrialUnit;
use crate::verdict::{Outcome, Verdict, limits_tail_ratio, tail_ratios};

use crate::results::recommendation::{AdviceFigure, Recommendation, Support, Topic, Unit};

/// The limit on p99 / p50 of cells for which the plan has none.
const RATIO_MAX: f64 = 3.0;

pub(super) fn advise(results: &Results) -> Recommendation {
    let mut judged = tail_ratios(&results.plan, &results.cells, RATIO_MAX);
    judged.retain(|verdict| verdict.outcome != Outcome::NotRun);
    let relative = |verdict: &Verdict| verdict.figure.map(|ratio| ratio / verdict.limit);
    let ratios = judged.iter().filter_map(|verdict| Some((verdict, relative(verdict)?)));
    let Some((worst, _)) = ratios.max_by(|(_, one), (_, other)| one.total_cmp(other)) else {
        return Recommendation::missing(Topic::TailLatency, "No request was answered.");
    };
    // A cell without any answer fails its limit and has no tail.
    let beyond = judged.iter().any(|one| one.outcome == Outcome::Fail && one.figure.is_some());
    let unsure = judged.iter().find(|one| one.outcome != Outcome::Pass);
    let stages = spikes_by_stage(results);
    let (support, advice) = match (beyond, unsure) {
        (true, _) => (Support::Shown, remedy(stages.first().map(|&(stage, _)| stage)).to_owned()),
        (false, None) => {
            let built_in = if judged.iter().any(|one| is_built_in(results, one)) {
                format!(" ({RATIO_MAX} is built in, for cells that the plan does not limit)")
            } else {
                String::new()
            };
            let limits = limits(&judged);
            let advice = format!(
                "The tail needs no action: p99 stays within {limits} times the median in every cell{built_in}."
            );
            (Support::Shown, advice)
        }
        (false, Some(_)) => {
            let advice = "No cell is shown to exceed its limit on p99 / p50, but the samples are too small to show \
                          that all stay within it.";
            (Support::Partly, advice.to_owned())
        }
    };
    let mut recommendation = Recommendation::new(Topic::TailLatency, support, advice);
    let over_runs = worst.trials.is_some_and(|trials| trials.unit == TrialUnit::Runs);
    recommendation.evidence.push(format!(
        "The largest p99 / p50 relative to its limit is {}{:.2} ({}); the limit is {}{}.",
        if worst.at_least { "≥ " } else { "" },
        worst.figure.unwrap_or_default(),
        name(worst),
        worst.limit,
        if is_built_in(results, worst) { ", which is built in: the plan sets none" } else { "" }
    ));
    if !stages.is_empty() {
        let by_stage: Vec<String> =
            stages.iter().map(|(stage, n)| format!("{} {}", count(*n), stage.label())).collect();
        recommendation.evidence.push(format!(
            "Longest spikes by the stage that took longest beyond its median: {}.",
            by_stage.join(", ")
        ));
    }
    recommendation.missing =
        unsure.filter(|_| !beyond).map(|one| format!("{}: {}.", name(one), one.reason));
    recommendation.figure = worst.figure.map(|value| AdviceFigure {
        value,
        interval: worst.interval,
        unit: Unit::Ratio,
        basis: if over_runs { "over runs" } else { "within run" }.into(),
    });
    recommendation
}

/// Returns true if the plan does not limit the cell's ratio, so that [`RATIO_MAX`] does.
fn is_built_in(results: &Results, verdict: &Verdict) -> bool {
    verdict.spec.as_ref().is_some_and(|spec| !limits_tail_ratio(&results.plan, spec))
}

fn name(verdict: &Verdict) -> String {
    verdict.spec.as_ref().map(CellSpec::label).unwrap_or_default()
}

/// Prints the limits of the cells.
fn limits(judged: &[Verdict]) -> String {
    let limits = || judged.iter().map(|verdict| verdict.limit);
    let (least, most) = (limits().fold(f64::INFINITY, f64::min), limits().fold(0.0_f64, f64::max));
    if least < most { format!("{least} to {most}") } else { most.to_string() }
}

/// Counts the listed spikes of all cells but ramps by the stage they came from, most frequent first.
fn spikes_by_stage(results: &Results) -> Vec<(Stage, usize)> {
    let ramp = |index: usize| {
        let cell = results.cells.iter().find(|cell| cell.index == index);
        cell.is_some_and(|cell| matches!(cell.spec.load, Load::Ramp { .. }))
    };
    let cells = results.analysis.latency.cells.iter().filter(|found| !ramp(found.cell));
    let mut stages: BTreeMap<Stage, usize> = BTreeMap::new();
    for stage in cells.flat_map(|found| &found.spikes.longest).filter_map(|spike| spike.stage) {
        *stages.entry(stage).or_insert(0) += 1;
    }
    let mut stages: Vec<(Stage, usize)> = stages.into_iter().collect();
    stages.sort_by_key(|&(_, n)| std::cmp::Reverse(n));
    stages
}

fn remedy(stage: Option<Stage>) -> &'static str {
    match stage {
        None => {
            "p99 / p50 exceeds its limit; the target reports no stages, so the cause is not known."
        }
        Some(Stage::Queue) => {
            "p99 / p50 exceeds its limit because requests wait for a batch: lower the concurrency limit, or add \
             replicas."
        }
        Some(Stage::Compute) => {
            "p99 / p50 exceeds its limit because some batches take longer than most: lower max_batch_tokens, and serve \
             very long texts from replicas of their own."
        }
        Some(Stage::Copy) => {
            "p99 / p50 exceeds its limit because of copies to the device: look for other users of the bus and of the \
             host's memory."
        }
        Some(Stage::Tokenize) => {
            "p99 / p50 exceeds its limit because of tokenisation: give the host more cores."
        }
        Some(Stage::Reply) => {
            "p99 / p50 exceeds its limit after the server's answer: check the network and the proxies between the \
             server and its clients."
        }
        Some(Stage::Generator) => {
            "p99 / p50 exceeds its limit because of the load generator: measure again from a machine with more cores \
             before changing the server."
        }
    }
}
