//! What the server counts, and how `/metrics` shows it.

mod counters;
mod histogram;
mod prometheus;

pub use counters::{Endpoint, Observed, Outcome, Refused, Route, Stages};
pub(crate) use counters::{OTHER, load};
pub use histogram::{Histogram, Snapshot};
pub(crate) use prometheus::page;
