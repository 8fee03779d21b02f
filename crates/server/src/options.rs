//! The limits of the server, with their defaults.
//!
//! Each names the flag that sets it. How flags, environment and config file are combined is the program's
//! business.

use std::str::FromStr;
use std::time::Duration;

use axum::http::HeaderValue;

use crate::guardrail_options::Guardrail;
use crate::memory;

/// Limits on one request.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// Maximum inputs per request: `--max-client-batch-size`. `None`: 32 on text-embeddings-inference's own
    /// endpoints, as many as it takes, and 2048 on all others, as many as OpenAI takes.
    pub max_client_batch_size: Option<usize>,
    /// Maximum bytes per body after decompression: `--payload-limit`, as in text-embeddings-inference.
    pub payload_limit_bytes: usize,
    /// Maximum bytes per compressed body as sent: `--compressed-limit`.
    pub compressed_limit_bytes: usize,
    /// Whether inputs that are too long are truncated unless the request says otherwise: `--auto-truncate`.
    /// Off, unlike in text-embeddings-inference: a truncated text gives a wrong answer silently.
    pub auto_truncate: bool,
    /// Whether inputs that would be read in part are refused, also where a request asks for truncation:
    /// `--require-full-input`.
    pub require_full_input: bool,
    /// What gateways may ask: `--guardrail`.
    pub guardrails: Vec<Guardrail>,
    /// Maximum windows over all texts of a request that asks for `chunk`: `--max-chunks`.
    pub max_chunks: usize,
    /// Maximum `top_k`: `--max-top-k`.
    pub max_top_k: usize,
    /// Maximum `dimensions`: `--max-dimensions`. The model's own width bounds it further.
    pub max_dimensions: usize,
    /// Maximum growth of a body that is decompressed, as a multiple of its bytes as sent:
    /// `--compression-ratio-limit`. A body of up to 64 KiB may grow further.
    pub compression_ratio_max: usize,
    /// Maximum bytes that the answer to a request could take, as numbers and as JSON: `--answer-limit`. `None`: a
    /// quarter of the host's memory budget, at most 1 GiB.
    pub answer_limit_bytes: Option<usize>,
    /// Maximum bytes that all requests together may hold in the host's memory: `--host-memory-budget`.
    pub host_memory_budget_bytes: usize,
    /// The budget of models and arenas, `--memory-budget`, which the dashboard shows; `None` where nobody set one.
    pub memory_budget_bytes: Option<u64>,
    /// Maximum time from a request's head to the end of its body: `--body-timeout`. A client that does not read
    /// its answer is disconnected after the same time.
    pub body_timeout: Duration,
    /// Maximum time from a request's body to its answer: `--request-timeout`.
    pub request_timeout: Duration,
    /// What happens to fields of a request that its endpoint does not have: `--unknown-fields`.
    pub unknown_fields: UnknownFieldPolicy,
    /// Whether each answered request is logged at `info`, else at `debug`, as health checks and scrapes always are:
    /// `--access-log`.
    pub access_log: bool,
    /// Maximum log lines per second about requests that get no answer, for each reason: `--log-rate`. Those left
    /// out are counted in the next one.
    pub log_rate: u32,
    /// Origins whose pages may call the API: `--cors-allow-origin`. Empty: none but the server's own.
    pub cors_allow_origin: Vec<Origin>,
    /// Age up to which a finished batch proves `/health` that the device works.
    pub health_fresh: Duration,
    /// Maximum time that `/health` waits for its own forward pass on an idle device.
    pub health_wait: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            max_client_batch_size: None,
            payload_limit_bytes: 2_000_000,
            compressed_limit_bytes: 2_000_000,
            auto_truncate: false,
            require_full_input: false,
            guardrails: Vec::new(),
            max_chunks: 128,
            max_top_k: 100,
            max_dimensions: 8192,
            compression_ratio_max: 100,
            answer_limit_bytes: None,
            host_memory_budget_bytes: memory::default_budget_bytes(),
            memory_budget_bytes: None,
            body_timeout: Duration::from_secs(30),
            request_timeout: Duration::from_secs(120),
            unknown_fields: UnknownFieldPolicy::default(),
            access_log: false,
            log_rate: 10,
            cors_allow_origin: Vec::new(),
            health_fresh: Duration::from_secs(10),
            health_wait: Duration::from_secs(5),
        }
    }
}

impl Options {
    /// Returns the maximum bytes that the answer to a request could take.
    pub(crate) fn answer_bytes_max(&self) -> usize {
        let share = (self.host_memory_budget_bytes / 4).min(1 << 30);
        self.answer_limit_bytes.unwrap_or(share)
    }
}

/// What happens to fields of a request that its endpoint does not have. They are counted in any case.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum UnknownFieldPolicy {
    /// Nothing.
    Ignore,
    /// Each is logged once per route.
    #[default]
    Warn,
    /// The request is refused.
    Refuse,
}

impl FromStr for UnknownFieldPolicy {
    type Err = String;

    fn from_str(text: &str) -> Result<UnknownFieldPolicy, String> {
        match text {
            "ignore" => Ok(UnknownFieldPolicy::Ignore),
            "warn" => Ok(UnknownFieldPolicy::Warn),
            "refuse" => Ok(UnknownFieldPolicy::Refuse),
            _ => Err("use ignore, warn or refuse".into()),
        }
    }
}

/// An origin as browsers send it, or `*` for any. Another spelling would never match, so it is rejected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin(HeaderValue);

impl Origin {
    /// Returns whether it is `*`.
    pub(crate) fn is_any(&self) -> bool {
        self.0 == "*"
    }

    pub(crate) fn value(&self) -> HeaderValue {
        self.0.clone()
    }
}

impl FromStr for Origin {
    type Err = String;

    fn from_str(text: &str) -> Result<Origin, String> {
        let bad = |why: &str| {
            format!(
                "{why}; give one origin as browsers send it, such as https://a.example:8443, or *"
            )
        };
        let value = HeaderValue::from_str(text)
            .map_err(|_| bad("it has characters that a header cannot carry"))?;
        if text == "*" {
            return Ok(Origin(value));
        }
        let (scheme, host) = text.split_once("://").ok_or_else(|| bad("it has no scheme"))?;
        let default_port = match scheme {
            "https" => ":443",
            "http" => ":80",
            _ => "/",
        };
        if host.is_empty() || host.contains(|c: char| "/?#@*,".contains(c) || !c.is_ascii_graphic())
        {
            return Err(bad("the scheme must be followed by a host and nothing else"));
        }
        if text.contains(|c: char| c.is_ascii_uppercase()) || host.ends_with(default_port) {
            return Err(bad("browsers write it in lower case and without the scheme's own port"));
        }
        Ok(Origin(value))
    }
}

/// Maximum connections that are closed at once to make room for others.
pub(crate) const CLOSING_MAX: usize = 16;

/// Maximum connections at once that are told that there is no room for them, and waited for until they have read it.
pub(crate) const REJECTED_MAX: usize = 16;

/// Limits on connections, and on the shutdown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transport {
    /// Maximum open connections: `--max-connections`. For a further one the longest idle one is closed; if none
    /// is idle, it is served from [`Transport::reserved_connections`].
    pub max_connections: usize,
    /// Maximum open connections per client address, an IPv6 /64 being one: `--max-connections-per-client`.
    /// `None`: three quarters of `max_connections`.
    pub max_connections_per_client: Option<usize>,
    /// Connections beyond the other two limits, on which `/health`, `/ready`, `/ping` and `/metrics` are served
    /// and all else is answered 503: `--reserved-connections`.
    pub reserved_connections: usize,
    /// Maximum bytes per request head: `--header-limit`, at least 8192.
    pub header_limit_bytes: usize,
    /// Maximum time from a connection, or the first byte of a later request, to the end of a request's head:
    /// `--header-timeout`. It also bounds the TLS handshake.
    pub header_timeout: Duration,
    /// Maximum time that a connection stays open without a request: `--keep-alive`.
    pub keep_alive: Duration,
    /// Maximum time that a client reads nothing of its answer: [`Options::body_timeout`].
    pub stall_timeout: Duration,
    /// Minimum bytes per second that a client has to take of its answer, after `stall_timeout`:
    /// `--min-response-data-rate`.
    pub min_response_data_rate: u64,
    /// Time after SIGTERM in which requests are still accepted: `--drain-delay`.
    pub drain_delay: Duration,
    /// Maximum time after that for the requests under way: `--drain-timeout`.
    pub drain_timeout: Duration,
}

impl Default for Transport {
    fn default() -> Self {
        Transport {
            max_connections: 4096,
            max_connections_per_client: None,
            reserved_connections: 64,
            header_limit_bytes: 32 << 10,
            header_timeout: Duration::from_secs(10),
            keep_alive: Duration::from_secs(75),
            stall_timeout: Duration::from_secs(30),
            min_response_data_rate: 16 << 10,
            drain_delay: Duration::from_secs(5),
            // As long as a request may take by default.
            drain_timeout: Duration::from_secs(120),
        }
    }
}

/// Files that the process has open beside its connections, at most: its models while they load, the log, the
/// device, the event queues.
const OTHER_FILES: u64 = 64;

impl Transport {
    /// Returns the limit per client address.
    pub fn connections_per_client(&self) -> usize {
        let default = self.max_connections - self.max_connections / 4;
        self.max_connections_per_client.unwrap_or(default)
    }

    /// Returns how many files the process may have open at once when all its connections are.
    pub fn open_files(&self) -> u64 {
        let connections = self.max_connections + self.reserved_connections;
        (connections + CLOSING_MAX + REJECTED_MAX) as u64 + OTHER_FILES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_that_no_browser_sends_is_refused() {
        for good in ["*", "https://a.example", "http://localhost:3000", "tauri://localhost"] {
            assert!(good.parse::<Origin>().is_ok(), "{good}");
        }
        for bad in [
            "",
            "a.example",
            "https://",
            "https://a/",
            "https://a/b",
            "https://a, https://b",
            "a, b",
            "https://a b",
            "https://A.example",
            "https://a:443",
            "http://a:80",
            "https://*.a",
            "https://\u{e9}",
            "https://a\n",
        ] {
            assert!(bad.parse::<Origin>().is_err(), "{bad}");
        }
    }
}
