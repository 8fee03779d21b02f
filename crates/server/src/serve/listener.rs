//! What the server listens on: a TCP port, or a Unix socket beside the clients of one machine.

use std::io::{self, ErrorKind, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixListener, UnixStream};
use tokio::time::timeout;

use crate::options::Transport;

/// A bound address that accepts connections.
pub enum Listener {
    /// On a port.
    Tcp(TcpListener),
    /// On a socket in the file system. The file is removed before the listener closes, so that it is never a successor's.
    Unix(SocketFile, UnixListener),
}

impl From<TcpListener> for Listener {
    fn from(listener: TcpListener) -> Listener {
        Listener::Tcp(listener)
    }
}

/// The file of a Unix socket, removed when it is dropped, unless another one has taken its place.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    /// Device and number of the file.
    identity: Option<(u64, u64)>,
}

impl SocketFile {
    fn new(path: &Path) -> SocketFile {
        SocketFile { path: path.to_owned(), identity: identity(path) }
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if identity(&self.path) == self.identity {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    let file = std::fs::symlink_metadata(path).ok()?;
    Some((file.dev(), file.ino()))
}

/// Time for a listener to accept a connection that asks whether it is there.
const ANSWER_TIME: Duration = Duration::from_secs(1);

/// An accepted connection.
pub(super) enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// Listens on an address. As many connections may wait to be accepted as may be open, within what the operating
/// system allows: else some of those that come at once would wait a second to try again.
///
/// # Errors
/// The address is in use, not of this machine, or not permitted.
pub fn listen(address: SocketAddr, limits: &Transport) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(limits.max_connections.clamp(1, 1 << 16) as u32)
}

/// Listens on a Unix socket. A socket that a process has left behind is replaced; any other file is not.
///
/// # Errors
/// Another process listens there, the path is another file, too long or not permitted.
pub async fn listen_unix(path: &Path) -> io::Result<Listener> {
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket());
    if is_socket {
        // One that answers nobody is there all the same.
        match timeout(ANSWER_TIME, UnixStream::connect(path)).await {
            Ok(Err(error)) if error.kind() == ErrorKind::ConnectionRefused => {
                std::fs::remove_file(path)?;
            }
            _ => return Err(ErrorKind::AddrInUse.into()),
        }
    }
    let listener = UnixListener::bind(path)?;
    Ok(Listener::Unix(SocketFile::new(path), listener))
}

impl Listener {
    /// Accepts a connection and returns it with its client's address. Clients of a Unix socket are all this machine.
    pub(super) async fn accept(&self) -> io::Result<(Socket, IpAddr)> {
        match self {
            Listener::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                // Small answers must not wait for more data. If this fails, they are only late.
                let _ = stream.set_nodelay(true);
                Ok((Socket::Tcp(stream), peer.ip()))
            }
            Listener::Unix(_, listener) => {
                let (stream, _) = listener.accept().await?;
                Ok((Socket::Unix(stream), IpAddr::V4(Ipv4Addr::LOCALHOST)))
            }
        }
    }
}

impl Socket {
    /// Writes what a new socket has room for, which tokio does not know before its first event, and closes it.
    pub(super) fn write_last(self, bytes: &[u8]) {
        let _ = match self {
            Socket::Tcp(stream) => stream.into_std().and_then(|mut stream| stream.write_all(bytes)),
            Socket::Unix(stream) => {
                stream.into_std().and_then(|mut stream| stream.write_all(bytes))
            }
        };
    }
}
