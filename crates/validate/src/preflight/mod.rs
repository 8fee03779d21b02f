//! Preflight: judges the machine before a load runs on it.
//!
//! A run that cannot succeed should fail in its first second: a card that is too old or occupied, a disk that
//! is too small for the results. These are problems, and the run is refused. Whatever only makes figures
//! doubtful, such as other work on the processor, is a warning and is printed in the report. Nothing is
//! measured here; for a target behind a URL only the generator's machine is judged. Facts are read in
//! `inspect.rs` and judged in `judge.rs`; `open_files.rs` raises the limit on open files.

mod inspect;
mod judge;
pub(crate) mod machine;
mod open_files;

use serde::{Deserialize, Serialize};

pub use inspect::inspect;
pub use judge::{Host, MachineFacts, RequestCounts, judge};
pub use machine::Machine;
pub use open_files::OpenFiles;

use crate::error::Error;
use crate::format::labelled;
use bigbatch_engine::CudaDevice;

/// One fact about the machine, and its consequence for the run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The part of the machine.
    pub subject: Subject,
    /// The consequence for the run.
    pub judgement: Severity,
    /// The fact, in words.
    pub found: String,
    /// Free bytes of memory or disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub free_bytes: Option<u64>,
    /// Total bytes of memory or disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total_bytes: Option<u64>,
    /// Bytes that the run may need.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub needed_bytes: Option<u64>,
    /// The next step, unless nothing is wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
}

labelled! {
    /// A part of the machine.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    pub enum Subject {
        /// The card that the target computes on.
        Gpu = "GPU",
        /// The card's memory, compared with the memory budget.
        CardMemory = "card memory",
        /// The card's driver, and the CUDA version that it supports.
        Driver = "driver and CUDA",
        /// Main memory.
        HostMemory = "host memory",
        /// The limit on open files, compared with the connections to a target behind a URL.
        OpenFiles = "open files",
        /// The file system of the report.
        Disk = "disk",
        /// The generator's processor, and other work on it.
        Processor = "processor",
    }
}

labelled! {
    /// The consequence of a finding for the run.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    pub enum Severity {
        /// None.
        Ok = "ok",
        /// The run starts, but its figures may be distorted, or it may not reach its end.
        Warning = "warning",
        /// The run is refused.
        Problem = "problem",
    }
}

impl Finding {
    /// Formats the finding as one line for a terminal.
    pub fn line(&self) -> String {
        let Finding { subject, judgement, found, advice, .. } = self;
        let advice = advice.as_ref().map_or(String::new(), |advice| format!("; {advice}"));
        format!("preflight {:<8} {}: {found}{advice}", judgement.label(), subject.label())
    }
}

/// Where the target computes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ComputeLocation {
    /// Behind a URL; its machine is not judged.
    Remote,
    /// On this machine's processor.
    Host {
        /// Memory budget of the engine.
        budget_bytes: u64,
    },
    /// On a card of this machine.
    Card {
        /// Memory budget of the engine, which it allocates in full.
        budget_bytes: u64,
        /// The card, or the reason why there is none.
        card: Result<CudaDevice, String>,
    },
}

/// Refuses a run if a finding is a problem.
///
/// # Errors
/// [`Error::Preflight`] with every problem and its next step.
pub fn refuse(findings: &[Finding]) -> Result<(), Error> {
    let problem = |finding: &&Finding| finding.judgement == Severity::Problem;
    let describe = |finding: &Finding| {
        let Finding { subject, found, advice, .. } = finding;
        format!(
            "{}: {found}; {}",
            subject.label(),
            advice.as_deref().unwrap_or("the run cannot start")
        )
    };
    let problems: Vec<String> = findings.iter().filter(problem).map(describe).collect();
    if problems.is_empty() { Ok(()) } else { Err(Error::Preflight(problems.join("; "))) }
}
