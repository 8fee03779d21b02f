//! The harness of the Big Batch Test Plan: it puts a system under the plan's loads, writes down what
//! happened to every request, and says which of the plan's bars were met.
//!
//! # The path
//!
//! A run walks through the modules in this order:
//!
//! 0. [`preflight`]: whether this machine can do it at all.
//! 1. [`plan`]: what to run and what must hold, from TOML. Lengths times concurrencies make cells,
//!    and so does every scenario.
//! 2. [`workload`]: prompts of exactly the lengths wanted, different windows of real prose.
//! 3. [`load`]: each cell's requests are sent, by clients that wait for their answers or by a schedule
//!    that does not, through warm-up, measured phase and cool-down without a pause; every request
//!    leaves a raw record. What they are sent to is a [`target`], seen through one small trait, so
//!    that this process's engine and a competitor behind a URL are measured by the same code. A
//!    finished cell goes to the run's journal, so that an interrupted run can be gone on with.
//! 4. `telemetry`: beside the load, memory before, during and after, and how late this process wakes.
//!    [`generator`] judges whether it was the generator that limited a cell.
//! 5. [`stats`]: from raw records to percentiles and intervals, with what their sample supports.
//! 6. [`analysis`]: how throughput scales, whether memory leaks, where the tail comes from.
//! 7. [`verdict`]: each limit of each bar: pass, fail, not shown, or not run.
//! 8. [`report`]: one value, [`Results`], as JSON, Markdown and a page with charts.
//!
//! [`run()`] does 2 to 7, [`report::write_reports`] does 8:
//!
//! ```
//! use std::sync::Arc;
//! use bigbatch_validate::target::{Answer, MemorySample, Prompt, Reply, Target, TargetInfo};
//! use bigbatch_validate::workload::TokenCounter;
//! use bigbatch_validate::{Plan, RunOptions, Silent, report, run};
//!
//! /// Answers at once.
//! struct Nothing;
//!
//! impl Target for Nothing {
//!     fn describe(&self) -> TargetInfo {
//!         TargetInfo { name: "nothing".into(), ..TargetInfo::default() }
//!     }
//!     fn send<'a>(&'a self, _: &'a Prompt) -> Answer<'a> {
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
//! # What it keeps to
//!
//! - A failure of a request is a record, never an error of the run. Errors ([`Error`]) are about
//!   plans, corpora and output directories, and come before any load.
//! - A cell that was not run is "not run" with its reason: neither a success nor a failure.
//! - No figure without its raw records, no verdict without its interval.
//! - Whatever a target or a plan says is untrusted text wherever it is printed.
//!
//! # What it is not
//!
//! It is not a profiler, it does not know what a model computes, and it judges no answer beyond its
//! token count: that the answers are right is the business of the engine's parity tests.
//! Intervals are within one run unless a plan repeats its cells; two systems are compared by
//! [`analysis::compare`], over repeated runs of both.

pub mod analysis;
mod cluster;
pub mod edge;
mod error;
mod estimate;
mod figures;
pub mod generator;
mod journal;
pub mod load;
mod machine;
pub mod plan;
pub mod preflight;
mod prepare;
mod progress;
mod published;
mod ramp;
pub mod recommend;
pub mod report;
pub mod results;
mod run;
pub mod stats;
mod steady;
pub mod target;
mod telemetry;
pub mod verdict;
pub mod workload;

pub use error::Error;
pub use machine::Machine;
pub use plan::Plan;
pub use progress::Terminal;
pub use published::Published;
pub use ramp::{Broke, Broken, Ramp, RampBlock};
pub use results::{Report, Results};
pub use run::{Event, Progress, RunOptions, Silent, run, run_async, runtime};
pub use steady::Steady;
pub use telemetry::{MemoryPoint, Moment};
