//! `bigbatch serve` as a process: options in layers, several models under one budget, signals, load.

mod load;
mod metrics;
mod options;
mod process;
mod signals;
// Shared with tests that use more of it.
#[allow(dead_code)]
#[path = "../support/mod.rs"]
mod support;
