//! Tests of the harness from outside: one binary, so that it links once.

mod advice;
mod analysis;
mod browser;
mod capacity;
mod cells;
mod classes;
mod compare;
mod edge;
mod experiment;
mod http;
mod http_faults;
mod memory;
#[path = "../mock/mod.rs"]
mod mock;
mod open;
mod overall;
mod policies;
mod preflight;
mod refusals;
mod reports;
mod resume;
mod sample;
mod schema;
mod simulated;
mod workload;
