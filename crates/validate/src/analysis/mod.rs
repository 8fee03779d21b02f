//! What the raw records say beyond figures and verdicts: how throughput scales and what limits it,
//! whether memory comes back, where the tail of latency comes from, and what failed under which load.
//!
//! Every file turns results and raw records into one kind of finding, which is plain data: nothing
//! here prints, and nothing here decides about a bar (that is [`crate::verdict`]) or gives advice.
//! A finding names its cells by their index in the order run. What a target did not tell is absent
//! from a finding, never guessed; what the sample cannot tell is said to be inconclusive.

pub mod failures;
pub mod latency;
pub mod memory;
pub mod scaling;

use serde::{Deserialize, Serialize};

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
}
