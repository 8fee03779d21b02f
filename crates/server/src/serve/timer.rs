//! The deadlines of one connection: a request head that takes too long, idleness, an answer that is not read.
//!
//! The connection reports the beginning and end of requests, and closes when the deadline has passed; `socket`
//! reports its traffic. A stream of HTTP/2 has a deadline of its own in `streams`; the time of a handler is
//! bounded by `middleware`.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::frames::FrameMeter;
use super::pace::{Pace, PaceLimits};
use crate::observe::{Counters, Cut};
use crate::options::Transport;

/// Maximum time of a reserved connection without a request, and for the head of one.
const RESERVED_HEAD_TIME: Duration = Duration::from_secs(2);

/// Maximum time of a reserved connection: longer than `/health` waits for a device.
const RESERVED_TIME: Duration = Duration::from_secs(10);

/// Time to the beginning of an answer for a client that has closed its sending side, from then or from the head of its
/// request, whichever is later. It may wait for the answer, or have gone: nothing shows which before something is written.
const HALF_CLOSED_TIME: Duration = Duration::from_secs(5);

/// The deadlines of one connection, and the state that they depend on.
#[derive(Debug)]
pub(super) struct ConnectionTimer {
    header: Duration,
    keep_alive: Duration,
    pace_limits: PaceLimits,
    /// When the connection ends whatever it does.
    ends_at: Option<Instant>,
    client: IpAddr,
    counters: Arc<Counters>,
    evicted: Notify,
    state: Mutex<TimerState>,
}

#[derive(Debug)]
struct TimerState {
    /// Number of requests that are neither answered nor cancelled.
    busy: usize,
    /// When the last of them ended, or the connection began.
    idle_since: Instant,
    /// When the first byte of an incomplete request head arrived.
    head_since: Option<Instant>,
    /// When the request began whose answer has not begun. Of no use with HTTP/2, which a client ends with its side.
    unanswered_since: Option<Instant>,
    /// When the client closed its sending side.
    half_closed_since: Option<Instant>,
    /// How the socket takes the current answer, or with HTTP/2 the answers since the last idle moment.
    pace: Pace,
    frames: FrameMeter,
    any_request: bool,
    expired: bool,
}

/// What a connection without a request in flight is waiting for, in the order in which such connections are
/// closed to make room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Standing {
    /// It had a request, and waits for the next one.
    Idle,
    /// It has sent nothing.
    Silent,
    /// It has begun the head of a request.
    InHead,
}

/// What the next read of a connection does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ReadState {
    Open,
    /// The deadline has passed.
    Expired,
    /// The deadline of a request head of HTTP/1 has passed, so an answer can still be sent.
    ExpiredInHead,
}

impl ConnectionTimer {
    pub(super) fn new(
        limits: &Transport,
        reserved: bool,
        client: IpAddr,
        counters: Arc<Counters>,
    ) -> ConnectionTimer {
        let now = Instant::now();
        let short = |time: Duration| if reserved { time.min(RESERVED_HEAD_TIME) } else { time };
        let state = TimerState {
            busy: 0,
            idle_since: now,
            head_since: None,
            unanswered_since: None,
            half_closed_since: None,
            pace: Pace::default(),
            frames: FrameMeter::new(now),
            any_request: false,
            expired: false,
        };
        ConnectionTimer {
            header: short(limits.header_timeout),
            keep_alive: short(limits.keep_alive),
            pace_limits: PaceLimits::new(limits),
            ends_at: reserved.then(|| now + RESERVED_TIME),
            client,
            counters,
            evicted: Notify::new(),
            state: Mutex::new(state),
        }
    }

    fn state(&self) -> MutexGuard<'_, TimerState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the client's address.
    pub(super) fn client(&self) -> IpAddr {
        self.client
    }

    pub(super) fn pace_limits(&self) -> PaceLimits {
        self.pace_limits
    }

    /// Returns the maximum time for the TLS handshake.
    pub(super) fn handshake_limit(&self) -> Duration {
        self.header
    }

    /// Returns when the connection has to close; `None` while a request is being answered, unless its client has
    /// closed its sending side.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let state = self.state();
        let own = state.pace.deadline(self.pace_limits).or_else(|| {
            if state.busy > 0 {
                let since = state.unanswered_since?.max(state.half_closed_since?);
                return Some(since + HALF_CLOSED_TIME);
            }
            if let Some(since) = state.head_since {
                return Some(since + self.header);
            }
            let patience = if state.any_request { self.keep_alive } else { self.header };
            Some(state.idle_since + patience)
        });
        self.ends_at.into_iter().chain(own).min()
    }

    /// Marks the deadline as passed: the next read fails. Returns whether there will be one, which ends the connection
    /// in order: hyper does not read while it answers a request of HTTP/1.
    pub(super) fn expire(&self) -> bool {
        let mut state = self.state();
        state.expired = true;
        let slow = state.pace.is_waiting();
        let reads = state.busy == 0 || state.frames.is_http_2();
        drop(state);
        if slow {
            self.record_cut(Cut::SlowReader);
        }
        reads
    }

    /// Marks that the client has closed its sending side.
    pub(super) fn record_half_close(&self) {
        self.state().half_closed_since = Some(Instant::now());
    }

    /// Closes the connection because its place is needed.
    pub(super) fn evict(&self) {
        self.record_cut(Cut::Evicted);
        self.evicted.notify_one();
    }

    /// Waits until the connection is evicted; returns once.
    pub(super) async fn evicted(&self) {
        self.evicted.notified().await;
    }

    /// Returns what the connection waits for and since when; `None` while it has a request in flight, an answer
    /// to be read, or its end.
    pub(super) fn standing(&self) -> Option<(Standing, Instant)> {
        let state = self.state();
        if state.busy > 0 || state.expired || state.pace.is_waiting() {
            return None;
        }
        Some(match (state.head_since, state.any_request) {
            (Some(since), _) => (Standing::InHead, since),
            (None, true) => (Standing::Idle, state.idle_since),
            (None, false) => (Standing::Silent, state.idle_since),
        })
    }

    /// Counts and logs a refusal or cut of this connection or one of its streams.
    pub(super) fn record_cut(&self, cut: Cut) {
        self.counters.connections.record_cut(cut, self.client);
    }

    /// Counts a request that was refused before the router saw it.
    pub(super) fn record_unrouted(&self, status: u16, reason: &'static str) {
        self.counters.record_unrouted(status, reason);
    }

    /// Marks the beginning of a request, which ends when the returned guard is dropped.
    pub(super) fn begin_request(self: &Arc<Self>) -> ActiveRequest {
        let mut state = self.state();
        state.busy += 1;
        state.any_request = true;
        state.head_since = None;
        state.unanswered_since = Some(Instant::now());
        ActiveRequest(self.clone())
    }

    /// Returns whether the next read may go to the socket.
    pub(super) fn read_state(&self) -> ReadState {
        let state = self.state();
        match (state.expired, state.head_since) {
            (false, _) => ReadState::Open,
            (true, Some(_)) if !state.frames.is_http_2() => ReadState::ExpiredInHead,
            (true, _) => ReadState::Expired,
        }
    }

    /// Follows bytes that have arrived. Returns whether the client is within its limits.
    pub(super) fn record_read(&self, bytes: &[u8]) -> bool {
        let now = Instant::now();
        let mut state = self.state();
        let within = state.frames.read(bytes, now);
        // HTTP/2 also sends frames between requests.
        if state.busy == 0 && !(state.frames.is_http_2() && state.any_request) {
            state.head_since.get_or_insert(now);
        }
        within
    }

    /// Follows a write: the number of bytes that the socket has taken, or `None` if it takes none now.
    pub(super) fn record_write(&self, taken: Option<usize>) {
        let now = Instant::now();
        let mut state = self.state();
        match taken {
            Some(bytes) => state.pace.take(bytes, now),
            None => state.pace.wait(now),
        }
    }

    /// Marks that the socket has taken all that was written.
    pub(super) fn record_flush(&self) {
        let mut state = self.state();
        if state.busy == 0 {
            state.pace = Pace::default();
        } else {
            state.pace.take(0, Instant::now());
        }
    }

    /// Returns whether the socket takes bytes: then a frame does not end up in the middle of another.
    pub(super) fn is_writable(&self) -> bool {
        !self.state().pace.is_waiting()
    }
}

/// A request that is being answered.
pub(super) struct ActiveRequest(Arc<ConnectionTimer>);

impl ActiveRequest {
    /// Marks the beginning of the answer: a client that has gone is noticed when it is written.
    pub(super) fn begin_answer(&self) {
        self.0.state().unanswered_since = None;
    }

    /// Adds bytes of the answer that the client has taken: they let it send control frames.
    pub(super) fn add_payload(&self, bytes: usize) {
        self.0.state().frames.add_payload(bytes as u64);
    }
}

impl Drop for ActiveRequest {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.busy -= 1;
        state.idle_since = Instant::now();
    }
}
