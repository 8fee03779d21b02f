//! The locks, signals, counters and the clock that the queue is written with. They are std's.
//!
//! The queue, its state and its slots name nothing of the kind but what is here, so that `queue_interleavings` can compile
//! the same sources over loom's.

pub(super) use std::sync::atomic::{AtomicUsize, Ordering};
pub(super) use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::Instant;

/// Returns the time.
pub(super) fn now() -> Instant {
    Instant::now()
}
