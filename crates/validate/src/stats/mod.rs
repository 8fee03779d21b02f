//! Statistics over raw records: nothing is binned, smoothed or dropped.
//!
//! - A percentile is the nearest rank: the smallest recorded value with at least that share of the
//!   records at or below it.
//! - It is taken twice: over the successes, and over all requests with a failure counted as a
//!   latency that never ends. A server that answers half of its requests fast has a fine median
//!   over its successes and none over all.
//! - Requests of one batch share their fate, so what counts as the size of a sample is its number
//!   of batches ([`Trials`]). A p95 needs 100 and a p99 needs 400; with fewer only a bound is shown.
//! - Intervals are at 95 %. Within one run they know that batches depend on their neighbours
//!   ([`blocks`]); over repeated runs the run is the unit ([`repeats`]).

pub mod blocks;
pub mod interval;
mod latency;
pub mod repeats;
mod sample;
pub(crate) mod student;
pub mod trend;

pub use blocks::Clusters;
pub use interval::Interval;
pub use latency::{Latencies, Percentile, PercentileFigure, Spread};
pub use repeats::{RunMean, mean_over_runs};
pub use sample::{TrialUnit, Trials, nearest_rank};

pub use trend::Trend;
