//! What is being measured, seen through one small trait.
//!
//! The harness knows nothing of engines or wire formats: it hands a [`Prompt`] to a [`Target`] and
//! gets an [`Outcome`] back. Whoever implements the trait, this process's engine or a competitor
//! behind a URL, is measured by exactly the same code.

pub mod http;
mod in_process;
mod memory;
mod target;

pub use http::{HttpOptions, HttpTarget};
pub use in_process::InProcess;
pub use memory::{
    ArenaSample, MemoryPoint, MemorySample, Moment, fragmentation, process_memory,
    process_rss_bytes, rss_bytes_of,
};
pub use target::{
    Answer, BatchRef, Failure, FailureKind, Outcome, Prompt, Reading, Reply, StageTimes, Target,
    TargetInfo, TokenCounter,
};
