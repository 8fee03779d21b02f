//! The limit on open files of this process, which bounds the connections of a load. The generator raises
//! it, so that a cell of a thousand clients measures the target and not this limit.

use bigbatch_engine::raise_open_file_limit;

use crate::plan::{CellSpec, EdgeRules, Load, Plan};

/// Files that the process needs beside its connections.
const OTHER_FILES: u64 = 64;

/// The limit on open files, and what the heaviest load needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenFiles {
    /// The limit of this process after it was raised; `None` if there is none.
    pub limit: Option<u64>,
    /// Files that the heaviest load needs at most: a connection per request in flight, and those of the process.
    pub needed: u64,
}

impl OpenFiles {
    /// Raises this process's limit as far as the system allows, and counts the connections of a plan and of the
    /// search for edges after it.
    pub fn raise_for(plan: &Plan, edge: Option<&EdgeRules>) -> OpenFiles {
        let limit = raise_open_file_limit();
        OpenFiles { limit, needed: connections_max(plan, edge).saturating_add(OTHER_FILES) }
    }
}

/// Returns the most requests in flight at once.
fn connections_max(plan: &Plan, edge: Option<&EdgeRules>) -> u64 {
    let groups = plan.groups();
    let of_group =
        |specs: &Vec<CellSpec>| specs.iter().map(|cell| in_flight_max(plan, &cell.load)).sum();
    groups
        .iter()
        .map(of_group)
        .chain(edge.map(|edge| edge.concurrency_max as u64))
        .max()
        .unwrap_or(0)
}

/// Returns the most requests of a load in flight at once. In an open loop none is in flight for longer than its
/// timeout.
fn in_flight_max(plan: &Plan, load: &Load) -> u64 {
    let limit = plan.cell.in_flight_max as u64;
    let at_rate = |rate_per_second: f64| {
        limit.min((rate_per_second * plan.cell.request_timeout_seconds).ceil() as u64)
    };
    match *load {
        Load::Closed { concurrency } => concurrency as u64,
        Load::Open { rate_per_second, .. } => at_rate(rate_per_second),
        Load::Ramp { from_per_second, to_per_second, .. } => {
            at_rate(from_per_second.max(to_per_second))
        }
        Load::Replay { .. } => limit,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Arrival, Lengths, Scenario};

    #[test]
    fn the_heaviest_load_is_counted() {
        let mut plan = Plan::matrix("files", &[64], &[1, 300]);
        plan.cell.request_timeout_seconds = 2.0;
        assert_eq!(connections_max(&plan, None), 300);
        let load =
            |rate| Load::Open { rate_per_second: rate, arrival: Arrival::Constant, seconds: None };
        plan.scenarios = vec![Scenario::new("open", Lengths::Fixed(64), load(200.0))];
        assert_eq!(connections_max(&plan, None), 400, "200 per second for two seconds");
        let beside = plan.scenarios[0].classes[0].clone();
        plan.scenarios[0].classes.push(beside);
        assert_eq!(connections_max(&plan, None), 800, "classes run at the same time");
        plan.scenarios[0].classes.pop();
        plan.scenarios[0].classes[0].load = load(1e6);
        assert_eq!(connections_max(&plan, None), plan.cell.in_flight_max as u64);
        let edge = EdgeRules { concurrency_max: 9000, ..EdgeRules::default() };
        assert_eq!(connections_max(&plan, Some(&edge)), 9000);
    }

    #[test]
    fn the_process_needs_files_beside_its_connections() {
        let files = OpenFiles::raise_for(&Plan::matrix("files", &[64], &[8]), None);
        assert_eq!((files.limit, files.needed), (raise_open_file_limit(), 72));
    }
}
