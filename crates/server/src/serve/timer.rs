//! The deadlines of one connection: a request head that takes too long, idleness, an answer that is not read.
//!
//! [`TimedStream`] wraps the socket and reports its traffic; the connection reports the beginning and end
//! of requests, and closes when the deadline has passed. The time of a handler is bounded by `middleware`.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use crate::options::Transport;

/// The answer to a request head that took too long.
const TOO_SLOW: &[u8] =
    b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/// The first bytes of an HTTP/2 connection.
const HTTP_2: &[u8] = b"PRI";

/// The deadlines of one connection, and the state that they depend on.
#[derive(Debug)]
pub(super) struct ConnectionTimer {
    header: Duration,
    keep_alive: Duration,
    stall: Duration,
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
    /// When the client stopped reading.
    stalled_since: Option<Instant>,
    any_request: bool,
    http_2: bool,
    expired: bool,
}

impl ConnectionTimer {
    pub(super) fn new(limits: &Transport) -> Arc<ConnectionTimer> {
        let state = TimerState {
            busy: 0,
            idle_since: Instant::now(),
            head_since: None,
            stalled_since: None,
            any_request: false,
            http_2: false,
            expired: false,
        };
        Arc::new(ConnectionTimer {
            header: limits.header_timeout,
            keep_alive: limits.keep_alive,
            stall: limits.stall_timeout,
            state: Mutex::new(state),
        })
    }

    fn state(&self) -> MutexGuard<'_, TimerState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns when the connection has to close; `None` while a request is being answered.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let state = self.state();
        if let Some(since) = state.stalled_since {
            return Some(since + self.stall);
        }
        if state.busy > 0 {
            return None;
        }
        if let Some(since) = state.head_since {
            return Some(since + self.header);
        }
        let patience = if state.any_request { self.keep_alive } else { self.header };
        Some(state.idle_since + patience)
    }

    /// Marks the deadline as passed: the next read fails.
    pub(super) fn expire(&self) {
        self.state().expired = true;
    }

    /// Marks the beginning of a request, which ends when the returned guard is dropped.
    pub(super) fn begin_request(self: &Arc<Self>) -> ActiveRequest {
        let mut state = self.state();
        state.busy += 1;
        state.any_request = true;
        state.head_since = None;
        ActiveRequest(self.clone())
    }

    fn record_read(&self, bytes: &[u8]) {
        let mut state = self.state();
        if !state.any_request && state.head_since.is_none() {
            state.http_2 = bytes.starts_with(HTTP_2);
        }
        // HTTP/2 also sends frames between requests.
        if state.busy == 0 && !(state.http_2 && state.any_request) {
            state.head_since.get_or_insert_with(Instant::now);
        }
    }

    fn record_write(&self, pending: bool) {
        let mut state = self.state();
        if pending {
            state.stalled_since.get_or_insert_with(Instant::now);
        } else {
            state.stalled_since = None;
        }
    }
}

/// A request that is being answered.
pub(super) struct ActiveRequest(Arc<ConnectionTimer>);

impl Drop for ActiveRequest {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.busy -= 1;
        state.idle_since = Instant::now();
    }
}

/// A socket that reports its traffic to the timer.
pub(super) struct TimedStream<S> {
    pub(super) stream: S,
    pub(super) timer: Arc<ConnectionTimer>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for TimedStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let (expired, in_head) = {
            let state = self.timer.state();
            (state.expired, state.head_since.is_some() && !state.http_2)
        };
        if expired {
            if in_head {
                // One attempt: it fits into the buffer of an idle socket.
                let _ = Pin::new(&mut self.stream).poll_write(cx, TOO_SLOW);
                let _ = Pin::new(&mut self.stream).poll_flush(cx);
            }
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        let new = &buffer.filled()[before..];
        if !new.is_empty() {
            self.timer.record_read(new);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for TimedStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.timer.record_write(written.is_pending());
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.timer.record_write(flushed.is_pending());
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, buffers);
        self.timer.record_write(written.is_pending());
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
