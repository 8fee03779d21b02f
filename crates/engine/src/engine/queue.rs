//! Admission and waiting: a bounded number of slots between the callers and the device.
//!
//! A request is admitted, then tokenized, then taken for a batch, and holds its slot until it is answered.
//! Admission is O(1): a slot is free or it is not. A caller that goes away removes its request at once. Closing
//! the queue rejects new requests and lets the waiting ones be answered. Long texts never occupy all of the tokenizer
//! threads: short ones pass those that wait. Which requests form a batch is not decided here: see
//! [`crate::batch::schedule`].

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::backlog::Work;
use crate::error::RequestError;

/// A caller's own bound on requests in flight, as a value that frees a share of it when its last clone is dropped.
pub type Permit = Arc<dyn Send + Sync>;

/// A request's share of the queue's capacity, from admission to the answer; freed when dropped.
pub(crate) struct Slot {
    /// Unique in this queue, ascending by arrival.
    pub(crate) id: u64,
    taken: Arc<AtomicUsize>,
    /// Freed with the slot: a cancelled request may still be on the device when its caller has gone.
    _permit: Option<Permit>,
    /// Done when the slot is freed.
    pub(crate) work: Work,
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.taken.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A request in the queue.
pub(crate) trait SlotHolder {
    fn slot(&self) -> &Slot;

    /// Returns whether its text takes a tokenizer thread for long.
    fn is_long(&self) -> bool {
        false
    }
}

/// The queue: `A` is admitted and waits to be tokenized, `T` is tokenized and waits for a batch.
pub(crate) struct Queue<A, T> {
    state: Mutex<QueueState<A, T>>,
    on_admitted: Condvar,
    on_tokenized: Condvar,
    taken: Arc<AtomicUsize>,
    capacity: usize,
    /// Upper limit on long texts that are tokenized at once.
    long_max: usize,
}

struct QueueState<A, T> {
    admitted: VecDeque<A>,
    /// In order of arrival.
    tokenized: Vec<T>,
    /// Requests being tokenized, which are in neither list.
    tokenizing: usize,
    /// Those of them with long texts.
    tokenizing_long: usize,
    next_id: u64,
    closed: bool,
    /// No thread takes batches any more.
    abandoned: bool,
}

impl<A, T> QueueState<A, T> {
    /// Takes the tokenized requests at these indices, which ascend.
    fn take(&mut self, chosen: &[usize]) -> Vec<T> {
        let Some(last) = chosen.last() else { return Vec::new() };
        let (mut index, mut chosen) = (0, chosen.iter().peekable());
        let is_chosen = |_: &mut T| {
            let found = chosen.next_if_eq(&&index).is_some();
            index += 1;
            found
        };
        // One pass, which closes the gaps as it goes: this happens under the lock that admission needs.
        self.tokenized.extract_if(..=*last, is_chosen).collect()
    }
}

impl<A: SlotHolder, T: SlotHolder> Queue<A, T> {
    /// Returns a queue with so many slots, for so many tokenizer threads: all but one of several take long texts.
    pub(crate) fn new(capacity: usize, tokenizer_threads: usize) -> Self {
        let state = QueueState {
            admitted: VecDeque::new(),
            tokenized: Vec::new(),
            tokenizing: 0,
            tokenizing_long: 0,
            next_id: 0,
            closed: false,
            abandoned: false,
        };
        Queue {
            state: Mutex::new(state),
            on_admitted: Condvar::new(),
            on_tokenized: Condvar::new(),
            taken: Arc::new(AtomicUsize::new(0)),
            capacity,
            long_max: tokenizer_threads.saturating_sub(1).max(1),
        }
    }

    /// No code panics while it holds the lock, so a poisoned one is still whole.
    fn lock(&self) -> MutexGuard<'_, QueueState<A, T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a slot and puts what `make` returns in line to be tokenized. Returns the slot's id. With a permit,
    /// the caller bounds its requests, and the slot may be one beyond the capacity.
    pub(crate) fn admit(
        &self,
        permit: Option<Permit>,
        work: Work,
        make: impl FnOnce(Slot) -> A,
    ) -> Result<u64, RequestError> {
        let mut state = self.lock();
        let full = self.taken.load(Ordering::Acquire) >= self.capacity;
        if permit.is_none() && !state.closed && full {
            return Err(RequestError::Overloaded { limit: self.capacity, wait: None });
        }
        let slot = self.take_slot(&mut state, permit, work)?;
        let id = slot.id;
        state.admitted.push_back(make(slot));
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
        let slot = self.take_slot(&mut state, None, work)?;
        let id = slot.id;
        state.tokenized.push(make(slot));
        drop(state);
        self.on_tokenized.notify_one();
        Ok(id)
    }

    fn take_slot(
        &self,
        state: &mut QueueState<A, T>,
        permit: Option<Permit>,
        work: Work,
    ) -> Result<Slot, RequestError> {
        if state.closed {
            return Err(RequestError::Stopped);
        }
        self.taken.fetch_add(1, Ordering::AcqRel);
        let id = state.next_id;
        state.next_id += 1;
        Ok(Slot { id, taken: self.taken.clone(), _permit: permit, work })
    }

    /// Returns the number of slots.
    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    /// Returns the number of slots taken now.
    pub(crate) fn taken(&self) -> usize {
        self.taken.load(Ordering::Acquire)
    }

    /// Takes the next request to tokenize, blocking until there is one: the first, or the first short one while as
    /// many long ones are being tokenized as may be. `None` once the queue is closed and empty.
    pub(crate) fn take_admitted(&self) -> Option<A> {
        let mut state = self.lock();
        loop {
            let any = state.tokenizing_long < self.long_max;
            let next = state.admitted.iter().position(|request| any || !request.is_long());
            if let Some(request) = next.and_then(|next| state.admitted.remove(next)) {
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
                let id = request.slot().id;
                let at = state.tokenized.partition_point(|other| other.slot().id < id);
                state.tokenized.insert(at, request);
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
    pub(crate) fn take_batch(&self, choose: impl Fn(&[T]) -> Vec<usize>) -> Option<Vec<T>> {
        let mut state = self.lock();
        loop {
            if !state.tokenized.is_empty() {
                let chosen = choose(&state.tokenized);
                return Some(state.take(&chosen));
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
        choose: impl Fn(&[T]) -> Option<Vec<usize>>,
    ) -> Option<Vec<T>> {
        let mut state = self.lock();
        let chosen = choose(&state.tokenized)?;
        Some(state.take(&chosen))
    }

    /// Removes a request that still waits. One that is being tokenized or runs stays.
    pub(crate) fn cancel(&self, id: u64) {
        let mut state = self.lock();
        let at = state.admitted.iter().position(|request| request.slot().id == id);
        let admitted = at.and_then(|at| state.admitted.remove(at));
        let at = state.tokenized.iter().position(|request| request.slot().id == id);
        let tokenized = at.map(|at| state.tokenized.remove(at));
        drop(state);
        drop((admitted, tokenized));
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
    }

    /// Rejects requests from now on and wakes every waiting thread.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.on_admitted.notify_all();
        self.on_tokenized.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::backlog::Backlog;

    struct Waits(Slot, bool);

    impl SlotHolder for Waits {
        fn slot(&self) -> &Slot {
            &self.0
        }

        fn is_long(&self) -> bool {
            self.1
        }
    }

    fn short(slot: Slot) -> Waits {
        Waits(slot, false)
    }

    fn work() -> Work {
        Arc::new(Backlog::default()).add(1)
    }

    fn queue(requests: usize) -> Queue<Waits, Waits> {
        let queue = Queue::new(requests, 3);
        for _ in 0..requests {
            queue.admit(None, work(), short).expect("a slot is free");
        }
        queue
    }

    #[test]
    fn chosen_ones_leave_in_order_and_the_others_stay_in_order() {
        let queue = queue(6);
        (0..6).for_each(|_| queue.put_tokenized(queue.take_admitted(), false));
        let ids = |batch: &[Waits]| batch.iter().map(|w| w.0.id).collect::<Vec<u64>>();
        let taken = queue.take_batch(|_| vec![1, 2, 4]).expect("some are ready");
        assert_eq!(ids(&taken), [1, 2, 4]);
        assert_eq!(ids(&queue.lock().tokenized), [0, 3, 5]);
        assert!(queue.try_take_batch(|_| Some(Vec::new())).is_some_and(|none| none.is_empty()));
    }

    #[test]
    fn a_permit_is_held_beyond_the_capacity_and_as_long_as_the_slot() {
        let queue = queue(1);
        let permit = Arc::new(());
        queue.admit(Some(permit.clone()), work(), short).expect("the caller bounds it");
        queue.put_tokenized(queue.take_admitted(), false);
        let held = queue.take_admitted();
        assert_eq!((queue.taken(), Arc::strong_count(&permit)), (2, 2));
        queue.cancel(1);
        assert_eq!(Arc::strong_count(&permit), 2, "it is being tokenized");
        queue.put_tokenized(None, false);
        drop(held);
        assert_eq!((queue.taken(), Arc::strong_count(&permit)), (1, 1));
    }

    #[test]
    fn what_is_being_tokenized_when_the_queue_is_abandoned_waits_for_nobody() {
        let queue = queue(3);
        let admitted = queue.take_admitted();
        queue.abandon();
        assert_eq!(queue.taken(), 1, "two waited");
        queue.put_tokenized(admitted, false);
        assert_eq!(queue.taken(), 0);
        assert!(queue.take_batch(|_| vec![0]).is_none());
    }

    #[test]
    fn long_texts_leave_a_thread_to_short_ones_and_none_is_lost() {
        let queue: Queue<Waits, Waits> = Queue::new(8, 3);
        for long in [true, true, true, false, true, false] {
            queue.admit(None, work(), |slot| Waits(slot, long)).expect("a slot is free");
        }
        let take = || queue.take_admitted().map(|request| (request.0.id, request.1));
        assert_eq!([take(), take()], [Some((0, true)), Some((1, true))]);
        assert_eq!([take(), take()], [Some((3, false)), Some((5, false))], "two long ones run");
        queue.close();
        std::thread::scope(|scope| {
            // Only long ones wait now: three threads take them as those before are done, and all of them end.
            for _ in 0..3 {
                scope.spawn(|| {
                    while let Some(request) = queue.take_admitted() {
                        queue.put_tokenized(None, request.is_long());
                    }
                });
            }
            queue.put_tokenized(None, true);
            queue.put_tokenized(None, true);
        });
        let state = queue.lock();
        assert_eq!((state.admitted.len(), state.tokenizing_long), (0, 0));
    }

    #[test]
    fn a_single_thread_takes_long_texts_in_order() {
        let queue: Queue<Waits, Waits> = Queue::new(2, 1);
        for long in [true, false] {
            queue.admit(None, work(), |slot| Waits(slot, long)).expect("a slot is free");
        }
        assert!(queue.take_admitted().is_some_and(|request| request.is_long()));
    }
}
