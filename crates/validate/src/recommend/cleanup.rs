//! Memory cleanup: whether it is needed, and by which strategy, from the leaks and the fragmentation that the
//! analysis found, and from the memory experiment where one was run.

use crate::analysis::memory::{Fragmentation, Leak, LeakVerdict};
use crate::format::{bytes, percent, percent_up, time};
use crate::results::Results;
use crate::stats::Interval;
use bigbatch_allocators::{MemoryExperiment, Strategy};

use crate::results::recommendation::{AdviceFigure, Recommendation, Support, Topic, Unit};

/// The fragmentation that needs no action, unless the plan has a limit.
const FRAGMENTATION_MAX: f64 = 0.05;

pub(super) fn advise(results: &Results) -> Vec<Recommendation> {
    let memory = &results.analysis.memory;
    let mut all: Vec<Recommendation> = memory.leaks.iter().map(advise_on_leak).collect();
    let most = results.plan.overall.fragmentation_max.unwrap_or(FRAGMENTATION_MAX);
    all.extend(memory.fragmentation.map(|found| advise_on_fragmentation(found, most)));
    all.extend(results.analysis.cleanup.as_ref().and_then(advise_on_experiment));
    if all.is_empty() {
        all.push(Recommendation::missing(Topic::Cleanup, super::memory_unknown(results)));
    }
    all
}

/// Recommends the fastest strategy of those that stayed within the budget.
fn advise_on_experiment(experiment: &MemoryExperiment) -> Option<Recommendation> {
    let fits = |strategy: &&Strategy| {
        let ran = strategy.allocator_us.is_some() && strategy.not_run.is_none();
        ran && strategy.batches_failed == 0 && strategy.batches_over_budget == 0
    };
    let fitting: Vec<&Strategy> = experiment.strategies.iter().filter(fits).collect();
    let median = |strategy: &Strategy| strategy.allocator_us.map_or(f64::INFINITY, |us| us.median);
    let best = fitting.iter().copied().min_by(|a, b| median(a).total_cmp(&median(b)))?;
    let times = best.allocator_us?;
    // The order is shown if the medians of all passes differ from those of every other strategy.
    let others = fitting.iter().filter(|other| other.name != best.name);
    let fastest = others.filter_map(|other| Some(other.allocator_us?.median_by_pass.0));
    let shown = fitting.len() > 1
        && fastest.min_by(f64::total_cmp).is_some_and(|ms| times.median_by_pass.1 < ms);
    let advice = format!(
        "Allocate buffers with the strategy “{}”: of those that stayed within {} it spends the least time in the \
         allocator.",
        best.name,
        bytes(experiment.budget_bytes)
    );
    let support = if shown { Support::Shown } else { Support::Partly };
    let mut recommendation = Recommendation::new(Topic::Cleanup, support, advice);
    recommendation.evidence.push(format!(
        "“{}”: {} per batch in the allocator, at most {} reserved.",
        best.name,
        time(times.median / 1e3),
        bytes(best.reserved_bytes_max)
    ));
    recommendation.missing = (!shown)
        .then(|| "Its times overlap with those of another strategy in some passes.".to_owned());
    recommendation.figure = Some(AdviceFigure {
        value: times.median / 1e3,
        interval: Interval {
            low: Some(times.median_by_pass.0 / 1e3),
            high: Some(times.median_by_pass.1 / 1e3),
        },
        unit: Unit::Milliseconds,
        basis: "per batch in the allocator, smallest and largest median of a pass".into(),
    });
    Some(recommendation)
}

fn advise_on_leak(leak: &Leak) -> Recommendation {
    let what = leak.quantity.label();
    let verdict = leak.verdict.label();
    let reason = format!("Verdict on {what}: {verdict} ({}).", leak.reason);
    let advice = match leak.verdict {
        LeakVerdict::Inconclusive => return Recommendation::missing(Topic::Cleanup, reason),
        LeakVerdict::Clean => {
            format!("No cleanup is needed for {what}: when idle it stays level from cell to cell.")
        }
        LeakVerdict::Leak => format!(
            "Idle {what} grows from cell to cell: restart the process before it reaches the memory budget, and report \
             the leak."
        ),
    };
    let mut recommendation = Recommendation::new(Topic::Cleanup, Support::Shown, advice);
    recommendation.evidence.push(reason);
    recommendation.figure = leak.slope_bytes_per_cell.map(|value| AdviceFigure {
        value,
        interval: leak.interval_bytes_per_cell,
        unit: Unit::Bytes,
        basis: "per cell, over idle plateaus".into(),
    });
    recommendation
}

fn advise_on_fragmentation(found: Fragmentation, most: f64) -> Recommendation {
    let share = percent_up(found.max);
    let advice = if found.max <= most {
        format!(
            "Memory needs no defragmentation: at most {share} of free memory was outside the largest free block."
        )
    } else {
        format!(
            "Up to {share} of free memory was outside the largest free block: plan batches within that block, or let \
             the server allocate once at start-up."
        )
    };
    let mut recommendation = Recommendation::new(Topic::Cleanup, Support::Shown, advice);
    recommendation.evidence.push(format!(
        "Share of free memory outside the largest free block, over {} readings: {} on average, {share} at most.",
        found.readings,
        percent(found.mean)
    ));
    recommendation.figure = Some(AdviceFigure {
        value: found.max,
        interval: Interval { low: Some(found.mean), high: Some(found.max) },
        unit: Unit::Share,
        basis: "mean and maximum over readings".into(),
    });
    recommendation
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fragmentation_is_held_against_the_limit_given() {
        let found =
            Fragmentation { readings: 9, mean: 0.01, max: 0.03, max_at_ms: 0.0, max_cell: 0 };
        for (most, needs_nothing) in [(FRAGMENTATION_MAX, true), (0.03, true), (0.02, false)] {
            let advice = advise_on_fragmentation(found, most).advice;
            assert_eq!(
                advice.contains("needs no defragmentation"),
                needs_nothing,
                "{most}: {advice}"
            );
        }
    }
}
