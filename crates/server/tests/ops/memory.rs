//! The memory of requests: what arrives is counted before it is kept, and short requests pass beside large ones.

use std::io::Write;

use bigbatch_server::Options;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;

use crate::support::{Server, Setup, post, served, status};

const MIB: usize = 1 << 20;

fn server(host_memory_budget_bytes: usize) -> Server {
    let options = Options { host_memory_budget_bytes, ..Options::default() };
    Server::start(vec![served("a")], Setup { options, ..Setup::default() })
}

/// Returns the bytes that requests hold.
fn held(metrics: &str) -> usize {
    let line = metrics.lines().find_map(|line| line.strip_prefix("bigbatch_request_memory_bytes "));
    line.and_then(|bytes| bytes.parse().ok()).expect("it is exported")
}

#[test]
fn bodies_that_fill_the_memory_leave_room_for_short_requests() {
    let server = server(4 * MIB);
    let long = format!(r#"{{"inputs":"a","model":"{}"}}"#, "x".repeat(3 * MIB / 2));
    let long = post("/embed", "", long.as_bytes());
    let held_back = 1000;
    let half_sent = [(); 2].map(|()| {
        let mut stream = server.connect();
        stream.write_all(&long[..long.len() - held_back]).expect("the server listens");
        stream
    });
    server.until("/metrics", |page| held(page) > 2 * MIB + MIB / 2);
    let answer = server.exchange(&long);
    assert_eq!(status(&answer), 429, "{answer}");
    assert!(
        answer.contains("retry-after: 1") && answer.contains("(--host-memory-budget)"),
        "{answer}"
    );
    assert_eq!(status(&server.embed(r#"{"inputs":"hello"}"#, "")), 200);
    drop(half_sent);
    server.until("/metrics", |page| held(page) == 0);
}

#[test]
fn a_request_that_could_never_fit_is_refused_for_good() {
    let server = server(MIB);
    // Each of 300,000 values could take a hundred bytes while it is read.
    let many = format!(r#"{{"inputs":[{}[]]}}"#, "[],".repeat(100_000));
    let answer = server.embed(&many, "");
    assert_eq!(status(&answer), 413, "{answer}");
    assert!(answer.contains("(--host-memory-budget)"), "{answer}");
    server.until("/metrics", |page| held(page) == 0);
}

#[test]
fn a_body_that_grows_too_much_is_refused() {
    let server = server(64 * MIB);
    let gzip = |text: String| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(text.as_bytes()).expect("memory");
        encoder.finish().expect("memory")
    };
    let body = |repeats| gzip(format!(r#"{{"inputs":"a","model":"{}"}}"#, "x".repeat(repeats)));
    for (repeats, expected) in [(60_000, 200), (1_900_000, 413)] {
        let answer = server.exchange(&post("/embed", "content-encoding: gzip\r\n", &body(repeats)));
        assert_eq!(status(&answer), expected, "{repeats}: {answer}");
        assert_eq!(answer.contains("--compression-ratio-limit"), expected == 413, "{answer}");
    }
}

#[test]
fn windows_are_counted_as_often_as_they_overlap() {
    let server = server(MIB);
    let body = |overlap: usize| {
        let chunk = json!({ "size": 256, "overlap": overlap });
        json!({ "inputs": "word ".repeat(1000), "chunk": chunk }).to_string()
    };
    // A hundred windows of 256 tokens.
    let answer = server.embed(&body(244), "");
    assert_eq!(status(&answer), 413, "{answer}");
    assert!(answer.contains("(--host-memory-budget)"), "{answer}");
    assert_eq!(status(&server.embed(&body(0), "")), 200);
    server.until("/metrics", |page| held(page) == 0);
}

#[test]
fn heads_are_counted_while_their_requests_live_and_leave_room_for_metrics() {
    let server = server(2 * MIB);
    let padding = format!("x-padding: {}\r\n", "x".repeat(20_000));
    let request = post("/embed", &padding, br#"{"inputs":"hello"}"#);
    let half_sent = [(); 60].map(|()| {
        let mut stream = server.connect();
        stream.write_all(&request[..request.len() - 1]).expect("the server listens");
        stream
    });
    server.until("/metrics", |page| held(page) > 2 * MIB - MIB / 5);
    assert_eq!(status(&server.exchange(&request)), 429);
    assert_eq!(status(&server.get("/health")), 200);
    drop(half_sent);
    server.until("/metrics", |page| held(page) == 0);
    assert_eq!(status(&server.exchange(&request)), 200);
}

#[test]
fn pages_are_counted_until_they_are_sent() {
    let server = server(64 << 10);
    let answer = server.get("/openapi.json");
    assert!(status(&answer) == 503 && answer.contains("retry-after: 1"), "{answer}");
    assert_eq!(status(&server.get("/health")), 200);
    server.until("/metrics", |page| held(page) == 0);
}

#[test]
fn a_refusal_does_not_repeat_all_that_was_sent() {
    let server = Server::start(vec![served("a"), served("b")], Setup::default());
    let name = "n".repeat(100_000);
    let answer = server.embed(&json!({ "inputs": "a", "model": name }).to_string(), "");
    assert_eq!(status(&answer), 404);
    assert!(
        answer.contains("no model is called 'nnn") && answer.contains("this server has a"),
        "{answer}"
    );
    assert!(answer.len() < 2000, "{} bytes", answer.len());
}
