//! What is being measured, seen through one small trait.
//!
//! The harness knows nothing of engines or wire formats: it hands a [`Prompt`] to a [`Target`] and
//! gets a [`Reply`] or a [`Failure`] back. Whoever implements the trait, this process's engine or a competitor
//! behind a URL, is measured by exactly the same code.

pub mod http;
mod in_process;
mod memory;
mod target;

pub use http::{HttpOptions, HttpTarget};
pub use in_process::InProcess;
pub use memory::{
    ArenaSample, MemoryPhase, MemoryPoint, MemorySample, fragmentation, process_memory,
    process_rss_bytes, rss_bytes_of,
};
pub use target::{
    BatchRef, Failure, FailureKind, MemoryFuture, Prompt, Reply, ReplyFuture, StageTimes, Target,
    TargetInfo, TokenCounter,
};
