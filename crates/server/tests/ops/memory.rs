//! The memory of requests: what arrives is counted before it is kept, and short requests pass beside large ones.

use std::io::Write;

use bigbatch_server::Options;
use flate2::Compression;
use flate2::write::GzEncoder;

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
