//! The state of the device thread for other threads: its batch, since when, and the predicted time.
//!
//! A health check reads this without waiting in the queue, to distinguish slow from stuck. The prediction is that of
//! [`CostModel`](crate::batch::cost::CostModel), but at least `LEAST`. Waits are predicted by `backlog`, from the admission of requests on;
//! here only the device's turns count.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use super::backlog::to_duration;
use crate::batch::PackedBatch;

/// Lower bound of a prediction.
const LEAST: Duration = Duration::from_millis(100);

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
    /// Batches that the device has; the first has its turn.
    running: VecDeque<RunningBatch>,
    lost: Option<String>,
}

impl Watch {
    fn state(&self) -> MutexGuard<'_, WatchState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Registers the listener; later calls are ignored.
    pub(super) fn listen(&self, listener: Listener) {
        let _ = self.listener.set(listener);
    }

    /// Records that the device was given a batch that is predicted to take so many seconds; `None` if nothing is known of it.
    pub(super) fn batch_started(&self, batch: &PackedBatch, seconds: Option<f64>) {
        let predicted = seconds.map(|seconds| to_duration(seconds).max(LEAST));
        let (sequences, tokens) = (batch.sequences(), batch.tokens());
        let running = RunningBatch { since: Instant::now(), sequences, tokens, predicted };
        self.state().running.push_back(running);
    }

    /// Records the end of the batch that was started first. `Err` if it failed, with the device's error if the
    /// device is lost.
    pub(super) fn batch_finished(&self, on_device: Duration, result: Result<(), Option<String>>) {
        let now = Instant::now();
        let mut state = self.state();
        let Some(batch) = state.running.pop_front() else { return };
        if let Some(next) = state.running.front_mut() {
            next.since = now;
        }
        match &result {
            Ok(()) => state.finished = Some(now),
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
            running: state.running.front().copied(),
            lost: state.lost.clone(),
        }
    }
}
