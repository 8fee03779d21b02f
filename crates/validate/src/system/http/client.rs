//! HTTP exchanges: a request on a pooled connection, and its whole reply.
//!
//! Redirects are not followed and proxies of the environment are not used: the given URL is measured. A
//! request is sent again only if hyper reports that none of it was written, because the server had closed an
//! idle connection; every other failure is returned. Replies are interpreted in `dialect.rs` and
//! `failure.rs`.

use std::error::Error;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use hyper::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use hyper::{Method, Request, StatusCode, Uri, Version};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustix::io::Errno;
use tokio::time::Instant;

use super::error::TargetError;
use super::retry_after::retry_after;
use crate::system::target::Terms;

/// Header of a request's priority, which `bigbatch serve` reads; other servers ignore it.
const PRIORITY: HeaderName = HeaderName::from_static("x-priority");
/// Header of the milliseconds that a request has, likewise.
const TIMEOUT: HeaderName = HeaderName::from_static("x-request-timeout-ms");

/// The HTTP version of connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HttpVersion {
    /// HTTP/1.1, or what ALPN negotiates under TLS.
    #[default]
    Auto,
    /// HTTP/1.1 with keep-alive.
    Http1,
    /// HTTP/2 with prior knowledge.
    Http2,
}

impl FromStr for HttpVersion {
    type Err = String;

    fn from_str(text: &str) -> Result<HttpVersion, String> {
        match text {
            "auto" => Ok(HttpVersion::Auto),
            "1" => Ok(HttpVersion::Http1),
            "2" => Ok(HttpVersion::Http2),
            _ => Err("HTTP versions are auto, 1 and 2".into()),
        }
    }
}

const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// Largest reply to one text.
const REPLY_BYTES_MAX: usize = 1 << 30;
/// Bytes read of an error's body.
const ERROR_BYTES_MAX: usize = 64 << 10;
/// Large enough that a long text or a large reply does not wait for window updates.
const HTTP2_WINDOW_BYTES: u32 = 8 << 20;

/// A client with its pool of connections.
pub(super) struct Client {
    inner: legacy::Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    headers: HeaderMap,
}

/// A complete reply.
#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) status: StatusCode,
    pub(super) version: Version,
    pub(super) headers: HeaderMap,
    /// For an error status, at most its first [`ERROR_BYTES_MAX`] bytes.
    pub(super) body: Vec<u8>,
}

impl Exchange {
    /// Returns the wait that the reply requests.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        retry_after(&self.headers, SystemTime::now())
    }

    /// Returns true if the content type is JSON.
    pub(super) fn is_json(&self) -> bool {
        let kind = self.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let kind = kind.and_then(|kind| kind.split(';').next()).unwrap_or_default();
        let kind = kind.trim().to_ascii_lowercase();
        kind == "application/json" || kind.ends_with("+json")
    }
}

/// The reason why there is no complete reply.
#[derive(Debug)]
pub(super) enum ExchangeError {
    /// This machine could not open a connection: it has no file descriptor or no local port left.
    Generator(String),
    /// No connection could be made.
    Connect(String),
    /// The connection broke.
    Connection(String),
    /// The reply is not HTTP, or exceeds [`REPLY_BYTES_MAX`].
    NotHttp(String),
}

impl ExchangeError {
    pub(super) fn message(&self) -> &str {
        match self {
            ExchangeError::Generator(message)
            | ExchangeError::Connect(message)
            | ExchangeError::Connection(message)
            | ExchangeError::NotHttp(message) => message,
        }
    }
}

impl Client {
    /// Creates a client that sends `headers` with every request.
    pub(super) fn new(version: HttpVersion, headers: &HeaderMap) -> Result<Client, TargetError> {
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_nodelay(true);
        http.set_connect_timeout(Some(CONNECT_TIMEOUT));
        let tls = tls()?;
        let schemes = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http();
        let connector = match version {
            HttpVersion::Auto => schemes.enable_all_versions().wrap_connector(http),
            HttpVersion::Http1 => schemes.enable_http1().wrap_connector(http),
            HttpVersion::Http2 => schemes.enable_http2().wrap_connector(http),
        };
        let inner = legacy::Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .http2_only(version == HttpVersion::Http2)
            .http2_initial_stream_window_size(HTTP2_WINDOW_BYTES)
            .http2_initial_connection_window_size(HTTP2_WINDOW_BYTES)
            .build(connector);
        let mut headers = headers.clone();
        let agent = concat!("bigbatch-validate/", env!("CARGO_PKG_VERSION"));
        headers.entry(USER_AGENT).or_insert(HeaderValue::from_static(agent));
        headers.entry(ACCEPT).or_insert(HeaderValue::from_static("application/json"));
        Ok(Client { inner, headers })
    }

    /// Sends JSON on these terms and returns once the last byte of the reply has arrived.
    pub(super) async fn post(
        &self,
        uri: Uri,
        json: Vec<u8>,
        terms: Terms,
    ) -> Result<Exchange, ExchangeError> {
        let mut request = self.request(Method::POST, uri, Bytes::from(json));
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(priority) = terms.priority {
            headers.insert(PRIORITY, HeaderValue::from_static(priority.label()));
        }
        if let Some(deadline) = terms.deadline {
            headers.insert(TIMEOUT, HeaderValue::from(milliseconds_until(deadline)));
        }
        self.exchange(request).await
    }

    /// Requests a page.
    pub(super) async fn get(&self, uri: Uri) -> Result<Exchange, ExchangeError> {
        self.exchange(self.request(Method::GET, uri, Bytes::new())).await
    }

    fn request(&self, method: Method, uri: Uri, body: Bytes) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        *request.headers_mut() = self.headers.clone();
        request
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<Exchange, ExchangeError> {
        let response = self.inner.request(request).await.map_err(request_fault)?;
        let (parts, body) = response.into_parts();
        let most = if parts.status.is_success() { REPLY_BYTES_MAX } else { ERROR_BYTES_MAX };
        let body = collect(body, most, !parts.status.is_success()).await?;
        Ok(Exchange { status: parts.status, version: parts.version, headers: parts.headers, body })
    }
}

/// Returns the time left in whole milliseconds, rounded up: the server's deadline is never before the client's.
fn milliseconds_until(deadline: Instant) -> u64 {
    let left = deadline.saturating_duration_since(Instant::now());
    (left.as_micros().div_ceil(1000) as u64).max(1)
}

/// Reads a body of at most `most` bytes. A longer one is cut if `cut`, else an error.
async fn collect(mut body: Incoming, most: usize, cut: bool) -> Result<Vec<u8>, ExchangeError> {
    // The stated length is untrusted, so it reserves at most 1 MiB.
    let stated = usize::try_from(body.size_hint().lower()).unwrap_or(0);
    let mut bytes = Vec::with_capacity(stated.min(1 << 20));
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| body_fault(&error))?;
        if let Some(data) = frame.data_ref() {
            bytes.extend_from_slice(data);
        }
        if bytes.len() > most {
            if !cut {
                return Err(ExchangeError::NotHttp(format!(
                    "the reply is longer than {most} bytes"
                )));
            }
            bytes.truncate(most);
            break;
        }
    }
    Ok(bytes)
}

/// Configures TLS with the certificates of this machine, or with Mozilla's if it has none, as in a bare
/// container.
fn tls() -> Result<rustls::ClientConfig, TargetError> {
    use hyper_rustls::ConfigBuilderExt;
    let fault = |error: rustls::Error| TargetError::Tls(error.to_string());
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let builder = || {
        rustls::ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
    };
    let trusting = match builder().map_err(fault)?.with_native_roots() {
        Ok(trusting) => trusting,
        Err(_) => builder().map_err(fault)?.with_webpki_roots(),
    };
    Ok(trusting.with_no_client_auth())
}

fn request_fault(error: legacy::Error) -> ExchangeError {
    let hyper = error.source().and_then(|source| source.downcast_ref::<hyper::Error>());
    if is_exhausted(&error) {
        ExchangeError::Generator(chain(&error))
    } else if error.is_connect() {
        ExchangeError::Connect(chain(&error))
    } else if hyper.is_some_and(hyper::Error::is_parse) {
        ExchangeError::NotHttp(chain(&error))
    } else {
        ExchangeError::Connection(chain(&error))
    }
}

fn body_fault(error: &hyper::Error) -> ExchangeError {
    if error.is_parse() {
        ExchangeError::NotHttp(chain(error))
    } else {
        ExchangeError::Connection(chain(error))
    }
}

/// Returns true if an error or one of its causes is this machine's lack of file descriptors or local ports.
fn is_exhausted(error: &(dyn Error + 'static)) -> bool {
    let lacking = [Errno::MFILE, Errno::NFILE, Errno::ADDRNOTAVAIL].map(Errno::raw_os_error);
    let code = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::raw_os_error);
    code.is_some_and(|code| lacking.contains(&code)) || error.source().is_some_and(is_exhausted)
}

/// Joins an error and its causes, each once.
fn chain(error: &dyn Error) -> String {
    let mut joined = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !joined.contains(&text) {
            joined = format!("{joined}: {text}");
        }
        cause = error.source();
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("client error (Connect)")]
    struct Wrapped(#[source] std::io::Error);

    #[test]
    fn a_lack_of_this_machine_is_found_below_other_errors() {
        let is_own = |errno: Errno| is_exhausted(&Wrapped(errno.into()));
        assert!([Errno::MFILE, Errno::NFILE, Errno::ADDRNOTAVAIL].into_iter().all(is_own));
        assert!(![Errno::CONNREFUSED, Errno::CONNRESET, Errno::TIMEDOUT].into_iter().any(is_own));
    }
}
