//! A server process, and a client that sends raw bytes.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// More than ten times what any wait in these tests takes.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(120);

/// A running `bigbatch serve`, killed on drop.
pub(crate) struct Process {
    child: Child,
    pub(crate) address: SocketAddr,
    /// What it printed when it began to listen.
    pub(crate) line: String,
}

impl Process {
    /// Starts a server on a free port and waits until it is ready.
    pub(crate) fn start(args: &[&str]) -> Process {
        Process::start_with_log(args, Stdio::null())
    }

    /// As [`Process::start`], with another standard error.
    pub(crate) fn start_with_log(args: &[&str], stderr: Stdio) -> Process {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bigbatch"));
        command.args(["serve", "--port", "0"]).args(args);
        command.env("HF_HUB_OFFLINE", "1").env("CUDA_VISIBLE_DEVICES", "");
        // These tests request embeddings; the default model of `serve` classifies.
        command.env("BIGBATCH_MODEL", "embedded:embed");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(stderr);
        let mut child = command.spawn().expect("the program starts");
        let stdout = child.stdout.take().expect("piped");
        let (sender, line) = mpsc::channel();
        thread::spawn(move || {
            let mut line = String::new();
            BufReader::new(stdout).read_line(&mut line).ok();
            sender.send(line).ok();
        });
        let line = line.recv_timeout(TIMEOUT).expect("the server prints its address");
        let line = line.trim().to_owned();
        let address = line.rsplit('/').next().and_then(|address| address.parse().ok());
        let address = address.unwrap_or_else(|| panic!("no address in '{line}'"));
        let process = Process { child, address, line };
        process.until("/ready", |answer| status(answer) == 200);
        process
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let done = Command::new("kill").args(["-s", name, &pid]).status().expect("kill runs");
        assert!(done.success());
    }

    /// Waits for the process to exit and returns its exit code.
    pub(crate) fn code(mut self) -> Option<i32> {
        let deadline = Instant::now() + TIMEOUT;
        loop {
            if let Some(status) = self.child.try_wait().expect("it is ours") {
                return status.code();
            }
            assert!(Instant::now() < deadline, "the process does not exit");
            thread::sleep(Duration::from_millis(10));
        }
    }

    pub(crate) fn connect(&self) -> TcpStream {
        connect(self.address)
    }

    pub(crate) fn get(&self, path: &str) -> String {
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        exchange(self.address, request.as_bytes())
    }

    pub(crate) fn embed(&self, body: &str, headers: &str) -> String {
        exchange(self.address, post("/embed", headers, body).as_bytes())
    }

    pub(crate) fn post(&self, path: &str, body: &str) -> String {
        exchange(self.address, post(path, "", body).as_bytes())
    }

    /// Requests a path until the response satisfies `condition`.
    pub(crate) fn until(&self, path: &str, condition: impl Fn(&str) -> bool) -> String {
        wait(|| Some(self.get(path)).filter(|answer| condition(answer)))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Fails if the process has exited.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Polls until `poll` returns a value.
pub(crate) fn wait<T>(mut poll: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + TIMEOUT;
    loop {
        if let Some(value) = poll() {
            return value;
        }
        assert!(Instant::now() < deadline, "timed out");
        thread::sleep(Duration::from_millis(10));
    }
}

pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("the server listens");
    stream.set_read_timeout(Some(TIMEOUT)).expect("a timeout can be set");
    stream
}

pub(crate) fn exchange(address: SocketAddr, request: &[u8]) -> String {
    let mut stream = connect(address);
    stream.write_all(request).expect("the server reads");
    read_all(&mut stream)
}

pub(crate) fn read_all(stream: &mut TcpStream) -> String {
    let mut all = Vec::new();
    stream.read_to_end(&mut all).expect("an answer and an end");
    String::from_utf8_lossy(&all).into_owned()
}

pub(crate) fn post(path: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
         content-length: {length}\r\nconnection: close\r\n{headers}\r\n{body}"
    )
}

/// Returns the status of a response, 0 for an empty one.
pub(crate) fn status(answer: &str) -> u16 {
    answer.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0)
}
