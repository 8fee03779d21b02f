//! The errors of a target behind a URL that cannot be measured at all: one line each, with the next step.
//!
//! None repeats a key, a header's value or the credentials of a URL. Failures of single requests are
//! records, classified in `failure.rs`.

use std::path::PathBuf;

/// The reason why a target cannot be measured. Each is a usage or input error (exit code 2).
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// A URL is malformed. It is not repeated, because it may contain a password.
    #[error("the {what} cannot be used: {reason}; give http://HOST[:PORT][/PATH] or https://...")]
    Url {
        /// The URL's role: `target's URL` or `metrics URL`.
        what: &'static str,
        /// The fault.
        reason: &'static str,
    },
    /// A header of the user cannot be sent. Its value is not repeated.
    #[error("header {place} cannot be sent: {reason}; give 'Name: value'")]
    Header {
        /// Position of the header in the order given, from 1.
        place: usize,
        /// The fault.
        reason: &'static str,
    },
    /// The key file is unreadable, empty, or not one line.
    #[error("cannot use the API key file {path}: {reason}; give a file with the key as its only line", path = path.display())]
    KeyFile {
        /// The file.
        path: PathBuf,
        /// The fault.
        reason: String,
    },
    /// The dialect has no such endpoint.
    #[error("{given} is no endpoint of this API; give --endpoint one of {known}")]
    Endpoint {
        /// The requested endpoint.
        given: String,
        /// The endpoints of the dialect, separated by commas.
        known: String,
    },
    /// No process has this PID.
    #[error(
        "there is no process {pid} on this machine; give the PID of the target, or --metrics-url for a target elsewhere"
    )]
    Process {
        /// The PID given.
        pid: u32,
    },
    /// The metrics page cannot be read, or is another kind of page.
    #[error(
        "cannot read the metrics page {page}: {reason}; give --metrics-url a Prometheus page, such as http://HOST:PORT/metrics"
    )]
    MetricsPage {
        /// The page's URL, without credentials.
        page: String,
        /// The fault, sanitised.
        reason: String,
    },
    /// No connection could be made.
    #[error("cannot reach {target}: {reason}; check that it runs and that the URL is right")]
    Unreachable {
        /// The target's URL, without credentials.
        target: String,
        /// The cause, with the causes of the cause.
        reason: String,
    },
    /// The target does not accept connections that begin with HTTP/2.
    #[error("{target} does not answer HTTP/2 ({reason}); use --http 1")]
    Http2 {
        /// The target's URL, without credentials.
        target: String,
        /// The connection's error.
        reason: String,
    },
    /// The target rejected the request's key, or its absence (401 or 403).
    #[error("{request} was refused with {status}: {message}; give --api-key-file or --header")]
    Key {
        /// Method and URL of the request.
        request: String,
        /// The reply's status.
        status: u16,
        /// The target's message, sanitised.
        message: String,
    },
    /// The target answered a short text with a status that no load can change.
    #[error(
        "{request} was answered with {status}: {message}; check --api, --endpoint and --model-name"
    )]
    WrongApi {
        /// Method and URL of the request.
        request: String,
        /// The reply's status.
        status: u16,
        /// The target's message, sanitised.
        message: String,
    },
    /// `--api auto` did not recognise the target.
    #[error("cannot tell which API {target} has ({tried}); give --api tei, openai or vllm")]
    NotRecognised {
        /// The target's URL, without credentials.
        target: String,
        /// The paths requested, with their results.
        tried: String,
    },
    /// TLS cannot be configured.
    #[error("cannot set up TLS: {0}; check the certificates of this machine")]
    Tls(String),
}
