//! Counts and logs connections and streams that the server refuses or cuts.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use tokio::sync::Notify;

use super::counters::load;
use super::log_rate::LogRate;

/// Log lines per second and cause.
const LINES_PER_SECOND: u32 = 1;

/// Why a connection or stream was refused or cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    /// All connections are in use.
    Full,
    /// The client address has all its connections in use.
    ClientFull,
    /// It was idle, and its place was needed.
    Evicted,
    /// The client did not read its answer, or too slowly.
    SlowReader,
    /// The client sent more HTTP/2 control frames than its requests need.
    ControlFrames,
}

impl Cut {
    const ALL: [Cut; 5] =
        [Cut::Full, Cut::ClientFull, Cut::Evicted, Cut::SlowReader, Cut::ControlFrames];

    fn name(self) -> &'static str {
        match self {
            Cut::Full => "full",
            Cut::ClientFull => "client_full",
            Cut::Evicted => "evicted",
            Cut::SlowReader => "slow_reader",
            Cut::ControlFrames => "control_frames",
        }
    }

    fn explanation(self) -> &'static str {
        match self {
            Cut::Full => "connection refused: all connections are in use (--max-connections)",
            Cut::ClientFull => {
                "connection refused: its address has its share in use (--max-connections-per-client)"
            }
            Cut::Evicted => "connection closed: its place was needed (--max-connections)",
            Cut::SlowReader => {
                "answer cut off: its client reads too slowly (--body-timeout, --min-response-data-rate)"
            }
            Cut::ControlFrames => "connection closed: a flood of HTTP/2 control frames",
        }
    }
}

/// Counters of connections.
#[derive(Debug)]
pub(crate) struct ConnectionCounters {
    open: AtomicUsize,
    /// Notified when one has been closed.
    ended: Notify,
    cuts: [(AtomicU64, LogRate); Cut::ALL.len()],
}

impl Default for ConnectionCounters {
    fn default() -> Self {
        let cuts = std::array::from_fn(|_| (AtomicU64::new(0), LogRate::new(LINES_PER_SECOND)));
        ConnectionCounters { open: AtomicUsize::new(0), ended: Notify::new(), cuts }
    }
}

impl ConnectionCounters {
    /// Sets the number of open connections.
    pub(crate) fn set_open(&self, count: usize) {
        if count < self.open.swap(count, Ordering::Relaxed) {
            self.ended.notify_one();
        }
    }

    /// Waits until a connection has been closed.
    pub(crate) async fn wait_for_end(&self) {
        self.ended.notified().await;
    }

    /// Returns the number of open connections.
    pub(crate) fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Counts a refused or cut connection or stream, and logs it unless lines like it were logged this second.
    pub(crate) fn record_cut(&self, cut: Cut, client: IpAddr) {
        let (count, rate) = &self.cuts[cut as usize];
        count.fetch_add(1, Ordering::Relaxed);
        if let Some(left_out) = rate.admit() {
            tracing::warn!(%client, left_out, "{}", cut.explanation());
        }
    }

    /// Iterates over all causes with their counts, zeros included.
    pub(crate) fn cuts(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let counts = self.cuts.iter().map(|(count, _)| load(count));
        Cut::ALL.into_iter().map(Cut::name).zip(counts)
    }
}
