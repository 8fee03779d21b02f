//! The system under test, behind one trait: [`Target`].
//!
//! The rest of the harness uses neither engines nor wire formats: it sends a [`Prompt`] and receives a
//! [`Reply`] or a [`Failure`]. The engine in this process ([`InProcess`]) and a server behind a URL
//! ([`HttpTarget`]) are therefore measured by the same code. When requests are sent is decided in
//! [`crate::load`].

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
    BatchRef, Failure, FailureKind, MemoryFuture, Priority, Prompt, Reply, ReplyFuture, StageTimes,
    Target, TargetInfo, Terms, TokenCounter,
};
