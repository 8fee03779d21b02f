//! A socket that reports its traffic to the timer of its connection, and ends when the timer says so.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::timer::{ConnectionTimer, ReadState};
use crate::error::SLOW_HEAD_REASON;
use crate::observe::Cut;

/// The answer to a request head that took too long.
const TOO_SLOW: &[u8] =
    b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/// A GOAWAY frame with ENHANCE_YOUR_CALM, for a client that sends too many control frames. It names the highest
/// stream, since every stream may have been answered.
const CALM_DOWN: &[u8] = b"\0\0\x08\x07\0\0\0\0\0\x7f\xff\xff\xff\0\0\0\x0b";

/// A socket that reports its traffic to the timer.
pub(super) struct TimedStream<S> {
    pub(super) stream: S,
    pub(super) timer: Arc<ConnectionTimer>,
}

impl<S: AsyncWrite + Unpin> TimedStream<S> {
    /// Writes last words in one attempt: they fit into the buffer of an idle socket.
    fn write_last(&mut self, cx: &mut Context<'_>, bytes: &[u8]) {
        let _ = Pin::new(&mut self.stream).poll_write(cx, bytes);
        let _ = Pin::new(&mut self.stream).poll_flush(cx);
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for TimedStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.timer.read_state() {
            ReadState::Open => {}
            ReadState::Expired => return Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            ReadState::ExpiredInHead => {
                self.timer.record_unrouted(408, SLOW_HEAD_REASON);
                self.write_last(cx, TOO_SLOW);
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
        }
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        let new = &buffer.filled()[before..];
        if new.is_empty() || self.timer.record_read(new) {
            return Poll::Ready(Ok(()));
        }
        self.timer.record_cut(Cut::ControlFrames);
        if self.timer.is_writable() {
            self.write_last(cx, CALM_DOWN);
        }
        Poll::Ready(Err(io::ErrorKind::QuotaExceeded.into()))
    }
}

impl<S> TimedStream<S> {
    fn record_write(&self, written: &Poll<io::Result<usize>>) {
        match written {
            Poll::Ready(Ok(bytes)) => self.timer.record_write(Some(*bytes)),
            Poll::Ready(Err(_)) => {}
            Poll::Pending => self.timer.record_write(None),
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for TimedStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.record_write(&written);
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        match &flushed {
            Poll::Ready(Ok(())) => self.timer.record_flush(),
            Poll::Ready(Err(_)) => {}
            Poll::Pending => self.timer.record_write(None),
        }
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
        self.record_write(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
