//! Judges the limits over the whole run.
//!
//! Memory readings are not a sample of a population and have no interval: one reading beyond the limit
//! fails it, and a pass only states that there was none. Leaks are judged in [`crate::analysis::memory`],
//! with an interval.

use crate::analysis::MemoryFindings;
use crate::analysis::memory::{Leak, LeakVerdict};
use crate::figures::Cell;
use crate::figures::published::runs;
use crate::plan::{Bar, CellSpec, Load, Plan};
use crate::stats::{TrialUnit, Trials};

use super::{Criterion, Outcome, Verdict, judge_cell};

pub(super) fn judge(plan: &Plan, cells: &[Cell], memory: &MemoryFindings) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    for spec in plan.cells() {
        let limit = plan.overall.tail_ratio_max.filter(|_| own_limit(plan, &spec).is_none());
        verdicts.extend(limit.and_then(|limit| tail_ratio(&spec, cells, limit)));
    }
    let mut whole = |criterion, limit, judge: &dyn Fn(&mut Verdict)| {
        let mut verdict = Verdict::not_run(None, criterion, limit);
        if cells.iter().any(|cell| cell.figures().is_some()) {
            judge(&mut verdict);
        } else {
            verdict.reason = "no cell was run".into();
        }
        verdicts.push(verdict);
    };
    if let Some(limit) = plan.overall.fragmentation_max {
        whole(Criterion::Fragmentation, limit, &|verdict| {
            let found = memory.fragmentation;
            judge_readings(verdict, found.map(|found| (found.max, found.readings)), "its arena");
            if verdict.figure == Some(0.0) {
                verdict.reason =
                    "the free memory was one block at every reading; an arena that is planned \
                                  once, such as bigbatch's, has this by construction"
                        .into();
            }
        });
    }
    if let Some(limit) = plan.overall.device_memory_bytes_max {
        whole(Criterion::DeviceMemory, limit as f64, &|verdict| {
            let points = cells.iter().flat_map(|cell| &cell.memory);
            let used = points.filter_map(|point| point.sample.device_used_bytes);
            let most = used.clone().max().map(|most| (most as f64, used.count()));
            judge_readings(verdict, most, "its device memory");
        });
    }
    if plan.overall.no_leak {
        whole(Criterion::Leak, 0.0, &|verdict| judge_leak(verdict, &memory.leaks));
    }
    verdicts
}

/// Judges the tail ratio of every cell except ramps, by the limit of its bar, else the limit over the whole
/// run, else `default`. The result includes cells for which the plan has no limit.
pub(crate) fn tail_ratios(plan: &Plan, cells: &[Cell], default: f64) -> Vec<Verdict> {
    let of_plan = plan.overall.tail_ratio_max.unwrap_or(default);
    let judged =
        |spec: &CellSpec| tail_ratio(spec, cells, own_limit(plan, spec).unwrap_or(of_plan));
    plan.cells().iter().filter_map(judged).collect()
}

/// Returns true if the plan limits the tail ratio of a cell.
pub(crate) fn limits_tail_ratio(plan: &Plan, spec: &CellSpec) -> bool {
    plan.overall.tail_ratio_max.is_some() || own_limit(plan, spec).is_some()
}

/// Returns the tail ratio's limit in the cell's own bar.
fn own_limit(plan: &Plan, spec: &CellSpec) -> Option<f64> {
    let of_spec = |bar: &&Bar| plan.cell_of(bar).is_some_and(|of_bar| of_bar == *spec);
    plan.bars.iter().filter(of_spec).find_map(|bar| bar.tail_ratio_max)
}

/// Judges the tail ratio of a cell; `None` for a ramp, whose latency is meant to grow.
fn tail_ratio(spec: &CellSpec, cells: &[Cell], limit: f64) -> Option<Verdict> {
    let runs: Vec<&Cell> = runs(spec, cells).collect();
    let ramp = matches!(spec.load, Load::Ramp { .. });
    (!ramp).then(|| judge_cell(spec.clone(), Criterion::TailRatio, limit, &runs))
}

/// Judges the greatest reading, given with the number of readings; `what` names the quantity.
fn judge_readings(verdict: &mut Verdict, most: Option<(f64, usize)>, what: &str) {
    let Some((most, count)) = most else {
        verdict.outcome = Outcome::NotShown;
        verdict.reason = format!("the target does not report {what}");
        return;
    };
    verdict.figure = Some(most);
    verdict.trials = Some(Trials { count, unit: TrialUnit::Readings });
    verdict.outcome = if most <= verdict.limit { Outcome::Pass } else { Outcome::Fail };
}

/// Judges the leak verdicts of all quantities by the worst: a leak, then an inconclusive one.
fn judge_leak(verdict: &mut Verdict, leaks: &[Leak]) {
    let rank = |leak: &&Leak| match leak.verdict {
        LeakVerdict::Leak => 2,
        LeakVerdict::Inconclusive => 1,
        LeakVerdict::Clean => 0,
    };
    let Some(worst) = leaks.iter().max_by_key(rank) else {
        verdict.outcome = Outcome::NotShown;
        verdict.reason = "the target does not report its memory".into();
        return;
    };
    verdict.limit = worst.tolerance_bytes_per_cell;
    verdict.figure = worst.slope_bytes_per_cell;
    verdict.interval = worst.interval_bytes_per_cell;
    verdict.trials = Some(Trials { count: worst.plateaus.len(), unit: TrialUnit::Plateaus });
    verdict.outcome = match worst.verdict {
        LeakVerdict::Clean => Outcome::Pass,
        LeakVerdict::Inconclusive => Outcome::NotShown,
        LeakVerdict::Leak => Outcome::Fail,
    };
    verdict.reason = format!("{}: {}", worst.quantity.label(), worst.reason);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::memory::{Fragmentation, MemoryQuantity};
    use crate::plan::Overall;
    use crate::stats::Interval;

    fn found(quantity: MemoryQuantity, verdict: LeakVerdict) -> Leak {
        Leak {
            quantity,
            verdict,
            plateaus: vec![(0.0, 1); 9],
            slope_bytes_per_cell: Some(12.0),
            interval_bytes_per_cell: Interval { low: Some(10.0), high: Some(14.0) },
            trend_p: Some(0.01),
            tolerance_bytes_per_cell: 5.0,
            tolerance_percent_per_cell: 0.1,
            reason: "because".into(),
        }
    }

    #[test]
    fn the_worst_quantity_decides_on_a_leak() {
        use LeakVerdict::{Clean, Inconclusive, Leak};
        use MemoryQuantity::{Device, Rss};
        for (device, rss, expected, named) in [
            (Some(Clean), Some(Clean), Outcome::Pass, ""),
            (Some(Clean), Some(Inconclusive), Outcome::NotShown, "resident memory: because"),
            (Some(Leak), Some(Inconclusive), Outcome::Fail, "device memory: because"),
            (None, None, Outcome::NotShown, "does not report its memory"),
        ] {
            let leaks: Vec<_> = [(Device, device), (Rss, rss)]
                .into_iter()
                .filter_map(|(quantity, verdict)| Some(found(quantity, verdict?)))
                .collect();
            let mut verdict = Verdict::not_run(None, Criterion::Leak, 0.0);
            judge_leak(&mut verdict, &leaks);
            assert_eq!(verdict.outcome, expected, "{device:?} {rss:?}");
            assert!(verdict.reason.contains(named), "{}", verdict.reason);
        }
    }

    #[test]
    fn one_reading_beyond_the_limit_fails_it() {
        for (most, expected) in [
            (Some((0.05, 40)), Outcome::Pass),
            (Some((0.051, 40)), Outcome::Fail),
            (None, Outcome::NotShown),
        ] {
            let mut verdict = Verdict::not_run(None, Criterion::Fragmentation, 0.05);
            judge_readings(&mut verdict, most, "its arena");
            assert_eq!((verdict.outcome, verdict.figure), (expected, most.map(|most| most.0)));
        }
    }

    #[test]
    fn a_run_without_cells_judges_nothing() {
        let fragmentation =
            Fragmentation { readings: 1, mean: 0.0, max: 0.0, max_at_ms: 0.0, max_cell: 0 };
        let memory = MemoryFindings {
            fragmentation: Some(fragmentation),
            leaks: vec![found(MemoryQuantity::Device, LeakVerdict::Clean)],
            ..MemoryFindings::default()
        };
        let mut plan = Plan::matrix("none", &[64], &[1]);
        plan.overall = Overall {
            tail_ratio_max: Some(3.0),
            fragmentation_max: Some(0.05),
            device_memory_bytes_max: Some(1),
            no_leak: true,
        };
        let verdicts = judge(&plan, &[], &memory);
        assert_eq!(verdicts.len(), 4);
        for verdict in verdicts {
            assert_eq!(verdict.outcome, Outcome::NotRun, "{verdict:?}");
            assert!(!verdict.reason.is_empty());
        }
    }
}
