//! The size of a sample in independent units, and nearest ranks in a sorted sample.

use crate::format::labelled;
use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

labelled! {
    /// The unit in which the size of a sample is counted.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    pub enum TrialUnit {
        /// Batches, as reported by the target.
        Batches = "batches",
        /// Rounds of a closed loop: requests / clients, for targets that report no batches.
        Rounds = "rounds",
        /// Runs of a cell.
        Runs = "runs",
        /// Readings of memory.
        Readings = "readings",
        /// Idle plateaus of memory.
        Plateaus = "plateaus",
    }
}

/// The size of a sample in independent units.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trials {
    /// Number of units.
    pub count: usize,
    /// The unit.
    pub unit: TrialUnit,
}

impl Trials {
    /// Counts batches if the target reported any, else rounds of `clients` requests.
    pub fn new(requests: usize, clients: usize, batches: usize) -> Trials {
        if batches > 0 {
            return Trials { count: batches.min(requests), unit: TrialUnit::Batches };
        }
        Trials { count: requests.div_ceil(clients.max(1)), unit: TrialUnit::Rounds }
    }
}

/// Returns the nearest rank, from 1, of `level` (0 to 1) in a sample of `count` values.
pub fn nearest_rank(level: f64, count: usize) -> usize {
    // The product of a level such as 0.95 and a count may land a hair above the whole number meant.
    let rank = (level * count as f64 - 1e-9).ceil() as usize;
    rank.clamp(1, count.max(1))
}

/// Returns the median of at least one sorted value; of an even number, the mean of the two in the middle.
pub(crate) fn mean_of_middles(sorted: &[f64]) -> f64 {
    (sorted[(sorted.len() - 1) / 2] + sorted[sorted.len() / 2]) / 2.0
}

/// Returns the median as one of the values; of an even number, the lower of the two in the middle. `None`
/// without values.
pub(crate) fn lower_middle<T>(
    values: impl IntoIterator<Item = T>,
    order: impl FnMut(&T, &T) -> Ordering,
) -> Option<T> {
    let mut values: Vec<T> = values.into_iter().collect();
    let middle = values.len().checked_sub(1)? / 2;
    values.select_nth_unstable_by(middle, order);
    values.into_iter().nth(middle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_ranks_of_known_samples() {
        assert_eq!(nearest_rank(0.95, 100), 95);
        assert_eq!(nearest_rank(0.95, 20), 19);
        assert_eq!(nearest_rank(0.95, 21), 20);
        assert_eq!(nearest_rank(0.5, 1), 1);
        assert_eq!(nearest_rank(0.99, 10), 10);
        for hundreds in 1..500 {
            assert_eq!(nearest_rank(0.99, 100 * hundreds), 99 * hundreds);
            assert_eq!(nearest_rank(0.95, 100 * hundreds), 95 * hundreds);
        }
    }

    #[test]
    fn trials_are_batches_where_told() {
        assert_eq!(Trials::new(100, 10, 25), Trials { count: 25, unit: TrialUnit::Batches });
        assert_eq!(Trials::new(100, 10, 0), Trials { count: 10, unit: TrialUnit::Rounds });
        assert_eq!(Trials::new(0, 10, 0).count, 0);
    }
}
