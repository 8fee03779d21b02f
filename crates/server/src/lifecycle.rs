//! The phase of the server: loading, ready, draining, closing, or its device lost.
//!
//! It only stores and announces the phase. Signals and a lost device change it (`serve` of the program,
//! [`observe`](crate::observe)); `/ready`, the middleware and the listener act on it.

use tokio::sync::watch;

/// A phase of the server. Phases only advance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Models are being loaded.
    Loading,
    /// Requests are accepted.
    Ready,
    /// Requests are accepted, but `/ready` answers 503 so that load balancers send new clients elsewhere.
    Draining,
    /// New requests are refused; requests under way are answered.
    Closing,
    /// A device is lost: as [`Phase::Closing`], and the process must be restarted.
    Lost,
}

/// The current phase, and a way to wait for a later one.
#[derive(Debug)]
pub struct Lifecycle {
    phase: watch::Sender<Phase>,
}

impl Default for Lifecycle {
    fn default() -> Self {
        Lifecycle { phase: watch::Sender::new(Phase::Loading) }
    }
}

impl Lifecycle {
    /// Returns the current phase.
    pub fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    /// Advances to `phase`; an earlier phase than the current one is ignored.
    pub fn enter(&self, phase: Phase) {
        self.phase.send_if_modified(|now| {
            let later = phase > *now;
            *now = phase.max(*now);
            later
        });
    }

    /// Waits until the phase is `phase` or a later one.
    pub async fn wait_for(&self, phase: Phase) {
        let mut changes = self.phase.subscribe();
        // The sender is `self`, which outlives this future.
        let _ = changes.wait_for(|now| *now >= phase).await;
    }
}
