//! The state of the device thread for other threads: its batch, since when, and the predicted time.
//!
//! A health check reads this without waiting in the queue. The prediction is deliberately coarse: a batch's
//! work is counted in floating-point operations, the rate is that of the latest batches, and no batch is
//! predicted to take less than `LEAST`, since the time of a small one is that of its launches. It is right
//! within a factor of two or three, and serves only to distinguish slow from stuck. Waits are predicted by
//! `backlog`, from the admission of requests on; here only the device's turns count, whose small batches matter too.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use super::backlog::to_duration;
use crate::batch::PackedBatch;
use crate::model::{Config, forward_flops};

/// Lower bound of a prediction.
const LEAST: Duration = Duration::from_millis(100);

/// Weight of the latest batch in the running averages.
const NEWEST_SHARE: f64 = 0.05;

/// A batch that has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchReport {
    /// Sequences in it.
    pub sequences: usize,
    /// Tokens in it.
    pub tokens: usize,
    /// How long its turn on the device took.
    pub on_device: Duration,
    /// Whether it failed, and its requests with it.
    pub failed: bool,
    /// Whether the device is lost, so that no batch follows.
    pub lost: bool,
}

/// What the device thread does at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pulse {
    /// When the latest batch succeeded.
    pub finished: Option<Instant>,
    /// The batch that has the device.
    pub running: Option<RunningBatch>,
    /// The device's error when it was lost. Nothing runs any more.
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
    /// How long it is predicted to take; `None` before any batch has run.
    pub predicted: Option<Duration>,
}

type Listener = Box<dyn Fn(&BatchReport) + Send + Sync>;

/// The record that the device thread keeps, and its listener.
#[derive(Default)]
pub(super) struct Watch {
    state: Mutex<WatchState>,
    listener: OnceLock<Listener>,
}

#[derive(Default)]
struct WatchState {
    finished: Option<Instant>,
    /// Batches that the device has, each with its FLOPs; the first has its turn.
    running: VecDeque<(RunningBatch, f64)>,
    lost: Option<String>,
    /// Running averages per batch, of these two.
    seconds: f64,
    flops: f64,
}

impl WatchState {
    fn predict(&self, flops: f64) -> Option<Duration> {
        let seconds = (self.flops > 0.0).then(|| self.seconds / self.flops * flops)?;
        Some(to_duration(seconds).max(LEAST))
    }
}

impl Watch {
    fn state(&self) -> MutexGuard<'_, WatchState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Registers the listener; later calls are ignored.
    pub(super) fn listen(&self, listener: Listener) {
        let _ = self.listener.set(listener);
    }

    /// Records that the device was given a batch.
    pub(super) fn batch_started(&self, config: &Config, batch: &PackedBatch) {
        let flops = forward_flops(config, batch.spans().map(|span| span.len()));
        let mut state = self.state();
        let predicted = state.predict(flops);
        let (sequences, tokens) = (batch.sequences(), batch.tokens());
        let running = RunningBatch { since: Instant::now(), sequences, tokens, predicted };
        state.running.push_back((running, flops));
    }

    /// Records the end of the batch that was started first. `Err` if it failed, with the device's error if the
    /// device is lost.
    pub(super) fn batch_finished(&self, on_device: Duration, result: Result<(), Option<String>>) {
        let now = Instant::now();
        let mut state = self.state();
        let Some((batch, flops)) = state.running.pop_front() else { return };
        if let Some((next, _)) = state.running.front_mut() {
            next.since = now;
        }
        match &result {
            Ok(()) => {
                state.finished = Some(now);
                let share = if state.flops > 0.0 { NEWEST_SHARE } else { 1.0 };
                state.seconds += share * (on_device.as_secs_f64() - state.seconds);
                state.flops += share * (flops - state.flops);
            }
            Err(lost) => {
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

    /// Records that the batch that was started first was given up. It shows neither how fast the device is nor that it works.
    pub(super) fn batch_given_up(&self) {
        self.state().running.pop_front();
    }

    /// Reports a batch that ran while the one that has its turn paused.
    pub(super) fn short_batch_finished(
        &self,
        sequences: usize,
        tokens: usize,
        on_device: Duration,
        failed: bool,
    ) {
        if let Some(listener) = self.listener.get() {
            listener(&BatchReport { sequences, tokens, on_device, failed, lost: false });
        }
    }

    /// Returns what the device thread does now.
    pub(super) fn pulse(&self) -> Pulse {
        let state = self.state();
        Pulse {
            finished: state.finished,
            running: state.running.front().map(|(batch, _)| *batch),
            lost: state.lost.clone(),
        }
    }
}
