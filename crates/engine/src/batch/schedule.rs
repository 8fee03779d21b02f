//! Which waiting requests form the next batch: a pure function of the queue.
//!
//! The policy is simple for now. Requests are taken in order of arrival while they fit; one that does not
//! fit is passed over, and what follows may still. The oldest is always taken, so nothing starves. It is
//! pure so that a policy by predicted time, deadlines and aging can take its place and be tested by
//! properties alone.

use super::Limits;

/// What the scheduler knows of a waiting request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiting {
    /// Special tokens included; at most [`Limits::max_batch_tokens`].
    pub tokens: usize,
    /// Masked positions whose logits are wanted; at most [`Limits::max_masks`].
    pub masks: usize,
}

/// Indices of the requests to run next, in order of arrival. Empty only for an empty queue.
pub fn next_batch(waiting: &[Waiting], limits: Limits) -> Vec<usize> {
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

/// The next batch where it is full: where it leaves a request behind. `None` where every request that waits
/// would be in it, so that waiting on could only make it better.
pub fn next_full_batch(waiting: &[Waiting], limits: Limits) -> Option<Vec<usize>> {
    let chosen = next_batch(waiting, limits);
    (chosen.len() < waiting.len()).then_some(chosen)
}
