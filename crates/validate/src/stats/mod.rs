//! Statistics over raw records, without binning, smoothing or outlier removal.
//!
//! It takes numbers, not requests: [`crate::figures`] selects the records of a cell and computes its
//! figures from them. The conventions:
//!
//! - A percentile is the nearest rank: the smallest recorded value with at least that share of the
//!   records at or below it.
//! - It is computed twice: over the successes, and over all requests with a failure as an infinite
//!   latency. A server that answers half of its requests fast has a good median over its successes and
//!   none over all.
//! - The requests of one batch succeed or fail together, so the size of a sample is its number of batches
//!   ([`Trials`]). A p95 needs 100 and a p99 needs 400; with fewer, only a lower bound is shown.
//! - Intervals are at 95 %. Within one run they account for the dependence between neighbouring batches
//!   ([`blocks`]); over repeated runs the run is the unit ([`repeats`]).

pub mod blocks;
pub mod interval;
mod latency;
pub mod repeats;
mod sample;
pub(crate) mod student;
pub mod trend;
mod welch;

pub use blocks::Clusters;
pub use interval::Interval;
pub use latency::{Latencies, Percentile, PercentileFigure, Spread};
pub use repeats::{RunMean, mean_over_runs};
pub use sample::{TrialUnit, Trials, nearest_rank};
pub(crate) use sample::{lower_middle, mean_of_middles};

pub use trend::Trend;
pub(crate) use welch::Welch;
