//! Figures over the repeats of a cell, where the run is the unit.

use serde::{Deserialize, Serialize};

use super::cell::{Cell, Figures};
use crate::plan::{CellSpec, Plan};
use crate::stats::{Percentile, RunMean, mean_over_runs};

/// The figures of a cell over its runs: geometric means with t intervals on the logarithm. A figure that a run lacks
/// is absent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PublishedFigures {
    /// The cell.
    #[serde(flatten)]
    pub spec: CellSpec,
    /// Runs that were measured, of the plan's repeats.
    pub runs: usize,
    /// Requests of all runs.
    pub requests: usize,
    /// Those that were answered.
    pub successes: usize,
    /// Median latency over the successes, in milliseconds.
    pub latency_ms_p50: Option<RunMean>,
    /// 95th percentile.
    pub latency_ms_p95: Option<RunMean>,
    /// 99th percentile.
    pub latency_ms_p99: Option<RunMean>,
    /// Answers per second.
    pub requests_per_second: Option<RunMean>,
    /// Their tokens per second.
    pub tokens_per_second: Option<RunMean>,
}

/// Returns the figures of every cell that was run more than once, in the plan's order.
pub(crate) fn published(plan: &Plan, cells: &[Cell]) -> Vec<PublishedFigures> {
    plan.cells().iter().filter_map(|spec| publish_cell(spec, cells)).collect()
}

fn publish_cell(spec: &CellSpec, cells: &[Cell]) -> Option<PublishedFigures> {
    let runs: Vec<&Figures> = runs(spec, cells).filter_map(Cell::figures).collect();
    if runs.len() < 2 {
        return None;
    }
    let rate = |of: fn(&Figures) -> f64| {
        mean_over_runs(&runs.iter().map(|figures| of(figures)).collect::<Vec<_>>())
    };
    Some(PublishedFigures {
        spec: spec.clone(),
        runs: runs.len(),
        requests: runs.iter().map(|figures| figures.requests).sum(),
        successes: runs.iter().map(|figures| figures.successes).sum(),
        latency_ms_p50: percentile_over_runs(&runs, |figures| &figures.latency.p50),
        latency_ms_p95: percentile_over_runs(&runs, |figures| &figures.latency.p95),
        latency_ms_p99: percentile_over_runs(&runs, |figures| &figures.latency.p99),
        requests_per_second: rate(|figures| figures.requests_per_second),
        tokens_per_second: rate(|figures| figures.tokens_per_second),
    })
}

/// Returns the runs of a cell, without the repeat at the end that shows drift.
pub(crate) fn runs<'a>(
    spec: &'a CellSpec,
    cells: &'a [Cell],
) -> impl Iterator<Item = &'a Cell> + 'a {
    cells.iter().filter(move |cell| cell.repeats.is_none() && cell.spec == *spec)
}

/// Returns a percentile over runs; `None` unless every run's sample supports it.
pub(crate) fn percentile_over_runs(
    runs: &[&Figures],
    of: fn(&Figures) -> &Percentile,
) -> Option<RunMean> {
    let exactly = |figures: &&Figures| of(figures).shown.exactly();
    mean_over_runs(&runs.iter().map(exactly).collect::<Option<Vec<f64>>>()?)
}
