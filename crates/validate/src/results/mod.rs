//! The results of a run: the schema of `results.json`.
//!
//! Reports and comparisons render these values and compute none of their own. Field names end in their unit. An absent
//! optional field means that the target does not report the value or that it does not exist, never zero. A reader must
//! check `schema_version` first; it increases when a field is removed or changes its meaning.

pub mod compare;
pub mod recommendation;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::analysis::Analysis;
use crate::figures::estimate::{MatrixPosition, matrix_positions};
use crate::figures::{Cell, PublishedFigures};
use crate::load::RequestRecord;
use crate::plan::{CellSpec, Plan, Scenario};
use crate::preflight::Finding;
use crate::preflight::machine::Machine;
use crate::system::TargetInfo;
use crate::verdict::{Conclusion, Verdict};

pub use recommendation::Recommendation;

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
    /// Returns the exit code: 1 if a limit is missed, no request was answered or the run was interrupted, else 0; with
    /// `strict` also 1 if a limit is not shown or its cell was not run.
    pub fn exit_code(&self, strict: bool) -> u8 {
        if self.results.answered_nothing() || self.results.interrupted {
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
    /// The times at which it was resumed; UTC, ISO 8601.
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
    /// The system under test.
    pub target: TargetInfo,
    /// The machine of the load generator.
    pub machine: Machine,
    /// Findings about this machine before the run, or before its last sitting.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub preflight: Vec<Finding>,
    /// The prompts.
    pub prompts: PromptSummary,
    /// One for each bar's limit, in the plan's order.
    pub verdicts: Vec<Verdict>,
    /// In the order run.
    pub cells: Vec<Cell>,
    /// Figures over the repeats of each cell, where the plan has repeats.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub published: Vec<PublishedFigures>,
    /// The first cell against its repeat at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drift: Option<Drift>,
    /// Findings from the raw records.
    pub analysis: Analysis,
    /// Recommendations from all of these.
    pub recommendations: Vec<Recommendation>,
}

impl Results {
    /// Returns true if no request was measured.
    pub fn measured_nothing(&self) -> bool {
        self.cells.iter().filter_map(Cell::figures).all(|figures| figures.requests == 0)
    }

    /// Returns true if no measured request was answered.
    pub fn answered_nothing(&self) -> bool {
        self.cells.iter().filter_map(Cell::figures).all(|figures| figures.successes == 0)
    }

    /// Returns the first run of each cell of the matrix, by length and concurrency.
    pub fn matrix(&self) -> Vec<&Cell> {
        let first = |cell: &&Cell| cell.repeats.is_none() && cell.run == 0;
        let mut cells: Vec<&Cell> = self
            .cells
            .iter()
            .filter(first)
            .filter(|cell| cell.spec.matrix_position().is_some())
            .collect();
        cells.sort_by_key(|cell| cell.spec.matrix_position());
        cells
    }

    /// Returns the first run of each scenario, class by class, in the plan's order.
    pub fn scenarios(&self) -> Vec<&Cell> {
        let first = |spec: CellSpec| {
            let of_name = |cell: &&Cell| {
                cell.repeats.is_none() && cell.run == 0 && cell.spec.is_named_as(&spec)
            };
            self.cells.iter().find(of_name)
        };
        self.plan.scenarios.iter().flat_map(Scenario::cells).filter_map(first).collect()
    }

    /// Returns the positions of the matrix that ran, by length and concurrency.
    pub(crate) fn matrix_positions(&self) -> Vec<MatrixPosition<'_>> {
        matrix_positions(self.cells.iter())
    }

    /// Returns the lengths of the matrix's cells that ran, ascending.
    pub fn lengths_run(&self) -> Vec<usize> {
        let run = self.matrix().into_iter().filter(|cell| cell.figures().is_some());
        let mut lengths: Vec<usize> = run.filter_map(|cell| cell.spec.tokens()).collect();
        lengths.dedup();
        lengths
    }
}

/// The source of the prompts, and how many were prepared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PromptSummary {
    /// `embedded`, or the directory.
    pub corpus: String,
    /// Different prompts prepared for each length in tokens. A cell that sent more requests than
    /// this sent some of them again.
    pub distinct_by_tokens: BTreeMap<usize, usize>,
    /// Prompts prepared for each scenario whose lengths are not fixed.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub prepared_by_scenario: BTreeMap<String, usize>,
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
