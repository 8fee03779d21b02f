//! The listener: accepts connections until the server closes, then waits for the requests under way.
//!
//! The listener is up before the models are; until then every request is answered 503. After SIGTERM requests
//! are accepted for `--drain-delay`, because load balancers need time to notice; then they are refused, the
//! requests under way are answered, and the process may exit. The layers before a handler are in
//! `middleware`; one connection is in `connection`, its timeouts in `timer`.

mod connection;
mod timer;
mod tls;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::Semaphore;

pub use self::connection::Gateway;
pub use self::tls::{Tls, TlsError};
use crate::lifecycle::Phase;
use crate::options::Transport;

/// Time between attempts when the operating system has no more sockets.
const NO_SOCKETS: Duration = Duration::from_millis(100);

/// Maximum time for the requests under way to be answered after the device is lost.
const LOST_TIMEOUT: Duration = Duration::from_secs(5);

/// How the server shut down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shutdown {
    /// All accepted requests were answered.
    Drained,
    /// `--drain-timeout` passed while requests were under way.
    Cut {
        /// Connections that were cut off.
        connections: usize,
    },
    /// A device is lost; only a restart helps: exit code 3.
    DeviceLost,
}

/// Serves until the phase is [`Phase::Closing`] or later and the requests under way are answered or cut off.
/// When the operating system refuses a connection, it tries again for as long as it takes.
pub async fn serve(
    listener: TcpListener,
    tls: Option<Arc<Tls>>,
    limits: Transport,
    gateway: Gateway,
) -> Shutdown {
    let limits = Arc::new(limits);
    let most = limits.max_connections.clamp(1, 1 << 20);
    let slots = Arc::new(Semaphore::new(most));
    let accept = async {
        loop {
            let (stream, _) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) if is_connection_error(&error) => continue,
                Err(error) => {
                    tracing::error!(%error, "cannot accept a connection; trying again");
                    tokio::time::sleep(NO_SOCKETS).await;
                    continue;
                }
            };
            // Small answers must not wait for more data. If this fails, they are only late.
            let _ = stream.set_nodelay(true);
            let Ok(slot) = slots.clone().try_acquire_owned() else {
                tracing::warn!(
                    limit = most,
                    "connection refused: all connections are in use (--max-connections)"
                );
                tokio::spawn(connection::reject_connection(stream, tls.is_none()));
                continue;
            };
            let work =
                connection::serve_connection(stream, tls.clone(), limits.clone(), gateway.clone());
            tokio::spawn(async move {
                work.await;
                drop(slot);
            });
        }
    };
    tokio::select! {
        () = accept => {}
        () = gateway.life().wait_for(Phase::Closing) => {}
    }
    drop(listener);
    let lost = || gateway.life().phase() == Phase::Lost;
    let limit = if lost() { LOST_TIMEOUT } else { limits.drain_timeout };
    let all_done = slots.acquire_many(most as u32);
    let done = tokio::time::timeout(limit, all_done).await.is_ok();
    match (lost(), done) {
        (true, _) => Shutdown::DeviceLost,
        (false, true) => Shutdown::Drained,
        (false, false) => Shutdown::Cut { connections: most - slots.available_permits() },
    }
}

/// Returns whether a client's connection failed, and not the listener.
fn is_connection_error(error: &io::Error) -> bool {
    use io::ErrorKind as E;
    matches!(error.kind(), E::ConnectionAborted | E::ConnectionReset | E::ConnectionRefused)
}
