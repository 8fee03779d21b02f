//! Admission and waiting: a bounded number of slots between the callers and the device.
//!
//! A request is admitted, then tokenized, then taken for a batch, and holds its slot until it is answered.
//! Admission is O(1): a slot is free or it is not. A caller that goes away removes its request at once, and so does a
//! deadline that passes. Closing the queue rejects new requests and lets the waiting ones be answered. Requests are
//! tokenized in the order of [`crate::batch::schedule`], which also decides which form a batch; but long texts never occupy
//! all of the tokenizer threads: short ones pass those that wait.

use std::sync::{Arc, PoisonError};
use std::time::Instant;

use super::backlog::Work;
use super::queue_state::QueueState;
use super::slot::{Slot, SlotHolder, Terms};
use super::sync::{AtomicUsize, Condvar, Mutex, MutexGuard, Ordering, now};
use crate::batch::Priority;
use crate::batch::schedule::QueuedRequest;
use crate::error::RequestError;

/// A caller's own bound on requests in flight, as a value that frees a share of it when its last clone is dropped.
pub type Permit = Arc<dyn Send + Sync>;

/// The queue: `A` is admitted and waits to be tokenized, `T` is tokenized and waits for a batch.
pub(crate) struct Queue<A, T> {
    state: Mutex<QueueState<A, T>>,
    on_admitted: Condvar,
    on_tokenized: Condvar,
    /// The next deadline is earlier than before, or the queue is abandoned.
    pub(super) on_deadline: Condvar,
    taken: Arc<AtomicUsize>,
    capacity: usize,
    /// Upper limit on long texts that are tokenized at once.
    long_max: usize,
}

impl<A: SlotHolder, T: SlotHolder> Queue<A, T> {
    /// Returns a queue with so many slots, for so many tokenizer threads: all but one of several take long texts.
    pub(crate) fn new(capacity: usize, tokenizer_threads: usize) -> Self {
        let state = QueueState::new();
        Queue {
            state: Mutex::new(state),
            on_admitted: Condvar::new(),
            on_tokenized: Condvar::new(),
            on_deadline: Condvar::new(),
            taken: Arc::new(AtomicUsize::new(0)),
            capacity,
            long_max: tokenizer_threads.saturating_sub(1).max(1),
        }
    }

    /// No code panics while it holds the lock, so a poisoned one is still whole.
    pub(super) fn lock(&self) -> MutexGuard<'_, QueueState<A, T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a slot and puts what `make` returns in line to be tokenized. Returns the slot's id. With a permit,
    /// the caller bounds its requests, and the slot may be one beyond the capacity.
    pub(crate) fn admit(
        &self,
        permit: Option<Permit>,
        work: Work,
        terms: Terms,
        make: impl FnOnce(Slot) -> A,
    ) -> Result<u64, RequestError> {
        let mut state = self.lock();
        let full = self.taken.load(Ordering::Acquire) >= self.capacity;
        if permit.is_none() && !state.closed && full {
            return Err(RequestError::Overloaded { limit: self.capacity, wait: None });
        }
        let slot = self.take_slot(&mut state, permit, work, terms)?;
        let id = slot.id;
        state.push_admitted(make(slot));
        self.watch_deadline(&mut state, terms);
        drop(state);
        self.on_admitted.notify_one();
        Ok(id)
    }

    /// Takes a slot beyond the capacity if need be, and puts what `make` returns in line for a batch. Returns
    /// the slot's id.
    pub(crate) fn admit_tokenized(
        &self,
        work: Work,
        make: impl FnOnce(Slot) -> T,
    ) -> Result<u64, RequestError> {
        let mut state = self.lock();
        let slot = self.take_slot(&mut state, None, work, Terms::default())?;
        let id = slot.id;
        state.push_tokenized(make(slot));
        drop(state);
        self.on_tokenized.notify_one();
        Ok(id)
    }

    fn take_slot(
        &self,
        state: &mut QueueState<A, T>,
        permit: Option<Permit>,
        work: Work,
        terms: Terms,
    ) -> Result<Slot, RequestError> {
        if state.closed {
            return Err(RequestError::Stopped);
        }
        self.taken.fetch_add(1, Ordering::AcqRel);
        let id = state.next_id;
        state.next_id += 1;
        let (taken, admitted) = (self.taken.clone(), now());
        Ok(Slot { id, terms, start: 0, admitted, promoted: false, taken, _permit: permit, work })
    }

    /// Lets [`Queue::expire_late`] wake for the deadline of a request that waits now.
    fn watch_deadline(&self, state: &mut QueueState<A, T>, terms: Terms) {
        let Some(deadline) = terms.deadline else { return };
        if state.next_deadline.is_none_or(|next| deadline < next) {
            state.next_deadline = Some(deadline);
            self.on_deadline.notify_one();
        }
    }

    /// Answers requests as their deadlines pass while they wait, until the queue is abandoned.
    pub(crate) fn expire_late(&self) {
        let mut state = self.lock();
        while !state.abandoned {
            let now = now();
            state = match state.next_deadline {
                Some(next) if next <= now => self.expire(state, now),
                Some(next) => {
                    let waited = self.on_deadline.wait_timeout(state, next - now);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.on_deadline.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    /// Answers the requests whose deadlines have passed, without the lock.
    fn expire<'a>(
        &'a self,
        mut state: MutexGuard<'a, QueueState<A, T>>,
        now: Instant,
    ) -> MutexGuard<'a, QueueState<A, T>> {
        let (admitted, tokenized) = state.take_late(now);
        if admitted.is_empty() && tokenized.is_empty() {
            return state;
        }
        drop(state);
        admitted.into_iter().for_each(SlotHolder::expire);
        tokenized.into_iter().for_each(SlotHolder::expire);
        // A closed queue may be empty now, which the threads that wait for its end have to see.
        self.on_admitted.notify_all();
        self.on_tokenized.notify_all();
        self.lock()
    }

    /// Returns the number of requests of a priority that wait to be tokenized or for a batch.
    pub(crate) fn waiting(&self, priority: Priority) -> usize {
        let state = self.lock();
        let admitted = state.admitted.iter().map(SlotHolder::slot);
        let slots = admitted.chain(state.tokenized.iter().map(SlotHolder::slot));
        slots.filter(|slot| slot.terms.flow.priority == priority).count()
    }

    /// Returns the number of slots.
    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    /// Returns the number of slots taken now.
    pub(crate) fn taken(&self) -> usize {
        self.taken.load(Ordering::Acquire)
    }

    /// Takes the next request to tokenize, blocking until there is one: the one whose turn it is, or a short one while as
    /// many long ones are being tokenized as may be. `None` once the queue is closed and empty.
    pub(crate) fn take_admitted(&self) -> Option<A> {
        let mut state = self.lock();
        loop {
            state = self.expire(state, now());
            let long_too = state.tokenizing_long < self.long_max;
            if let Some(request) = state.take_admitted(long_too) {
                state.tokenizing += 1;
                state.tokenizing_long += usize::from(request.is_long());
                return Some(request);
            }
            if state.closed && state.admitted.is_empty() {
                return None;
            }
            state = self.on_admitted.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Must follow every [`Queue::take_admitted`], with whether that request was long: puts the tokenized request in
    /// line for a batch, or nothing if it was answered already.
    pub(crate) fn put_tokenized(&self, request: Option<T>, was_long: bool) {
        let mut state = self.lock();
        state.tokenizing -= 1;
        state.tokenizing_long -= usize::from(was_long);
        let rejected = match request {
            Some(request) if !state.abandoned => {
                self.watch_deadline(&mut state, request.slot().terms);
                state.push_tokenized(request);
                None
            }
            late => late,
        };
        drop(state);
        drop(rejected);
        self.on_tokenized.notify_one();
        if was_long {
            // Threads wait for this while only long ones wait; after the last one of a closed queue, all of them.
            self.on_admitted.notify_all();
        }
    }

    /// Takes the tokenized requests whose indices `choose` returns, blocking until there is one to choose.
    /// `None` once the queue is closed and empty.
    pub(crate) fn take_batch(
        &self,
        choose: impl Fn(&[QueuedRequest], bool) -> Vec<usize>,
    ) -> Option<Vec<T>> {
        let mut state = self.lock();
        loop {
            state = self.expire(state, now());
            if !state.tokenized.is_empty() {
                return state.take_batch(|waiting, several| Some(choose(waiting, several)));
            }
            if state.closed && state.admitted.is_empty() && state.tokenizing == 0 {
                return None;
            }
            state = self.on_tokenized.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Takes the tokenized requests whose indices `choose` returns, if it returns any. Never blocks.
    pub(crate) fn try_take_batch(
        &self,
        choose: impl Fn(&[QueuedRequest], bool) -> Option<Vec<usize>>,
    ) -> Option<Vec<T>> {
        self.expire(self.lock(), now()).take_batch(choose)
    }

    /// Removes a request that still waits. One that is being tokenized or runs stays.
    pub(crate) fn cancel(&self, id: u64) {
        let mut state = self.lock();
        let cancelled = state.remove(id);
        drop(state);
        drop(cancelled);
        // A closed queue may be empty now, which the thread that waits for its end has to see.
        self.on_tokenized.notify_all();
    }

    /// Closes the queue and drops every request that waits, and later those being tokenized. Their callers get
    /// an error that the engine has stopped.
    pub(crate) fn abandon(&self) {
        let mut state = self.lock();
        state.closed = true;
        state.abandoned = true;
        let admitted = std::mem::take(&mut state.admitted);
        let tokenized = std::mem::take(&mut state.tokenized);
        drop(state);
        drop((admitted, tokenized));
        self.on_admitted.notify_all();
        self.on_deadline.notify_all();
    }

    /// Rejects requests from now on and wakes every waiting thread.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.on_admitted.notify_all();
        self.on_tokenized.notify_all();
    }
}
