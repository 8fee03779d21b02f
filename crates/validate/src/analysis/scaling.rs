//! How throughput grows with concurrency, what a batch costs, and what limits the target.
//!
//! - Efficiency at C is the throughput there over C times the throughput at C = 1. A server that
//!   gains by batching may exceed 1.
//! - The time of a batch is modelled as `a + b tokens + c sum S^2 + d sequences`, no term negative:
//!   a launch cost, work per token, attention over pairs of tokens, work per sequence.
//! - The model is only worth what it predicts: each cell is left out in turn, the model fitted to
//!   the others, the cell's closed loop simulated with it, and the error printed.

use serde::{Deserialize, Serialize};

use super::Stage;

/// What scaling comes to.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Scaling {
    /// Closed-loop cells of one fixed length, ascending by length.
    pub lengths: Vec<LengthScaling>,
    /// What limits each cell that ran, where the target tells its stages.
    pub bottlenecks: Vec<Bottleneck>,
    /// What a batch costs, where the target tells its batches.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch_time: Option<BatchTimeModel>,
    /// What the model predicts of cells that it was not fitted to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held_out: Option<HeldOut>,
}

/// Throughput of one length at each concurrency.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LengthScaling {
    /// Tokens of each request.
    pub tokens: usize,
    /// Ascending by concurrency; repeats of a cell are averaged.
    pub points: Vec<ScalingPoint>,
}

/// Throughput at one concurrency.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScalingPoint {
    /// The cells it comes from.
    pub cells: Vec<usize>,
    /// Closed-loop clients.
    pub concurrency: usize,
    /// Answers per second.
    pub requests_per_second: f64,
    /// Their tokens per second.
    pub tokens_per_second: f64,
    /// Throughput over that at C = 1, where that was run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub speedup: Option<f64>,
    /// The speedup over C.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub efficiency: Option<f64>,
}

/// What limits a cell.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Bottleneck {
    /// The cell.
    pub cell: usize,
    /// The stage that limits it.
    pub stage: Stage,
    /// Share of the mean latency spent in each stage, 0 to 1, in the order of [`Stage::ALL`].
    pub shares: Vec<(Stage, f64)>,
    /// Share of the measured phase in which a batch was on the device, 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_busy: Option<f64>,
    /// Why this stage, in one sentence with its figures.
    pub evidence: String,
}

/// `base_ms + per_token_us tokens + per_token_pair_ns sum S^2 + per_sequence_us sequences`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct BatchTimeModel {
    /// Milliseconds of any batch.
    pub base_ms: f64,
    /// Microseconds for each token.
    pub per_token_us: f64,
    /// Nanoseconds for each pair of tokens of one sequence.
    pub per_token_pair_ns: f64,
    /// Microseconds for each sequence.
    pub per_sequence_us: f64,
    /// Batches it was fitted to.
    pub batches: usize,
    /// Share of the variance of batch times that it explains, 0 to 1.
    pub r2: f64,
    /// Median of the errors over the batches it was fitted to, in percent of the batch's time.
    pub error_percent_median: f64,
}

/// What the model said of cells that it had not seen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HeldOut {
    /// One for each cell that was left out.
    pub cells: Vec<HeldOutCell>,
    /// Median of the errors of throughput, in percent of what was measured.
    pub error_percent_median: f64,
    /// The largest of them.
    pub error_percent_max: f64,
    /// Median of the errors of median latency.
    pub latency_error_percent_median: f64,
    /// The largest of them.
    pub latency_error_percent_max: f64,
}

/// One cell, predicted and measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HeldOutCell {
    /// The cell.
    pub cell: usize,
    /// Answers per second.
    pub requests_per_second: Predicted,
    /// Median latency in milliseconds.
    pub latency_ms_p50: Predicted,
}

/// A prediction beside its measurement.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Predicted {
    /// What the model says.
    pub predicted: f64,
    /// What was measured.
    pub measured: f64,
    /// The difference without its sign, in percent of what was measured.
    pub error_percent: f64,
}
