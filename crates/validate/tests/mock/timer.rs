//! A timer with an error of a tenth of a millisecond; an async runtime's has one or two milliseconds.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use tokio::sync::oneshot;

/// A thread that wakes each waiter at its time.
pub(super) struct Timer {
    shared: Arc<TimerShared>,
}

struct TimerShared {
    state: Mutex<TimerState>,
    changed: Condvar,
}

#[derive(Default)]
struct TimerState {
    waiting: BinaryHeap<Reverse<Waiter>>,
    stopped: bool,
}

struct Waiter {
    due: Instant,
    wake: oneshot::Sender<()>,
}

impl Timer {
    pub(super) fn start() -> Timer {
        let shared = Arc::new(TimerShared {
            state: Mutex::new(TimerState::default()),
            changed: Condvar::new(),
        });
        let of_thread = Arc::clone(&shared);
        thread::spawn(move || of_thread.run());
        Timer { shared }
    }

    pub(super) async fn sleep_until(&self, due: Instant) {
        // The sender is dropped only when the server stops.
        let _ = self.waiter(due).await;
    }

    fn waiter(&self, due: Instant) -> oneshot::Receiver<()> {
        let (wake, woken) = oneshot::channel();
        let mut state = self.shared.state.lock().unwrap_or_else(PoisonError::into_inner);
        let first = state.waiting.peek().is_none_or(|Reverse(next)| due < next.due);
        state.waiting.push(Reverse(Waiter { due, wake }));
        drop(state);
        if first {
            self.shared.changed.notify_one();
        }
        woken
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner).stopped = true;
        self.shared.changed.notify_one();
    }
}

impl TimerShared {
    fn run(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        while !state.stopped {
            let now = Instant::now();
            state = match state.waiting.peek().map(|Reverse(next)| next.due) {
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(due) if due > now => {
                    let waited = self.changed.wait_timeout(state, due - now);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
                Some(_) => {
                    if let Some(Reverse(waiter)) = state.waiting.pop() {
                        // The waiter is gone if its client closed the connection.
                        let _ = waiter.wake.send(());
                    }
                    state
                }
            };
        }
    }
}

impl PartialEq for Waiter {
    fn eq(&self, other: &Waiter) -> bool {
        self.due == other.due
    }
}

impl Eq for Waiter {}

impl PartialOrd for Waiter {
    fn partial_cmp(&self, other: &Waiter) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Waiter {
    fn cmp(&self, other: &Waiter) -> Ordering {
        self.due.cmp(&other.due)
    }
}
