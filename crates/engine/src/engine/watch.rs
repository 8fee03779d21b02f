//! Watching the device thread from outside: what it runs, since when, and how long such a batch should take.
//!
//! A health check asks this without standing in the queue. The prediction is deliberately coarse: a batch's
//! work is counted in floating-point operations, the rate is that of the latest batches, and no batch is
//! expected in less than `LEAST`, since small ones are ruled by what a launch costs and not by their work.
//! It is right within a factor of two or three, and serves only to tell slow from stuck.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use super::{Claim, Engine, Pending, Ready};
use crate::batch::PackedBatch;
use crate::error::RequestError;
use crate::model::{Config, Head, LayerKind};
use crate::task::Task;
use crate::text::tokenize::{Input, Truncate};

/// No batch is predicted to take less.
const LEAST: Duration = Duration::from_millis(100);

/// How much the latest batch weighs beside those before it.
const NEWEST_SHARE: f64 = 0.05;

/// A batch that has run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchReport {
    /// Sequences in it.
    pub sequences: usize,
    /// Tokens in it.
    pub tokens: usize,
    /// How long it had the device.
    pub on_device: Duration,
    /// Whether its requests got no answer.
    pub failed: bool,
    /// Whether the device is lost, and no batch comes after this one.
    pub lost: bool,
}

/// What the device thread does at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pulse {
    /// When the latest batch came to a good end.
    pub finished: Option<Instant>,
    /// The batch that has the device.
    pub running: Option<RunningBatch>,
    /// What the device said when it was lost. Nothing runs any more.
    pub lost: Option<String>,
}

/// A batch that has the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunningBatch {
    /// When its turn came.
    pub since: Instant,
    /// Sequences in it.
    pub sequences: usize,
    /// Tokens in it.
    pub tokens: usize,
    /// How long it should take; `None` before any batch has run.
    pub predicted: Option<Duration>,
}

type Listener = Box<dyn Fn(&BatchReport) + Send + Sync>;

/// The device thread's own record, and who listens to it.
#[derive(Default)]
pub(super) struct Watch {
    state: Mutex<State>,
    listener: OnceLock<Listener>,
    failed: AtomicU64,
}

#[derive(Default)]
struct State {
    finished: Option<Instant>,
    /// Those that the device was given and has not finished; the first has its turn.
    given: VecDeque<(RunningBatch, f64)>,
    lost: Option<String>,
    /// Averages over the latest batches, newer ones weighing more.
    seconds: f64,
    flop: f64,
    sequences: f64,
}

impl State {
    fn predict(&self, flop: f64) -> Option<Duration> {
        let seconds = (self.flop > 0.0).then(|| self.seconds / self.flop * flop)?;
        Some(Duration::from_secs_f64(seconds.min(1e6)).max(LEAST))
    }
}

impl Watch {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whoever listens from now on; only the first who asks.
    pub(super) fn listen(&self, listener: Listener) {
        let _ = self.listener.set(listener);
    }

    /// The device was given a batch.
    pub(super) fn given(&self, config: &Config, batch: &PackedBatch) {
        let flop = flop(config, batch);
        let mut state = self.state();
        let predicted = state.predict(flop);
        let (sequences, tokens) = (batch.sequences(), batch.tokens());
        let running = RunningBatch { since: Instant::now(), sequences, tokens, predicted };
        state.given.push_back((running, flop));
    }

    /// The batch given first is done; `Err` if it failed, with what the device said if it is lost.
    pub(super) fn done(&self, on_device: Duration, result: Result<(), Option<String>>) {
        let now = Instant::now();
        let mut state = self.state();
        let Some((batch, flop)) = state.given.pop_front() else { return };
        if let Some((next, _)) = state.given.front_mut() {
            next.since = now;
        }
        match &result {
            Ok(()) => {
                state.finished = Some(now);
                let share = if state.flop > 0.0 { NEWEST_SHARE } else { 1.0 };
                state.seconds += share * (on_device.as_secs_f64() - state.seconds);
                state.flop += share * (flop - state.flop);
                state.sequences += share * (batch.sequences as f64 - state.sequences);
            }
            Err(lost) => {
                self.failed.fetch_add(1, Ordering::Relaxed);
                state.lost = state.lost.take().or_else(|| lost.clone());
            }
        }
        drop(state);
        if let Some(listener) = self.listener.get() {
            let RunningBatch { sequences, tokens, .. } = batch;
            let (failed, lost) = (result.is_err(), matches!(result, Err(Some(_))));
            listener(&BatchReport { sequences, tokens, on_device, failed, lost });
        }
    }

    /// How long so many requests take, if they are like those of the latest batches.
    pub(super) fn wait(&self, requests: usize) -> Option<Duration> {
        let state = self.state();
        let each = (state.sequences > 0.0).then(|| state.seconds / state.sequences)?;
        Some(Duration::from_secs_f64((each * requests as f64).min(1e6)))
    }

    pub(super) fn pulse(&self) -> Pulse {
        let state = self.state();
        Pulse {
            finished: state.finished,
            running: state.given.front().map(|(batch, _)| *batch),
            lost: state.lost.clone(),
        }
    }
}

impl Engine {
    /// Runs a forward pass of its own, past the tokenizers and past the bound on requests: the least that
    /// shows that the device works. It takes its place in line for the device.
    ///
    /// # Errors
    /// [`RequestError::Stopped`], [`RequestError::DeviceLost`].
    pub fn probe(&self) -> Result<Pending, RequestError> {
        let shared = &self.shared;
        let task = match shared.model.config.head {
            Head::Base | Head::MaskedLm { .. } => {
                Task::Embed { pooling: None, normalize: true, dimensions: None }
            }
            Head::Sequence { .. } => Task::Classify { raw_scores: false },
            Head::Token => Task::Tag,
        };
        let tokens = shared.model.tokenizer.encode(&Input::Ids(vec![0]), 1, Truncate::No)?;
        let rows = task.rows(&shared.model, &tokens)?;
        let (reply, receiver) = oneshot::channel();
        let now = Instant::now();
        let ready = |place| Ready {
            place,
            task,
            text: String::new(),
            tokens,
            rows,
            reply,
            admitted: now,
            tokenized: now,
        };
        let id = shared.queue.admit_ready(ready).map_err(|_| shared.gone())?;
        Ok(Pending { receiver, claim: Claim { shared: shared.clone(), id, answered: false } })
    }

    /// What the device thread does now.
    pub fn pulse(&self) -> Pulse {
        self.shared.watch.pulse()
    }

    /// Calls `listener` on the device thread after every batch; it must not wait. Only the first who asks is
    /// heard.
    pub fn on_batch(&self, listener: impl Fn(&BatchReport) + Send + Sync + 'static) {
        self.shared.watch.listen(Box::new(listener));
    }
}

/// Floating-point operations of a batch: the layers' products and attention.
fn flop(config: &Config, batch: &PackedBatch) -> f64 {
    let (hidden, inner) = (config.hidden_size as f64, config.intermediate_size as f64);
    let linear = 2.0 * hidden * (4.0 * hidden + 3.0 * inner) * config.layers.len() as f64;
    let global = config.layers.iter().filter(|kind| **kind == LayerKind::Full).count() as f64;
    let local = config.layers.len() as f64 - global;
    let reach = 2.0 * config.window as f64 + 1.0;
    let sequence = |span: std::ops::Range<usize>| {
        let tokens = span.len() as f64;
        let keys = global * tokens + local * tokens.min(reach);
        tokens * (linear + 4.0 * hidden * keys)
    };
    batch.spans().map(sequence).sum()
}
