//! What the server as a whole does: it loads, serves, drains, stops, or has lost its device.

use tokio::sync::watch;

/// Where in its life the server is. Only ever goes forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Models are being loaded.
    Loading,
    /// Requests are taken.
    Ready,
    /// Requests are taken, but no new clients should come: `/ready` says 503.
    Draining,
    /// What comes is refused, what is under way is answered.
    Closing,
    /// A device is lost: as [`Phase::Closing`], and the process is to be started again.
    Lost,
}

/// The phase, told to whoever waits for another.
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
    /// The phase now.
    pub fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    /// Goes on to a phase, unless it is past that.
    pub fn enter(&self, phase: Phase) {
        self.phase.send_if_modified(|now| {
            let later = phase > *now;
            *now = phase.max(*now);
            later
        });
    }

    /// Waits until the phase is this one or a later one.
    pub async fn reached(&self, phase: Phase) {
        let mut changes = self.phase.subscribe();
        // The sender is `self`, which outlives this future.
        let _ = changes.wait_for(|now| *now >= phase).await;
    }
}
