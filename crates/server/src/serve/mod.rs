//! The listener: accepts connections until the server closes, then waits for the requests under way.
//!
//! The listener is up before the models are; until then every request is answered 503. After SIGTERM requests
//! are accepted for `--drain-delay`, because load balancers need time to notice; then they are refused, the
//! requests under way are answered, and the process may exit. What it listens on is in `listener`. The layers before a
//! handler are in `middleware`; how many connections there may be is in `places`, one connection in `connection`. It reads and
//! writes through `socket`, and `watched` notices that its client has gone; its timeouts are in `timer`, those of its
//! answers in `pace` and `streams`, its limit on HTTP/2's control frames in `frames`.

mod connection;
mod frames;
mod listener;
mod pace;
mod places;
mod socket;
mod streams;
mod timer;
mod tls;
mod watched;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::Instant;

pub use self::connection::Gateway;
pub use self::listener::{Listener, SocketFile, listen, listen_unix};
use self::places::Places;
pub use self::tls::{Tls, TlsError};
use crate::lifecycle::Phase;
use crate::observe::LogRate;
use crate::options::{REJECTED_MAX, Transport};

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
    /// The program stopped it without waiting for requests.
    Aborted,
    /// A device is lost; only a restart helps: exit code 3.
    DeviceLost,
}

/// Serves until the phase is [`Phase::Closing`] or later and the requests under way are answered or cut off.
/// When the operating system refuses a connection, it tries again for as long as it takes.
pub async fn serve(
    listener: impl Into<Listener>,
    tls: Option<Arc<Tls>>,
    limits: Transport,
    gateway: Gateway,
) -> Shutdown {
    let listener = listener.into();
    let limits = Arc::new(limits);
    let places = Places::new(limits.clone(), gateway.counters().clone());
    tokio::select! {
        () = accept(&listener, tls, &limits, &gateway, &places) => {}
        () = gateway.life().wait_for(Phase::Closing) => {}
    }
    drop(listener);
    let lost = || gateway.life().phase() == Phase::Lost;
    let limit = if lost() { LOST_TIMEOUT } else { limits.drain_timeout };
    let done = tokio::time::timeout(limit, places.wait_empty()).await.is_ok();
    match (lost(), done) {
        (true, _) => Shutdown::DeviceLost,
        (false, true) => Shutdown::Drained,
        (false, false) => Shutdown::Cut { connections: places.open() },
    }
}

/// Accepts connections for ever.
async fn accept(
    listener: &Listener,
    tls: Option<Arc<Tls>>,
    limits: &Arc<Transport>,
    gateway: &Gateway,
    places: &Arc<Places>,
) {
    let rejected = Arc::new(Semaphore::new(REJECTED_MAX));
    let errors = LogRate::new(1);
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) if is_connection_error(&error) => continue,
            Err(error) => {
                if let Some(left_out) = errors.admit() {
                    tracing::error!(%error, left_out, "cannot accept a connection; trying again");
                }
                places.evict_idle();
                tokio::time::sleep(NO_SOCKETS).await;
                continue;
            }
        };
        if let Some(place) = places.admit(peer, Instant::now()) {
            let (tls, limits) = (tls.clone(), limits.clone());
            tokio::spawn(connection::serve_connection(stream, place, tls, limits, gateway.clone()));
        } else if tls.is_none() {
            connection::reject_connection(stream, rejected.clone().try_acquire_owned().ok());
        }
    }
}

/// Returns whether a client's connection failed, and not the listener.
fn is_connection_error(error: &io::Error) -> bool {
    use io::ErrorKind as E;
    matches!(error.kind(), E::ConnectionAborted | E::ConnectionReset | E::ConnectionRefused)
}
