//! Which waiting requests form the next batch: a pure function of the queue.
//!
//! Requests are taken in order of arrival while they fit; one that does not fit is skipped, and those behind
//! it may still fit. The oldest is always taken, so that none starves. It is pure so that a policy by predicted
//! time, deadlines and aging can replace it and be tested by properties alone. It does not wait and holds no
//! requests: that is the engine's queue.

use super::Limits;

/// The size of a waiting request: all that the scheduler sees of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueuedRequest {
    /// Special tokens included; at most [`Limits::max_batch_tokens`].
    pub tokens: usize,
    /// Masked positions whose logits are asked for; at most [`Limits::max_masks`].
    pub masks: usize,
}

/// Returns the indices of the requests to run next, in order of arrival. Empty only for an empty queue.
pub fn next_batch(waiting: &[QueuedRequest], limits: Limits) -> Vec<usize> {
    let (mut tokens, mut masks) = (0, 0);
    let mut chosen = Vec::new();
    for (index, request) in waiting.iter().enumerate() {
        if chosen.len() == limits.max_batch_sequences || tokens == limits.max_batch_tokens {
            break;
        }
        if tokens + request.tokens <= limits.max_batch_tokens
            && masks + request.masks <= limits.max_masks
        {
            tokens += request.tokens;
            masks += request.masks;
            chosen.push(index);
        }
    }
    chosen
}

/// Returns the next batch if it is full, that is, if it leaves a request behind. `None` if every waiting
/// request would be in it, so that a later start could only add to it.
pub fn next_full_batch(waiting: &[QueuedRequest], limits: Limits) -> Option<Vec<usize>> {
    let chosen = next_batch(waiting, limits);
    (chosen.len() < waiting.len()).then_some(chosen)
}
