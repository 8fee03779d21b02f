//! A request's share of the queue's capacity, and how a request with one waits its turn.
//!
//! Which request has its turn is decided by [`crate::batch::schedule`], and before it is tokenized by the same order.

use std::sync::Arc;
use std::time::Instant;

use super::backlog::Work;
use super::queue::Permit;
use super::sync::{AtomicUsize, Ordering};
use crate::batch::schedule::QueuedRequest;
use crate::batch::{FairClock, Flow, Priority};

/// The client and the priority of a request, and its deadline.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Terms {
    pub(crate) flow: Flow,
    pub(crate) deadline: Option<Instant>,
}

/// A request's share of the queue's capacity, from admission to the answer; freed when dropped.
pub(crate) struct Slot {
    /// Unique in this queue, ascending by arrival.
    pub(crate) id: u64,
    /// Its flow becomes interactive when the request has waited for [`crate::batch::schedule::AGING`].
    pub(super) terms: Terms,
    /// The virtual time at which its turn begins.
    pub(super) start: u64,
    pub(super) admitted: Instant,
    /// Whether its flow became interactive, which put it behind requests that arrived later.
    pub(super) promoted: bool,
    pub(super) taken: Arc<AtomicUsize>,
    /// Freed with the slot: a cancelled request may still be on the device when its caller has gone.
    pub(super) _permit: Option<Permit>,
    /// Done when the slot is freed.
    pub(crate) work: Work,
}

impl Slot {
    /// Returns whether the deadline has passed.
    pub(crate) fn is_late(&self, now: Instant) -> bool {
        self.terms.deadline.is_some_and(|deadline| deadline <= now)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.taken.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A request in the queue.
pub(crate) trait SlotHolder {
    fn slot(&self) -> &Slot;

    fn slot_mut(&mut self) -> &mut Slot;

    /// Returns the bytes of its text, or its tokens.
    fn cost(&self) -> usize;

    /// Returns the masked positions whose logits it asks for.
    fn masks(&self) -> usize {
        0
    }

    /// Returns whether its text takes a tokenizer thread for long.
    fn is_long(&self) -> bool {
        false
    }

    /// Frees the slot and answers that the deadline has passed.
    fn expire(self);

    /// Returns what the scheduler sees of it.
    fn queued(&self, now: Instant) -> QueuedRequest {
        let (slot, tokens, masks) = (self.slot(), self.cost(), self.masks());
        let age = now.saturating_duration_since(slot.admitted);
        QueuedRequest { tokens, masks, flow: slot.terms.flow, age, start: slot.start }
    }

    /// Takes back what its flow paid, if it leaves before its turn; `later` are those that arrived after it.
    fn leave<'a>(&self, clock: &mut FairClock, later: impl Iterator<Item = &'a mut Self>)
    where
        Self: Sized + 'a,
    {
        let Slot { terms: Terms { flow, .. }, start, .. } = *self.slot();
        let moved = clock.leave(flow, start, self.cost());
        for slot in later.map(SlotHolder::slot_mut).filter(|slot| slot.terms.flow == flow) {
            slot.start = moved(slot.start);
        }
    }

    /// Makes a batch request interactive that has waited long enough: [`FairClock::promote`].
    fn promote(&mut self, clock: &mut FairClock, now: Instant) {
        // Most are interactive, of which nothing else is looked at.
        if self.slot().terms.flow.priority == Priority::Batch {
            let mut queued = self.queued(now);
            clock.promote(&mut queued);
            let slot = self.slot_mut();
            slot.promoted = queued.flow != slot.terms.flow;
            (slot.terms.flow, slot.start) = (queued.flow, queued.start);
        }
    }
}
