//! Every limit of the server, with its default.

use std::time::Duration;

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
    /// From a request's head to the end of its body: `--body-timeout`. A client that does not read its answer
    /// is cut off after the same time.
    pub body_timeout: Duration,
    /// From a request's body to its answer: `--request-timeout`.
    pub request_timeout: Duration,
    /// Origins whose pages may call: `--cors-allow-origin`; `*` for any. None: no page of another origin.
    pub cors_allow_origin: Vec<String>,
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
            body_timeout: Duration::from_secs(30),
            request_timeout: Duration::from_secs(120),
            cors_allow_origin: Vec::new(),
            health_fresh: Duration::from_secs(10),
            health_wait: Duration::from_secs(5),
        }
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
