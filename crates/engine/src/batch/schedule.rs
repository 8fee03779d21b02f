//! Which waiting requests form the next batch: a pure function of the queue.
//!
//! Interactive requests come before those of [`Priority::Batch`], unless these have waited for [`AGING`]: then they rank as
//! interactive. Within a rank, requests are taken by their start in virtual time, so that clients have equal shares
//! ([`FairClock`](super::FairClock)), and those with the same start in order of arrival. One that does not fit is skipped, and those
//! behind it may still fit. The first in this order is always taken, so that none starves. It is pure so that it can be
//! tested by properties alone. It does not wait and holds no requests: that is the engine's queue.

use std::time::Duration;

use super::Limits;
use super::fair::{Flow, Priority};

/// Time after which a request of [`Priority::Batch`] ranks as interactive.
pub const AGING: Duration = Duration::from_secs(10);

/// A waiting request: all that the scheduler sees of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct QueuedRequest {
    /// Special tokens included; at most [`Limits::max_batch_tokens`].
    pub tokens: usize,
    /// Masked positions whose logits are asked for; at most [`Limits::max_masks`].
    pub masks: usize,
    /// Whose it is, and its priority.
    pub flow: Flow,
    /// Time since it was admitted.
    pub age: Duration,
    /// When it is its turn, in virtual time: [`FairClock::enter`](super::FairClock::enter).
    pub start: u64,
}

impl QueuedRequest {
    /// Returns whether it ranks as interactive.
    pub fn is_urgent(&self) -> bool {
        self.flow.priority == Priority::Interactive || self.age >= AGING
    }
}

/// Returns the indices of the requests to run next, in order of arrival. Empty only for an empty queue.
pub fn next_batch(waiting: &[QueuedRequest], limits: Limits) -> Vec<usize> {
    next_batch_of(waiting, limits, |_| true)
}

/// As [`next_batch`], of requests that `joins` accepts. It is asked in their order about each that fits.
pub(super) fn next_batch_of(
    waiting: &[QueuedRequest],
    limits: Limits,
    mut joins: impl FnMut(&QueuedRequest) -> bool,
) -> Vec<usize> {
    let mut order: Vec<usize> = (0..waiting.len()).collect();
    order.sort_unstable_by_key(|&index| (!waiting[index].is_urgent(), waiting[index].start, index));
    let (mut tokens, mut masks) = (0, 0);
    let mut chosen = Vec::new();
    for index in order {
        if chosen.len() == limits.max_batch_sequences || tokens == limits.max_batch_tokens {
            break;
        }
        let request = &waiting[index];
        if tokens + request.tokens <= limits.max_batch_tokens
            && masks + request.masks <= limits.max_masks
            && joins(request)
        {
            tokens += request.tokens;
            masks += request.masks;
            chosen.push(index);
        }
    }
    chosen.sort_unstable();
    chosen
}
