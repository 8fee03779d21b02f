//! The engine's planner against simpler policies, on a virtual clock.
//!
//! Requests arrive by a trace, the policy chooses batches, and a batch takes the time that a
//! [`CostModel`](bigbatch_engine::CostModel) predicts. The planner is the engine's own code: its fair clock, its batches, and
//! the short requests that pass a long batch. What drives it, `policies`, follows the engine's device loop. Nothing sleeps
//! and no thread is started, so a trace of a minute takes a fraction of a second, and a seed gives the same figures on every
//! machine.
//!
//! It is not a measurement: tokenizing, packing, copies and errors of the cost model are not in it. What a load does to a
//! real device is measured by [`crate::run`](mod@crate::run).

mod clock;
mod device;
mod figures;
mod policies;
mod traces;

use serde::Serialize;

pub use device::{SimulatedDevice, parse_costs};
pub use figures::{ClassFigures, LENGTH_CLASSES, PolicyFigures};
pub use policies::Policy;
pub use traces::{Arrival, Arrivals, Pattern};

use clock::Clock;

/// Every policy on every trace, for one device.
#[derive(Debug, Clone, Serialize)]
pub struct ScheduleComparison {
    /// The device that the times are predicted for.
    pub device: SimulatedDevice,
    /// Seed of the traces' lengths, clients and times.
    pub seed: u64,
    /// One per trace, in the order given.
    pub traces: Vec<TraceFigures>,
}

/// The figures of one trace.
#[derive(Debug, Clone, Serialize)]
pub struct TraceFigures {
    /// Its name.
    pub name: String,
    /// What arrives, in a sentence.
    pub description: String,
    /// Requests that arrive.
    pub requests: usize,
    /// Time of the last arrival, or the length of the trace.
    pub seconds: f64,
    /// Device time of the requests by themselves, as a share of `seconds`: batches' constant time comes on top.
    pub load: f64,
    /// One per policy, in the order of [`Policy::ALL`].
    pub policies: Vec<PolicyFigures>,
}

/// Runs every policy on every trace.
pub fn compare(device: SimulatedDevice, seed: u64, traces: &[Arrivals]) -> ScheduleComparison {
    let figures = |trace: &Arrivals| TraceFigures {
        name: trace.name.clone(),
        description: trace.description.clone(),
        requests: trace.requests.len(),
        seconds: trace.seconds,
        load: trace.load(&device),
        policies: Policy::ALL.map(|policy| simulate(&device, trace, policy)).into(),
    };
    let traces = traces.iter().map(figures).collect();
    ScheduleComparison { device, seed, traces }
}

/// Runs one policy on one trace.
pub fn simulate(device: &SimulatedDevice, trace: &Arrivals, policy: Policy) -> PolicyFigures {
    let mut clock = Clock::new(device, trace);
    policies::run(policy, &mut clock);
    figures::of(policy, device, trace, &clock.finish())
}
