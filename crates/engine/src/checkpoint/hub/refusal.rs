//! Why a model of the Hub cannot be opened: one line each, with the next step.

use std::fmt;
use std::path::PathBuf;

use ureq::http::StatusCode;

use super::client::{Client, Failure};
use super::download::DownloadError;

pub(super) enum Refusal {
    BadRevision,
    NoCacheDirectory,
    NotCached {
        revision: String,
        folder: PathBuf,
        variable: &'static str,
    },
    OutsideRepository {
        file: String,
    },
    /// The cache lacks a file and does not know that the repository lacks it too.
    Unknown {
        id: String,
        file: String,
        folder: PathBuf,
        because: String,
    },
    Changed,
    /// A download that was not what the Hub promised.
    Damaged {
        file: String,
        resumed: bool,
    },
    /// The Hub answered with an error.
    Status(Box<ErrorAnswer>),
    Unreachable {
        file: String,
        endpoint: String,
        reason: String,
    },
    Io {
        file: String,
        error: std::io::Error,
    },
}

/// An answer of the Hub that is an error, and what it was about.
pub(super) struct ErrorAnswer {
    status: StatusCode,
    code: String,
    file: String,
    id: String,
    revision: String,
    endpoint: String,
    /// Where the token was read.
    token: Option<String>,
    /// Whether the Hub has answered about another file of the commit.
    of_known_model: bool,
}

impl Refusal {
    pub(super) fn of_hub(client: &Client, file: &str, failure: Failure) -> Refusal {
        let (file, endpoint) = (file.to_string(), client.endpoint().to_string());
        match failure {
            Failure::Unreachable(reason) => Refusal::Unreachable { file, endpoint, reason },
            Failure::Status { status, code } => Refusal::Status(Box::new(ErrorAnswer {
                status,
                code,
                file,
                id: client.id().into(),
                revision: client.revision().into(),
                endpoint,
                token: client.token_origin().map(str::to_string),
                of_known_model: false,
            })),
        }
    }

    /// Says that the Hub has the model, so that the error is about one of its files.
    pub(super) fn of_known_model(mut self) -> Refusal {
        if let Refusal::Status(answer) = &mut self {
            answer.of_known_model = true;
        }
        self
    }

    pub(super) fn of_download(client: &Client, file: &str, error: DownloadError) -> Refusal {
        match error {
            DownloadError::Hub(failure) => Refusal::of_hub(client, file, failure),
            DownloadError::Changed => Refusal::Changed,
            DownloadError::Damaged { resumed } => Refusal::Damaged { file: file.into(), resumed },
            DownloadError::Io(error) => Refusal::Io { file: file.into(), error },
        }
    }

    /// Whether the Hub's answer is final, so that the cache must not stand in for it.
    pub(super) fn is_certain(&self) -> bool {
        match self {
            Refusal::Status(answer) => answer.code == "RevisionNotFound",
            other => !matches!(other, Refusal::Unreachable { .. } | Refusal::Io { .. }),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::BadRevision => {
                f.write_str("the revision after @ or of --revision must be a branch, tag or commit")
            }
            Refusal::NoCacheDirectory => f.write_str(
                "there is no home directory for the Hub's cache; set HF_HUB_CACHE or HF_HOME",
            ),
            Refusal::NotCached { revision, folder, variable } => write!(
                f,
                "there is no such directory, revision {revision} is not in the Hub's cache ({}), and {variable} \
                 forbids asking the Hub; start once without {variable}",
                folder.display()
            ),
            Refusal::OutsideRepository { file } => {
                write!(f, "'{file}' is not a path within the repository")
            }
            Refusal::Unknown { id, file, folder, because } => write!(
                f,
                "{file} is not in the cache ({}), which does not record whether the repository has it: {because}; \
                 start once with the Hub reachable, or fetch all files with `hf download {id}`",
                folder.display()
            ),
            Refusal::Damaged { file, resumed } => {
                let of = if *resumed { "an earlier download and this one" } else { "the download" };
                write!(f, "{file}: the bytes of {of} do not have the Hub's SHA-256 and were deleted; start again")
            }
            Refusal::Changed => f.write_str(
                "the repository got a new commit during the download; start again, or name a commit as \
                 NAME@COMMIT",
            ),
            Refusal::Status(answer) => answer.fmt(f),
            Refusal::Unreachable { file, endpoint, reason } => write!(
                f,
                "{file}: the Hub at {endpoint} could not be read ({reason}); check the network, the proxy and \
                 HF_ENDPOINT"
            ),
            Refusal::Io { file, error } => write!(
                f,
                "{file} could not be downloaded into the Hub's cache: {error}; the next start resumes it"
            ),
        }
    }
}

impl fmt::Display for ErrorAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ErrorAnswer { status, code, file, id, revision, endpoint, token, of_known_model } =
            self;
        let page = format!("{endpoint}/{id}");
        match (status.as_u16(), code.as_str(), token) {
            (404, "RevisionNotFound", _) => write!(
                f,
                "the Hub has no revision '{revision}' of it (404 RevisionNotFound); {page}/tree/main lists its \
                 branches and tags"
            ),
            (401 | 403, "GatedRepo", None) => write!(
                f,
                "the model is gated ({status}): accept its terms at {page}, then set HF_TOKEN to a token of that \
                 account"
            ),
            (401 | 403, "GatedRepo", Some(token)) => write!(
                f,
                "the model is gated ({status}) and the account of the token in {token} has no access: accept its \
                 terms at {page}"
            ),
            (401 | 403 | 404, _, _) if *of_known_model => write!(
                f,
                "{file}: the Hub at {endpoint} answers {status} about this file of the model; check the token and \
                 the proxy, or try again later"
            ),
            (401 | 403 | 404, _, None) => write!(
                f,
                "the Hub has no public model of this name ({status}), and there is no such directory; for a \
                 private model set HF_TOKEN, for a gated one also accept its terms at {page}"
            ),
            (401, _, Some(token)) => write!(
                f,
                "the Hub does not accept the token in {token}, or has no model of this name ({status}); make a new \
                 HF_TOKEN at {endpoint}/settings/tokens"
            ),
            (403 | 404, _, Some(token)) => write!(
                f,
                "the Hub has no model of this name that the token in {token} may read ({status}); HF_TOKEN needs \
                 read access to a private model, and a gated model's terms accepted at {page}"
            ),
            (429, _, _) => write!(
                f,
                "{file}: the Hub limits this address ({status}); set HF_TOKEN, or try again later"
            ),
            _ => write!(f, "{file}: the Hub at {endpoint} answers {status}; try again later"),
        }
    }
}
