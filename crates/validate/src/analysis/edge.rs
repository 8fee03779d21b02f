//! The limits of a target in memory, concurrency and length, beside the predicted ones, and whether latency
//! recovers after the search. The search itself is [`crate::run::edge`].
//!
//! A limit lies between the last value that worked and the first that was refused. A refusal is no fault: the search
//! looks for it. Faults are a limit that differs from its prediction and latency that stays slow afterwards.

use serde::{Deserialize, Serialize};

use crate::format::labelled;
use crate::system::FailureKind;

/// The findings of the search for the target's limits.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct EdgeFindings {
    /// One for each axis, in the order searched.
    pub axes: Vec<Edge>,
    /// Everything that was refused or failed, in the order seen.
    pub failures: Vec<EdgeFailure>,
    /// Latency before and after each axis.
    pub recoveries: Vec<Recovery>,
}

labelled! {
    /// The quantity that is moved until requests are refused.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    pub enum EdgeAxis {
        /// Requests at once, upwards.
        Concurrency = "concurrency",
        /// Tokens of one request, upwards.
        Tokens = "tokens of a request",
        /// The memory budget in bytes, downwards.
        MemoryBudget = "memory budget",
    }
}

/// The limit along one axis.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Edge {
    /// The quantity.
    pub axis: EdgeAxis,
    /// The last value at which every request was answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub works: Option<u64>,
    /// The first value at which a request was not; absent if there is none up to the end of the search.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<u64>,
    /// The last value that is predicted to work, if there is a prediction.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub predicted: Option<u64>,
    /// `works` minus `predicted`, in percent of `predicted`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub difference_percent: Option<f64>,
    /// Whether the two agree.
    pub agreement: PredictionMatch,
    /// Every value tried, in order.
    pub probes: Vec<EdgeProbe>,
    /// Why the axis was not searched, or not to its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

labelled! {
    /// Whether a limit is where it was predicted.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    pub enum PredictionMatch {
        /// Within the tolerance.
        Agrees = "as predicted",
        /// The target refuses values that are predicted to work.
        Short = "short of the prediction",
        /// The target accepts values that are predicted to be refused.
        Beyond = "beyond the prediction",
        /// There is no prediction, or no limit was found.
        Unknown = "not compared",
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
    /// Whether every request was answered.
    pub works: bool,
}

/// Failures of one kind at one value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EdgeFailure {
    /// The quantity that was moved.
    pub axis: EdgeAxis,
    /// Its value.
    pub value: u64,
    /// Time of the first failure, in milliseconds since the start of the search.
    pub first_at_ms: f64,
    /// Time of the last failure, in the same unit.
    pub last_at_ms: f64,
    /// How the requests failed; absent if the target refused to start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<FailureKind>,
    /// Number of requests; 1 for a start.
    pub count: usize,
    /// Requests at once.
    pub concurrency: usize,
    /// Tokens of each.
    pub tokens: usize,
    /// The budget, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_budget_bytes: Option<u64>,
    /// The message of the first failure, untrusted.
    pub message: String,
}

impl EdgeFailure {
    /// Returns the kind's name for people.
    pub fn label(&self) -> &'static str {
        self.kind.map_or("refused to start", FailureKind::label)
    }
}

/// Latency of the normal load before and after an axis was searched.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Recovery {
    /// The axis.
    pub axis: EdgeAxis,
    /// Requests per round, one after another. Rounds are repeated after the search until latency is normal; figures
    /// "after" are those of the last round.
    pub requests: usize,
    /// Rounds after the search.
    pub rounds: usize,
    /// Duration of these rounds.
    pub seconds: f64,
    /// Requests of the last round that failed.
    pub failed: usize,
    /// Median before, in milliseconds.
    pub before_ms_p50: f64,
    /// Median after, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after_ms_p50: Option<f64>,
    /// Slowest latency after, in milliseconds.
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
    /// Whether latency is normal again.
    pub verdict: RecoveryVerdict,
}

labelled! {
    /// Whether latency is normal again.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    pub enum RecoveryVerdict {
        /// Shown to be within the margin.
        Yes = "recovered",
        /// Shown to be beyond it, or requests failed.
        No = "not recovered",
        /// Neither is shown.
        Inconclusive = "inconclusive",
    }
}

impl Edge {
    /// Finds the limit in the values tried; it agrees with the prediction within `tolerance`, a share of it.
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
