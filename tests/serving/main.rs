//! `bigbatch serve` as a process: sources of options, several models within one budget, signals, the log,
//! load; and what README.md shows of the program. Routes and wire formats are tested in `crates/server/tests`.

mod load;
mod log;
// Other allocators are not asked to return memory.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod memory;
mod metrics;
mod options;
mod process;
mod readme;
mod signals;
// Shared with tests that use all of it.
#[allow(dead_code)]
#[path = "../support/mod.rs"]
mod support;
