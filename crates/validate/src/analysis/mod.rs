//! What the raw records say beyond figures and verdicts: how throughput scales and what limits it,
//! whether memory comes back, where the tail of latency comes from, and what failed under which load.
//!
//! Every file turns results and raw records into one kind of finding, which is plain data: nothing
//! here prints, and nothing here decides about a bar (that is [`crate::verdict`]) or gives advice.
//! A finding names its cells by their index in the order run. What a target did not tell is absent
//! from a finding, never guessed; what the sample cannot tell is said to be inconclusive.

mod batch_time;
pub mod compare;
pub mod edge;
pub mod failures;
pub mod latency;
pub mod memory;
pub mod scaling;

mod in_flight;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::load::{Phase, RequestRecord};
use crate::results::Cell;
use crate::target::TargetInfo;
use bigbatch_allocators::MemoryExperiment;

pub use edge::EdgeFindings;
pub use failures::FailureGroup;
pub use latency::LatencyFindings;
pub use memory::MemoryFindings;
pub use scaling::Scaling;

/// All findings of one run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Analysis {
    /// How throughput grows with concurrency, and what limits it.
    pub scaling: Scaling,
    /// Whether memory comes back to where it was, leaks, or fragments.
    pub memory: MemoryFindings,
    /// Where latency's tail comes from.
    pub latency: LatencyFindings,
    /// Measured requests that failed, grouped by cell and kind.
    pub failures: Vec<FailureGroup>,
    /// Where the target stops taking work; only where the edge was searched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edge: Option<EdgeFindings>,
    /// Cleanup strategies compared by `bench memory`; only where that was run for this report.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cleanup: Option<MemoryExperiment>,
}

/// Finds everything there is to find in the cells of a run and their raw records.
pub fn analyse(cells: &[Cell], requests: &[RequestRecord], target: &TargetInfo) -> Analysis {
    let mut by_cell: BTreeMap<usize, Vec<&RequestRecord>> = BTreeMap::new();
    for record in requests {
        by_cell.entry(record.cell).or_default().push(record);
    }
    let ran = cells.iter().filter(|cell| cell.figures().is_some());
    let ran: Vec<Ran> = ran
        .map(|cell| Ran { cell, records: by_cell.remove(&cell.index).unwrap_or_default() })
        .collect();
    Analysis {
        scaling: scaling::find(&ran, target),
        memory: memory::find(&ran),
        latency: latency::find(&ran),
        failures: failures::find(&ran),
        edge: None,
        cleanup: None,
    }
}

/// A cell that was run, with its raw records.
pub(crate) struct Ran<'a> {
    cell: &'a Cell,
    records: Vec<&'a RequestRecord>,
}

impl Ran<'_> {
    fn measured(&self) -> impl Iterator<Item = &RequestRecord> {
        self.records.iter().copied().filter(|record| record.phase == Phase::Measured)
    }
}

/// A stage of a request's way, for naming where time went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// From the intended start until the generator sent it.
    Generator,
    /// Text to token ids.
    Tokenize,
    /// Waiting for a batch.
    Queue,
    /// Handing the batch to the device.
    Copy,
    /// The batch on the device, its rows read back.
    Compute,
    /// The rest: from the target's answer to the last byte, transport included.
    Reply,
}

impl Stage {
    /// The stages in the order of a request's way.
    pub const ALL: [Stage; 6] = [
        Stage::Generator,
        Stage::Tokenize,
        Stage::Queue,
        Stage::Copy,
        Stage::Compute,
        Stage::Reply,
    ];

    /// The stage in words.
    pub fn label(self) -> &'static str {
        match self {
            Stage::Generator => "generator",
            Stage::Tokenize => "tokenize",
            Stage::Queue => "queue",
            Stage::Copy => "copy",
            Stage::Compute => "compute",
            Stage::Reply => "reply",
        }
    }

    /// What a request spent in each stage, in microseconds, in the order of [`Stage::ALL`]; `None`
    /// if its target did not tell.
    pub(crate) fn times_us(record: &RequestRecord) -> Option<[u64; 6]> {
        let stages = record.stages?;
        let told = stages.tokenize_us + stages.queue_us + stages.device_us();
        Some([
            record.lag_us(),
            stages.tokenize_us,
            stages.queue_us,
            stages.copy_us.unwrap_or(0),
            stages.compute_us,
            record.latency_us().saturating_sub(record.lag_us() + told),
        ])
    }
}

/// When a request's batch was on the device, in microseconds since the start of the run, as far as its
/// stages tell: they are laid end to end from its sending.
pub(crate) fn device_span_us(record: &RequestRecord) -> Option<(u64, u64)> {
    let stages = record.stages?;
    let from = record.sent_us + stages.tokenize_us + stages.queue_us;
    Some((from, from + stages.device_us()))
}
