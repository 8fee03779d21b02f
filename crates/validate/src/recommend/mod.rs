//! Recommendations: the settings and reactions that a run supports, each with its evidence.
//!
//! Each file answers one question from the results and the analysis. Nothing is interpolated or extrapolated; a
//! capacity model that was published is evidence beside a limit that was measured. A question that the data does not
//! answer becomes a recommendation that names what is missing. Settings of `bigbatch serve` go into
//! `recommended.toml` and the chart's `values.recommended.yaml` ([`settings`]); the rest is for the client or the operator.

mod cleanup;
mod concurrency;
mod errors;
mod memory;
mod replicas;
pub mod settings;
mod tail;

use crate::results::Results;
use crate::results::recommendation::Recommendation;
use crate::system::TargetInfo;

/// The goal that [`recommend`] computes settings for.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Goal {
    /// The p95 latency to keep, in milliseconds; `None` takes it from the plan's bars.
    pub p95_target_ms: Option<f64>,
}

/// Returns why the run has no readings of the target's memory, and the next step.
fn memory_unknown(results: &Results) -> String {
    match results.target.details.get(TargetInfo::MEMORY_FAULT) {
        Some(fault) => {
            format!("{fault}; give --metrics-url a page that has them, or --target-pid.")
        }
        None => "The target does not report its memory; pass --target-pid or --metrics-url.".into(),
    }
}

/// Returns all recommendations on `results`, whose analysis must be complete.
pub fn recommend(results: &Results, goal: Goal) -> Vec<Recommendation> {
    let mut all = concurrency::advise(results, goal);
    all.push(memory::advise(results));
    all.push(replicas::advise(results, goal));
    all.extend(cleanup::advise(results));
    all.push(tail::advise(results));
    all.push(errors::advise(results));
    all
}
