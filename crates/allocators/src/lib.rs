//! Ways of finding memory for a batch's buffers, compared on the same traffic: the experiment of `bench
//! memory`.
//!
//! A runtime that works operation by operation allocates every result and frees it after its last use. Which
//! buffers those are, how large, and how long they live, is read off the engine's own list of operations
//! ([`BufferPlan`]). The same allocations and frees are then replayed ([`compare`]) through several
//! [`Allocator`]s:
//!
//! * [`HostArena`] and [`HostPerOperation`]: the planned arena and allocation per operation in host memory.
//! * `cuda`: the same two on a device, and the driver's stream-ordered pool; behind the feature of that name.
//! * [`CachingAllocator`]: a best-fit cache as eager frameworks have it, simulated.
//!
//! The engine uses none of this: its activations lie in one planned arena and its batches allocate nothing.
//! The command line and its table are in `src/cli/bench/memory.rs`; the report's table and timeline are
//! rendered from [`MemoryExperiment`] by `bigbatch-validate`.

mod allocator;
mod buffers;
mod caching;
mod compare;
#[cfg(feature = "cuda")]
pub mod cuda;
mod experiment;
mod host;
mod replay;
mod traffic;

pub use allocator::{Allocator, FreeMemory, Usage};
pub use buffers::{BatchBuffers, Buffer, BufferPlan};
pub use caching::CachingAllocator;
pub use compare::{AllocatorFactory, ExperimentSetup, compare};
pub use experiment::{MemoryExperiment, Strategy, TimelinePoint, Times};
pub use host::{HostArena, HostPerOperation};
pub use traffic::{RecordedSequence, Traffic, TrafficSummary};
