//! From waiting requests to one packed batch, and from its rows back to each request.
//!
//! [`schedule`] chooses, within [`Limits`], which requests run next; [`pack`] lays them end to end. Both are pure:
//! they see numbers and return numbers. The queue that requests wait in is [`crate::engine`]'s.

pub(crate) mod limits;
pub(crate) mod pack;
pub mod schedule;

pub use limits::Limits;
pub use pack::{PackedBatch, Rows, Sequence};
