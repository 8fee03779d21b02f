//! The listener: connections in, requests to the routes, and an orderly end.
//!
//! The listener is up before the models are: until then everything hears 503. After SIGTERM requests are taken
//! for a while longer, because load balancers need time to notice; then they are refused, what is under way is
//! answered, and the process may go. HTTP/1.1 and HTTP/2, with or without TLS, are told apart by what a client
//! sends first.

mod connection;
mod gateway;
mod timer;
mod tls;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::Semaphore;

pub use self::gateway::Gateway;
pub use self::tls::{Tls, TlsError};
use crate::lifecycle::Phase;
use crate::options::Transport;

/// How long to wait when the operating system gives no more sockets.
const NO_SOCKETS: Duration = Duration::from_millis(100);

/// After the device is lost: how long those under way may take to hear of it.
const LOST_TIMEOUT: Duration = Duration::from_secs(5);

/// How serving ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shutdown {
    /// Everything that was accepted has been answered.
    Drained,
    /// `--drain-timeout` passed with this many connections at work.
    Cut {
        /// Connections that were not done.
        connections: usize,
    },
    /// A device is lost, and only a new process mends that: exit code 3.
    DeviceLost,
}

/// Serves until the phase is past draining and what was under way is done. A listener that gives no connection
/// is asked again, for as long as it takes.
pub async fn serve(
    listener: TcpListener,
    tls: Option<Arc<Tls>>,
    limits: Transport,
    door: Gateway,
) -> Shutdown {
    let limits = Arc::new(limits);
    let most = limits.max_connections.clamp(1, 1 << 20);
    let slots = Arc::new(Semaphore::new(most));
    let accept = async {
        loop {
            let (stream, _) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) if of_one_client(&error) => continue,
                Err(error) => {
                    tracing::error!(%error, "no connection can be accepted");
                    tokio::time::sleep(NO_SOCKETS).await;
                    continue;
                }
            };
            // Small answers must not wait for more to send. Failing that, they are only late.
            let _ = stream.set_nodelay(true);
            let Ok(slot) = slots.clone().try_acquire_owned() else {
                tracing::warn!(limit = most, "a connection too many (--max-connections)");
                tokio::spawn(connection::reject_connection(stream, tls.is_none()));
                continue;
            };
            let work =
                connection::serve_connection(stream, tls.clone(), limits.clone(), door.clone());
            tokio::spawn(async move {
                work.await;
                drop(slot);
            });
        }
    };
    tokio::select! {
        () = accept => {}
        () = door.life().reached(Phase::Closing) => {}
    }
    drop(listener);
    let lost = || door.life().phase() == Phase::Lost;
    let limit = if lost() { LOST_TIMEOUT } else { limits.drain_timeout };
    let all_done = slots.acquire_many(most as u32);
    let done = tokio::time::timeout(limit, all_done).await.is_ok();
    match (lost(), done) {
        (true, _) => Shutdown::DeviceLost,
        (false, true) => Shutdown::Drained,
        (false, false) => Shutdown::Cut { connections: most - slots.available_permits() },
    }
}

/// Whether it is one client's failure and not the listener's.
fn of_one_client(error: &io::Error) -> bool {
    use io::ErrorKind as E;
    matches!(error.kind(), E::ConnectionAborted | E::ConnectionReset | E::ConnectionRefused)
}
