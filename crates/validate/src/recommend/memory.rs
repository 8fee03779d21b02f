//! The device memory that the measured load needs, with room to spare.

use crate::Results;
use crate::report::format::{bytes, count};
use crate::stats::Interval;
use crate::target::MemorySample;

use super::settings::Setting;
use super::{Advised, Recommendation, Support, Topic, Unit};

/// Room beyond the highest reading.
const HEADROOM: f64 = 0.10;
const MIB: u64 = 1 << 20;
/// Budgets are rounded up to a multiple of so many MiB.
const STEP_MIB: u64 = 64;

pub(super) fn advise(results: &Results) -> Recommendation {
    let topic = Topic::MemoryBudget;
    let peak = |of: fn(&MemorySample) -> Option<u64>| {
        let per_cell = results
            .cells
            .iter()
            .filter_map(|cell| cell.memory.iter().filter_map(|point| of(&point.sample)).max());
        let peaks: Vec<u64> = per_cell.collect();
        Some((*peaks.iter().min()?, *peaks.iter().max()?, peaks.len()))
    };
    let device = peak(|sample| sample.device_used_bytes);
    let resident = peak(|sample| sample.rss_bytes);
    let high_water = peak(|sample| sample.arena.map(|arena| arena.high_water_bytes));
    let capacity = peak(|sample| sample.arena.map(|arena| arena.capacity_bytes));
    let budget = results.target.memory_budget_bytes;
    let used = match (budget, capacity, high_water) {
        (Some(budget), Some((_, capacity, _)), Some((_, high_water, cells))) => {
            Some(Used::of_budget(budget, capacity, high_water, cells))
        }
        _ => device.or(resident).map(|(least, most, cells)| Used {
            bytes: most,
            least,
            evidence: format!(
                "{} of the target's process, highest reading of each cell: {} to {} over {} cells.",
                if device.is_some() { "Device memory" } else { "Resident memory" },
                bytes(least),
                bytes(most),
                count(cells)
            ),
        }),
    };
    let Some(used) = used else {
        return Recommendation::missing(
            topic,
            "The target does not tell its memory; --target-pid or --metrics-url would.",
        );
    };
    let advised_mib =
        ((used.bytes as f64 * (1.0 + HEADROOM)) as u64).div_ceil(MIB).next_multiple_of(STEP_MIB);
    let settable = budget.is_some() && capacity.is_some();
    let mut recommendation = Recommendation::new(
        topic,
        Support::Shown,
        format!(
            "Give it {}: {} more than the measured load ever used, so that its largest batches keep their \
             size. A larger budget would lie idle.",
            bytes(advised_mib * MIB),
            crate::report::format::percent(HEADROOM),
        ),
    );
    recommendation.evidence.push(used.evidence);
    if let Some(budget) = budget {
        recommendation.evidence.push(format!("The run's budget was {}.", bytes(budget)));
    }
    let end = |bytes: u64| Some(bytes as f64);
    recommendation.figure = Some(Advised {
        value: (advised_mib * MIB) as f64,
        interval: Interval { low: end(used.least), high: end(used.bytes) },
        unit: Unit::Bytes,
        basis: "least and most used over cells".into(),
    });
    if settable {
        let comment = format!("{} used at most", bytes(used.bytes));
        recommendation.settings.push(Setting::mebibytes("memory_budget", advised_mib, comment));
    }
    recommendation
}

/// What the load needs.
struct Used {
    bytes: u64,
    least: u64,
    evidence: String,
}

impl Used {
    /// All of the budget but what its arena never used.
    fn of_budget(budget: u64, capacity: u64, high_water: u64, cells: usize) -> Used {
        let bytes_used = budget.saturating_sub(capacity.saturating_sub(high_water));
        Used {
            bytes: bytes_used,
            least: budget.saturating_sub(capacity),
            evidence: format!(
                "Of the arena's {} at most {} were ever in use (high water over {} cells); everything else \
                 (weights, libraries, workspaces) takes {}.",
                bytes(capacity),
                bytes(high_water),
                count(cells),
                bytes(budget.saturating_sub(capacity))
            ),
        }
    }
}
