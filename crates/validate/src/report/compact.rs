//! Compact results, small enough to be committed: every figure, table, verdict and recommendation, without the series
//! that only charts need.
//!
//! A cell keeps the first and the last memory reading and the highest of each quantity; a distribution keeps its ends
//! and some points between. The load at each reading, heat maps and the timelines of allocators are removed with their
//! charts. The schema is that of `results.json`, so `report` and `compare` read it.

use crate::figures::{Figures, Status};
use crate::results::Results;
use crate::system::{MemoryPoint, MemorySample};

/// Points that a distribution keeps, the last included.
const POINTS_MAX: usize = 25;

/// The quantities whose peaks are kept.
const PEAKS: [fn(&MemorySample) -> Option<u64>; 5] = [
    |sample| sample.device_used_bytes,
    |sample| sample.card_used_bytes,
    |sample| sample.rss_bytes,
    |sample| sample.arena.map(|arena| arena.used_bytes),
    |sample| sample.arena.map(|arena| arena.high_water_bytes),
];

/// Removes the series from the results.
pub fn compact(mut results: Results) -> Results {
    for cell in &mut results.cells {
        cell.memory = extremes(&cell.memory);
        if let Status::Run { figures } = &mut cell.status {
            let Figures { distribution, distribution_from_sending, .. } = &mut **figures;
            for points in [distribution, distribution_from_sending] {
                *points = thinned(points);
            }
        }
    }
    let analysis = &mut results.analysis;
    analysis.memory.aligned.clear();
    for cell in &mut analysis.latency.cells {
        cell.heat.windows.clear();
    }
    if let Some(experiment) = &mut analysis.cleanup {
        experiment.demand.clear();
        experiment.timeline_batches.clear();
        for strategy in &mut experiment.strategies {
            strategy.timeline.clear();
        }
    }
    results
}

/// Returns the first and the last reading, and the first of the highest of each quantity.
fn extremes(readings: &[MemoryPoint]) -> Vec<MemoryPoint> {
    let highest = |of: &fn(&MemorySample) -> Option<u64>| {
        let most = readings.iter().filter_map(|point| of(&point.sample)).max()?;
        readings.iter().position(|point| of(&point.sample) == Some(most))
    };
    let mut kept: Vec<usize> = PEAKS.iter().filter_map(highest).collect();
    kept.extend([0, readings.len().saturating_sub(1)]);
    kept.sort_unstable();
    kept.dedup();
    kept.into_iter().filter_map(|index| readings.get(index).copied()).collect()
}

/// Returns at most [`POINTS_MAX`] points of a distribution, its ends included.
fn thinned(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let last = points.len().saturating_sub(1);
    let stride = last.div_ceil(POINTS_MAX - 1).max(1);
    let kept = |index: &usize| index.is_multiple_of(stride) || *index == last;
    (0..points.len()).filter(kept).map(|index| points[index]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_distribution_keeps_its_ends() {
        for count in [0, 1, 2, 25, 26, 49, 50, 200] {
            let points: Vec<(f64, f64)> = (0..count).map(|n| (f64::from(n), 0.0)).collect();
            let thin = thinned(&points);
            assert!(thin.len() <= POINTS_MAX, "{count}: {}", thin.len());
            assert_eq!((thin.first(), thin.last()), (points.first(), points.last()), "{count}");
        }
        assert_eq!(thinned(&[(1.0, 0.5), (2.0, 1.0)]).len(), 2);
    }
}
