//! What the server counts, and how `/metrics` shows it.

mod counters;
mod histogram;
pub(crate) mod prometheus;

pub use counters::{
    Counters, Endpoint, ModelCounters, RefusalRecord, RequestOutcome, RouteCounters,
};
pub(crate) use counters::{OTHER, load};
pub use histogram::{Histogram, Snapshot};
