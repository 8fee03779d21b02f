//! A socket that one task reads and writes while the other watches for its end.
//!
//! hyper does not read while it answers a request of HTTP/1, so that it sees neither a reset nor a client that closes
//! its sending side. The latter looks the same whether the client waits for its answer or has gone: how long it is
//! believed to wait is in `timer`.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf, Ready};
use tokio::net::{tcp, unix};

use super::listener::Socket;

/// What [`SocketWatch::closed`] waits for. The kernel reports a closed sending side whatever is asked for; tokio has no
/// name for it alone, and passes it on to those who wait for urgent data.
#[cfg(any(target_os = "linux", target_os = "android"))]
const CLOSED: Interest = Interest::PRIORITY.add(Interest::ERROR);
/// Elsewhere only a reset is noticed: a client that has gone is waited for until `--request-timeout`.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const CLOSED: Interest = Interest::ERROR;

/// A socket for reading and writing.
pub(super) struct WatchedSocket {
    reading: Arc<ReadHalf>,
    writing: WriteHalf,
}

/// Watches for the end of a [`WatchedSocket`].
pub(super) struct SocketWatch(Arc<ReadHalf>);

enum ReadHalf {
    Tcp(tcp::OwnedReadHalf),
    Unix(unix::OwnedReadHalf),
}

enum WriteHalf {
    Tcp(tcp::OwnedWriteHalf),
    Unix(unix::OwnedWriteHalf),
}

impl ReadHalf {
    async fn ready(&self, interest: Interest) -> io::Result<Ready> {
        match self {
            ReadHalf::Tcp(half) => half.ready(interest).await,
            ReadHalf::Unix(half) => half.ready(interest).await,
        }
    }

    fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            ReadHalf::Tcp(half) => half.as_ref().poll_read_ready(cx),
            ReadHalf::Unix(half) => half.as_ref().poll_read_ready(cx),
        }
    }

    fn try_read_buf(&self, buffer: &mut ReadBuf<'_>) -> io::Result<usize> {
        match self {
            ReadHalf::Tcp(half) => half.try_read_buf(buffer),
            ReadHalf::Unix(half) => half.try_read_buf(buffer),
        }
    }
}

impl WriteHalf {
    fn pinned(&mut self) -> Pin<&mut (dyn AsyncWrite + Unpin)> {
        match self {
            WriteHalf::Tcp(half) => Pin::new(half),
            WriteHalf::Unix(half) => Pin::new(half),
        }
    }
}

impl WatchedSocket {
    pub(super) fn new(socket: Socket) -> (WatchedSocket, SocketWatch) {
        let (reading, writing) = match socket {
            Socket::Tcp(stream) => {
                let (reading, writing) = stream.into_split();
                (ReadHalf::Tcp(reading), WriteHalf::Tcp(writing))
            }
            Socket::Unix(stream) => {
                let (reading, writing) = stream.into_split();
                (ReadHalf::Unix(reading), WriteHalf::Unix(writing))
            }
        };
        let reading = Arc::new(reading);
        (WatchedSocket { reading: reading.clone(), writing }, SocketWatch(reading))
    }
}

impl SocketWatch {
    /// Waits until the client has closed its sending side or the connection is reset. Returns whether it was reset.
    pub(super) async fn closed(&self) -> bool {
        self.0.ready(CLOSED).await.is_ok_and(|ready| ready.is_error())
    }

    /// Waits until the connection is reset.
    pub(super) async fn reset(&self) {
        // Fails only where the runtime ends.
        let _ = self.0.ready(Interest::ERROR).await;
    }
}

impl AsyncRead for WatchedSocket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            ready!(self.reading.poll_read_ready(cx))?;
            match self.reading.try_read_buf(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                read => return Poll::Ready(read.map(drop)),
            }
        }
    }
}

impl AsyncWrite for WatchedSocket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.writing.pinned().poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.writing.pinned().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.writing.pinned().poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.writing.pinned().poll_write_vectored(cx, buffers)
    }

    fn is_write_vectored(&self) -> bool {
        // Both kinds of sockets are.
        true
    }
}
