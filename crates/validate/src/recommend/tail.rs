//! What to do about the slowest requests: where they lose their time decides.

use std::collections::BTreeMap;

use crate::Results;
use crate::analysis::Stage;
use crate::analysis::latency::CellLatency;
use crate::report::format::count;

use super::{Advised, Recommendation, Support, Topic, Unit};

/// p99 over p50 beyond which a tail is excessive, as the plan has it.
const RATIO_MAX: f64 = 3.0;

pub(super) fn advise(results: &Results) -> Recommendation {
    let cells = &results.analysis.latency.cells;
    let ratios = || cells.iter().filter_map(|cell| Some((cell, cell.tail_ratio?)));
    let worst = ratios().max_by(|(_, one), (_, other)| one.ratio.total_cmp(&other.ratio));
    let Some((cell, ratio)) = worst else {
        return Recommendation::missing(Topic::TailLatency, "No cell has answers to rank.");
    };
    let name = name(results, cell);
    let high = ratio.interval.high;
    let within = !ratio.at_least && high.is_some_and(|high| high <= RATIO_MAX);
    let beyond = ratio.ratio > RATIO_MAX;
    let stages = spikes_by_stage(cells);
    let advice = match (within, beyond) {
        (true, _) => format!(
            "The tail needs nothing: p99 stays within {RATIO_MAX} times the median in every cell."
        ),
        (_, true) => remedy(&stages),
        _ => {
            "No cell is beyond the bar, but the samples do not show that all stay within it.".into()
        }
    };
    let support = match (within, beyond, ratio.at_least) {
        (true, ..) | (_, true, false) => Support::Shown,
        _ => Support::Partly,
    };
    let mut recommendation = Recommendation::new(Topic::TailLatency, support, advice);
    recommendation.evidence.push(format!(
        "The largest p99/p50 is {}{:.2}{} ({name}); the bar is {RATIO_MAX}.",
        if ratio.at_least { "at least " } else { "" },
        ratio.ratio,
        match (ratio.interval.low, high) {
            (Some(low), Some(high)) => format!(" ({low:.2} to {high:.2}, within run)"),
            _ => String::new(),
        }
    ));
    let spikes: usize = cells.iter().map(|cell| cell.spikes.count).sum();
    if spikes > 0 {
        let listed: Vec<String> =
            stages.iter().map(|(stage, n)| format!("{} {}", count(*n), stage.label())).collect();
        recommendation.evidence.push(format!(
            "{} requests were spikes{}{}.",
            count(spikes),
            if listed.is_empty() {
                ""
            } else {
                "; of the longest, by the stage that took longest beyond its median: "
            },
            listed.join(", ")
        ));
    }
    if ratio.at_least {
        recommendation.missing = Some(format!(
            "A p99 of {name}: it needs 400 batches, so that the ratio is only bounded."
        ));
    }
    recommendation.figure = Some(Advised {
        value: ratio.ratio,
        interval: ratio.interval,
        unit: Unit::Ratio,
        basis: "within run".into(),
    });
    recommendation
}

fn name(results: &Results, cell: &CellLatency) -> String {
    let found = results.cells.iter().find(|of| of.index == cell.cell);
    found.map_or_else(|| format!("cell {}", cell.cell), crate::results::Cell::label)
}

/// Listed spikes by the stage they came from, most first.
fn spikes_by_stage(cells: &[CellLatency]) -> Vec<(Stage, usize)> {
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
