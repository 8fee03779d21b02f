//! Findings from the raw records: how throughput scales and what limits it, whether memory returns, leaks or
//! fragments, which stage the tail of latency comes from, and what failed under which load.
//!
//! Each file computes one kind of finding, as plain data. Limits are judged in [`crate::verdict`], advice is in
//! [`crate::recommend`]. A finding names its cells by their index in the order run. A value that the target does not
//! report is absent, never guessed; a question that the sample does not decide is inconclusive.

pub mod capacity;
pub mod edge;
pub mod failures;
pub mod latency;
pub mod memory;
pub mod scaling;

mod in_flight;
mod records;
mod stage;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::figures::Cell;
use crate::load::RequestRecord;
use crate::system::TargetInfo;
use bigbatch_allocators::MemoryExperiment;

pub use capacity::Capacity;
pub use edge::EdgeFindings;
pub use failures::FailureGroup;
pub use latency::LatencyFindings;
pub use memory::MemoryFindings;
pub use scaling::Scaling;
pub use stage::Stage;

use self::records::MeasuredCell;

/// All findings of one run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Analysis {
    /// How throughput grows with concurrency, and what limits it.
    pub scaling: Scaling,
    /// What closed loops get from the stages of the target, and whether that predicts the cells; absent if the
    /// target reports no batches or too few cells were answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capacity: Option<Capacity>,
    /// Whether memory returns, leaks or fragments.
    pub memory: MemoryFindings,
    /// The tail of latency, its spikes and its percentiles over time.
    pub latency: LatencyFindings,
    /// Measured requests that failed, grouped by cell and kind.
    pub failures: Vec<FailureGroup>,
    /// The limits beyond which the target refuses requests; only if they were searched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edge: Option<EdgeFindings>,
    /// Cleanup strategies compared by `bench memory`; only if it was run for this report.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cleanup: Option<MemoryExperiment>,
}

/// Computes all findings from the cells of a run, their raw records, and what the target reports of its limits.
pub fn analyse(cells: &[Cell], requests: &[RequestRecord], target: &TargetInfo) -> Analysis {
    let mut by_cell: BTreeMap<usize, Vec<&RequestRecord>> = BTreeMap::new();
    for record in requests {
        by_cell.entry(record.cell).or_default().push(record);
    }
    let ran = cells.iter().filter(|cell| cell.figures().is_some());
    let of = |cell: &Cell| by_cell.get(&cell.index).cloned().unwrap_or_default();
    let of_group = |cell: &Cell| {
        let beside = cells.iter().filter(|other| other.runs_beside(cell));
        of(cell).into_iter().chain(beside.flat_map(of)).collect()
    };
    let ran: Vec<MeasuredCell> = ran
        .map(|cell| MeasuredCell { cell, records: of(cell), of_group: of_group(cell) })
        .collect();
    Analysis {
        scaling: scaling::find(&ran),
        capacity: capacity::find(&ran, target),
        memory: memory::find(&ran),
        latency: latency::find(&ran),
        failures: failures::find(&ran),
        edge: None,
        cleanup: None,
    }
}
