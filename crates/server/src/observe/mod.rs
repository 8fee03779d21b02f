//! Counters of the server: requests by route, refusals by reason, stages and batches by model.
//!
//! `counters` holds them, `histogram` is their histogram, `prometheus` renders them for `/metrics`. The
//! dashboard's JSON is in `pages`. Nothing here holds the content of a request; `unknown_fields` holds names of fields.

mod counters;
mod histogram;
pub(crate) mod prometheus;
mod unknown_fields;

pub use counters::{
    Counters, Endpoint, ModelCounters, RefusalRecord, RequestOutcome, RouteCounters,
};
pub(crate) use counters::{OTHER, load};
pub use histogram::{Histogram, Snapshot};
