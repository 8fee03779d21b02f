//! The recommendations of a run, as `results.json` has them. [`crate::recommend`] fills them in.

use serde::{Deserialize, Serialize};

use crate::stats::Interval;

/// What is advised about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Topic {
    /// Requests under way at once.
    Concurrency,
    /// Tokens of one batch; results of earlier versions may hold it, none is written.
    BatchTokens,
    /// Memory of the device.
    MemoryBudget,
    /// Servers for a rate.
    Replicas,
    /// Whether memory must be cleaned up, and how.
    Cleanup,
    /// What to do about the slowest requests.
    TailLatency,
    /// What clients do when a request fails.
    ErrorHandling,
}

impl Topic {
    /// The topic in words.
    pub fn label(self) -> &'static str {
        match self {
            Topic::Concurrency => "Concurrency limit",
            Topic::BatchTokens => "Tokens in a batch",
            Topic::MemoryBudget => "Memory budget",
            Topic::Replicas => "Replicas for a rate",
            Topic::Cleanup => "Memory and cleanup",
            Topic::TailLatency => "Tail latency",
            Topic::ErrorHandling => "Error handling",
        }
    }
}

/// How far the data carries an advice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Support {
    /// Measured, with intervals.
    Shown,
    /// Measured in part: the advice holds, but what is named as missing could sharpen it.
    Partly,
    /// Not supported: only what is missing is said.
    Missing,
}

/// One advice.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Recommendation {
    /// What it is about.
    pub topic: Topic,
    /// The length in tokens it holds for, where it differs by length.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens: Option<usize>,
    /// How far the data carries it.
    pub support: Support,
    /// What to do, in one or two sentences.
    pub advice: String,
    /// The figure that the advice comes to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub figure: Option<AdviceFigure>,
    /// What it rests on, one sentence with its figures each.
    pub evidence: Vec<String>,
    /// What the run would have needed to say more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missing: Option<String>,
    /// What to set for it.
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

    /// An advice that the data does not support.
    pub(crate) fn missing(topic: Topic, what: impl Into<String>) -> Recommendation {
        let missing = Some(what.into());
        Recommendation { missing, ..Recommendation::new(topic, Support::Missing, "No advice.") }
    }
}

/// The figure of an advice and its 95 % interval.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AdviceFigure {
    /// The figure.
    pub value: f64,
    /// Its interval; an end that the run does not show is absent.
    pub interval: Interval,
    /// What it counts.
    pub unit: Unit,
    /// Where the interval comes from: `within run`, say.
    pub basis: String,
}

/// What a figure counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Requests at once.
    Requests,
    /// Tokens.
    Tokens,
    /// Bytes.
    Bytes,
    /// Requests each second.
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
    /// What to set it to.
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
