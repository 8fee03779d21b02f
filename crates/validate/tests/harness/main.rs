//! Tests of the harness from outside: one binary, so that it links once.

mod cells;
mod memory;
mod reports;
mod simulated;
mod workload;
