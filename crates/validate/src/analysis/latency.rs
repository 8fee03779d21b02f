//! Where latency's tail comes from: its weight, its spikes, and how percentiles moved over time.

use serde::{Deserialize, Serialize};

use super::Stage;
use crate::stats::Interval;
use crate::target::BatchRef;

/// What latency comes to, one entry for each cell that ran.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct LatencyFindings {
    /// In the order run.
    pub cells: Vec<CellLatency>,
}

/// Latency of one cell, over its measured successes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CellLatency {
    /// The cell.
    pub cell: usize,
    /// p99 over p50; none without answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tail_ratio: Option<TailRatio>,
    /// Its spikes.
    pub spikes: Spikes,
    /// Its percentiles over time.
    pub heat: HeatMap,
}

/// p99 over p50.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct TailRatio {
    /// The ratio of the nearest-rank values.
    pub ratio: f64,
    /// Whether the sample supports only a lower level than 99 %, so that the true ratio is at least
    /// the one of that level, which `ratio` then is.
    pub at_least: bool,
    /// Its 95 % interval within the run, from the ends of the two percentiles' intervals: wider
    /// than need be, never narrower.
    pub interval: Interval,
}

/// Requests far above what is usual in their cell.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Spikes {
    /// Latency beyond which a request is a spike, in milliseconds: the median plus a multiple of
    /// the median absolute deviation.
    pub threshold_ms: f64,
    /// Requests beyond it.
    pub count: usize,
    /// The longest of them, at most [`SPIKES_MAX`] and one for each batch, longest first.
    pub longest: Vec<Spike>,
}

/// Most spikes that a cell lists.
pub const SPIKES_MAX: usize = 20;

/// One spike.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Spike {
    /// Intended start, in milliseconds since the start of the run.
    pub at_ms: f64,
    /// Milliseconds.
    pub latency_ms: f64,
    /// Tokens of the request.
    pub tokens: usize,
    /// The client that sent it.
    pub client: usize,
    /// Its number within the cell.
    pub ordinal: u64,
    /// The batch that carried it, where told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch: Option<BatchRef>,
    /// Spikes in the same batch, this one included.
    pub in_batch: usize,
    /// The stage that was longest beyond its own median in the cell, where told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stage: Option<Stage>,
    /// What it took in that stage beyond the stage's median, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub excess_ms: Option<f64>,
}

/// Percentiles of latency over time.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct HeatMap {
    /// The levels of each row, ascending; 1 is the maximum.
    pub levels: Vec<f64>,
    /// One for each window of time that has requests, in order.
    pub windows: Vec<HeatWindow>,
}

/// One window of time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HeatWindow {
    /// Start, in milliseconds since the start of the run.
    pub from_ms: f64,
    /// End.
    pub to_ms: f64,
    /// Requests whose intended start lies in it.
    pub requests: usize,
    /// Latency at each level, in milliseconds.
    pub latency_ms: Vec<f64>,
}
