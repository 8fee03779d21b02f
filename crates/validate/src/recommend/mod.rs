//! Recommendations: what an operator should set, and what the run says in its favour.
//!
//! Each file answers one question from the results and the findings, with the figures that it
//! rests on. Nothing is extrapolated: a limit lies between two measured cells or at the outermost
//! of them, and then says so. What the data does not support becomes a recommendation that says
//! what is missing, because silence would read as "nothing to do". What `bigbatch serve` can be
//! told goes into `recommended.toml` ([`settings::toml`]); the rest is for the client or the
//! operator.

mod batch;
mod cleanup;
mod concurrency;
mod errors;
mod memory;
mod replicas;
pub mod settings;
mod tail;

use serde::{Deserialize, Serialize};

use crate::Results;
use crate::stats::Interval;

pub use settings::Setting;

/// What is advised about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Topic {
    /// Requests under way at once.
    Concurrency,
    /// Tokens of one batch.
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
    pub figure: Option<Advised>,
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
    fn new(topic: Topic, support: Support, advice: impl Into<String>) -> Recommendation {
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
    fn missing(topic: Topic, what: impl Into<String>) -> Recommendation {
        let missing = Some(what.into());
        Recommendation { missing, ..Recommendation::new(topic, Support::Missing, "No advice.") }
    }
}

/// The figure of an advice and its 95 % interval.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Advised {
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

/// What advice is asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Wanted {
    /// The p95 latency to keep, in milliseconds; else the plan's bars say.
    pub p95_target_ms: Option<f64>,
}

/// Everything that can be advised from `results`, whose findings are in place.
pub fn recommend(results: &Results, wanted: Wanted) -> Vec<Recommendation> {
    let limits = concurrency::limits(results, wanted);
    let mut all = concurrency::advise(&limits);
    all.push(batch::advise(results));
    all.push(memory::advise(results));
    all.extend(replicas::advise(results, &limits, wanted));
    all.extend(cleanup::advise(results));
    all.push(tail::advise(results));
    all.extend(errors::advise(results, &limits));
    all
}
