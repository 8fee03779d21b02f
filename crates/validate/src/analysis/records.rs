//! The raw records of each cell, as the findings read them.

use crate::figures::Cell;
use crate::load::{Phase, RequestRecord};

/// A cell that was run, with its raw records.
pub(crate) struct MeasuredCell<'a> {
    pub(super) cell: &'a Cell,
    pub(super) records: Vec<&'a RequestRecord>,
    /// The records of all cells that ran at the same time, its own included: the load of the target.
    pub(super) of_group: Vec<&'a RequestRecord>,
}

impl MeasuredCell<'_> {
    pub(super) fn measured(&self) -> impl Iterator<Item = &RequestRecord> {
        self.records.iter().copied().filter(|record| record.phase == Phase::Measured)
    }
}
