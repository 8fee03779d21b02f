//! Recommendations: what an operator should set, and what the run says in its favour.
//!
//! Each file answers one question from the results and the findings, with the figures that it
//! rests on. Nothing is extrapolated: a limit lies between two measured cells or at the outermost
//! of them, and then says so. What the data does not support becomes a recommendation that says
//! what is missing, because silence would read as "nothing to do". What `bigbatch serve` can be
//! told goes into `recommended.toml` ([`settings::toml`]); the rest is for the client or the
//! operator.

mod cleanup;
mod concurrency;
mod errors;
mod memory;
mod replicas;
pub mod settings;
mod tail;

use crate::results::Results;
use crate::results::recommendation::Recommendation;

/// What advice is asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Wanted {
    /// The p95 latency to keep, in milliseconds; else the plan's bars say.
    pub p95_target_ms: Option<f64>,
}

/// Everything that can be advised from `results`, whose findings are in place.
pub fn recommend(results: &Results, wanted: Wanted) -> Vec<Recommendation> {
    let limits = concurrency::limits(results, wanted);
    let mut all = concurrency::advise(&limits);
    all.push(memory::advise(results));
    all.push(replicas::advise(results, wanted));
    all.extend(cleanup::advise(results));
    all.push(tail::advise(results));
    all.extend(errors::advise(results, &limits));
    all
}
