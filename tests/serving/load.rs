//! Hundreds of concurrent clients against a server process with default options.

use std::net::SocketAddr;
use std::sync::{Arc, Barrier};
use std::thread;

use crate::process::{Process, exchange, post, status};

/// Starts `count` clients at the same moment, each of which sends `requests` requests. Returns all responses.
fn run_clients(address: SocketAddr, count: usize, requests: usize) -> Vec<String> {
    let text = "word ".repeat(200);
    let request = Arc::new(post("/embed", "", &format!(r#"{{"inputs":"{text}"}}"#)));
    let start = Arc::new(Barrier::new(count));
    let client = |_| {
        let (request, start) = (request.clone(), start.clone());
        let ask = move || {
            start.wait();
            (0..requests).map(|_| exchange(address, request.as_bytes())).collect::<Vec<_>>()
        };
        thread::Builder::new().stack_size(128 << 10).spawn(ask).expect("a thread")
    };
    let clients: Vec<_> = (0..count).map(client).collect();
    clients
        .into_iter()
        .flat_map(|client| client.join().expect("a response to every request"))
        .collect()
}

/// Counts the responses with a status.
fn count(answers: &[String], wanted: u16) -> usize {
    answers.iter().filter(|answer| status(answer) == wanted).count()
}

#[test]
fn a_hundred_clients_get_no_error() {
    let server = Process::start(&[]);
    let answers = run_clients(server.address, 100, 3);
    assert_eq!(count(&answers, 200), 300);
}

/// Sends one request from each of more clients than the server admits: it answers or rejects each, and recovers.
fn overload(concurrent_clients: usize) {
    let server = Process::start(&[]);
    let answers = run_clients(server.address, concurrent_clients, 1);
    let refused: Vec<&String> = answers.iter().filter(|answer| status(answer) != 200).collect();
    for answer in &refused {
        assert!([429, 503].contains(&status(answer)), "{answer}");
        assert!(answer.contains("retry-after: "), "{answer}");
    }
    println!("{} answered, {} refused", answers.len() - refused.len(), refused.len());
    assert!(count(&answers, 200) > 0);
    // The server recovers.
    let after = run_clients(server.address, 100, 1);
    assert_eq!(count(&after, 200), 100);
    let page = server.until("/metrics", |page| page.contains("te_queue_size 0\n"));
    assert!(page.contains("bigbatch_batches_failed_total"), "{page}");
}

#[test]
fn six_hundred_clients_get_a_response_or_retry_after() {
    overload(600);
}

/// Needs more sockets than some machines allow per process.
#[test]
#[ignore = "1000 sockets; cargo test --test serving -- --ignored --nocapture"]
fn a_thousand_clients_get_a_response_or_retry_after() {
    overload(1000);
}
