//! Load: sends the requests of one cell and records each of them.
//!
//! `cell.rs` runs a cell, or the classes of a scenario together; `closed.rs` and `open.rs` decide when a request is meant to start: when its
//! client is free, or at the time of its `Schedule`. The phases of a cell (`phases.rs`), sending with a
//! timeout (`send.rs`) and the raw [`RequestRecord`] are common to both. Figures are computed from the
//! records in [`crate::figures`]; the order of cells and the readings beside the load are in
//! [`run`](mod@crate::run).

mod cancel;
pub(crate) mod cell;
mod closed;
mod histogram;
mod open;
mod phases;
pub mod records;
mod schedule;
mod send;

pub use cancel::Cancel;
pub(crate) use open::Pacing;
pub use phases::LoadProgress;
pub use records::{Phase, RequestRecord};
pub(crate) use schedule::Schedule;
pub(crate) use send::{Attempt, Clock, SendRules, send};
