//! The harness of the Big Batch Test Plan: it runs a plan's loads against a system, records every request,
//! and judges which of the plan's limits were met.
//!
//! # The rooms
//!
//! Imports run one way: a room imports from rooms listed before it, never from those after.
//!
//! 1. [`stats`]: percentiles, intervals and trends, with what their sample supports. `format`: numbers, bytes
//!    and durations as text. [`Error`].
//! 2. [`system`]: the system under test behind one trait, so that the engine in this process and a server
//!    behind a URL are measured by the same code; and readings of its memory.
//! 3. [`plan`]: what is run and what must hold, from TOML. Each length at each concurrency is a cell, and so is
//!    each scenario.
//! 4. [`workload`]: prompts of exact token lengths, each a different window of real prose.
//! 5. [`preflight`]: whether this machine can run a plan.
//! 6. [`load`]: sends a cell's requests, by clients that wait for their answers or by a schedule, through
//!    warm-up, measured phase and cool-down without a pause; records every request.
//! 7. [`figures`]: computes a cell's figures from its raw records, and whether the generator limited them.
//! 8. [`analysis`]: how throughput scales, whether memory leaks, where the tail comes from.
//! 9. [`verdict`]: each limit of each bar: pass, fail, not shown, or not run.
//! 10. [`results`]: one value, [`Results`], the schema of `results.json`, and two of them compared.
//! 11. [`recommend`]: settings for the operator, each with its evidence.
//! 12. [`report`]: the results as JSON, Markdown and a page with charts.
//! 13. [`run`](mod@run): takes a plan through 4 and 6 to 11, samples memory beside the load and keeps finished cells
//!     in a journal, so that an interrupted run can be resumed. [`run::edge`] searches for the load that is refused.
//!
//! [`simulation`] stands beside them, above 4 and below 12: it sends nothing, but lets the engine's planner and simpler ones
//! choose batches on a virtual clock.
//!
//! [`run()`] runs a plan, [`report::write_reports`] writes its files:
//!
//! ```
//! use std::sync::Arc;
//! use bigbatch_validate::system::{
//!     ReplyFuture, MemorySample, Prompt, Reply, Target, TargetInfo, Terms, TokenCounter,
//! };
//! use bigbatch_validate::{Plan, RunOptions, Silent, report, run};
//!
//! /// Answers at once.
//! struct Nothing;
//!
//! impl Target for Nothing {
//!     fn describe(&self) -> TargetInfo {
//!         TargetInfo { name: "nothing".into(), ..TargetInfo::default() }
//!     }
//!     fn send<'a>(&'a self, _: &'a Prompt, _: Terms) -> ReplyFuture<'a> {
//!         Box::pin(async { Ok(Reply::default()) })
//!     }
//!     fn memory(&self) -> MemorySample {
//!         MemorySample::default()
//!     }
//! }
//!
//! /// Every word is a token.
//! struct Words;
//!
//! impl TokenCounter for Words {
//!     fn offsets(&self, text: &str) -> Vec<(usize, usize)> {
//!         let start = text.as_ptr() as usize;
//!         let span = |word: &str| (word.as_ptr() as usize - start, word.len());
//!         text.split_whitespace().map(span).map(|(at, length)| (at, at + length)).collect()
//!     }
//!     fn count(&self, text: &str) -> usize {
//!         self.offsets(text).len()
//!     }
//! }
//!
//! let plan = Plan::matrix("example", &[32], &[1, 4]);
//! let report = run(&plan, Arc::new(Nothing), &Words, &RunOptions::default(), &Silent)?;
//! println!("{}", report::text::render(&report.results));
//! assert_eq!(report.exit_code(true), 0);
//! # Ok::<(), bigbatch_validate::Error>(())
//! ```
//!
//! # Invariants
//!
//! - A failed request is a record, never an error of the run. Errors ([`Error`]) concern plans, corpora and
//!   output directories, and come before any load.
//! - A cell that was not run is "not run" with its reason: neither a success nor a failure.
//! - No figure without its raw records, no verdict without its interval.
//! - Text from a target or a plan is untrusted and escaped wherever it is printed.
//!
//! # What it is not
//!
//! It is not a profiler, it does not interpret what a model computes, and it checks only the shape and
//! the token count of an answer: correct answers are the subject of the engine's parity tests.
//! Intervals are within one run unless a plan repeats its cells; two systems are compared by
//! [`results::compare`], over repeated runs of both.

pub mod analysis;
mod error;
pub mod figures;
mod format;
pub mod load;
pub mod plan;
pub mod preflight;
pub mod recommend;
pub mod report;
pub mod results;
pub mod run;
pub mod simulation;
pub mod stats;
pub mod system;
pub mod verdict;
pub mod workload;

pub use error::Error;
pub use figures::{BreakCause, Breakpoint, PublishedFigures, Ramp, RampBlock, Steady};
pub use plan::Plan;
pub use preflight::Machine;
pub use results::{Report, Results};
pub use run::{Event, Progress, RunOptions, Silent, Terminal, run, run_async, runtime};
pub use system::{MemoryPhase, MemoryPoint};
