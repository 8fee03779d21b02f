//! The figures of one experiment, as `memory.json` and a run's results hold them.
//!
//! [`crate::compare`] fills them in. Bytes are of buffers only: weights and the device's context come on top.

use serde::{Deserialize, Serialize};

use crate::traffic::TrafficSummary;

/// Figures of every strategy over the same traffic.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MemoryExperiment {
    /// Name of the model whose operations allocate.
    pub model: String,
    /// Name of the device.
    pub device: String,
    /// Element type of activations.
    pub dtype: String,
    /// The batches that were replayed.
    pub traffic: TrafficSummary,
    /// Timed passes over the traffic.
    pub repeats: usize,
    /// Limit on reserved bytes: the memory budget less everything beside the buffers.
    pub budget_bytes: u64,
    /// Largest sum of live buffers in any batch.
    pub demand_bytes_max: u64,
    /// Mean number of buffers per batch.
    pub buffers_per_batch: f64,
    /// One entry per strategy, in the order given.
    pub strategies: Vec<Strategy>,
    /// Live bytes at the timeline's steps: (step, bytes). One step per operation.
    pub demand: Vec<(usize, u64)>,
    /// First step of each batch of the timeline.
    pub timeline_batches: Vec<usize>,
}

/// Figures of one strategy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Strategy {
    /// Name in tables and charts.
    pub name: String,
    /// Whether it is simulated; then it has no times.
    pub simulated: bool,
    /// Why it was not run; then all figures are zero or absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_run: Option<String>,
    /// Time per batch inside the allocator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allocator_us: Option<Times>,
    /// Time per batch from its first allocation until all its work is done, writes included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch_us: Option<Times>,
    /// Calls per batch to the driver or system that took or returned memory; `None` where they are not
    /// visible.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system_calls_per_batch: Option<f64>,
    /// Most bytes reserved at any step.
    pub reserved_bytes_max: u64,
    /// Most bytes handed out at any step.
    pub used_bytes_max: u64,
    /// Bytes reserved after the last batch.
    pub reserved_bytes_idle: u64,
    /// Largest `1 - largest free block / free` at any step, 0 to 1; `None` where free blocks are not
    /// reported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fragmentation_max: Option<f64>,
    /// Mean of the same between batches, when every buffer is freed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fragmentation_idle_mean: Option<f64>,
    /// Batches for which no memory was found.
    pub batches_failed: usize,
    /// Batches during which more than the budget was reserved.
    pub batches_over_budget: usize,
    /// Memory held at the timeline's steps.
    pub timeline: Vec<TimelinePoint>,
}

/// Times of batches, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Times {
    /// Median over batches and passes.
    pub median: f64,
    /// 95th percentile over batches and passes.
    pub p95: f64,
    /// Longest.
    pub max: f64,
    /// Smallest and largest median of one pass.
    pub median_by_pass: (f64, f64),
}

/// Memory that a strategy held at one step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimelinePoint {
    /// The step, counted over operations from the first batch on.
    pub step: usize,
    /// Taken from the device or system.
    pub reserved_bytes: u64,
    /// Handed out to buffers.
    pub used_bytes: u64,
}
