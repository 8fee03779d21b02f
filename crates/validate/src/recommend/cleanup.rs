//! Whether memory has to be cleaned up, and how: from the readings of an idle target between cells.

use crate::analysis::memory::{Fragmentation, Leak, LeakVerdict, MemoryQuantity};
use crate::format::{bytes, count, percent, time};
use crate::results::Results;
use crate::stats::Interval;
use bigbatch_allocators::{MemoryExperiment, Strategy};

use crate::results::recommendation::{AdviceFigure, Recommendation, Support, Topic, Unit};

/// Fragmentation that is acceptable, where the plan doesn't say.
const FRAGMENTATION_MAX: f64 = 0.05;

pub(super) fn advise(results: &Results) -> Vec<Recommendation> {
    let memory = &results.analysis.memory;
    let mut all: Vec<Recommendation> =
        memory.leaks.iter().map(|leak| of_leak(results, leak)).collect();
    if let Some(fragmentation) = memory.fragmentation {
        let most = results.plan.overall.fragmentation_max.unwrap_or(FRAGMENTATION_MAX);
        all.push(of_fragmentation(fragmentation, most));
    }
    all.extend(results.analysis.cleanup.as_ref().and_then(of_experiment));
    if all.is_empty() {
        all.push(Recommendation::missing(
            Topic::Cleanup,
            "The target does not tell its memory while idle between cells; --target-pid or --metrics-url \
             would.",
        ));
    }
    all
}

/// The strategy that costs least of those that were run and kept within the budget.
fn of_experiment(experiment: &MemoryExperiment) -> Option<Recommendation> {
    let timed =
        |strategy: &&Strategy| strategy.allocator_us.is_some() && strategy.not_run.is_none();
    let fits =
        |strategy: &&Strategy| strategy.batches_failed == 0 && strategy.batches_over_budget == 0;
    let cost = |strategy: &Strategy| strategy.allocator_us.map_or(f64::INFINITY, |us| us.median);
    let timed: Vec<&Strategy> = experiment.strategies.iter().filter(timed).collect();
    let best = timed.iter().copied().filter(fits).min_by(|a, b| cost(a).total_cmp(&cost(b)))?;
    let advice = format!(
        "Find memory for buffers by “{}”: of the strategies that kept within {} it takes the least time.",
        best.name,
        bytes(experiment.budget_bytes)
    );
    // The spread over passes is all that one experiment tells of how sure its order is.
    let slowest = |strategy: &Strategy| strategy.allocator_us.map(|us| us.median_by_pass.1);
    let fastest = |strategy: &Strategy| strategy.allocator_us.map(|us| us.median_by_pass.0);
    let apart = timed
        .iter()
        .filter(|other| other.name != best.name && fits(other))
        .all(|other| slowest(best) < fastest(other));
    let support = if apart && timed.len() > 1 { Support::Shown } else { Support::Partly };
    let mut recommendation = Recommendation::new(Topic::Cleanup, support, advice);
    recommendation.evidence = timed.iter().copied().map(strategy_evidence).collect();
    if support == Support::Partly {
        recommendation.missing =
            Some("Its times are not apart from every other's over all passes.".into());
    }
    recommendation.figure = best.allocator_us.map(|us| AdviceFigure {
        value: us.median / 1e3,
        interval: Interval {
            low: Some(us.median_by_pass.0 / 1e3),
            high: Some(us.median_by_pass.1 / 1e3),
        },
        unit: Unit::Milliseconds,
        basis: "a batch in the allocator, least and greatest median of a pass".into(),
    });
    Some(recommendation)
}

fn strategy_evidence(strategy: &Strategy) -> String {
    let us = strategy.allocator_us.map_or("–".into(), |us| time(us.median / 1e3));
    let fragmentation = strategy
        .fragmentation_max
        .map_or(String::new(), |share| format!(", fragmentation up to {}", percent(share)));
    format!(
        "{}: {us} a batch in the allocator, high water {}{fragmentation}, {} of the batches failed, {} over \
         the budget.",
        capitalised(&strategy.name),
        bytes(strategy.reserved_bytes_max),
        count(strategy.batches_failed),
        count(strategy.batches_over_budget)
    )
}

fn of_leak(results: &Results, leak: &Leak) -> Recommendation {
    let what = leak.quantity.label();
    let (support, advice) = match leak.verdict {
        LeakVerdict::Clean => (
            Support::Shown,
            format!("No cleanup is needed for {what}: idle memory stays level from cell to cell."),
        ),
        LeakVerdict::Leak => {
            (Support::Shown, leak_advice(results.target.memory_budget_bytes, leak))
        }
        LeakVerdict::Inconclusive => (Support::Missing, "No advice.".to_owned()),
    };
    let mut recommendation = Recommendation::new(Topic::Cleanup, support, advice);
    let grown: Vec<_> =
        results.analysis.memory.returned.iter().filter(|r| r.quantity == leak.quantity).collect();
    let back = grown.iter().filter(|returned| returned.returned).count();
    if !grown.is_empty() {
        recommendation.evidence.push(format!(
            "After {} of {} cells {what} was back to what it was before, within the tolerance.",
            count(back),
            count(grown.len())
        ));
    }
    let reason = format!(
        "{}: {} over {} idle plateaus: {}",
        capitalised(what),
        leak.verdict.label(),
        leak.plateaus.len(),
        leak.reason
    );
    match leak.verdict {
        LeakVerdict::Inconclusive => recommendation.missing = Some(reason),
        LeakVerdict::Clean | LeakVerdict::Leak => {
            recommendation.evidence.push(reason);
        }
    }
    let slope = leak.slope_bytes_per_cell.filter(|_| leak.verdict != LeakVerdict::Inconclusive);
    recommendation.figure = slope.map(|value| AdviceFigure {
        value,
        interval: leak.interval_bytes_per_cell,
        unit: Unit::Bytes,
        basis: "a cell, over idle plateaus".into(),
    });
    recommendation
}

/// How long until the budget is used up, and what to do until the leak is found. The budget is of a device: what
/// is resident on the host, mapped weights included, is not held against it.
fn leak_advice(budget_bytes: Option<u64>, leak: &Leak) -> String {
    let what = leak.quantity.label();
    let fastest = leak.interval_bytes_per_cell.high.or(leak.slope_bytes_per_cell);
    let idle = leak.plateaus.last().map(|&(_, bytes)| bytes);
    let budget_bytes = budget_bytes.filter(|_| leak.quantity == MemoryQuantity::Device);
    let room = budget_bytes.zip(idle).map(|(budget, idle)| budget.saturating_sub(idle));
    match (fastest.filter(|&slope| slope > 0.0), room) {
        (Some(slope), Some(room)) => format!(
            "{} grows by up to {} a cell: restart the process before {} more such cells, which would use up \
             the {} that the budget has left, and report the leak.",
            capitalised(what),
            bytes(slope as u64),
            count((room as f64 / slope) as usize),
            bytes(room)
        ),
        _ => format!(
            "{} grows from cell to cell: restart the process regularly and report the leak.",
            capitalised(what)
        ),
    }
}

fn capitalised(what: &str) -> String {
    let mut letters = what.chars();
    let first: String = letters.next().into_iter().flat_map(char::to_uppercase).collect();
    format!("{first}{}", letters.as_str())
}

fn of_fragmentation(found: Fragmentation, most: f64) -> Recommendation {
    let evidence = format!(
        "1 - largest free / free: {} on average, {} at most, over {} readings.",
        percent(found.mean),
        percent(found.max),
        count(found.readings)
    );
    let advice = if found.max <= most {
        format!(
            "Memory needs no defragmentation: at most {} of what was free could not be used in one piece.",
            percent(found.max)
        )
    } else {
        format!(
            "Up to {} of free memory was in pieces: plan batches within the largest free piece, or let the \
             server allocate once at start-up.",
            percent(found.max)
        )
    };
    let mut recommendation = Recommendation::new(Topic::Cleanup, Support::Shown, advice);
    recommendation.evidence.push(evidence);
    recommendation.figure = Some(AdviceFigure {
        value: found.max,
        interval: Interval { low: Some(found.mean), high: Some(found.max) },
        unit: Unit::Share,
        basis: "mean and most over readings".into(),
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
            let advice = of_fragmentation(found, most).advice;
            assert_eq!(
                advice.contains("needs no defragmentation"),
                needs_nothing,
                "{most}: {advice}"
            );
        }
    }

    #[test]
    fn only_device_memory_is_held_against_the_budget() {
        const MIB: u64 = 1 << 20;
        let mut leak = Leak {
            quantity: MemoryQuantity::Device,
            verdict: LeakVerdict::Leak,
            plateaus: vec![(0.0, 500 * MIB), (1.0, 600 * MIB)],
            slope_bytes_per_cell: Some((90 * MIB) as f64),
            interval_bytes_per_cell: Interval { low: None, high: Some((100 * MIB) as f64) },
            trend_p: Some(0.001),
            tolerance_bytes_per_cell: 0.0,
            tolerance_percent_per_cell: 0.1,
            reason: String::new(),
        };
        let advice = leak_advice(Some(1000 * MIB), &leak);
        assert!(
            advice.contains("before 4 more such cells, which would use up the 400 MiB"),
            "{advice}"
        );
        leak.quantity = MemoryQuantity::Rss;
        let advice = leak_advice(Some(1000 * MIB), &leak);
        assert!(advice.contains("restart the process regularly"), "{advice}");
    }
}
