//! A cell of a run and its figures, as `results.json` holds them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::generator::Generator;
use super::ramp::Ramp;
use super::steady::Steady;
use crate::plan::CellSpec;
use crate::stats::{Spread, Trials};
use crate::system::{FailureKind, MemoryPoint};

/// One cell.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cell {
    /// Position in the order run, from 0.
    pub index: usize,
    /// Lengths and load.
    #[serde(flatten)]
    pub spec: CellSpec,
    /// Which of the plan's repeats of this cell it is, from 0.
    pub run: usize,
    /// The index of the first cell, which this one runs again at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repeats: Option<usize>,
    /// The sitting in which it ran, from 0; each resumption of a run begins another.
    #[serde(default, skip_serializing_if = "is_first")]
    pub sitting: usize,
    /// Start and end of the cell, in milliseconds since the start of the run; absent if it never started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub span_ms: Option<(f64, f64)>,
    /// Its figures, or why it has none.
    pub status: Status,
    /// Memory before, during and after.
    pub memory: Vec<MemoryPoint>,
}

fn is_first(sitting: &usize) -> bool {
    *sitting == 0
}

impl Cell {
    /// Returns the name for charts and sentences.
    pub(crate) fn name(&self) -> String {
        let again = if self.repeats.is_some() { " again" } else { "" };
        format!("{}{again}", self.spec.name())
    }

    /// Returns true if `other` is another class of the same run of a scenario, so that both ran at the same time.
    pub(crate) fn runs_beside(&self, other: &Cell) -> bool {
        let same = self.spec.scenario.is_some() && self.spec.scenario == other.spec.scenario;
        same && self.run == other.run && self.spec.class != other.spec.class
    }

    /// Returns the number of measured requests that were answered.
    pub(crate) fn answered(&self) -> usize {
        self.figures().map_or(0, |figures| figures.successes)
    }

    /// Returns the figures of a cell that was run.
    pub fn figures(&self) -> Option<&Figures> {
        match &self.status {
            Status::Run { figures } => Some(figures),
            Status::NotRun { .. } => None,
        }
    }
}

/// Whether a cell was run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "status")]
pub enum Status {
    /// It was run and measured.
    Run {
        /// The figures of its measured phase.
        figures: Box<Figures>,
    },
    /// It was not run, which is neither a success nor a failure.
    NotRun {
        /// The cause, in one clause.
        reason: String,
    },
}

/// The figures of a cell.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// Length of the measured phase in seconds, from where it is steady.
    pub measured_seconds: f64,
    /// Whether the time limit ended it before the plan's counts were reached.
    pub cut_by_time_limit: bool,
    /// Why no request was measured, or why clients stopped early; absent otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// Clients that the target told to wait past the cell's end: from then on the load was less than the plan's.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub stopped_clients: usize,
    /// Measured requests, by intended start.
    pub requests: usize,
    /// Those that were answered.
    pub successes: usize,
    /// The others by kind.
    pub failures: BTreeMap<FailureKind, usize>,
    /// The size of the sample in independent units.
    pub trials: Trials,
    /// Latency over the successes, from the intended start to the last byte.
    pub latency: Spread,
    /// Latency over all requests, a failure counting as one that never ends.
    pub latency_over_all: Spread,
    /// Points of the distribution over all: (milliseconds, share at or below).
    pub distribution: Vec<(f64, f64)>,
    /// The same from the moment of sending, without the time that requests waited to be sent.
    pub latency_over_all_from_sending: Spread,
    /// Points of that distribution.
    pub distribution_from_sending: Vec<(f64, f64)>,
    /// Measured requests per second of the measured phase, by intended start.
    pub offered_per_second: f64,
    /// Answers per second that arrived within the measured phase.
    pub requests_per_second: f64,
    /// Their tokens per second.
    pub tokens_per_second: f64,
    /// Mean time of a successful request in each stage, if the target reports stages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stages_ms_mean: Option<StageMeans>,
    /// Mean size of the batches of measured requests, if the target reports batches.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch_mean: Option<BatchMean>,
    /// Whether and where the measured phase was steady.
    pub steady: Steady,
    /// The blocks of a ramp, and its breaking point.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ramp: Option<Ramp>,
    /// The generator's own delay.
    pub generator: Generator,
}

impl Figures {
    /// Returns the share of successful requests, 0 to 1; `None` without requests.
    pub fn success_rate(&self) -> Option<f64> {
        (self.requests > 0).then(|| self.successes as f64 / self.requests as f64)
    }
}

/// Mean milliseconds in each stage.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct StageMeans {
    /// Text to token ids.
    pub tokenize: f64,
    /// Waiting for a batch.
    pub queue: f64,
    /// In the forward pass of its batch, handing it to the device included.
    pub compute: f64,
    /// The rest of the latency: hand-over, transport, the generator.
    pub other: f64,
}

/// Mean size of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct BatchMean {
    /// Sequences.
    pub sequences: f64,
    /// Tokens.
    pub tokens: f64,
}

fn is_zero(count: &usize) -> bool {
    *count == 0
}
