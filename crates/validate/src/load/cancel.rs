//! The flag that stops a run early.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

/// A flag that stops a run, for example from a signal handler. Clones share one flag.
#[derive(Debug, Clone, Default)]
pub struct Cancel {
    inner: Arc<CancelInner>,
}

#[derive(Debug, Default)]
struct CancelInner {
    raised: AtomicBool,
    wake: Notify,
}

impl Cancel {
    /// Creates a flag that is not raised.
    pub fn new() -> Cancel {
        Cancel::default()
    }

    /// Stops the run: the running cell and those after it become "not run", as interrupted.
    pub fn cancel(&self) {
        self.inner.raised.store(true, Ordering::SeqCst);
        self.inner.wake.notify_waiters();
    }

    /// Returns true once [`Cancel::cancel`] was called.
    pub fn is_cancelled(&self) -> bool {
        self.inner.raised.load(Ordering::SeqCst)
    }

    pub(crate) async fn cancelled(&self) {
        let wake = self.inner.wake.notified();
        tokio::pin!(wake);
        // Registered before the flag is read, so that a call in between is not missed.
        wake.as_mut().enable();
        if !self.is_cancelled() {
            wake.await;
        }
    }
}
