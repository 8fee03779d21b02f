//! loom's primitives under the names that the queue uses, and a clock that stands still.

use std::cell::Cell;
use std::sync::LockResult;
use std::time::{Duration, Instant};

pub(super) use loom::sync::atomic::{AtomicUsize, Ordering};
pub(super) use loom::sync::{Mutex, MutexGuard};

thread_local! {
    // loom runs all threads of a model as coroutines of one.
    static NOW: Cell<Instant> = Cell::new(Instant::now());
}

pub(super) fn now() -> Instant {
    NOW.get()
}

pub(super) fn advance(time: Duration) {
    NOW.set(NOW.get() + time);
}

/// loom's signal, which has no time-outs: [`Condvar::time_out`] causes them.
pub(super) struct Condvar {
    signal: loom::sync::Condvar,
    /// std's, so that it is no step of a model.
    timed: std::sync::atomic::AtomicUsize,
}

impl Condvar {
    pub(super) fn new() -> Condvar {
        Condvar { signal: loom::sync::Condvar::new(), timed: Default::default() }
    }

    pub(super) fn wait<'a, T>(&self, guard: MutexGuard<'a, T>) -> LockResult<MutexGuard<'a, T>> {
        self.signal.wait(guard)
    }

    pub(super) fn wait_timeout<'a, T>(
        &self,
        guard: MutexGuard<'a, T>,
        _: Duration,
    ) -> LockResult<(MutexGuard<'a, T>, ())> {
        self.timed.fetch_add(1, Ordering::Relaxed);
        let guard = self.signal.wait(guard);
        self.timed.fetch_sub(1, Ordering::Relaxed);
        guard.map(|guard| (guard, ())).map_err(|_| unreachable!("loom poisons no lock"))
    }

    pub(super) fn notify_one(&self) {
        self.signal.notify_one();
    }

    pub(super) fn notify_all(&self) {
        self.signal.notify_all();
    }

    /// Ends the waits that have a time-out. The caller holds the lock.
    pub(super) fn time_out(&self) {
        if self.timed.load(Ordering::Relaxed) > 0 {
            self.signal.notify_all();
        }
    }
}
