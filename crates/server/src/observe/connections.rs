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

/// Connections that have to be closed after a peak before [`ConnectionCounters::wait_for_fall`] returns.
const FALL_MIN: usize = 128;

/// Counters of connections.
#[derive(Debug)]
pub(crate) struct ConnectionCounters {
    open: AtomicUsize,
    /// The most open connections since the latest fall.
    peak: AtomicUsize,
    /// Notified when at least half of them and [`FALL_MIN`] have been closed.
    fallen: Notify,
    cuts: [(AtomicU64, LogRate); Cut::ALL.len()],
}

impl Default for ConnectionCounters {
    fn default() -> Self {
        let cuts = std::array::from_fn(|_| (AtomicU64::new(0), LogRate::new(LINES_PER_SECOND)));
        let (open, peak) = (AtomicUsize::new(0), AtomicUsize::new(0));
        ConnectionCounters { open, peak, fallen: Notify::new(), cuts }
    }
}

impl ConnectionCounters {
    /// Sets the number of open connections.
    pub(crate) fn set_open(&self, count: usize) {
        self.open.store(count, Ordering::Relaxed);
        let peak = self.peak.fetch_max(count, Ordering::Relaxed).max(count);
        if count <= peak / 2 && peak - count >= FALL_MIN {
            self.peak.store(count, Ordering::Relaxed);
            self.fallen.notify_one();
        }
    }

    /// Waits until half of the open connections have been closed, if they were many.
    pub(crate) async fn wait_for_fall(&self) {
        self.fallen.notified().await;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_fall_is_that_of_half_of_many_connections() {
        let counters = ConnectionCounters::default();
        let fell = async || {
            tokio::select! {
                biased;
                () = counters.wait_for_fall() => true,
                () = std::future::ready(()) => false,
            }
        };
        for count in [100, 0, 400, 201] {
            counters.set_open(count);
            assert!(!fell().await, "{count}");
        }
        counters.set_open(200);
        assert!(fell().await);
        for count in [199, 100, 73] {
            counters.set_open(count);
            assert!(!fell().await, "{count}, of 200 since the fall");
        }
        counters.set_open(72);
        assert!(fell().await);
    }
}
