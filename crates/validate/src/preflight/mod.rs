//! Preflight: what the machine has, judged before a load runs on it.
//!
//! A run that cannot end well should say so in its first second and not in its last: a card that is too old or
//! taken, a disk that does not hold the results. That is a problem, and the run is refused. What only makes
//! figures doubtful, other work on the processor say, is a warning, and stands in the report beside them. Nothing
//! is measured here, and of a target behind a URL only the generator's own side can be seen.

mod inspect;
mod judge;
pub(crate) mod machine;

use serde::{Deserialize, Serialize};

pub use inspect::inspect;
pub use judge::{Host, MachineFacts, RequestCounts, judge};
pub use machine::Machine;

use crate::error::Error;
use bigbatch_engine::backend::CudaDevice;

/// What was looked at, and what it means for the run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What was looked at.
    pub subject: Subject,
    /// What it means for the run.
    pub judgement: Severity,
    /// What is there, in words.
    pub found: String,
    /// Bytes that are free, of memory or a disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub free_bytes: Option<u64>,
    /// Bytes that there are in all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total_bytes: Option<u64>,
    /// Bytes that the run may need.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub needed_bytes: Option<u64>,
    /// What to do about it, unless all is well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
}

/// What is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// The card that computes.
    Gpu,
    /// Its memory, beside the memory budget.
    CardMemory,
    /// Its driver, and the CUDA version that this supports.
    Driver,
    /// Main memory.
    HostMemory,
    /// The file system of the report.
    Disk,
    /// The generator's processor, and what else it has to do.
    Processor,
}

impl Subject {
    /// The subject in words.
    pub fn label(self) -> &'static str {
        match self {
            Subject::Gpu => "GPU",
            Subject::CardMemory => "card memory",
            Subject::Driver => "driver and CUDA",
            Subject::HostMemory => "host memory",
            Subject::Disk => "disk",
            Subject::Processor => "processor",
        }
    }
}

/// What a finding means for the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Nothing stands in its way.
    Ok,
    /// It runs, but its figures may not be what they would be, or its end may not be reached.
    Warning,
    /// It would be pointless.
    Problem,
}

impl Severity {
    /// The judgement in a word.
    pub fn label(self) -> &'static str {
        match self {
            Severity::Ok => "ok",
            Severity::Warning => "warning",
            Severity::Problem => "problem",
        }
    }
}

impl Finding {
    /// One line for a terminal.
    pub fn line(&self) -> String {
        let Finding { subject, judgement, found, advice, .. } = self;
        let advice = advice.as_ref().map_or(String::new(), |advice| format!("; {advice}"));
        format!("preflight {:<8} {}: {found}{advice}", judgement.label(), subject.label())
    }
}

/// Where the target computes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ComputeLocation {
    /// Behind a URL: its side is not seen.
    Remote,
    /// On this machine's processor.
    Host {
        /// Its memory budget.
        budget_bytes: u64,
    },
    /// On a card of this machine.
    Card {
        /// Its memory budget, which it takes whole.
        budget_bytes: u64,
        /// The card, or why there is none.
        card: Result<CudaDevice, String>,
    },
}

/// Refuses a run in which a problem was found.
///
/// # Errors
/// [`Error::Preflight`], with every problem and what to do about it.
pub fn refuse(findings: &[Finding]) -> Result<(), Error> {
    let problem = |finding: &&Finding| finding.judgement == Severity::Problem;
    let say = |finding: &Finding| {
        let Finding { subject, found, advice, .. } = finding;
        format!("{}: {found}; {}", subject.label(), advice.as_deref().unwrap_or("it stops the run"))
    };
    let problems: Vec<String> = findings.iter().filter(problem).map(say).collect();
    if problems.is_empty() { Ok(()) } else { Err(Error::Preflight(problems.join("; "))) }
}
