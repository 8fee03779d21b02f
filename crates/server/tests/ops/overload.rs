//! Refusals by predicted time.

use std::io::Write;
use std::time::{Duration, Instant};

use bigbatch_server::Options;

use crate::support::{Gate, PATIENCE, Server, Setup, post, status};

/// Returns a body of so many inputs of some 1,500 tokens.
fn long(inputs: usize) -> String {
    let text = "word ".repeat(1500);
    serde_json::json!({ "inputs": vec![text; inputs] }).to_string()
}

#[test]
fn a_request_that_cannot_be_answered_in_time_is_refused_at_once_and_whole() {
    let gate = Gate::default();
    let options = Options {
        request_timeout: Duration::from_millis(300),
        max_client_batch_size: Some(200),
        ..Options::default()
    };
    let server = Server::start(vec![gate.served()], Setup { options, ..Setup::default() });
    // The first batch is of one token. Long ones tell the speed, answered in time or not.
    assert_eq!(status(&server.get("/health")), 200);
    let begin = Instant::now();
    while !server.get("/metrics").contains("bigbatch_predicted_wait_seconds{model=\"m\"}") {
        server.embed(&long(1), "");
        assert!(begin.elapsed() < PATIENCE, "the speed is never known");
    }
    gate.shut();
    let mut running = server.connect();
    running.write_all(&post("/embed", "", long(1).as_bytes())).expect("the server listens");
    server.until("/metrics", |page| page.contains("te_queue_size 1\n"));
    let answer = server.embed(&long(200), "");
    assert!(status(&answer) == 429 && answer.contains("retry-after"), "{answer}");
    assert!(answer.contains("predicted") && answer.contains("--request-timeout"), "{answer}");
    assert!(server.get("/metrics").contains("te_queue_size 1\n"), "nothing of it was admitted");
    gate.open();
}
