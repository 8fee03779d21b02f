//! Whether memory comes back to where it was after each cell, leaks over cells, or fragments.
//!
//! The readings that tell of a leak are those of an idle target: before the first cell, and between
//! cells. Each gap between cells is one plateau. A leak is a slope of the plateaus (Theil and Sen)
//! that rises (Mann and Kendall) and cannot be shown to stay within a tolerance (two one-sided
//! tests); a slope shown to stay within it is clean; anything else, and anything with fewer than
//! eight plateaus, is inconclusive.

use serde::{Deserialize, Serialize};

use crate::stats::Interval;
use crate::telemetry::Moment;

/// What memory comes to.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct MemoryFindings {
    /// For each cell that ran and each quantity the target tells: did it come back?
    pub returned: Vec<Returned>,
    /// One for each quantity that the target tells.
    pub leaks: Vec<Leak>,
    /// How fragmented the arena was, where the target has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fragmentation: Option<Fragmentation>,
    /// What ran at each reading, one series a cell.
    pub aligned: Vec<AlignedSeries>,
}

/// What is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MemoryQuantity {
    /// Device memory of the target's process.
    Device,
    /// In use in the target's arena.
    ArenaUsed,
    /// Resident memory of the target's process.
    Rss,
}

impl MemoryQuantity {
    /// The quantity in words.
    pub fn label(self) -> &'static str {
        match self {
            MemoryQuantity::Device => "device memory",
            MemoryQuantity::ArenaUsed => "arena in use",
            MemoryQuantity::Rss => "resident memory",
        }
    }
}

/// One quantity before and after one cell.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Returned {
    /// The cell.
    pub cell: usize,
    /// What was read.
    pub quantity: MemoryQuantity,
    /// Idle, before the cell's first request, in bytes.
    pub before_bytes: u64,
    /// Highest reading under its load.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peak_bytes: Option<u64>,
    /// Idle, after its last request.
    pub after_bytes: u64,
    /// How much more than before counts as returned.
    pub tolerance_bytes: u64,
    /// Whether it came back: after is at most before plus the tolerance.
    pub returned: bool,
}

/// Whether one quantity grows from cell to cell.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Leak {
    /// What was read.
    pub quantity: MemoryQuantity,
    /// What the plateaus say.
    pub verdict: LeakVerdict,
    /// Idle plateaus: (milliseconds since the start of the run, bytes).
    pub plateaus: Vec<(f64, u64)>,
    /// Theil and Sen's slope, in bytes a cell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slope_bytes_per_cell: Option<f64>,
    /// Its 95 % interval.
    pub interval_bytes_per_cell: Interval,
    /// Mann and Kendall's two-sided p of "no trend".
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trend_p: Option<f64>,
    /// The growth that counts as none, in bytes a cell.
    pub tolerance_bytes_per_cell: f64,
    /// The same in percent of the first plateau.
    pub tolerance_percent_per_cell: f64,
    /// Why, in one sentence.
    pub reason: String,
}

/// What the idle plateaus say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LeakVerdict {
    /// Growth is shown to stay within the tolerance.
    Clean,
    /// It grows, and may grow beyond the tolerance.
    Leak,
    /// Neither is shown.
    Inconclusive,
}

impl LeakVerdict {
    /// The verdict in words.
    pub fn label(self) -> &'static str {
        match self {
            LeakVerdict::Clean => "clean",
            LeakVerdict::Leak => "leak",
            LeakVerdict::Inconclusive => "inconclusive",
        }
    }
}

/// `1 - largest free / free` over the readings of an arena that was not full.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Fragmentation {
    /// Readings.
    pub readings: usize,
    /// Mean, 0 to 1.
    pub mean: f64,
    /// Largest, 0 to 1.
    pub max: f64,
    /// When the largest was read, in milliseconds since the start of the run.
    pub max_at_ms: f64,
    /// The cell in which it was read.
    pub max_cell: usize,
}

/// What ran at each of a cell's memory readings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AlignedSeries {
    /// The cell; the series has one point for each of its readings, in their order.
    pub cell: usize,
    /// What ran.
    pub points: Vec<Aligned>,
}

/// What ran when memory was read.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Aligned {
    /// Of the reading, in milliseconds since the start of the run.
    pub at_ms: f64,
    /// Of the reading.
    pub moment: Moment,
    /// Requests that were sent and had no answer yet.
    pub requests_in_flight: usize,
    /// Their tokens.
    pub tokens_in_flight: usize,
    /// Tokens of the batch on the device, as far as its answers tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch_tokens: Option<usize>,
}
