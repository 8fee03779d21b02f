//! The device memory that the measured load needs, with room to spare.
//!
//! What the process held at most, less what its arena never touched, and a tenth more; never more than
//! the budget it ran with, which it is known to be enough. Where the search for the edge found a
//! least budget, not below that.

use crate::analysis::edge::Axis;
use crate::format::{bytes, count, percent};
use crate::results::Results;
use crate::stats::Interval;
use crate::system::MemorySample;

use crate::results::recommendation::{AdviceFigure, Recommendation, Setting, Support, Topic, Unit};

/// Room beyond the highest reading.
const HEADROOM: f64 = 0.10;
const MIB: u64 = 1 << 20;
/// Budgets are rounded up to a multiple of so many MiB.
const STEP_MIB: u64 = 64;

pub(super) fn advise(results: &Results) -> Recommendation {
    let Some(used) = used(results) else {
        return Recommendation::missing(
            Topic::MemoryBudget,
            "The target does not tell its memory; --target-pid or --metrics-url would.",
        );
    };
    let budget = results.target.memory_budget_bytes;
    let least = least_that_works(results);
    let wanted = ((used.most as f64 * (1.0 + HEADROOM)) as u64).max(least.unwrap_or(0));
    let wanted = wanted.div_ceil(MIB).next_multiple_of(STEP_MIB) * MIB;
    let advised = budget.map_or(wanted, |budget| wanted.min(budget));
    let advice = if Some(advised) == budget {
        format!("Keep the budget of {}: the measured load needs it.", bytes(advised))
    } else {
        format!(
            "Give it {}: {} more than the measured load ever used. A larger budget would lie idle under \
             this load.",
            bytes(advised),
            percent(HEADROOM)
        )
    };
    let mut recommendation = Recommendation::new(Topic::MemoryBudget, Support::Shown, advice);
    recommendation.evidence.push(used.evidence);
    recommendation.evidence.extend(budget.map(|b| format!("The run's budget was {}.", bytes(b))));
    recommendation.evidence.extend(least.map(|least| {
        format!(
            "{} is the least budget with which it started and answered everything.",
            bytes(least)
        )
    }));
    let end = |bytes: u64| Some(bytes as f64);
    recommendation.figure = Some(AdviceFigure {
        value: advised as f64,
        interval: Interval { low: end(used.least), high: end(used.most) },
        unit: Unit::Bytes,
        basis: "least and most used over cells".into(),
    });
    if budget.is_some() {
        let comment = format!("{} used at most", bytes(used.most));
        let setting = Setting::mebibytes("memory_budget", advised.div_ceil(MIB), comment);
        recommendation.settings.push(setting);
    }
    recommendation
}

/// What the load needed.
struct Used {
    least: u64,
    most: u64,
    evidence: String,
}

/// Least and most of each cell's highest reading.
fn peaks(results: &Results, of: fn(&MemorySample) -> Option<u64>) -> Option<(u64, u64, usize)> {
    let per_cell = results
        .cells
        .iter()
        .filter_map(|cell| cell.memory.iter().filter_map(|point| of(&point.sample)).max());
    let peaks: Vec<u64> = per_cell.collect();
    Some((*peaks.iter().min()?, *peaks.iter().max()?, peaks.len()))
}

fn used(results: &Results) -> Option<Used> {
    let told = |what, (least, most, cells): (u64, u64, usize)| Used {
        least,
        most,
        evidence: format!(
            "{what} of its process, the highest reading of each cell: {} to {} over {} cells.",
            bytes(least),
            bytes(most),
            count(cells)
        ),
    };
    let Some(device) = peaks(results, |sample| sample.device_used_bytes) else {
        return Some(told("Resident memory", peaks(results, |sample| sample.rss_bytes)?));
    };
    let mut used = told("Device memory", device);
    let capacity = peaks(results, |sample| sample.arena.map(|arena| arena.capacity_bytes));
    let touched = peaks(results, |sample| sample.arena.map(|arena| arena.high_water_bytes));
    if let (Some((_, capacity, _)), Some((_, touched, _))) = (capacity, touched) {
        let idle = capacity.saturating_sub(touched);
        used.least = used.least.saturating_sub(idle);
        used.most = used.most.saturating_sub(idle);
        used.evidence.push_str(&format!(
            " Of the arena's {} in it, {} were never touched.",
            bytes(capacity),
            bytes(idle)
        ));
    }
    Some(used)
}

/// The least budget that the search for the edge found to work.
fn least_that_works(results: &Results) -> Option<u64> {
    let axes = &results.analysis.edge.as_ref()?.axes;
    axes.iter().find(|edge| edge.axis == Axis::MemoryBudget)?.works
}
