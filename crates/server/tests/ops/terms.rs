//! Deadlines, priorities and shares of clients, as clients and operators see them.

use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use bigbatch_server::{Keys, Options};

use crate::support::{Gate, PATIENCE, Server, Setup, TestFile, post, read_all, status};

const GOOD: &str = r#"{"inputs":"a"}"#;

fn with_options(gate: &Gate, options: Options) -> Server {
    Server::start(vec![gate.served()], Setup { options, ..Setup::default() })
}

impl Server {
    /// Sends a request whose answer is read later.
    fn begin(&self, path: &str, headers: &str, body: &str) -> TcpStream {
        let mut stream = self.connect();
        stream.write_all(&post(path, headers, body.as_bytes())).expect("the server listens");
        stream
    }

    /// Waits until so many inputs are admitted.
    fn until_admitted(&self, inputs: usize) {
        self.until("/metrics", |page| page.contains(&format!("te_queue_size {inputs}\n")));
    }
}

#[test]
fn the_shortest_time_limit_counts_and_frees_the_slot() {
    let gate = Gate::default();
    let server = with_options(&gate, Options::default());
    gate.shut();
    let held = server.begin("/embed", "", GOOD);
    // Until it is on the device, others could share its batch, and their slots would be its own.
    server.until("/metrics", |page| {
        page.contains("te_queue_size 1\n")
            && !page.contains("bigbatch_arena_used_bytes{model=\"m\"} 0\n")
    });
    for (path, body, timeout, header) in [
        ("/embed", r#"{"inputs":"a""#, 20, 600_000),
        ("/embed", r#"{"inputs":["a","b","c"]"#, 600_000, 20),
        ("/v1/embeddings", r#"{"input":"a""#, 20, 600_000),
        ("/v2/embed", r#"{"texts":["a"]"#, 600_000, 20),
        ("/v1/analyze", r#"{"text":"a""#, 20, 600_000),
        ("/embed", r#"{"inputs":"a b c","chunk":{"size":4}"#, 20, 20),
    ] {
        let body = format!("{body},\"timeout_ms\":{timeout}}}");
        let header = format!("x-request-timeout-ms: {header}\r\n");
        let answer = server.exchange(&post(path, &header, body.as_bytes()));
        // The device is held: only the deadline can have answered.
        assert_eq!(status(&answer), 503, "{path}: {answer}");
        assert!(answer.contains("20 ms, the deadline"), "{path}: {answer}");
        assert!(answer.contains("retry-after: 1\r\n"), "{path}: {answer}");
    }
    server.until_admitted(1);
    let page = server.get("/metrics");
    assert!(page.contains("bigbatch_refusals_total{reason=\"deadline_passed\"} 6\n"), "{page}");
    gate.open();
    let mut held = held;
    assert_eq!(status(&read_all(&mut held)), 200);
}

#[test]
fn the_limit_of_the_server_counts_if_it_is_shorter() {
    let gate = Gate::default();
    let request_timeout = Duration::from_millis(30);
    let server = with_options(&gate, Options { request_timeout, ..Options::default() });
    gate.shut();
    let answer = server.embed(r#"{"inputs":"a","timeout_ms":60000}"#, "x-priority: batch\r\n");
    assert!(status(&answer) == 503 && answer.contains("(--request-timeout)"), "{answer}");
    gate.open();
}

#[test]
fn a_deadline_that_the_predicted_wait_exceeds_is_refused_at_once() {
    let gate = Gate::default();
    let server = with_options(&gate, Options::default());
    let long = serde_json::json!({"inputs": vec!["word ".repeat(1500)]}).to_string();
    assert_eq!(status(&server.get("/health")), 200);
    let begin = Instant::now();
    while !server.get("/metrics").contains("bigbatch_predicted_wait_seconds{model=\"m\"}") {
        server.embed(&long, "");
        assert!(begin.elapsed() < PATIENCE, "the speed is never known");
    }
    gate.shut();
    let held = server.begin("/embed", "", &long);
    server.until_admitted(1);
    let answer = server.embed(&long, "x-request-timeout-ms: 1\r\n");
    assert!(status(&answer) == 429 && answer.contains("retry-after"), "{answer}");
    assert!(answer.contains("predicted") && answer.contains("deadline of 1 ms"), "{answer}");
    let page = server.get("/metrics");
    assert!(page.contains("bigbatch_refusals_total{reason=\"deadline_too_short\"} 1\n"), "{page}");
    assert!(page.contains("te_queue_size 1\n"), "it was not admitted");
    gate.open();
    let mut held = held;
    assert_eq!(status(&read_all(&mut held)), 200);
}

#[test]
fn a_priority_is_read_from_the_header_and_the_body() {
    let gate = Gate::default();
    let server = with_options(&gate, Options::default());
    gate.shut();
    let mut streams = vec![server.begin("/embed", "", GOOD)];
    let waiting = |interactive: usize, batch: usize| {
        server.until("/metrics", |page| {
            let shows = |name: &str, count: usize| {
                page.contains(&format!(
                    "bigbatch_waiting{{model=\"m\",priority=\"{name}\"}} {count}\n"
                ))
            };
            shows("interactive", interactive) && shows("batch", batch)
        });
    };
    server.until_admitted(1);
    waiting(0, 0);
    let (mut interactive, mut batch) = (0, 0);
    for (header, field, is_batch) in [
        ("", r#""priority":"batch""#, true),
        ("", r#""priority":3"#, true),
        ("", r#""priority":0"#, false),
        ("x-priority: batch\r\n", r#""priority":"interactive""#, true),
        ("x-priority: 1\r\n", r#""priority":null"#, true),
        ("x-priority: -1\r\n", r#""priority":"batch""#, true),
        ("x-priority: interactive\r\n", r#""priority":-7"#, false),
    ] {
        streams.push(server.begin("/embed", header, &format!("{{\"inputs\":\"a\",{field}}}")));
        *(if is_batch { &mut batch } else { &mut interactive }) += 1;
        waiting(interactive, batch);
    }
    gate.open();
    streams.iter_mut().for_each(|stream| assert_eq!(status(&read_all(stream)), 200));
}

/// Client `a` floods, client `b` sends little.
#[test]
fn a_client_that_floods_is_refused_and_another_is_not() {
    let gate = Gate::default();
    let file = TestFile::new("shares", "a\nb\n");
    let keys = Keys::load(None, Some(file.0.clone())).expect("loads");
    let setup = Setup { keys, ..Setup::default() };
    let server = Server::start(vec![gate.served_with(8)], setup);
    let key = |client: &str| format!("authorization: Bearer {client}\r\n");
    gate.shut();
    // Alone, it may take all slots, and no more.
    let mut streams: Vec<_> = (0..8).map(|_| server.begin("/embed", &key("a"), GOOD)).collect();
    server.until_admitted(8);
    let answer = server.embed(GOOD, &key("a"));
    assert!(status(&answer) == 429 && answer.contains("queue is full"), "{answer}");
    // Another is admitted all the same.
    streams.push(server.begin("/embed", &key("b"), GOOD));
    server.until_admitted(9);
    gate.open();
    streams.iter_mut().for_each(|stream| assert_eq!(status(&read_all(stream)), 200));
    server.until_admitted(0);
    // Now the first leaves room: its share is four, and half of the rest is two.
    gate.shut();
    streams = (0..6).map(|_| server.begin("/embed", &key("a"), GOOD)).collect();
    server.until_admitted(6);
    let answer = server.embed(GOOD, &key("a"));
    assert!(status(&answer) == 429 && answer.contains("this client has 6 inputs"), "{answer}");
    assert!(answer.contains("retry-after") && answer.contains("--max-concurrent-requests"));
    streams.extend((0..2).map(|_| server.begin("/embed", &key("b"), GOOD)));
    server.until_admitted(8);
    let page = server.get("/metrics");
    assert!(page.contains("bigbatch_refusals_total{reason=\"over_share\"} 1\n"), "{page}");
    gate.open();
    streams.iter_mut().for_each(|stream| assert_eq!(status(&read_all(stream)), 200));
}
