//! `bigbatch serve` as a process: sources of options, several models within one budget, signals, the log,
//! load. Routes and
//! wire formats are tested in `crates/server/tests`.

mod load;
mod log;
mod metrics;
mod options;
mod process;
mod signals;
// Shared with tests that use all of it.
#[allow(dead_code)]
#[path = "../support/mod.rs"]
mod support;
