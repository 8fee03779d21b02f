//! The last hour of the server, so that whoever opens the dashboard in an incident sees how it began.
//!
//! A point is taken every [`STEP`] by a task of its own, and [`POINTS`] points are kept: at most 400 KB with
//! [`MODELS_MAX`] models. Models beyond that are part of the totals only. Points hold rates, percentiles and bytes,
//! never histograms: a percentile over several points cannot be computed from them, and the dashboard does not try.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use bigbatch_engine::host::resident_bytes;
use serde::Serialize;

use super::counters::{Counters, load};
use super::histogram::{Histogram, Snapshot};
use super::unix_ms;
use crate::memory::HostMemory;
use crate::models::Models;

/// The time from one point to the next.
pub(crate) const STEP: Duration = Duration::from_secs(5);

/// Number of points kept: an hour.
const POINTS: usize = 720;

/// Maximum number of models with figures of their own.
const MODELS_MAX: usize = 16;

/// The figures of a model at a point, in this order. Latency is in seconds, from submission to response.
const MODEL_FIGURES: [&str; 6] =
    ["tokens_per_second", "inputs_in_flight", "p50", "p95", "p99", "batch_tokens_mean"];

/// The figures of the whole server at a point, in this order. The first six are a model's, over all models.
const SERVER_FIGURES: [&str; 10] = [
    MODEL_FIGURES[0],
    MODEL_FIGURES[1],
    MODEL_FIGURES[2],
    MODEL_FIGURES[3],
    MODEL_FIGURES[4],
    MODEL_FIGURES[5],
    "refused_per_second",
    "resident_bytes",
    "device_bytes",
    "request_bytes",
];

/// The points, oldest first.
#[derive(Debug, Default)]
pub(crate) struct History {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    points: VecDeque<Point>,
    /// Number of points taken so far.
    taken: u64,
    /// The time of the latest point, in milliseconds since 1970.
    at_unix_ms: u64,
    /// The counters at the latest point.
    before: Option<Readings>,
}

/// One point. A figure that does not exist, such as a percentile of no inputs, is NaN: `null` in JSON.
#[derive(Debug, Clone)]
struct Point {
    server: [f32; SERVER_FIGURES.len()],
    models: Box<[[f32; MODEL_FIGURES.len()]]>,
}

/// Counters at one moment; figures are computed from the difference of two.
#[derive(Debug)]
struct Readings {
    at: Instant,
    refused: u64,
    models: Vec<ModelReadings>,
}

#[derive(Debug)]
struct ModelReadings {
    tokens: u64,
    latency: Snapshot,
    batch_tokens: Snapshot,
}

/// The points after one that the reader has, by column.
#[derive(Debug, Serialize)]
pub(crate) struct HistoryColumns {
    /// Tells the answers of a restarted process apart.
    started_unix_s: u64,
    /// Seconds from one point to the next.
    step_s: u64,
    /// Number of points that are kept.
    capacity: usize,
    /// Number of points taken since the start: what the reader sends as `after` next time.
    taken: u64,
    /// The time of the latest point, in milliseconds since 1970.
    at_unix_ms: u64,
    server: BTreeMap<&'static str, Vec<f32>>,
    models: Vec<ModelColumns>,
}

#[derive(Debug, Serialize)]
struct ModelColumns {
    name: String,
    #[serde(flatten)]
    figures: BTreeMap<&'static str, Vec<f32>>,
}

impl ModelReadings {
    /// Returns the figures of the time since `before`.
    fn figures(
        &self,
        before: &ModelReadings,
        in_flight: usize,
        seconds: f64,
    ) -> [f32; MODEL_FIGURES.len()] {
        let latency = self.latency.since(&before.latency);
        let batches = self.batch_tokens.since(&before.batch_tokens);
        let quantile = |q: f64| latency.quantile(q).unwrap_or(f64::NAN);
        // NaN without batches.
        let batch_mean = batches.sum() / batches.count() as f64;
        let tokens = self.tokens.saturating_sub(before.tokens) as f64;
        let (p50, p95, p99) = (quantile(0.5), quantile(0.95), quantile(0.99));
        [tokens / seconds, in_flight as f64, p50, p95, p99, batch_mean].map(rounded)
    }

    /// Adds the readings of another model.
    fn and(self, other: &ModelReadings) -> ModelReadings {
        ModelReadings {
            tokens: self.tokens + other.tokens,
            latency: self.latency.and(&other.latency),
            batch_tokens: self.batch_tokens.and(&other.batch_tokens),
        }
    }

    fn none() -> ModelReadings {
        ModelReadings {
            tokens: 0,
            latency: Histogram::seconds().snapshot(),
            batch_tokens: Histogram::counts().snapshot(),
        }
    }
}

impl Readings {
    fn now(models: &Models, counters: &Counters) -> Readings {
        let read = |name: &str| {
            let stages = counters.model(name);
            ModelReadings {
                tokens: load(&stages.tokens),
                latency: stages.total_seconds.snapshot(),
                batch_tokens: stages.batch_tokens.snapshot(),
            }
        };
        Readings {
            at: Instant::now(),
            refused: counters.refusals().map(|(_, count)| count).sum(),
            models: models.iter().map(|served| read(&served.name)).collect(),
        }
    }

    fn all(&self) -> ModelReadings {
        self.models.iter().fold(ModelReadings::none(), ModelReadings::and)
    }
}

impl History {
    /// Takes a point of the time since the previous one; the first call only reads the counters.
    pub(crate) fn record(&self, models: &Models, counters: &Counters, host: &HostMemory) {
        let now = Readings::now(models, counters);
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let point = state.before.as_ref().map(|before| point(models, host, before, &now));
        state.before = Some(now);
        let Some(point) = point else { return };
        if state.points.len() == POINTS {
            state.points.pop_front();
        }
        state.points.push_back(point);
        state.taken += 1;
        state.at_unix_ms = unix_ms(SystemTime::now());
    }

    /// Returns the points after the first `after` ones, as many of them as are kept, of the process that started at
    /// `started_unix_s`.
    pub(crate) fn columns(
        &self,
        models: &Models,
        after: u64,
        started_unix_s: u64,
    ) -> HistoryColumns {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let missing = state.taken.saturating_sub(after).min(state.points.len() as u64) as usize;
        let points = || state.points.range(state.points.len() - missing..);
        let column = |of: &dyn Fn(&Point) -> f32| points().map(of).collect::<Vec<f32>>();
        let server = SERVER_FIGURES.iter().enumerate();
        let server = server.map(|(n, name)| (*name, column(&|point| point.server[n]))).collect();
        let of_model = |(index, name): (usize, String)| {
            let figures = MODEL_FIGURES.iter().enumerate();
            let figures = figures.map(|(n, name)| (*name, column(&|point| point.models[index][n])));
            ModelColumns { name, figures: figures.collect() }
        };
        let names = models.iter().take(MODELS_MAX).map(|served| served.name.clone());
        HistoryColumns {
            started_unix_s,
            step_s: STEP.as_secs(),
            capacity: POINTS,
            taken: state.taken,
            at_unix_ms: state.at_unix_ms,
            server,
            models: names.enumerate().map(of_model).collect(),
        }
    }
}

fn point(models: &Models, host: &HostMemory, before: &Readings, now: &Readings) -> Point {
    let seconds = now.at.duration_since(before.at).as_secs_f64();
    let in_flight: Vec<usize> = models.iter().map(|served| served.engine.in_flight()).collect();
    let each = now.models.iter().zip(&before.models).zip(&in_flight);
    let each = each.map(|((now, before), waiting)| now.figures(before, *waiting, seconds));
    let device = models.first().engine.device_used_bytes();
    let bytes = |bytes: Option<u64>| rounded(bytes.map_or(f64::NAN, |bytes| bytes as f64));
    let [tokens, waiting, p50, p95, p99, batch] =
        now.all().figures(&before.all(), in_flight.iter().sum(), seconds);
    let refused = now.refused.saturating_sub(before.refused) as f64 / seconds;
    Point {
        server: [
            tokens,
            waiting,
            p50,
            p95,
            p99,
            batch,
            rounded(refused),
            bytes(resident_bytes()),
            bytes(device),
            bytes(Some(host.taken_bytes() as u64)),
        ],
        models: each.take(MODELS_MAX).collect(),
    }
}

/// Rounds to four digits: more are noise, and would only be sent.
fn rounded(value: f64) -> f32 {
    if value == 0.0 || !value.is_finite() {
        return value as f32;
    }
    let unit = 10f64.powf(3.0 - value.abs().log10().floor());
    ((value * unit).round() / unit) as f32
}

/// What the module's header promises: an hour in at most 400 KB, with 32 bytes per point for its allocation.
const _: () = {
    let model = size_of::<[f32; MODEL_FIGURES.len()]>();
    assert!(POINTS * (size_of::<Point>() + MODELS_MAX * model + 32) <= 400_000);
    assert!(STEP.as_secs() * POINTS as u64 == 3600);
};

#[cfg(test)]
mod tests {
    use super::*;

    fn read(values: &[f64]) -> ModelReadings {
        let (latency, batches) = (Histogram::seconds(), Histogram::counts());
        values.iter().for_each(|&value| {
            latency.record(value);
            batches.record(100.0);
        });
        let tokens = values.len() as u64 * 10;
        ModelReadings { tokens, latency: latency.snapshot(), batch_tokens: batches.snapshot() }
    }

    #[test]
    fn figures_are_of_the_time_between_two_readings() {
        let (before, now) = (read(&[8.0; 4]), read(&[8.0, 8.0, 8.0, 8.0, 0.5, 0.5]));
        let [tokens, in_flight, p50, .., p99, batch] = now.figures(&before, 3, 5.0);
        assert_eq!((tokens, in_flight, batch), (4.0, 3.0, 100.0));
        assert!(p50 <= 0.5 && p99 <= 0.5, "the older ones took 8 s: {p50} {p99}");
        let [tokens, .., batch] = before.figures(&before, 0, 5.0);
        assert!(tokens == 0.0 && batch.is_nan(), "nothing happened");
    }

    #[test]
    fn figures_are_rounded_to_four_digits() {
        assert_eq!([0.0, 0.012_345_6, 123_456.0].map(rounded), [0.0, 0.012_35, 123_500.0]);
        assert!(rounded(f64::NAN).is_nan());
    }
}
