//! The order in which cells run: groups of cells that run at the same time, one group after another.
//!
//! A cell without classes is a group of its own.

use crate::figures::{Cell, Status};
use crate::plan::{CellSpec, Plan};

/// Cells that run at the same time, at their position in the run's order.
pub(super) struct PlannedGroup {
    /// Index of the first; the others follow.
    pub(super) index: usize,
    pub(super) specs: Vec<CellSpec>,
    pub(super) run: usize,
    /// Index of the first cell of the group that this one repeats.
    pub(super) repeats: Option<usize>,
}

impl PlannedGroup {
    /// Creates the cells, not yet run for `reason`.
    pub(super) fn cells(&self, sitting: usize, reason: &str) -> Vec<Cell> {
        let cell = |(class, spec): (usize, &CellSpec)| Cell {
            index: self.index + class,
            spec: spec.clone(),
            run: self.run,
            repeats: self.repeats.map(|first| first + class),
            sitting,
            span_ms: None,
            status: Status::NotRun { reason: reason.to_owned() },
            memory: Vec::new(),
        };
        self.specs.iter().enumerate().map(cell).collect()
    }
}

/// Lists every group of cells with each of its runs, in random order over the whole run, so that a drift of the
/// machine affects all cells alike.
pub(super) fn shuffle_groups(plan: &Plan) -> Vec<(Vec<CellSpec>, usize)> {
    let runs = |specs: Vec<CellSpec>| (0..plan.repeats).map(move |run| (specs.clone(), run));
    let mut groups: Vec<_> = plan.groups().into_iter().flat_map(runs).collect();
    fastrand::Rng::with_seed(plan.seed).shuffle(&mut groups);
    groups
}

/// Plans the repeat of the first group that has figures, after `cells`; `None` if none has.
pub(super) fn repeat_of_first(plan: &Plan, cells: &[Cell]) -> Option<PlannedGroup> {
    let first = cells.iter().find(|cell| cell.figures().is_some())?;
    let specs = plan.groups().into_iter().find(|specs| specs.contains(&first.spec))?;
    Some(PlannedGroup { index: cells.len(), specs, run: plan.repeats, repeats: Some(first.index) })
}
