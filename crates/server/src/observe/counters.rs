//! The counters themselves.
//!
//! Five places write them: `serve` per connection, `middleware/track` once per request, `jobs` once per input, and the engine's device
//! thread once per batch; `routes/call` counts unknown fields. `/metrics` and the dashboard read them.

use std::borrow::Borrow;
use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime};

use bigbatch_engine::{Engine, Response};

use super::connections::ConnectionCounters;
use super::histogram::Histogram;
use super::lengths::SecondsByLength;
use super::log_writer::LogWriter;
use super::unknown_fields::LoggedFields;
use crate::error::REASONS;
use crate::lifecycle::{Lifecycle, Phase};

/// The name that unknown methods and paths share: with one counter each, clients could fill the memory.
pub(crate) const OTHER: &str = "other";

/// Number of refusals that are kept one by one.
const RECENT: usize = 100;

/// The counters of the process.
#[derive(Debug)]
pub struct Counters {
    /// The time at which counting began.
    pub started: Instant,
    in_flight: AtomicUsize,
    routes: RwLock<BTreeMap<Endpoint, Arc<RouteCounters>>>,
    reasons: [ReasonCounter; REASONS.len()],
    recent: Mutex<VecDeque<RefusalRecord>>,
    models: RwLock<BTreeMap<String, Arc<ModelCounters>>>,
    unknown_fields: LoggedFields,
    log: OnceLock<LogWriter>,
    pub(crate) connections: ConnectionCounters,
}

/// A method and route that are counted apart from others.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Endpoint {
    /// A method of HTTP, or `other`.
    pub method: &'static str,
    /// The route's template (`/models/{model}/embed`), or `other`.
    pub route: String,
}

impl Endpoint {
    /// Returns whether a request to it makes a model compute: a POST to a known route. `te_request_*` and the
    /// log at level info leave out all others.
    pub(crate) fn computes(&self) -> bool {
        self.method == "POST" && self.route != OTHER
    }
}

/// Counters of one endpoint.
#[derive(Debug)]
pub struct RouteCounters {
    /// Requests answered with a status below 400.
    pub ok: AtomicU64,
    /// Requests answered with any other status.
    pub refused: AtomicU64,
    /// Requests whose client disconnected before the answer.
    pub abandoned: AtomicU64,
    /// Fields of requests that the endpoint does not have.
    pub unknown_fields: AtomicU64,
    /// Seconds from the head of the request to the head of the answer, for those with a status below 400.
    pub seconds: Histogram,
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestOutcome {
    /// Answered with a status below 400.
    Ok,
    /// Answered with another status, for this reason: one of [`REASONS`].
    Refused(u16, &'static str),
    /// The client disconnected before the answer.
    Abandoned,
}

/// One refusal, without the content of the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusalRecord {
    /// The time of the answer.
    pub at: SystemTime,
    /// The route's template.
    pub route: String,
    /// The HTTP status.
    pub status: u16,
    /// One of [`REASONS`].
    pub reason: &'static str,
    /// The id in the answer's `x-request-id`.
    pub request_id: String,
}

/// The refusals of one reason.
#[derive(Debug, Default)]
struct ReasonCounter {
    count: AtomicU64,
    latest: Mutex<Option<LatestRefusal>>,
}

/// The latest refusal of one reason, without the content of the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LatestRefusal {
    /// The time of the answer.
    pub at: SystemTime,
    /// The route's template.
    pub route: String,
    /// The HTTP status.
    pub status: u16,
    /// The message without the client's text; empty for a request that no handler saw.
    pub message: String,
}

/// Counters of one model, per input and per batch.
#[derive(Debug)]
pub struct ModelCounters {
    /// Inputs submitted to the engine.
    pub inputs: AtomicU64,
    /// Inputs answered.
    pub answered: AtomicU64,
    /// Inputs that failed by their own fault: empty, too long, invalid.
    pub failed: AtomicU64,
    /// Inputs that were truncated.
    pub truncated: AtomicU64,
    /// Tokens of all inputs answered.
    pub tokens: AtomicU64,
    /// Tokens per input answered.
    pub length: Histogram,
    /// Seconds per input that it waited for a tokenizer thread and was tokenized.
    pub tokenize_seconds: Histogram,
    /// Seconds per input that it waited for a batch.
    pub queue_seconds: Histogram,
    /// Seconds per input that its batch took on the device, copies included.
    pub inference_seconds: Histogram,
    /// Seconds per input from submission to response.
    pub total_seconds: SecondsByLength,
    /// Batches that failed.
    pub batches_failed: AtomicU64,
    /// Sequences per batch.
    pub batch_sequences: Histogram,
    /// Tokens per batch.
    pub batch_tokens: Histogram,
    /// Seconds per batch that it occupied the device.
    pub batch_seconds: Histogram,
}

impl Default for Counters {
    fn default() -> Self {
        Counters {
            started: Instant::now(),
            in_flight: AtomicUsize::new(0),
            routes: RwLock::default(),
            reasons: std::array::from_fn(|_| ReasonCounter::default()),
            recent: Mutex::default(),
            models: RwLock::default(),
            unknown_fields: LoggedFields::default(),
            log: OnceLock::new(),
            connections: ConnectionCounters::default(),
        }
    }
}

impl Counters {
    /// Counts a request that has begun; [`Counters::record_request`] counts its end.
    pub(crate) fn begin_request(&self) {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a request that has ended; `latency` is the time from its head to the head of the answer, `message` that
    /// of a refusal without the client's text.
    pub fn record_request(
        &self,
        endpoint: &Endpoint,
        request_id: &str,
        outcome: RequestOutcome,
        message: &str,
        latency: Duration,
    ) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
        let counts = entry(&self.routes, endpoint, RouteCounters::new);
        match outcome {
            RequestOutcome::Ok => {
                counts.ok.fetch_add(1, Ordering::Relaxed);
                counts.seconds.record(latency.as_secs_f64());
            }
            RequestOutcome::Abandoned => {
                counts.abandoned.fetch_add(1, Ordering::Relaxed);
            }
            RequestOutcome::Refused(status, reason) => {
                counts.refused.fetch_add(1, Ordering::Relaxed);
                let at = SystemTime::now();
                let route = &endpoint.route;
                if let Some(index) = REASONS.iter().position(|known| *known == reason) {
                    let message = message.to_owned();
                    let latest = LatestRefusal { at, route: route.clone(), status, message };
                    self.reasons[index].record(latest);
                }
                let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
                recent.truncate(RECENT - 1);
                recent.push_front(RefusalRecord {
                    at,
                    route: route.clone(),
                    status,
                    reason,
                    request_id: request_id.into(),
                });
            }
        }
    }

    /// Counts a request that was refused before the router saw it.
    pub(crate) fn record_unrouted(&self, status: u16, reason: &'static str) {
        self.begin_request();
        let endpoint = Endpoint { method: OTHER, route: OTHER.into() };
        let outcome = RequestOutcome::Refused(status, reason);
        self.record_request(&endpoint, "", outcome, "", Duration::ZERO);
    }

    /// Counts fields of a POST that its route does not have.
    pub(crate) fn record_unknown_fields(&self, route: &str, count: u64) {
        let endpoint = Endpoint { method: "POST", route: route.to_owned() };
        let counts = entry(&self.routes, &endpoint, RouteCounters::new);
        counts.unknown_fields.fetch_add(count, Ordering::Relaxed);
    }

    /// Logs a field that its route does not have, once.
    pub(crate) fn log_unknown_field(&self, route: &str, name: &str) {
        self.unknown_fields.log(route, name);
    }

    /// Counts a model's batches from now on, and enters [`Phase::Lost`] when its device is lost.
    pub(crate) fn watch(&self, model: &str, engine: &Engine, life: Arc<Lifecycle>) {
        let stages = self.model(model);
        engine.on_batch(move |batch| {
            stages.batches_failed.fetch_add(u64::from(batch.failed), Ordering::Relaxed);
            stages.batch_sequences.record(batch.sequences as f64);
            stages.batch_tokens.record(batch.tokens as f64);
            stages.batch_seconds.record(batch.on_device.as_secs_f64());
            if batch.lost {
                life.enter(Phase::Lost);
            }
        });
    }

    /// Exports the lines that this log drops from now on; later calls are ignored.
    pub fn watch_log(&self, log: LogWriter) {
        let _ = self.log.set(log);
    }

    /// Returns the log lines dropped so far; 0 without a log.
    pub(crate) fn log_dropped(&self) -> u64 {
        self.log.get().map_or(0, LogWriter::dropped)
    }

    /// Returns the number of requests that have begun and have not ended.
    pub fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Returns the counters of each endpoint that was requested at least once.
    pub fn routes(&self) -> BTreeMap<Endpoint, Arc<RouteCounters>> {
        self.routes.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns the counters of one model; creates them at the first call.
    pub fn model(&self, name: &str) -> Arc<ModelCounters> {
        entry(&self.models, name, ModelCounters::new)
    }

    /// Iterates over all reasons with their number of refusals, zeros included.
    pub fn refusals(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let counts = self.reasons.iter().map(|reason| load(&reason.count));
        REASONS.iter().copied().zip(counts)
    }

    /// Returns each reason that occurred with its number of refusals and the latest of them.
    pub fn latest_refusals(&self) -> Vec<(&'static str, u64, LatestRefusal)> {
        let occurred = |(reason, counter): (&&'static str, &ReasonCounter)| {
            let latest = counter.latest.lock().unwrap_or_else(PoisonError::into_inner).clone()?;
            Some((*reason, load(&counter.count), latest))
        };
        REASONS.iter().zip(&self.reasons).filter_map(occurred).collect()
    }

    /// Returns the latest refusals, newest first; at most 100.
    pub fn recent_refusals(&self) -> Vec<RefusalRecord> {
        let recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.iter().cloned().collect()
    }
}

/// Reads a counter.
pub(crate) fn load(count: &AtomicU64) -> u64 {
    count.load(Ordering::Relaxed)
}

/// Returns the entry of a key; creates it if absent. Keys are route templates and model names, so they are few.
fn entry<K: Ord + Borrow<Q>, Q: Ord + ToOwned<Owned = K> + ?Sized, T>(
    map: &RwLock<BTreeMap<K, Arc<T>>>,
    key: &Q,
    make: fn() -> T,
) -> Arc<T> {
    if let Some(found) = map.read().unwrap_or_else(PoisonError::into_inner).get(key) {
        return found.clone();
    }
    let mut map = map.write().unwrap_or_else(PoisonError::into_inner);
    map.entry(key.to_owned()).or_insert_with(|| Arc::new(make())).clone()
}

impl ReasonCounter {
    fn record(&self, latest: LatestRefusal) {
        self.count.fetch_add(1, Ordering::Relaxed);
        *self.latest.lock().unwrap_or_else(PoisonError::into_inner) = Some(latest);
    }
}

impl RouteCounters {
    fn new() -> RouteCounters {
        let [ok, refused, abandoned, unknown_fields] = [const { AtomicU64::new(0) }; 4];
        RouteCounters { ok, refused, abandoned, unknown_fields, seconds: Histogram::seconds() }
    }
}

impl ModelCounters {
    /// Counts an input submitted to the engine.
    pub(crate) fn record_submission(&self) {
        self.inputs.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts an input that failed by its own fault.
    pub(crate) fn record_failure(&self) {
        self.failed.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts an input that the engine has answered.
    pub(crate) fn record_response(&self, answer: &Response) {
        self.answered.fetch_add(1, Ordering::Relaxed);
        self.truncated.fetch_add(u64::from(answer.is_truncated()), Ordering::Relaxed);
        self.tokens.fetch_add(answer.tokens as u64, Ordering::Relaxed);
        self.length.record(answer.tokens as f64);
        let times = answer.timings;
        self.tokenize_seconds.record(times.tokenize.as_secs_f64());
        self.queue_seconds.record(times.queue.as_secs_f64());
        self.inference_seconds.record((times.copy + times.compute).as_secs_f64());
        self.total_seconds.record(answer.tokens, times.total.as_secs_f64());
    }

    fn new() -> ModelCounters {
        let [inputs, answered, failed, truncated, tokens, batches_failed] =
            [const { AtomicU64::new(0) }; 6];
        ModelCounters {
            inputs,
            answered,
            failed,
            truncated,
            tokens,
            batches_failed,
            length: Histogram::counts(),
            tokenize_seconds: Histogram::seconds(),
            queue_seconds: Histogram::seconds(),
            inference_seconds: Histogram::seconds(),
            total_seconds: SecondsByLength::new(),
            batch_sequences: Histogram::counts(),
            batch_tokens: Histogram::counts(),
            batch_seconds: Histogram::seconds(),
        }
    }
}
