//! Admission and waiting: a bounded place for every request between the caller and the device.
//!
//! A request is raw (a text to be tokenized), then ready (tokens), then gone. Admission is O(1): there is
//! room or there is not. A caller that goes away takes its request out at once. Closing the queue refuses
//! what comes and lets what waits be answered.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::error::RequestError;

/// A place in the queue, from admission to the answer; given back when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    /// Unique in this queue; orders by arrival.
    pub(crate) id: u64,
    taken: Arc<AtomicUsize>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.taken.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Something that holds a place.
pub(crate) trait Placed {
    fn place(&self) -> &Place;
}

/// The queue: `R` waits to be tokenized, `T` waits for a batch.
pub(crate) struct Queue<R, T> {
    state: Mutex<State<R, T>>,
    raw_came: Condvar,
    ready_came: Condvar,
    taken: Arc<AtomicUsize>,
    capacity: usize,
}

struct State<R, T> {
    raw: VecDeque<R>,
    /// In order of arrival.
    ready: Vec<T>,
    /// Being tokenized: neither raw nor ready.
    tokenizing: usize,
    next_id: u64,
    closed: bool,
    /// Nobody takes batches any more.
    abandoned: bool,
}

impl<R, T> State<R, T> {
    /// Takes the ready requests at these indices, which ascend.
    fn take(&mut self, chosen: &[usize]) -> Vec<T> {
        let Some(last) = chosen.last() else { return Vec::new() };
        let (mut index, mut chosen) = (0, chosen.iter().peekable());
        let is_chosen = |_: &mut T| {
            let found = chosen.next_if_eq(&&index).is_some();
            index += 1;
            found
        };
        // One pass, which closes the gaps as it goes: this happens under the lock that admission needs.
        self.ready.extract_if(..=*last, is_chosen).collect()
    }
}

impl<R: Placed, T: Placed> Queue<R, T> {
    pub(crate) fn new(capacity: usize) -> Self {
        let state = State {
            raw: VecDeque::new(),
            ready: Vec::new(),
            tokenizing: 0,
            next_id: 0,
            closed: false,
            abandoned: false,
        };
        Queue {
            state: Mutex::new(state),
            raw_came: Condvar::new(),
            ready_came: Condvar::new(),
            taken: Arc::new(AtomicUsize::new(0)),
            capacity,
        }
    }

    /// No code panics while it holds the lock, so a poisoned one is still whole.
    fn lock(&self) -> MutexGuard<'_, State<R, T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place and puts what `make` returns in line. Returns the place's id.
    pub(crate) fn admit(&self, make: impl FnOnce(Place) -> R) -> Result<u64, RequestError> {
        let mut state = self.lock();
        if state.closed {
            return Err(RequestError::Stopped);
        }
        if self.taken.load(Ordering::Acquire) >= self.capacity {
            return Err(RequestError::Overloaded { limit: self.capacity, wait: None });
        }
        self.taken.fetch_add(1, Ordering::AcqRel);
        let id = state.next_id;
        state.next_id += 1;
        state.raw.push_back(make(Place { id, taken: self.taken.clone() }));
        drop(state);
        self.raw_came.notify_one();
        Ok(id)
    }

    /// Puts what `make` returns in line for a batch, beyond the bound. Returns the place's id.
    pub(crate) fn admit_ready(&self, make: impl FnOnce(Place) -> T) -> Result<u64, RequestError> {
        let mut state = self.lock();
        if state.closed {
            return Err(RequestError::Stopped);
        }
        self.taken.fetch_add(1, Ordering::AcqRel);
        let id = state.next_id;
        state.next_id += 1;
        state.ready.push(make(Place { id, taken: self.taken.clone() }));
        drop(state);
        self.ready_came.notify_one();
        Ok(id)
    }

    /// Places.
    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    /// Requests that hold a place now.
    pub(crate) fn taken(&self) -> usize {
        self.taken.load(Ordering::Acquire)
    }

    /// The next request to tokenize; waits for one. `None` once the queue is closed and empty.
    pub(crate) fn take_raw(&self) -> Option<R> {
        let mut state = self.lock();
        loop {
            if let Some(raw) = state.raw.pop_front() {
                state.tokenizing += 1;
                return Some(raw);
            }
            if state.closed {
                return None;
            }
            state = self.raw_came.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Follows every [`Queue::take_raw`]: the tokenized request, or nothing if it was answered already.
    pub(crate) fn put_ready(&self, ready: Option<T>) {
        let mut state = self.lock();
        state.tokenizing -= 1;
        let late = match ready {
            Some(ready) if !state.abandoned => {
                let at = state.ready.partition_point(|other| other.place().id < ready.place().id);
                state.ready.insert(at, ready);
                None
            }
            late => late,
        };
        drop(state);
        drop(late);
        self.ready_came.notify_one();
    }

    /// Takes the requests that `choose` picks of those that are ready; waits until there is one.
    /// `None` once the queue is closed and everything in it was taken.
    pub(crate) fn take_batch(&self, choose: impl Fn(&[T]) -> Vec<usize>) -> Option<Vec<T>> {
        let mut state = self.lock();
        loop {
            if !state.ready.is_empty() {
                let chosen = choose(&state.ready);
                return Some(state.take(&chosen));
            }
            if state.closed && state.raw.is_empty() && state.tokenizing == 0 {
                return None;
            }
            state = self.ready_came.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Takes the requests that `choose` picks of those that are ready, if it picks any. Never waits.
    pub(crate) fn try_take_batch(
        &self,
        choose: impl Fn(&[T]) -> Option<Vec<usize>>,
    ) -> Option<Vec<T>> {
        let mut state = self.lock();
        let chosen = choose(&state.ready)?;
        Some(state.take(&chosen))
    }

    /// Drops a request that still waits. One that is being tokenized or runs is left alone.
    pub(crate) fn cancel(&self, id: u64) {
        let mut state = self.lock();
        let raw =
            state.raw.iter().position(|r| r.place().id == id).and_then(|i| state.raw.remove(i));
        let ready =
            state.ready.iter().position(|r| r.place().id == id).map(|i| state.ready.remove(i));
        drop(state);
        drop((raw, ready));
        // A closed queue may be empty now, which whoever waits for its end has to see.
        self.ready_came.notify_all();
    }

    /// Closes the queue and drops what waits, and later what is being tokenized, whose callers hear that the
    /// engine is stopped.
    pub(crate) fn abandon(&self) {
        let mut state = self.lock();
        state.closed = true;
        state.abandoned = true;
        let waiting = (std::mem::take(&mut state.raw), std::mem::take(&mut state.ready));
        drop(state);
        drop(waiting);
        self.raw_came.notify_all();
    }

    /// Refuses what comes from now on and wakes everyone.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.raw_came.notify_all();
        self.ready_came.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Waits(Place);

    impl Placed for Waits {
        fn place(&self) -> &Place {
            &self.0
        }
    }

    fn queue(requests: usize) -> Queue<Waits, Waits> {
        let queue = Queue::new(requests);
        for _ in 0..requests {
            queue.admit(Waits).expect("there is room");
        }
        queue
    }

    #[test]
    fn chosen_ones_leave_in_order_and_the_others_stay_in_order() {
        let queue = queue(6);
        (0..6).for_each(|_| queue.put_ready(queue.take_raw()));
        let ids = |batch: &[Waits]| batch.iter().map(|w| w.0.id).collect::<Vec<u64>>();
        let taken = queue.take_batch(|_| vec![1, 2, 4]).expect("some are ready");
        assert_eq!(ids(&taken), [1, 2, 4]);
        assert_eq!(ids(&queue.lock().ready), [0, 3, 5]);
        assert!(queue.try_take_batch(|_| Some(Vec::new())).is_some_and(|none| none.is_empty()));
    }

    #[test]
    fn what_is_being_tokenized_when_the_queue_is_abandoned_waits_for_nobody() {
        let queue = queue(3);
        let raw = queue.take_raw();
        queue.abandon();
        assert_eq!(queue.taken(), 1, "two waited");
        queue.put_ready(raw);
        assert_eq!(queue.taken(), 0);
        assert!(queue.take_batch(|_| vec![0]).is_none());
    }
}
