//! The listener of the model runtime: `--runtime-listen`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bigbatch_server::Transport;
use bigbatch_server::serve::{Listener, listen_unix};

use super::listeners::{listen_on_first, resolve};

/// Connections at most. A router has up to 64, and on a Unix socket all routers are one client.
const CONNECTIONS_MAX: usize = 1024;

/// Routers keep idle connections for 90 s; one that is closed earlier may lose a request.
const KEEP_ALIVE_MIN: Duration = Duration::from_secs(100);

/// Where the model runtime listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum RuntimeAddress {
    Tcp { host: String, port: u16 },
    Unix(PathBuf),
}

/// Parses `HOST:PORT` or `unix:PATH`, also as `unix://PATH`.
pub(super) fn parse_address(text: &str) -> Result<RuntimeAddress, String> {
    if let Some(path) = text.strip_prefix("unix:") {
        let path = path.strip_prefix("//").unwrap_or(path);
        return match path {
            "" => Err("the path of the socket is missing".into()),
            path => Ok(RuntimeAddress::Unix(path.into())),
        };
    }
    let parts = text.rsplit_once(':');
    let parts = parts.and_then(|(host, port)| Some((host, port.parse().ok()?)));
    match parts {
        Some((host, port)) if !host.is_empty() && !host.contains('/') => {
            Ok(RuntimeAddress::Tcp { host: host.into(), port })
        }
        _ => Err("use HOST:PORT, such as 127.0.0.1:8100, or unix:///run/bigbatch.sock".into()),
    }
}

/// Listens on the address, and returns the listener with the address as clients write it.
pub(super) async fn listen(
    address: &RuntimeAddress,
    limits: &Transport,
    tls: bool,
) -> Result<(Listener, String), Box<dyn std::error::Error>> {
    match address {
        RuntimeAddress::Tcp { host, port } => {
            let options = ["--runtime-listen", "address"];
            let addresses = resolve(options[0], host, *port)?;
            let listener = listen_on_first(options, &addresses, limits)?;
            let scheme = if tls { "https" } else { "http" };
            let endpoint = format!("{scheme}://{}", listener.local_addr()?);
            Ok((listener.into(), endpoint))
        }
        RuntimeAddress::Unix(path) => {
            let listener = listen_unix(path).await.map_err(|error| unix_error(path, &error))?;
            Ok((listener, format!("unix://{}", path.display())))
        }
    }
}

fn unix_error(path: &Path, error: &std::io::Error) -> String {
    let hint = match error.kind() {
        std::io::ErrorKind::AddrInUse => "; a process listens there, or the path is another file",
        _ => "",
    };
    format!("--runtime-listen: cannot listen on {}: {error}{hint}", path.display())
}

/// Returns the limits on connections to the model runtime.
pub(super) fn transport(limits: &Transport) -> Transport {
    let max_connections = limits.max_connections.min(CONNECTIONS_MAX);
    Transport {
        max_connections,
        max_connections_per_client: limits.max_connections_per_client.or(Some(max_connections)),
        keep_alive: limits.keep_alive.max(KEEP_ALIVE_MIN),
        ..limits.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_port_or_a_socket() {
        let tcp = |host: &str, port| Ok(RuntimeAddress::Tcp { host: host.into(), port });
        assert_eq!(parse_address("127.0.0.1:8100"), tcp("127.0.0.1", 8100));
        assert_eq!(parse_address("localhost:0"), tcp("localhost", 0));
        assert_eq!(parse_address("[::1]:8100"), tcp("[::1]", 8100));
        let unix = |path: &str| Ok(RuntimeAddress::Unix(path.into()));
        assert_eq!(parse_address("unix:///run/bigbatch.sock"), unix("/run/bigbatch.sock"));
        assert_eq!(parse_address("unix:bigbatch.sock"), unix("bigbatch.sock"));
        for bad in [
            "",
            "8100",
            ":8100",
            "localhost",
            "localhost:",
            "localhost:99999",
            "unix:",
            "unix://",
            "http://a:1",
        ] {
            assert!(parse_address(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn idle_connections_outlive_those_of_routers() {
        let transport = transport(&Transport::default());
        assert!(transport.keep_alive >= Duration::from_secs(100));
        let long = Transport { keep_alive: Duration::from_secs(300), ..Transport::default() };
        assert_eq!(super::transport(&long).keep_alive, Duration::from_secs(300));
    }
}
