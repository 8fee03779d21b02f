//! SIGTERM drains without losing an accepted request; Ctrl-C skips the drain delay; SIGHUP reloads the API keys and blocks
//! no other signal.

use std::fs::OpenOptions;
use std::io::Write;
use std::process::Command;

use crate::process::{Process, post, read_all, status, wait};
use crate::support::{Scratch, text};

const GOOD: &str = r#"{"inputs":"hello"}"#;

#[test]
fn sigterm_drains_and_loses_nothing() {
    let server = Process::start(&["--drain-delay", "3", "--drain-timeout", "60"]);
    // Accepted before the signal; its body ends only after the server has stopped accepting connections.
    let request = post("/embed", "", GOOD);
    let (start, rest) = request.split_at(request.len() - 5);
    let mut slow = server.connect();
    slow.write_all(start.as_bytes()).expect("the server reads");
    server.until("/metrics", |page| page.contains("bigbatch_requests_in_flight 2\n"));
    let mut kept = server.connect();
    let kept_alive = request.replace("connection: close\r\n", "");
    kept.write_all(kept_alive.as_bytes()).expect("the server reads");
    server.signal("TERM");
    let answer = server.until("/ready", |answer| status(answer) == 503);
    assert!(answer.contains("draining"), "{answer}");
    // While /ready returns 503, requests are still served.
    assert_eq!(status(&server.embed(GOOD, "")), 200);
    assert_eq!(status(&server.get("/health")), 200);
    // Then new connections are refused, and the connection without a request is closed.
    assert_eq!(status(&read_all(&mut kept)), 200);
    wait(|| std::net::TcpStream::connect(server.address).err());
    slow.write_all(rest.as_bytes()).expect("the server still reads this one");
    let answer = read_all(&mut slow);
    assert_eq!(status(&answer), 200, "{answer}");
    assert_eq!(server.code(), Some(0));
}

#[test]
fn ctrl_c_ends_an_idle_server_at_once() {
    let server = Process::start(&["--drain-delay", "3600"]);
    assert_eq!(status(&server.embed(GOOD, "")), 200);
    server.signal("INT");
    assert_eq!(server.code(), Some(0));
}

#[test]
fn ctrl_c_answers_the_requests_in_flight_and_a_second_one_does_not() {
    let server = Process::start(&["--drain-delay", "3600", "--body-timeout", "3600"]);
    let request = post("/embed", "", GOOD);
    let (start, rest) = request.split_at(request.len() - 5);
    let mut slow = server.connect();
    slow.write_all(start.as_bytes()).expect("the server reads");
    let mut silent = server.connect();
    silent.write_all(start.as_bytes()).expect("the server reads");
    server.until("/metrics", |page| page.contains("bigbatch_requests_in_flight 3\n"));
    server.signal("INT");
    wait(|| std::net::TcpStream::connect(server.address).err());
    slow.write_all(rest.as_bytes()).expect("the server still reads this one");
    assert_eq!(status(&read_all(&mut slow)), 200);
    server.signal("INT");
    assert_eq!(server.code(), Some(0));
}

#[test]
fn sighup_reloads_the_keys() {
    let scratch = Scratch::new();
    let keys = scratch.file("keys", "# a team\none\n");
    let server = Process::start(&["--api-key-file", text(&keys)]);
    let ask = |key: &str| status(&server.embed(GOOD, &format!("authorization: Bearer {key}\r\n")));
    assert_eq!((ask("one"), ask("two"), status(&server.embed(GOOD, ""))), (200, 401, 401));
    scratch.file("keys", "two\nthree\n");
    server.signal("HUP");
    wait(|| (ask("two") == 200).then_some(()));
    assert_eq!((ask("one"), ask("three")), (401, 200));
    // A file without a key keeps the old keys.
    scratch.file("keys", "# nobody\n");
    server.signal("HUP");
    assert_eq!(ask("two"), 200);
    server.signal("INT");
    server.signal("INT");
    assert_eq!(server.code(), Some(0));
}

#[test]
fn keys_from_a_pipe_that_nobody_writes_block_no_signal() {
    let scratch = Scratch::new();
    let keys = scratch.file("keys", "one\n");
    let server = Process::start(&["--api-key-file", text(&keys), "--drain-delay", "0"]);
    let ask = |key: &str| status(&server.embed(GOOD, &format!("authorization: Bearer {key}\r\n")));
    std::fs::remove_file(&keys).expect("it is ours");
    assert!(Command::new("mkfifo").arg(&keys).status().expect("mkfifo runs").success());
    // The second one while the first is being read, unless the first is not: opening the pipe waits for it.
    server.signal("HUP");
    let mut pipe = OpenOptions::new().write(true).open(&keys).expect("the server opens it");
    server.signal("HUP");
    server.signal("HUP");
    assert_eq!(ask("one"), 200);
    pipe.write_all(b"two\n").expect("the server reads");
    drop(pipe);
    wait(|| (ask("two") == 200).then_some(()));
    assert_eq!(ask("one"), 401);
    // Now the pipe is opened again, and nobody writes.
    server.signal("TERM");
    assert_eq!(server.code(), Some(0));
}
