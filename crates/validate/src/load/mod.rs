//! Load: how requests are sent, and what is written down about each.
//!
//! This module holds what every kind of load shares: the raw [`RequestRecord`], sending one request
//! with its timeout, and the way a cell is told to stop. In a closed loop a request is meant to start
//! when its client is free; in an open loop its schedule says when. Everything else, from the phases
//! of a cell to what is written down, is the same for both.

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
pub(crate) use send::{Attempt, Clock, send};
