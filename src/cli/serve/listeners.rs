//! The sockets that the server listens on: the usual port, and the model runtime's where `--runtime-listen` asks for it.

use std::error::Error;
use std::io::ErrorKind;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;

use bigbatch_engine::raise_open_file_limit;
use bigbatch_server::Transport;
use bigbatch_server::serve::{Gateway, Listener, Shutdown, Tls};
use tokio::net::TcpListener;

use super::args::Serve;
use super::{open_files, runtime};
use crate::cli::say;

/// The listeners, with the limits on their connections.
pub(super) struct Listeners {
    main: TcpListener,
    pub(super) transport: Transport,
    runtime: Option<(Listener, Transport)>,
}

impl Listeners {
    /// Fits the connections to the limit on open files, listens, and prints the addresses.
    pub(super) async fn open(
        args: &Serve,
        addresses: &[SocketAddr],
        tls: bool,
    ) -> Result<Listeners, Box<dyn Error>> {
        let mut transport = args.transport();
        let limit = raise_open_file_limit();
        let address = args.listen.runtime_listen.as_ref();
        let others = address.map_or(0, |_| runtime::transport(&transport).open_files());
        let chosen = args.chose_connections();
        if let Some(warning) = open_files::fit(&mut transport, chosen, others, limit)? {
            tracing::warn!("{warning}");
        }
        let main = listen_on_first(["--host and --port", "--port"], addresses, &transport)?;
        let limits = runtime::transport(&transport);
        let runtime = match address {
            Some(address) => Some(runtime::listen(address, &limits, tls).await?),
            None => None,
        };
        let scheme = if tls { "https" } else { "http" };
        say!("listening on {scheme}://{}", main.local_addr()?);
        let runtime = match runtime {
            Some((listener, endpoint)) => {
                say!("model runtime on {endpoint}");
                Some((listener, limits))
            }
            None => None,
        };
        Ok(Listeners { main, transport, runtime })
    }

    /// Serves until all listeners have ended. A Unix socket has no TLS.
    pub(super) fn serve(
        self,
        tls: Option<Arc<Tls>>,
        door: Gateway,
        runtime_door: Gateway,
    ) -> impl Future<Output = Shutdown> {
        let Listeners { main, transport, runtime } = self;
        let runtime = runtime.map(|(listener, limits)| {
            let tls = tls.clone().filter(|_| matches!(listener, Listener::Tcp(_)));
            bigbatch_server::serve::serve(listener, tls, limits, runtime_door)
        });
        serve_both(bigbatch_server::serve::serve(main, tls, transport, door), runtime)
    }
}

/// Serves one or two listeners until both have ended. Connections that were cut off by either count.
async fn serve_both(
    main: impl Future<Output = Shutdown>,
    runtime: Option<impl Future<Output = Shutdown>>,
) -> Shutdown {
    let runtime = async {
        match runtime {
            Some(runtime) => runtime.await,
            None => Shutdown::Drained,
        }
    };
    match tokio::join!(main, runtime) {
        (Shutdown::Cut { connections: a }, Shutdown::Cut { connections: b }) => {
            Shutdown::Cut { connections: a + b }
        }
        (Shutdown::Drained, other) | (other, _) => other,
    }
}

/// Listens on the first of the addresses that it can listen on. `options` are those that name the address, and the one to
/// change if it is in use.
pub(super) fn listen_on_first(
    options: [&str; 2],
    addresses: &[SocketAddr],
    limits: &Transport,
) -> Result<TcpListener, Box<dyn Error>> {
    let [named, changed] = options;
    let mut refused = format!("{named}: the name has no address");
    for &address in addresses {
        match bigbatch_server::serve::listen(address, limits) {
            Ok(listener) => return Ok(listener),
            Err(error) => {
                let hint = match error.kind() {
                    ErrorKind::AddrInUse => {
                        format!("; stop what listens there, or choose another {changed}")
                    }
                    _ => String::new(),
                };
                refused = format!("{named}: cannot listen on {address}: {error}{hint}");
            }
        }
    }
    Err(refused.into())
}

/// Returns the addresses of a host, which `option` has named, those of IPv4 first: a client of `localhost` tries these
/// too.
pub(super) fn resolve(option: &str, host: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
    // As in a URL: [::1].
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    let found = (bare, port).to_socket_addrs().map_err(|error| {
        format!("{option}: {host} is neither an IP address nor a name that resolves: {error}")
    })?;
    let mut addresses: Vec<SocketAddr> = found.collect();
    addresses.sort_by_key(SocketAddr::is_ipv6);
    Ok(addresses)
}
