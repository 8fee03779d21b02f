//! The recommendations of a run, as `results.json` holds them; [`crate::recommend`] computes them.

use serde::{Deserialize, Serialize};

use crate::format::labelled;
use crate::stats::Interval;

labelled! {
    /// The subject of a recommendation.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    pub enum Topic {
        /// Requests under way at once.
        Concurrency = "Concurrency limit",
        /// Memory of the device.
        MemoryBudget = "Memory budget",
        /// Servers needed for a rate.
        Replicas = "Replicas for a rate",
        /// Leaks, fragmentation and allocation strategies.
        Cleanup = "Memory and cleanup",
        /// Reduction of p99 / p50.
        TailLatency = "Tail latency",
        /// The reaction of clients to failed requests.
        ErrorHandling = "Error handling",
    }
}

/// How far the data supports a recommendation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Support {
    /// Measured, with intervals.
    Shown,
    /// Measured in part: it holds, and the missing data could refine it.
    Partly,
    /// Not supported: only `missing` is set.
    Missing,
}

/// One recommendation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Recommendation {
    /// The subject.
    pub topic: Topic,
    /// The length in tokens it holds for, where it differs by length.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens: Option<usize>,
    /// How far the data carries it.
    pub support: Support,
    /// The action, in one or two sentences.
    pub advice: String,
    /// The recommended figure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub figure: Option<AdviceFigure>,
    /// The evidence, one sentence with its figures each.
    pub evidence: Vec<String>,
    /// The data that the run lacks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missing: Option<String>,
    /// The settings that apply it.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub settings: Vec<Setting>,
}

impl Recommendation {
    pub(crate) fn new(topic: Topic, support: Support, advice: impl Into<String>) -> Recommendation {
        Recommendation {
            topic,
            tokens: None,
            support,
            advice: advice.into(),
            figure: None,
            evidence: Vec::new(),
            missing: None,
            settings: Vec::new(),
        }
    }

    /// Creates a recommendation that the data does not support.
    pub(crate) fn missing(topic: Topic, what: impl Into<String>) -> Recommendation {
        let missing = Some(what.into());
        Recommendation { missing, ..Recommendation::new(topic, Support::Missing, "No advice.") }
    }
}

/// The figure of a recommendation and its 95 % interval.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AdviceFigure {
    /// The figure.
    pub value: f64,
    /// Its interval; an end that the run does not show is absent.
    pub interval: Interval,
    /// Its unit.
    pub unit: Unit,
    /// The basis of the interval, such as `within run`.
    pub basis: String,
}

/// The unit of a figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Requests in flight.
    Requests,
    /// Tokens.
    Tokens,
    /// Bytes.
    Bytes,
    /// Requests per second.
    RequestsPerSecond,
    /// Milliseconds.
    Milliseconds,
    /// A ratio.
    Ratio,
    /// A share of 1.
    Share,
}

/// One key of the configuration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Setting {
    /// The flag's long name with underscores.
    pub key: String,
    /// The recommended value.
    pub value: Value,
    /// Where the value comes from, in one line.
    pub comment: String,
}

/// A value of the configuration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Value {
    /// Yes or no.
    Switch(bool),
    /// A count.
    Number(u64),
    /// Anything else, such as `2048MiB`.
    Text(String),
}

impl Setting {
    pub(crate) fn number(key: &str, value: u64, comment: impl Into<String>) -> Setting {
        Setting { key: key.into(), value: Value::Number(value), comment: comment.into() }
    }

    pub(crate) fn switch(key: &str, value: bool, comment: impl Into<String>) -> Setting {
        Setting { key: key.into(), value: Value::Switch(value), comment: comment.into() }
    }

    /// Bytes, which must be whole MiB.
    pub(crate) fn mebibytes(key: &str, mib: u64, comment: impl Into<String>) -> Setting {
        Setting {
            key: key.into(),
            value: Value::Text(format!("{mib}MiB")),
            comment: comment.into(),
        }
    }
}
