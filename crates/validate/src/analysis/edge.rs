//! Where a system stops taking work: the edge in memory, in concurrency and in length, beside the edge
//! that was predicted, and whether latency is back to normal afterwards.
//!
//! An edge lies between the last value that worked and the first that was refused. Being refused is
//! no fault here: it is what the search is for. A fault is being refused where the prediction said
//! it would work, working where it said it would not, or staying slow afterwards.

use serde::{Deserialize, Serialize};

use crate::system::FailureKind;

/// What the edge mode found.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct EdgeFindings {
    /// One for each axis, in the order searched.
    pub axes: Vec<Edge>,
    /// Everything that was refused or failed, in the order seen.
    pub failures: Vec<EdgeFailure>,
    /// Latency before and after each axis.
    pub recoveries: Vec<Recovery>,
}

/// What is moved until requests are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EdgeAxis {
    /// Requests at once, upwards.
    Concurrency,
    /// Tokens of one request, upwards.
    Tokens,
    /// The memory budget in bytes, downwards.
    MemoryBudget,
}

impl EdgeAxis {
    /// The axis in words.
    pub fn label(self) -> &'static str {
        match self {
            EdgeAxis::Concurrency => "concurrency",
            EdgeAxis::Tokens => "tokens of a request",
            EdgeAxis::MemoryBudget => "memory budget",
        }
    }
}

/// The edge along one axis.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Edge {
    /// What was moved.
    pub axis: EdgeAxis,
    /// The last value at which everything was answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub works: Option<u64>,
    /// The first value at which something was not; absent if none was found up to the rules' limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<u64>,
    /// The last value that was predicted to work, where anything predicts it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub predicted: Option<u64>,
    /// How far `works` is from it, in percent of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub difference_percent: Option<f64>,
    /// Found against predicted.
    pub agreement: PredictionMatch,
    /// Every value tried, in order.
    pub probes: Vec<EdgeProbe>,
    /// Why the axis was not searched, or not to its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// Whether an edge is where it was predicted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PredictionMatch {
    /// Within the tolerance.
    Agrees,
    /// It works less far than predicted.
    Short,
    /// It works farther than predicted.
    Beyond,
    /// No prediction, or no edge was found.
    Unknown,
}

impl PredictionMatch {
    /// In words.
    pub fn label(self) -> &'static str {
        match self {
            PredictionMatch::Agrees => "as predicted",
            PredictionMatch::Short => "short of the prediction",
            PredictionMatch::Beyond => "beyond the prediction",
            PredictionMatch::Unknown => "not compared",
        }
    }
}

/// One value tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct EdgeProbe {
    /// The value.
    pub value: u64,
    /// Requests sent; 0 if the target did not start.
    pub requests: usize,
    /// Those that were not answered.
    pub failed: usize,
    /// Whether everything worked.
    pub works: bool,
}

/// Failures of one kind at one value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EdgeFailure {
    /// What was moved.
    pub axis: EdgeAxis,
    /// To which value.
    pub value: u64,
    /// Of the first, in milliseconds since the start of the search.
    pub first_at_ms: f64,
    /// Of the last.
    pub last_at_ms: f64,
    /// How the requests failed; absent where the target refused to start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<FailureKind>,
    /// How many requests; 1 for a start.
    pub count: usize,
    /// Requests at once.
    pub concurrency: usize,
    /// Tokens of each.
    pub tokens: usize,
    /// The budget, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_budget_bytes: Option<u64>,
    /// What the first one said.
    pub message: String,
}

impl EdgeFailure {
    /// The kind in words.
    pub fn label(&self) -> &'static str {
        self.kind.map_or("refused to start", FailureKind::label)
    }
}

/// Latency of the normal load before and after an axis was searched.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Recovery {
    /// The axis.
    pub axis: EdgeAxis,
    /// Requests of a round, one after another. Rounds after the search follow each other until one is normal;
    /// what is said here of "after" is said of the last round.
    pub requests: usize,
    /// Rounds after the search.
    pub rounds: usize,
    /// How long they took.
    pub seconds: f64,
    /// Requests of the last round that failed.
    pub failed: usize,
    /// Median before, in milliseconds.
    pub before_ms_p50: f64,
    /// Median after, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after_ms_p50: Option<f64>,
    /// The slowest of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after_ms_max: Option<f64>,
    /// After over before: Hodges and Lehmann's estimate of the shift of logarithms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ratio: Option<f64>,
    /// Its 95 % interval, by the ranks of Mann and Whitney.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ratio_interval: Option<(f64, f64)>,
    /// The ratio up to which latency counts as normal.
    pub ratio_normal_max: f64,
    /// What that says.
    pub verdict: RecoveryVerdict,
}

/// Whether latency is normal again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RecoveryVerdict {
    /// Shown to be within the margin.
    Yes,
    /// Shown to be beyond it, or requests failed.
    No,
    /// Neither is shown.
    Inconclusive,
}

impl RecoveryVerdict {
    /// In words.
    pub fn label(self) -> &'static str {
        match self {
            RecoveryVerdict::Yes => "recovered",
            RecoveryVerdict::No => "not recovered",
            RecoveryVerdict::Inconclusive => "inconclusive",
        }
    }
}

impl Edge {
    /// An edge from what was tried. `tolerance` is a share of the prediction within which they agree.
    pub(crate) fn new(
        axis: EdgeAxis,
        probes: Vec<EdgeProbe>,
        predicted: Option<u64>,
        tolerance: f64,
    ) -> Edge {
        let values = |works| probes.iter().filter(move |p| p.works == works).map(|p| p.value);
        let (works, refused) = match axis {
            EdgeAxis::MemoryBudget => (values(true).min(), values(false).max()),
            _ => (values(true).max(), values(false).min()),
        };
        let both = works.filter(|_| refused.is_some()).zip(predicted.filter(|&value| value > 0));
        let difference = both.map(|(works, predicted)| works as f64 / predicted as f64 - 1.0);
        let agreement = match (axis, difference) {
            (_, None) => PredictionMatch::Unknown,
            (_, Some(difference)) if difference.abs() <= tolerance => PredictionMatch::Agrees,
            // A smaller budget that works is farther.
            (EdgeAxis::MemoryBudget, Some(difference)) if difference < 0.0 => {
                PredictionMatch::Beyond
            }
            (EdgeAxis::MemoryBudget, Some(_)) => PredictionMatch::Short,
            (_, Some(difference)) if difference < 0.0 => PredictionMatch::Short,
            (_, Some(_)) => PredictionMatch::Beyond,
        };
        let difference_percent = difference.map(|share| 100.0 * share);
        Edge { axis, works, refused, predicted, difference_percent, agreement, probes, note: None }
    }
}
