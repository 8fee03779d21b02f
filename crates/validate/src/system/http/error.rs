//! Why a target behind a URL cannot be measured at all. Each is one line that says what to do, and
//! none repeats a key, a header's value or the credentials of a URL.

use std::path::PathBuf;

/// What stops a run before any load. All are usage or input errors (exit code 2).
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// The URL is not one. It is not repeated: it may hold a password.
    #[error("the {what} cannot be used: {reason}; give http://HOST[:PORT][/PATH] or https://...")]
    Url {
        /// Which URL.
        what: &'static str,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A header of the user's cannot be sent. Its value is not repeated.
    #[error("header {place} cannot be sent: {reason}; give 'Name: value'")]
    Header {
        /// Which one, from 1 in the order given.
        place: usize,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The file with the key cannot be used.
    #[error("cannot use the API key file {path}: {reason}; give a file whose one line is the key", path = path.display())]
    KeyFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// An endpoint that no dialect has, or not this one.
    #[error("{given} is no endpoint of this API; those that can be measured are {known}")]
    Endpoint {
        /// What was asked for.
        given: String,
        /// What there is.
        known: String,
    },
    /// There is no process of that number.
    #[error(
        "there is no process {pid} on this machine; give the PID of the target, or --metrics-url for a target elsewhere"
    )]
    Process {
        /// The number that was given.
        pid: u32,
    },
    /// Nothing answers there.
    #[error("cannot reach {target}: {reason}; is it running, and is the URL right?")]
    Unreachable {
        /// Its URL, without credentials.
        target: String,
        /// What the connection said.
        reason: String,
    },
    /// It does not speak HTTP/2 to someone who begins with it.
    #[error("{target} does not answer HTTP/2 ({reason}); use --http 1")]
    Http2 {
        /// Its URL, without credentials.
        target: String,
        /// What the connection said.
        reason: String,
    },
    /// It wants a key, or another one.
    #[error("{request} was refused with {status}: {message}; give --api-key-file or --header")]
    Key {
        /// What was asked.
        request: String,
        /// The status.
        status: u16,
        /// What the target said.
        message: String,
    },
    /// It is there, but does not speak this dialect.
    #[error(
        "{request} was answered with {status}: {message}; check --api, --endpoint and --model-name"
    )]
    WrongApi {
        /// What was asked.
        request: String,
        /// The status.
        status: u16,
        /// What the target said.
        message: String,
    },
    /// `--api auto` recognised nothing.
    #[error(
        "cannot tell which API {target} speaks ({tried}); name it with --api tei, openai or vllm"
    )]
    NotRecognised {
        /// Its URL, without credentials.
        target: String,
        /// What was asked and answered.
        tried: String,
    },
    /// No certificates to check servers with.
    #[error("cannot set up TLS: {0}")]
    Tls(String),
}
