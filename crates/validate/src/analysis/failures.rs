//! Every measured request that failed, grouped by its cell and its kind: when, and under what load.

use serde::{Deserialize, Serialize};

use crate::target::FailureKind;

/// Failures of one kind in one cell.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FailureGroup {
    /// The cell.
    pub cell: usize,
    /// The cell's load in words.
    pub load: String,
    /// What they have in common.
    pub kind: FailureKind,
    /// How many.
    pub count: usize,
    /// Of all the cell's measured requests, in percent.
    pub percent: f64,
    /// When the first ended, in milliseconds since the start of the run.
    pub first_at_ms: f64,
    /// When the last ended.
    pub last_at_ms: f64,
    /// Fewest and most tokens of their requests.
    pub tokens: (usize, usize),
    /// Requests under way when one was sent, itself included: median and most.
    pub in_flight: (usize, usize),
    /// Different messages.
    pub messages: usize,
    /// The most frequent one, as the target or the operating system wrote it: untrusted.
    pub example: String,
}
