//! A server in a process of its own, and a client of bytes.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// Nothing here takes a tenth of this.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// Killed at the end of its test, if it has not ended.
pub(crate) struct Process {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Process {
    /// Starts a server on a free port and waits until it is ready.
    pub(crate) fn start(args: &[&str]) -> Process {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bigbatch"));
        command.args(["serve", "--port", "0"]).args(args);
        command.env("HF_HUB_OFFLINE", "1").env("CUDA_VISIBLE_DEVICES", "");
        // What these tests ask for is vectors, and `serve` by itself classifies.
        command.env("BIGBATCH_MODEL", "embedded:embed");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("the program starts");
        let stdout = child.stdout.take().expect("piped");
        let (sender, line) = mpsc::channel();
        thread::spawn(move || {
            let mut line = String::new();
            BufReader::new(stdout).read_line(&mut line).ok();
            sender.send(line).ok();
        });
        let line = line.recv_timeout(PATIENCE).expect("it says where it listens");
        let address = line.trim().rsplit('/').next().and_then(|address| address.parse().ok());
        let address = address.unwrap_or_else(|| panic!("no address in '{line}'"));
        let process = Process { child, address };
        process.until("/ready", |answer| status(answer) == 200);
        process
    }

    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let done = Command::new("kill").args(["-s", name, &pid]).status().expect("kill runs");
        assert!(done.success());
    }

    /// Waits for its end.
    pub(crate) fn code(mut self) -> Option<i32> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("it is ours") {
                return status.code();
            }
            assert!(Instant::now() < deadline, "it does not end");
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

    /// Asks until the answer is as wished.
    pub(crate) fn until(&self, path: &str, wished: impl Fn(&str) -> bool) -> String {
        wait(|| Some(self.get(path)).filter(|answer| wished(answer)))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Nothing to kill where it has ended.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Asks until there is an answer.
pub(crate) fn wait<T>(mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "it never came");
        thread::sleep(Duration::from_millis(10));
    }
}

pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("the server listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
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

/// 0 where there is no answer.
pub(crate) fn status(answer: &str) -> u16 {
    answer.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0)
}
