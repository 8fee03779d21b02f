//! HTTP with the Hub: one GET per file, with the commit and the etag from the headers of the answer.
//!
//! `huggingface_hub` asks by HEAD first; the same headers come with the answer to a GET, whose body need not be
//! read. Redirects are followed here, because the headers stand on the Hub's own answer and the token must not
//! reach the host that has the bytes.

use std::time::Duration;

use ureq::http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_RANGE, ETAG, LOCATION};
use ureq::http::{Response, StatusCode, Uri};
use ureq::{Agent, Body};

use super::cache::is_plain_name;
use super::settings::{Settings, Token};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Limits each read, not the download.
const READ_TIMEOUT: Duration = Duration::from_secs(30);
const MAX_REDIRECTS: usize = 10;

/// A connection to the Hub for one repository at one revision.
pub(super) struct Client {
    agent: Agent,
    endpoint: String,
    id: String,
    revision: String,
    token: Option<Token>,
}

/// The Hub's answer about a file.
pub(super) enum Answer {
    File(RemoteFile),
    /// The commit has no such file.
    Absent {
        commit: String,
    },
}

/// A file whose bytes are about to come.
pub(super) struct RemoteFile {
    pub(super) commit: String,
    /// Identifies the content; the name of its blob.
    pub(super) etag: String,
    /// Size of the whole file.
    pub(super) size: Option<u64>,
    /// Offset of the body's first byte in the file.
    pub(super) start: u64,
    pub(super) body: Body,
}

/// Why the Hub did not answer about a file.
pub(super) enum Failure {
    /// It was not reached, or does not speak as the Hub does.
    Unreachable(String),
    /// It answered with an error.
    Status { status: StatusCode, code: String },
}

impl Client {
    pub(super) fn new(settings: Settings, id: &str, revision: &str) -> Client {
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_resolve(Some(CONNECT_TIMEOUT))
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_recv_response(Some(CONNECT_TIMEOUT))
            .timeout_per_read(Some(READ_TIMEOUT))
            .user_agent(concat!("bigbatch/", env!("CARGO_PKG_VERSION")))
            // Sizes and ranges are those of the file, not of its compressed form.
            .accept_encoding("identity")
            .build()
            .into();
        let Settings { endpoint, token, .. } = settings;
        Client { agent, endpoint, id: id.into(), revision: revision.into(), token }
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }

    pub(super) fn revision(&self) -> &str {
        &self.revision
    }

    pub(super) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Returns where the token was read, if there is one.
    pub(super) fn token_origin(&self) -> Option<&str> {
        self.token.as_ref().map(|token| token.origin.as_str())
    }

    /// Requests a file from the offset `start` on. The answer may start earlier.
    pub(super) fn get(&self, file: &str, start: u64) -> Result<Answer, Failure> {
        let (id, revision) = (&self.id, encode(&self.revision));
        let url = format!("{}/{id}/resolve/{revision}/{}", self.endpoint, encode_path(file));
        let (hub, last) = self.follow(url, start)?;
        let commit = header(&hub, "x-repo-commit").filter(|commit| is_plain_name(commit));
        let code = header(&hub, "x-error-code").unwrap_or_default().to_string();
        // A 404 without a commit is a proxy's or a broken mirror's, and tells nothing about the repository.
        if hub.status() == StatusCode::NOT_FOUND
            && matches!(code.as_str(), "" | "EntryNotFound")
            && let Some(commit) = commit
        {
            return Ok(Answer::Absent { commit: commit.to_string() });
        }
        if !last.status().is_success() {
            return Err(Failure::Status { status: last.status(), code });
        }
        let etag = header(&hub, "x-linked-etag").or_else(|| header(&hub, ETAG.as_str()));
        let etag = etag.map(|etag| etag.trim_start_matches("W/").trim_matches('"'));
        let (Some(commit), Some(etag)) = (commit, etag.filter(|etag| is_plain_name(etag))) else {
            return Err(Failure::Unreachable(
                "its answer has no X-Repo-Commit or no ETag, as the Hub's have; check HF_ENDPOINT and \
                 the proxy"
                    .into(),
            ));
        };
        let (start, size) = extent(&last);
        let (commit, etag) = (commit.to_string(), etag.to_string());
        Ok(Answer::File(RemoteFile { commit, etag, size, start, body: last.into_body() }))
    }

    /// Lists the files of the revision.
    pub(super) fn list(&self) -> Option<Vec<String>> {
        #[derive(serde::Deserialize)]
        struct Info {
            siblings: Vec<Sibling>,
        }
        #[derive(serde::Deserialize)]
        struct Sibling {
            rfilename: String,
        }
        let (id, revision) = (&self.id, encode(&self.revision));
        let url = format!("{}/api/models/{id}/revision/{revision}", self.endpoint);
        let (_, answer) = self.follow(url, 0).ok()?;
        let json = answer.into_body().read_to_vec().ok()?;
        let info: Info = serde_json::from_slice(&json).ok()?;
        Some(info.siblings.into_iter().map(|sibling| sibling.rfilename).collect())
    }

    /// Follows redirects. Returns the head of the Hub's own last answer, and the last answer; both may be one.
    fn follow(
        &self,
        mut url: String,
        start: u64,
    ) -> Result<(Response<()>, Response<Body>), Failure> {
        let home = origin(&self.endpoint);
        let mut hub = None;
        for _ in 0..=MAX_REDIRECTS {
            let mut request = self.agent.get(&url);
            let at_home = origin(&url) == home;
            if let Some(token) = self.token.as_ref().filter(|_| at_home) {
                request = request.header(AUTHORIZATION, format!("Bearer {}", token.secret));
            }
            if start > 0 {
                request = request.header("range", format!("bytes={start}-"));
            }
            let answer = request.call().map_err(|error| Failure::Unreachable(error.to_string()))?;
            // A mirror may redirect to the Hub.
            if at_home || header(&answer, "x-repo-commit").is_some() {
                hub = Some(head_of(&answer));
            }
            let next = header(&answer, LOCATION.as_str())
                .filter(|_| answer.status().is_redirection())
                .map(|location| absolute(location, &url));
            match (next, hub.take()) {
                (None, Some(hub)) => return Ok((hub, answer)),
                (None, None) => return Ok((head_of(&answer), answer)),
                (Some(next), kept) => (url, hub) = (next, kept),
            }
        }
        Err(Failure::Unreachable(format!("it redirected more than {MAX_REDIRECTS} times")))
    }
}

fn head_of(answer: &Response<Body>) -> Response<()> {
    let mut head = Response::new(());
    *head.status_mut() = answer.status();
    *head.headers_mut() = answer.headers().clone();
    head
}

fn header<'a, T>(answer: &'a Response<T>, name: &str) -> Option<&'a str> {
    answer.headers().get(name)?.to_str().ok()
}

/// Returns the offset of the body's first byte and the size of the whole file.
fn extent(answer: &Response<Body>) -> (u64, Option<u64>) {
    if answer.status() == StatusCode::PARTIAL_CONTENT
        && let Some(range) = header(answer, CONTENT_RANGE.as_str())
        && let Some((bytes, size)) = range.trim_start_matches("bytes ").split_once('/')
        && let Some(Ok(start)) = bytes.split_once('-').map(|(start, _)| start.parse())
    {
        return (start, size.parse().ok());
    }
    (0, header(answer, CONTENT_LENGTH.as_str()).and_then(|size| size.parse().ok()))
}

/// Returns the scheme and the authority of a URL.
fn origin(url: &str) -> Option<(String, String)> {
    let uri: Uri = url.parse().ok()?;
    Some((uri.scheme_str()?.to_string(), uri.authority()?.to_string()))
}

/// Returns the URL that a `Location` names, seen from `base`.
fn absolute(location: &str, base: &str) -> String {
    match (location.starts_with('/'), origin(base)) {
        (true, Some((scheme, authority))) => format!("{scheme}://{authority}{location}"),
        _ => location.into(),
    }
}

/// Percent-encodes one segment of a path.
fn encode(segment: &str) -> String {
    let mut out = String::new();
    for byte in segment.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(byte.into());
            }
            _ => out += &format!("%{byte:02X}"),
        }
    }
    out
}

fn encode_path(path: &str) -> String {
    path.split('/').map(encode).collect::<Vec<_>>().join("/")
}
