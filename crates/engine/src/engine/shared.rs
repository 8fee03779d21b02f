//! The state that the caller's side, the tokenizer threads and the device thread share.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use super::backlog::Backlog;
use super::queue::Queue;
use super::request::{AdmittedRequest, TokenizedRequest};
use super::watch::Watch;
use crate::backend::ArenaUsage;
use crate::batch::Limits;
use crate::batch::cost::{CostFit, CostModel};
use crate::device::{DeviceInfo, MemoryMeter, MemoryPlan};
use crate::error::RequestError;
use crate::model::Model;
use crate::text::input::InputLength;

/// The state of an engine.
pub(super) struct Shared {
    pub(super) model: Model,
    pub(super) queue: Queue<AdmittedRequest, TokenizedRequest>,
    pub(super) backlog: Arc<Backlog>,
    pub(super) limits: Limits,
    /// Upper limit on the tokens of an input that passes longer ones; 0 where none does.
    pub(super) short_tokens: usize,
    /// Tokens of the longest input that is accepted.
    pub(super) max_tokens: usize,
    /// As the latest batch left it.
    pub(super) arena: Mutex<ArenaUsage>,
    pub(super) info: DeviceInfo,
    pub(super) meter: MemoryMeter,
    /// Batches handed to the device since the start.
    pub(super) batches: AtomicU64,
    /// Batches that the device has now.
    pub(super) on_device: AtomicUsize,
    pub(super) memory_plan: MemoryPlan,
    pub(super) watch: Watch,
    /// How long batches take, fitted to those that ran.
    pub(super) costs: Mutex<CostFit>,
    /// Where the fit is kept for the next start, if it is.
    pub(super) cost_file: OnceLock<Option<PathBuf>>,
}

impl Shared {
    /// No code panics while it holds the lock, so a poisoned one is still whole.
    pub(super) fn fit(&self) -> MutexGuard<'_, CostFit> {
        self.costs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the model of how long batches take.
    pub(super) fn cost_model(&self) -> CostModel {
        self.fit().model()
    }

    /// Predicts the nanoseconds of device time that a sequence of so many tokens adds to a batch.
    pub(super) fn nanoseconds(&self, tokens: usize) -> u64 {
        self.cost_model().nanoseconds(tokens)
    }

    /// As [`Shared::nanoseconds`], if the encoder stops after `layers` layers; `None` for all.
    pub(super) fn nanoseconds_at(&self, tokens: usize, layers: Option<usize>) -> u64 {
        self.cost_model().nanoseconds_at_depth(tokens, self.model.config.depth(layers))
    }

    /// Returns the nanoseconds of an input if it is short enough to pass longer ones.
    pub(super) fn if_short(&self, nanoseconds: u64) -> Option<u64> {
        let most = self.short_tokens;
        (most > 0 && nanoseconds <= self.nanoseconds(most)).then_some(nanoseconds)
    }

    /// Records how many tokens an input has, special ones included. Inputs that came as ids do not count.
    pub(super) fn record_tokens(&self, length: InputLength, tokens: usize) {
        if let InputLength::Bytes(bytes) = length {
            let special = self.model.tokenizer.frame_tokens();
            self.backlog.record_text(bytes, tokens.saturating_sub(special));
        }
    }

    /// Predicts the tokens of an input, special ones included.
    pub(super) fn predict_tokens(&self, length: InputLength) -> usize {
        match length {
            InputLength::Bytes(bytes) => {
                self.backlog.predict_tokens(bytes) + self.model.tokenizer.frame_tokens()
            }
            InputLength::Tokens(tokens) => tokens,
        }
    }

    /// Returns the error for a request whose worker threads have gone.
    pub(super) fn stopped_error(&self) -> RequestError {
        self.watch.pulse().lost.map_or(RequestError::Stopped, RequestError::DeviceLost)
    }
}
