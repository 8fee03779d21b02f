//! Memory that a burst of large requests took goes back to the system without a further request to cause it.

use std::thread;

use crate::process::{Process, exchange, post, status, wait};

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
