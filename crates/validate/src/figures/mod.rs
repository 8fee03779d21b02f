//! The figures of each cell, computed from its raw records.
//!
//! [`Cell`] and [`Figures`] are the data that every later room reads. `compute` fills them in, with `ramp`, `steady` and
//! [`generator`] for parts of a cell; `published` and `estimate` combine the runs of a cell. Limits are judged in
//! [`crate::verdict`].

mod cell;
mod cluster;
pub(crate) mod compute;
pub(crate) mod estimate;
pub mod generator;
pub(crate) mod published;
pub(crate) mod ramp;
pub(crate) mod steady;

pub use cell::{BatchMean, Cell, Figures, StageMeans, Status};
pub use published::PublishedFigures;
pub use ramp::{BreakCause, Breakpoint, Ramp, RampBlock};
pub use steady::Steady;
