//! A TCP socket that one task reads and writes while the other watches for its end.
//!
//! hyper does not read while it answers a request of HTTP/1, so that it sees neither a reset nor a client that closes
//! its sending side. The latter looks the same whether the client waits for its answer or has gone: how long it is
//! believed to wait is in `timer`.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

/// What [`SocketWatch::closed`] waits for. The kernel reports a closed sending side whatever is asked for; tokio has no
/// name for it alone, and passes it on to those who wait for urgent data.
#[cfg(any(target_os = "linux", target_os = "android"))]
const CLOSED: Interest = Interest::PRIORITY.add(Interest::ERROR);
/// Elsewhere only a reset is noticed: a client that has gone is waited for until `--request-timeout`.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const CLOSED: Interest = Interest::ERROR;

/// A socket for reading and writing.
pub(super) struct WatchedSocket {
    reading: Arc<OwnedReadHalf>,
    writing: OwnedWriteHalf,
}

/// Watches for the end of a [`WatchedSocket`].
pub(super) struct SocketWatch(Arc<OwnedReadHalf>);

impl WatchedSocket {
    pub(super) fn new(stream: TcpStream) -> (WatchedSocket, SocketWatch) {
        let (reading, writing) = stream.into_split();
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
        let socket: &TcpStream = (*self.reading).as_ref();
        loop {
            ready!(socket.poll_read_ready(cx))?;
            match socket.try_read_buf(buffer) {
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
        Pin::new(&mut self.writing).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.writing).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.writing).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.writing).poll_write_vectored(cx, buffers)
    }

    fn is_write_vectored(&self) -> bool {
        self.writing.is_write_vectored()
    }
}
