//! Every limit of the server, with its default.

/// Limits on what one client may ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Inputs of one request: `--max-client-batch-size`, as text-embeddings-inference.
    pub max_client_batch_size: usize,
    /// Bytes of one body, after decompression: `--payload-limit`, as text-embeddings-inference.
    pub payload_limit_bytes: usize,
    /// Whether what is too long is cut where the request does not say: `--auto-truncate`. Unlike
    /// text-embeddings-inference this is off, because a cut text gives a wrong answer quietly.
    pub auto_truncate: bool,
    /// Windows that all texts of one request may be read in, where it asks for `chunk`: `--max-chunks`.
    pub max_chunks: usize,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            max_client_batch_size: 32,
            payload_limit_bytes: 2_000_000,
            auto_truncate: false,
            max_chunks: 128,
        }
    }
}
