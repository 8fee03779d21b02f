//! Counters of the server: requests by route, refusals by reason, stages and batches by model, connections.
//!
//! `counters` holds them, `connections` those of connections, `histogram` is their histogram, `log_rate` bounds
//! lines about refusals, `prometheus` renders them for `/metrics`. The
//! dashboard's JSON is in `pages`. Nothing here holds the content of a request; `unknown_fields` holds names of fields.

mod connections;
mod counters;
mod histogram;
mod log_rate;
pub(crate) mod prometheus;
mod unknown_fields;

pub(crate) use connections::Cut;
pub use counters::{
    Counters, Endpoint, ModelCounters, RefusalRecord, RequestOutcome, RouteCounters,
};
pub(crate) use counters::{OTHER, load};
pub use histogram::{Histogram, Snapshot};
pub(crate) use log_rate::LogRate;
