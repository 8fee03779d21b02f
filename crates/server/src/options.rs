//! Every limit of the server, with its default.

use std::str::FromStr;
use std::time::Duration;

use axum::http::HeaderValue;

/// Limits on what one client may ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Inputs of one request: `--max-client-batch-size`, as text-embeddings-inference.
    pub max_client_batch_size: usize,
    /// Bytes of one body, after decompression: `--payload-limit`, as text-embeddings-inference.
    pub payload_limit_bytes: usize,
    /// Bytes of one compressed body as it was sent: `--compressed-limit`.
    pub compressed_limit_bytes: usize,
    /// Whether what is too long is cut where the request does not say: `--auto-truncate`. Unlike
    /// text-embeddings-inference this is off, because a cut text gives a wrong answer quietly.
    pub auto_truncate: bool,
    /// Windows that all texts of one request may be read in, where it asks for `chunk`: `--max-chunks`.
    pub max_chunks: usize,
    /// The largest `top_k`: `--max-top-k`.
    pub max_top_k: usize,
    /// The largest `dimensions`: `--max-dimensions`. The model's own width bounds it further.
    pub max_dimensions: usize,
    /// Bytes of the numbers of one answer that has a row for each token, as f32; JSON has about three times as
    /// many: `--answer-limit`.
    pub answer_limit_bytes: usize,
    /// From a request's head to the end of its body: `--body-timeout`. A client that does not read its answer
    /// is cut off after the same time.
    pub body_timeout: Duration,
    /// From a request's body to its answer: `--request-timeout`.
    pub request_timeout: Duration,
    /// Origins whose pages may call: `--cors-allow-origin`. None: no page of another origin.
    pub cors_allow_origin: Vec<Origin>,
    /// A batch that ended so recently is enough for `/health`.
    pub health_fresh: Duration,
    /// How long `/health` waits for a forward pass of its own on an idle device.
    pub health_wait: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            max_client_batch_size: 32,
            payload_limit_bytes: 2_000_000,
            compressed_limit_bytes: 2_000_000,
            auto_truncate: false,
            max_chunks: 128,
            max_top_k: 100,
            max_dimensions: 8192,
            answer_limit_bytes: 1 << 30,
            body_timeout: Duration::from_secs(30),
            request_timeout: Duration::from_secs(120),
            cors_allow_origin: Vec::new(),
            health_fresh: Duration::from_secs(10),
            health_wait: Duration::from_secs(5),
        }
    }
}

/// An origin as browsers send it, or `*` for any: one spelled otherwise would never match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin(HeaderValue);

impl Origin {
    /// Whether it is `*`.
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
        let value = HeaderValue::from_str(text).map_err(|_| bad("it is no header's value"))?;
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
            return Err(bad("what follows the scheme is no host alone"));
        }
        if text.contains(|c: char| c.is_ascii_uppercase()) || host.ends_with(default_port) {
            return Err(bad("browsers write it in lower case and without the scheme's own port"));
        }
        Ok(Origin(value))
    }
}

/// Limits on connections, and how the server stops.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transport {
    /// Connections at once: `--max-connections`; one more hears 503 and is closed.
    pub max_connections: usize,
    /// Bytes of a request's head: `--header-limit`, at least 8192.
    pub header_limit_bytes: usize,
    /// From a connection, or the first byte of a later request, to the end of a request's head:
    /// `--header-timeout`. TLS has to be agreed on in the same time.
    pub header_timeout: Duration,
    /// How long a connection may stay open without a request: `--keep-alive`.
    pub keep_alive: Duration,
    /// How long a client may take none of its answer: [`Options::body_timeout`].
    pub stall_timeout: Duration,
    /// After SIGTERM, how long requests are still taken: `--drain-delay`.
    pub drain_delay: Duration,
    /// After that, how long those under way may take: `--drain-timeout`.
    pub drain_timeout: Duration,
}

impl Default for Transport {
    fn default() -> Self {
        Transport {
            max_connections: 4096,
            header_limit_bytes: 32 << 10,
            header_timeout: Duration::from_secs(10),
            keep_alive: Duration::from_secs(75),
            stall_timeout: Duration::from_secs(30),
            drain_delay: Duration::from_secs(5),
            drain_timeout: Duration::from_secs(30),
        }
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
