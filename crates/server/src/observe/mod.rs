//! Counters of the server: requests by route, refusals by reason, stages and batches by model, connections; and the
//! bounds of its log. `history` has the last hour.
//!
//! `counters` holds them, `connections` those of connections, `histogram` is their histogram, and `lengths` has one per class of lengths. `prometheus` renders
//! them for `/metrics`; the dashboard's JSON is in `pages`. `log_writer` writes lines without ever blocking, `log_rate`
//! limits those about refusals. Nothing here holds the content of a request; `unknown_fields` holds names of fields.

mod connections;
mod counters;
mod histogram;
pub(crate) mod history;
mod lengths;
mod log_rate;
mod log_writer;
pub(crate) mod prometheus;
mod unknown_fields;

use std::time::{SystemTime, UNIX_EPOCH};

pub(crate) use connections::{ConnectionCounters, Cut};
pub use counters::{
    Counters, Endpoint, LatestRefusal, ModelCounters, RefusalRecord, RequestOutcome, RouteCounters,
};
pub(crate) use counters::{OTHER, load};
pub use histogram::{Histogram, Snapshot};
pub use lengths::SecondsByLength;
pub use log_rate::LogRate;
pub(crate) use log_rate::OutcomeRates;
pub use log_writer::LogWriter;

/// Returns a time in milliseconds since 1970.
pub(crate) fn unix_ms(at: SystemTime) -> u64 {
    at.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64
}
