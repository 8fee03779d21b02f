//! Figures: what was measured in each cell, computed from its raw records.
//!
//! [`Cell`] and [`Figures`] are what every later room reads. The other files compute them: `compute` for a
//! cell, `ramp`, `steady` and [`generator`] for parts of it, `published` and `estimate` over the repeats of
//! a cell. Nothing here judges a bar; that is [`crate::verdict`].

mod cell;
mod cluster;
pub(crate) mod compute;
pub(crate) mod estimate;
pub mod generator;
pub(crate) mod published;
pub(crate) mod ramp;
pub(crate) mod steady;

pub use cell::{BatchMean, Cell, Figures, StageMeans, Status};
pub use published::Published;
pub use ramp::{BreakCause, Breakpoint, Ramp, RampBlock};
pub use steady::Steady;
