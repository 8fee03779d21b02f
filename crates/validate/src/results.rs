//! What a run found: the schema of `results.json`.
//!
//! Everything in the reports is computed here once, so that `report.md`, `report.html` and a later
//! comparison can only say the same. Fields end in their unit. An absent optional field means that
//! the target did not tell or that the figure does not exist; it never means zero. Whoever reads
//! the file checks `schema_version` first; it goes up when a field changes its meaning or goes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::analysis::Analysis;
use crate::estimate::{Place, places};
use crate::generator::Generator;
use crate::load::RequestRecord;
use crate::machine::Machine;
use crate::plan::{CellSpec, Plan};
use crate::preflight::Finding;
use crate::published::Published;
use crate::ramp::Ramp;
use crate::recommend::Recommendation;
use crate::stats::{Spread, Trials};
use crate::steady::Steady;
use crate::target::{FailureKind, TargetInfo};
use crate::telemetry::MemoryPoint;
use crate::verdict::{Conclusion, Verdict};

/// Version of the schema below.
pub const SCHEMA_VERSION: u32 = 2;

/// A finished run: its results, and the raw records they were computed from.
#[derive(Debug, Clone)]
pub struct Report {
    /// `results.json`.
    pub results: Results,
    /// `requests.jsonl.zst`, in the order of cells and then of intended starts.
    pub requests: Vec<RequestRecord>,
}

impl Report {
    /// The exit code of a program that ran this: 1 if a bar failed or nothing at all was measured, else
    /// 0; under `strict` also 1 if a bar was not shown or its cell not run.
    pub fn exit_code(&self, strict: bool) -> u8 {
        if self.results.measured_nothing() {
            return 1;
        }
        match self.results.conclusion.outcome() {
            Some(crate::verdict::Outcome::Fail) => 1,
            None | Some(crate::verdict::Outcome::Pass) => 0,
            Some(_) => u8::from(strict),
        }
    }
}

/// Everything but the raw records.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Results {
    /// [`SCHEMA_VERSION`] of the program that wrote it.
    pub schema_version: u32,
    /// Version of the harness.
    pub harness_version: String,
    /// Start of the run, UTC, ISO 8601.
    pub started_at: String,
    /// When it was gone on with after an interruption, each time; UTC, ISO 8601.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resumed_at: Vec<String>,
    /// From the start of the first cell to the end of the last, in seconds, without the time between
    /// sittings.
    pub duration_seconds: f64,
    /// Whether the run was cancelled.
    pub interrupted: bool,
    /// Counts of the verdicts.
    pub conclusion: Conclusion,
    /// The plan that was run.
    pub plan: Plan,
    /// What was measured.
    pub target: TargetInfo,
    /// Where the generator ran.
    pub machine: Machine,
    /// What was found of the machine before the run, or before its last sitting.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub preflight: Vec<Finding>,
    /// The prompts.
    pub prompts: Prompts,
    /// One for each bar's limit, in the plan's order.
    pub verdicts: Vec<Verdict>,
    /// In the order run.
    pub cells: Vec<Cell>,
    /// Figures over the repeats of each cell, where the plan has repeats.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub published: Vec<Published>,
    /// The first cell against its repeat at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drift: Option<Drift>,
    /// What the raw records say beyond figures and verdicts.
    pub analysis: Analysis,
    /// What to do about it.
    pub recommendations: Vec<Recommendation>,
}

impl Results {
    /// Whether no cell at all was run.
    pub fn measured_nothing(&self) -> bool {
        self.cells.iter().all(|cell| cell.figures().is_none())
    }

    /// The first run of each cell of the matrix by length and concurrency.
    pub fn matrix(&self) -> Vec<&Cell> {
        let first = |cell: &&Cell| cell.repeats.is_none() && cell.run == 0;
        let mut cells: Vec<&Cell> =
            self.cells.iter().filter(first).filter(|cell| cell.spec.place().is_some()).collect();
        cells.sort_by_key(|cell| cell.spec.place());
        cells
    }

    /// The first run of each scenario, in the plan's order.
    pub fn scenarios(&self) -> Vec<&Cell> {
        let names = self.plan.scenarios.iter().map(|scenario| &scenario.name);
        let first = |name| {
            let of_name = |cell: &&Cell| {
                cell.repeats.is_none() && cell.run == 0 && cell.spec.scenario.as_ref() == Some(name)
            };
            self.cells.iter().find(of_name)
        };
        names.filter_map(first).collect()
    }

    /// What ran of the matrix, all runs of a place together, by length and concurrency.
    pub(crate) fn places(&self) -> Vec<Place<'_>> {
        places(self.cells.iter())
    }

    /// The lengths of which any cell of the matrix was run, ascending.
    pub fn lengths_run(&self) -> Vec<usize> {
        let run = self.matrix().into_iter().filter(|cell| cell.figures().is_some());
        let mut lengths: Vec<usize> = run.filter_map(|cell| cell.spec.tokens()).collect();
        lengths.dedup();
        lengths
    }
}

/// Where the prompts came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prompts {
    /// `embedded`, or the directory.
    pub corpus: String,
    /// Different prompts prepared for each length in tokens. A cell that sent more requests than
    /// this sent some of them again.
    pub distinct_by_tokens: BTreeMap<usize, usize>,
    /// Prompts prepared for each scenario whose lengths are not fixed.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub prepared_by_scenario: BTreeMap<String, usize>,
}

/// One cell.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cell {
    /// Place in the order run, from 0.
    pub index: usize,
    /// Lengths and load.
    #[serde(flatten)]
    pub spec: CellSpec,
    /// Which of the plan's repeats of this cell it is, from 0.
    pub run: usize,
    /// The index of the first cell, which this one runs again at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repeats: Option<usize>,
    /// Which sitting of the run ran it, from 0: each time that a run is gone on with begins another.
    #[serde(default, skip_serializing_if = "is_first")]
    pub sitting: usize,
    /// Start and end of the cell, in milliseconds since the start of the run; absent if it never started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub span_ms: Option<(f64, f64)>,
    /// What came of it.
    pub status: Status,
    /// Memory before, during and after.
    pub memory: Vec<MemoryPoint>,
}

fn is_first(sitting: &usize) -> bool {
    *sitting == 0
}

impl Cell {
    /// What a person calls it.
    pub(crate) fn label(&self) -> String {
        crate::report::words::cell_name(self)
    }

    /// Its figures, if it was run.
    pub fn figures(&self) -> Option<&Figures> {
        match &self.status {
            Status::Run { figures } => Some(figures),
            Status::NotRun { .. } => None,
        }
    }
}

/// What came of a cell.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "status")]
pub enum Status {
    /// It was run and measured.
    Run {
        /// What was measured.
        figures: Box<Figures>,
    },
    /// It was not, which is neither a success nor a failure.
    NotRun {
        /// Why.
        reason: String,
    },
}

/// What was measured in a cell.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// Length of the measured phase in seconds, from where it is steady.
    pub measured_seconds: f64,
    /// Whether the time limit ended it before the plan's counts were reached.
    pub cut_by_time_limit: bool,
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
    /// The same from the moment of sending: what a generator would have seen that forgets how long
    /// its requests waited to be sent.
    pub latency_over_all_from_sending: Spread,
    /// Points of that distribution.
    pub distribution_from_sending: Vec<(f64, f64)>,
    /// Measured requests per second of the measured phase, by intended start.
    pub offered_per_second: f64,
    /// Answers per second that arrived within the measured phase.
    pub requests_per_second: f64,
    /// Their tokens per second.
    pub tokens_per_second: f64,
    /// Mean time of a successful request in each stage, where the target tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stages_ms_mean: Option<StageMeans>,
    /// Mean batch that carried measured requests, where the target tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch_mean: Option<BatchMean>,
    /// Whether and where the measured phase was steady.
    pub steady: Steady,
    /// Where a ramp broke the target.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ramp: Option<Ramp>,
    /// The generator's own delay.
    pub generator: Generator,
}

impl Figures {
    /// Share of the requests that succeeded, 0 to 1; none without requests.
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

/// The first cell against its repeat; ratios are last over first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Drift {
    /// The cell.
    #[serde(flatten)]
    pub spec: CellSpec,
    /// Ratio of the medians of latency.
    pub latency_p50_ratio: Option<f64>,
    /// Ratio of tokens per second.
    pub tokens_per_second_ratio: Option<f64>,
}
