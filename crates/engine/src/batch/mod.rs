//! From waiting requests to one packed batch, and from its rows back to each request.
//!
//! [`schedule`] chooses which requests run next, within [`Limits`]; [`fair`] gives clients equal shares; [`cost`] predicts how
//! long a batch takes; [`passing`] chooses the requests that run while a long batch pauses; [`pack`] lays
//! them end to end; [`rows`] is the contract on the rows that they ask for, from packing to handing them back. All of it
//! is pure: it takes numbers and returns numbers. The queue that requests wait in is [`crate::engine`]'s.

pub(crate) mod cost;
pub(crate) mod fair;
pub(crate) mod limits;
pub(crate) mod pack;
pub(crate) mod passing;
pub(crate) mod rows;
pub mod schedule;
pub(crate) mod size;

pub use fair::{FairClock, Flow, Priority};
pub use limits::{Limits, MAX_MASKS};
pub use pack::{Exit, PackedBatch, Sequence};
pub use rows::{LogitRows, OutputRows, RowCounts, RowLayout, Rows};
