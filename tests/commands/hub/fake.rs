//! A Hub on a loopback port with one repository, which answers a GET as the real one does and can misbehave.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::json;

pub(super) const ID: &str = "somebody/some-model";

type Files = BTreeMap<String, Vec<u8>>;

/// What the Hub has and how it answers.
#[derive(Default)]
pub(super) struct State {
    /// The files of each commit.
    pub(super) commits: BTreeMap<String, Files>,
    /// The commit of each branch.
    pub(super) branches: BTreeMap<String, String>,
    /// Answered for this file, or for every file if it is empty: the status line's end and `X-Error-Code`.
    pub(super) fails: Option<(&'static str, &'static str, &'static str)>,
    /// The token without which the Hub answers 401.
    pub(super) token: Option<&'static str>,
    /// The first answer with this file ends after this many bytes.
    pub(super) breaks: Option<(&'static str, usize)>,
    /// Bytes are at another path, to which the Hub redirects, as it does for large files.
    pub(super) redirects: bool,
    /// Each request: the path, and the first byte that it asks for.
    pub(super) log: Vec<(String, usize)>,
}

/// A running Hub. Its thread ends with the test's process.
pub(super) struct FakeHub {
    pub(super) address: String,
    pub(super) state: Arc<Mutex<State>>,
}

impl FakeHub {
    /// Starts a Hub whose branch `main` is a commit `c1` of the files in `dir`.
    pub(super) fn start(dir: &Path) -> FakeHub {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = format!("http://{}", listener.local_addr().expect("bound"));
        let state = Arc::new(Mutex::new(State::default()));
        let shared = state.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, state) = (stream.expect("a client"), shared.clone());
                thread::spawn(move || serve(stream, &state));
            }
        });
        let hub = FakeHub { address, state };
        hub.push("main", "c1", files_of(dir));
        hub
    }

    /// Adds a commit and sets a branch to it.
    pub(super) fn push(&self, branch: &str, commit: &str, files: Files) {
        self.change(|state| {
            state.commits.insert(commit.into(), files);
            state.branches.insert(branch.into(), commit.into());
        });
    }

    pub(super) fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().expect("no test panicked in it"));
    }

    /// Returns the requests since the last call: the file's path, and the first byte that it asks for.
    pub(super) fn take_log(&self) -> Vec<(String, usize)> {
        std::mem::take(&mut self.state.lock().expect("no test panicked in it").log)
    }
}

/// Reads the files of a directory, `/` between their folders and names.
pub(super) fn files_of(dir: &Path) -> Files {
    let mut files = Files::new();
    for entry in std::fs::read_dir(dir).expect("it was written").map(|entry| entry.expect("one")) {
        let name = entry.file_name().into_string().expect("UTF-8");
        if entry.path().is_dir() {
            let below = files_of(&entry.path()).into_iter();
            files.extend(below.map(|(path, bytes)| (format!("{name}/{path}"), bytes)));
        } else {
            files.insert(name, std::fs::read(entry.path()).expect("readable"));
        }
    }
    files
}

/// The head of a request, as far as the Hub reads it.
struct Asked {
    path: String,
    start: usize,
    token: Option<String>,
}

fn read_head(stream: &TcpStream) -> Option<Asked> {
    let mut lines = BufReader::new(stream.try_clone().ok()?).lines();
    let first = lines.next()?.ok()?;
    let path = first.split(' ').nth(1)?.to_string();
    let mut asked = Asked { path, start: 0, token: None };
    for line in lines.map_while(Result::ok).take_while(|line| !line.is_empty()) {
        let (name, value) = line.split_once(": ")?;
        match name.to_lowercase().as_str() {
            "range" => {
                let from = value.strip_prefix("bytes=")?.split('-').next()?;
                asked.start = from.parse().ok()?;
            }
            "authorization" => asked.token = value.strip_prefix("Bearer ").map(str::to_string),
            _ => {}
        }
    }
    Some(asked)
}

fn serve(mut stream: TcpStream, state: &Mutex<State>) {
    let Some(asked) = read_head(&stream) else { return };
    let (head, body) = answer(&asked, &mut state.lock().expect("no test panicked in it"));
    // The client may close the connection early.
    stream.write_all(head.as_bytes()).ok();
    stream.write_all(&body).ok();
}

fn error(status: &str, code: &str, commit: Option<&str>) -> (String, Vec<u8>) {
    let commit = commit.map(|commit| format!("x-repo-commit: {commit}\r\n")).unwrap_or_default();
    let head = format!(
        "HTTP/1.1 {status}\r\nx-error-code: {code}\r\n{commit}content-length: 0\r\nconnection: close\r\n\r\n"
    );
    (head, Vec::new())
}

fn answer(asked: &Asked, state: &mut State) -> (String, Vec<u8>) {
    if let Some(path) = asked.path.strip_prefix("/cdn/") {
        assert_eq!(asked.token, None, "the token went to another host");
        let (commit, file) = path.split_once('/').expect("as redirected");
        let bytes = state.commits[commit][file].clone();
        return content(asked, state, commit, file, &bytes);
    }
    let prefix = format!("/{ID}/resolve/");
    let Some((revision, file)) =
        asked.path.strip_prefix(&prefix).and_then(|rest| rest.split_once('/'))
    else {
        return list(asked, state);
    };
    state.log.push((format!("{revision}/{file}"), asked.start));
    if state.token.is_some_and(|token| asked.token.as_deref() != Some(token)) {
        return error("401 Unauthorized", "GatedRepo", None);
    }
    if let Some((_, status, code)) =
        state.fails.filter(|(failing, ..)| failing.is_empty() || *failing == file)
    {
        return error(status, code, None);
    }
    let revision = revision.replace("%2F", "/");
    let commit = state.branches.get(&revision).unwrap_or(&revision).clone();
    match state.commits.get(&commit).map(|files| files.get(file).cloned()) {
        None => error("404 Not Found", "RevisionNotFound", None),
        Some(None) => error("404 Not Found", "EntryNotFound", Some(&commit)),
        Some(Some(bytes)) => content(asked, state, &commit, file, &bytes),
    }
}

fn content(
    asked: &Asked,
    state: &mut State,
    commit: &str,
    file: &str,
    bytes: &[u8],
) -> (String, Vec<u8>) {
    let etag = format!("{:x}-{}", bytes.iter().map(|b| u64::from(*b)).sum::<u64>(), bytes.len());
    if state.redirects && !asked.path.starts_with("/cdn/") {
        let (port, size) = (state.branches["cdn"].clone(), bytes.len());
        let head = format!(
            "HTTP/1.1 302 Found\r\nlocation: {port}/cdn/{commit}/{file}\r\nx-repo-commit: {commit}\r\n\
             x-linked-etag: \"{etag}\"\r\nx-linked-size: {size}\r\ncontent-length: 0\r\n\
             connection: close\r\n\r\n"
        );
        return (head, Vec::new());
    }
    let (all, part) = (bytes.len(), &bytes[asked.start.min(bytes.len())..]);
    let status = if asked.start > 0 {
        let (from, to) = (asked.start, all - 1);
        format!("206 Partial Content\r\ncontent-range: bytes {from}-{to}/{all}")
    } else {
        "200 OK".into()
    };
    let head = format!(
        "HTTP/1.1 {status}\r\netag: W/\"{etag}\"\r\nx-repo-commit: {commit}\r\ncontent-length: {}\r\n\
         connection: close\r\n\r\n",
        part.len()
    );
    let sent = match state.breaks.take_if(|(breaking, _)| *breaking == file) {
        Some((_, bytes)) => part[..bytes].to_vec(),
        None => part.to_vec(),
    };
    (head, sent)
}

/// Answers `/api/models/ID/revision/REVISION`.
fn list(asked: &Asked, state: &State) -> (String, Vec<u8>) {
    let prefix = format!("/api/models/{ID}/revision/");
    let Some(revision) = asked.path.strip_prefix(&prefix) else {
        return error("401 Unauthorized", "", None);
    };
    let commit = &state.branches[revision];
    let files = state.commits[commit].keys().map(|file| json!({ "rfilename": file }));
    let body = json!({"sha": commit, "siblings": files.collect::<Vec<_>>()}).to_string();
    let length = body.len();
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
    (head, body.into_bytes())
}
