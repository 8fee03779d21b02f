//! What the server counts: requests by route, refusals by reason, stages and batches by model.
//!
//! Written in three places only: the one layer around every route (`track`), the one place that sees the
//! engine's answers (`run`), and the engine's device thread, once a batch. Read by `/metrics` and the live page. It
//! never holds what a request contains.

use std::borrow::Borrow;
use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime};

use bigbatch_engine::engine::{Engine, Response};

use super::histogram::Histogram;
use crate::error::REASONS;
use crate::lifecycle::{Lifecycle, Phase};

/// What clients make up shares one name: a counter for each method or path sent would be the sender's to fill.
pub(crate) const OTHER: &str = "other";

/// Refusals that are remembered one by one.
const RECENT: usize = 100;

/// All counters of the process.
#[derive(Debug)]
pub struct Counters {
    /// When counting began.
    pub started: Instant,
    in_flight: AtomicUsize,
    routes: RwLock<BTreeMap<Endpoint, Arc<RouteCounters>>>,
    reasons: [AtomicU64; REASONS.len()],
    recent: Mutex<VecDeque<RefusalRecord>>,
    models: RwLock<BTreeMap<String, Arc<ModelCounters>>>,
}

/// What is counted apart from others.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Endpoint {
    /// One of HTTP's methods, or `other`.
    pub method: &'static str,
    /// The route's template (`/models/{model}/embed`), or `other`.
    pub route: String,
}

impl Endpoint {
    /// Whether something is to be computed. What is not asked by POST only tells about the server: `te_request_*`
    /// and the log leave it out, and what no route takes.
    pub(crate) fn computes(&self) -> bool {
        self.method == "POST" && self.route != OTHER
    }
}

/// Requests of one endpoint.
#[derive(Debug)]
pub struct RouteCounters {
    /// Answered with a status below 400.
    pub ok: AtomicU64,
    /// Answered with any other status.
    pub refused: AtomicU64,
    /// Given up by the client before it was answered.
    pub abandoned: AtomicU64,
    /// From the head of the request to the head of the answer, of those answered with a status below 400.
    pub seconds: Histogram,
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestOutcome {
    /// With a status below 400.
    Ok,
    /// With another status, for this reason: one of [`REASONS`].
    Refused(u16, &'static str),
    /// The client went away.
    Abandoned,
}

/// A refusal, without content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusalRecord {
    /// When.
    pub at: SystemTime,
    /// The route's template.
    pub route: String,
    /// The status.
    pub status: u16,
    /// One of [`REASONS`].
    pub reason: &'static str,
    /// As sent back in `x-request-id`.
    pub request_id: String,
}

/// What the engine did for one model, input by input and batch by batch.
#[derive(Debug)]
pub struct ModelCounters {
    /// Inputs handed to the engine.
    pub inputs: AtomicU64,
    /// Inputs answered.
    pub answered: AtomicU64,
    /// Inputs that were cut.
    pub truncated: AtomicU64,
    /// Tokens of the inputs answered.
    pub tokens: AtomicU64,
    /// Tokens of an input answered.
    pub length: Histogram,
    /// Waiting for a tokenizer thread, and tokenizing.
    pub tokenize_seconds: Histogram,
    /// Waiting for a batch.
    pub queue_seconds: Histogram,
    /// The batch on the device, copies included.
    pub inference_seconds: Histogram,
    /// All of it.
    pub total_seconds: Histogram,
    /// Batches that failed.
    pub batches_failed: AtomicU64,
    /// Sequences of a batch.
    pub batch_sequences: Histogram,
    /// Tokens of a batch.
    pub batch_tokens: Histogram,
    /// How long a batch had the device.
    pub batch_seconds: Histogram,
}

impl Default for Counters {
    fn default() -> Self {
        Counters {
            started: Instant::now(),
            in_flight: AtomicUsize::new(0),
            routes: RwLock::default(),
            reasons: [const { AtomicU64::new(0) }; REASONS.len()],
            recent: Mutex::default(),
            models: RwLock::default(),
        }
    }
}

impl Counters {
    /// Counts a request that has begun; [`Counters::request`] counts its end.
    pub(crate) fn begin_request(&self) {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a request that has ended; `latency` is from its head to its answer's.
    pub fn request(
        &self,
        endpoint: &Endpoint,
        request_id: &str,
        outcome: RequestOutcome,
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
                if let Some(index) = REASONS.iter().position(|known| *known == reason) {
                    self.reasons[index].fetch_add(1, Ordering::Relaxed);
                }
                let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
                recent.truncate(RECENT - 1);
                recent.push_front(RefusalRecord {
                    at: SystemTime::now(),
                    route: endpoint.route.clone(),
                    status,
                    reason,
                    request_id: request_id.into(),
                });
            }
        }
    }

    /// Counts a model's batches from now on, and says when its device is lost.
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

    /// Requests that came and are not answered yet.
    pub fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// By endpoint, those that were asked for at least once.
    pub fn routes(&self) -> BTreeMap<Endpoint, Arc<RouteCounters>> {
        self.routes.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The counters of one model, which begin when they are first asked for.
    pub fn model(&self, name: &str) -> Arc<ModelCounters> {
        entry(&self.models, name, ModelCounters::new)
    }

    /// Refusals by reason, those of 0 included.
    pub fn refusals(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let counts = self.reasons.iter().map(load);
        REASONS.iter().copied().zip(counts)
    }

    /// The latest refusals, the newest first; at most 100.
    pub fn recent_refusals(&self) -> Vec<RefusalRecord> {
        let recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.iter().cloned().collect()
    }
}

/// A counter as it is now.
pub(crate) fn load(count: &AtomicU64) -> u64 {
    count.load(Ordering::Relaxed)
}

/// The entry of this key; made where there is none. Keys are templates and names, hence few.
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

impl RouteCounters {
    fn new() -> RouteCounters {
        let [ok, refused, abandoned] = [const { AtomicU64::new(0) }; 3];
        RouteCounters { ok, refused, abandoned, seconds: Histogram::seconds() }
    }
}

impl ModelCounters {
    /// Counts an input that the engine was given.
    pub(crate) fn submitted(&self) {
        self.inputs.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts an input that the engine answered.
    pub(crate) fn answer(&self, answer: &Response) {
        self.answered.fetch_add(1, Ordering::Relaxed);
        self.truncated.fetch_add(u64::from(answer.truncated), Ordering::Relaxed);
        self.tokens.fetch_add(answer.tokens as u64, Ordering::Relaxed);
        self.length.record(answer.tokens as f64);
        let times = answer.timings;
        self.tokenize_seconds.record(times.tokenize.as_secs_f64());
        self.queue_seconds.record(times.queue.as_secs_f64());
        self.inference_seconds.record((times.copy + times.compute).as_secs_f64());
        self.total_seconds.record(times.total.as_secs_f64());
    }

    fn new() -> ModelCounters {
        let [inputs, answered, truncated, tokens, batches_failed] =
            [const { AtomicU64::new(0) }; 5];
        ModelCounters {
            inputs,
            answered,
            truncated,
            tokens,
            batches_failed,
            length: Histogram::counts(),
            tokenize_seconds: Histogram::seconds(),
            queue_seconds: Histogram::seconds(),
            inference_seconds: Histogram::seconds(),
            total_seconds: Histogram::seconds(),
            batch_sequences: Histogram::counts(),
            batch_tokens: Histogram::counts(),
            batch_seconds: Histogram::seconds(),
        }
    }
}
