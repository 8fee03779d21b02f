//! The memory of the process: requests stay within the budget, and what a burst of large ones took goes back to the
//! system without a further request to cause it.

use std::io::{Read, Write};
use std::thread;

use serde_json::json;

use crate::process::{Process, exchange, post, status, wait};
use crate::support::{Scratch, text};

/// Returns a figure of the server's own memory from the kernel, in KiB: `VmRSS` now, `VmHWM` at most so far.
fn memory_kib(server: &Process, name: &str) -> u64 {
    let path = format!("/proc/{}/status", server.id());
    let page = std::fs::read_to_string(path).expect("the server runs");
    let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).expect("it is there")
}

#[test]
fn a_burst_leaves_no_memory_behind() {
    let server = Process::start(&["--host-memory-budget", "4GiB"]);
    let long = post("/tokenize", "", &format!(r#"{{"inputs":"{}"}}"#, "aq".repeat(250_000)));
    let short = post("/tokenize", "", r#"{"inputs":"hello"}"#);
    assert_eq!(status(&exchange(server.address, short.as_bytes())), 200);
    let idle = memory_kib(&server, "VmRSS");
    thread::scope(|scope| {
        let ask = || assert_eq!(status(&exchange(server.address, long.as_bytes())), 200);
        for _ in 0..4 {
            scope.spawn(ask);
        }
    });
    let peak = memory_kib(&server, "VmHWM");
    assert!(peak > 2 * idle, "{idle} KiB, at most {peak}");
    wait(|| (memory_kib(&server, "VmRSS") < idle + idle / 5).then_some(()));
}

#[test]
fn one_request_takes_no_more_than_the_budget() {
    const BUDGET_KIB: u64 = 64 << 10;
    let scratch = Scratch::new();
    let labels = ["--head", "classify", "--labels", "entailment,neutral"];
    let model = scratch.checkpoint("entailment", &labels);
    let server = Process::start(&["--model", text(&model), "--host-memory-budget", "64MiB"]);
    let before = memory_kib(&server, "VmHWM");
    // A sentence of 1.9 MB per candidate label: a gigabyte in all.
    let template = format!("{}{{}}", "a".repeat(1_900_000));
    let candidates = vec!["b"; 500];
    let parameters = json!({ "candidate_labels": candidates, "hypothesis_template": template });
    let body = json!({ "inputs": "hello", "parameters": parameters }).to_string();
    let answer = exchange(server.address, post("/", "", &body).as_bytes());
    assert_eq!(status(&answer), 413, "{answer}");
    let after = memory_kib(&server, "VmHWM");
    assert!(after < before + BUDGET_KIB, "{before} KiB, at most {after}");
}

#[test]
fn bodies_between_connections_that_stay_leave_no_memory_behind() {
    let server = Process::start(&[]);
    assert_eq!(status(&server.get("/health")), 200);
    let idle = memory_kib(&server, "VmRSS");
    // Each body is freed, and what its connection keeps lies behind it.
    let body = json!({ "inputs": "a", "prompt_name": "x".repeat(1_900_000) }).to_string();
    let request = post("/embed", "", &body).replace("connection: close\r\n", "");
    let connections = [(); 80].map(|()| {
        let mut stream = server.connect();
        stream.write_all(request.as_bytes()).expect("the server reads it");
        let mut begin = [0; 12];
        stream.read_exact(&mut begin).expect("it answers");
        stream
    });
    wait(|| (memory_kib(&server, "VmRSS") < idle + idle / 5).then_some(()));
    drop(connections);
}
