//! Standard error that is closed, full or not read costs log lines and nothing else; refusals fill no disk.

use std::fs::{File, OpenOptions};
use std::io::pipe;
use std::process::Stdio;
use std::time::Instant;

use crate::process::{Process, status};
use crate::support::Scratch;

const GOOD: &str = r#"{"inputs":"hello"}"#;

/// Each request logs several lines, and the buffer holds about ten of them.
const NOISY: [&str; 6] = ["--log-level", "trace", "--log-buffer", "2KiB", "--drain-delay", "0"];

/// Returns the lines that the server dropped so far.
fn dropped(server: &Process) -> u64 {
    let page = server.get("/metrics");
    let line = page.lines().find_map(|line| line.strip_prefix("bigbatch_log_dropped_total "));
    line.and_then(|count| count.parse().ok()).expect("the metric is exported")
}

/// Sends requests until a line was dropped and some more, then stops the server.
fn answers_and_stops(server: Process) {
    let mut answered = 0;
    while dropped(&server) == 0 || answered < 20 {
        assert_eq!(status(&server.embed(GOOD, "")), 200);
        answered += 1;
    }
    assert_eq!(status(&server.get("/health")), 200);
    server.signal("TERM");
    assert_eq!(server.code(), Some(0));
}

#[test]
fn a_closed_log_loses_lines_only() {
    let (reader, writer) = pipe().expect("the system has pipes");
    let server = Process::start_with_log(&NOISY, Stdio::from(writer));
    drop(reader);
    answers_and_stops(server);
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_log_loses_lines_only() {
    let full = OpenOptions::new().write(true).open("/dev/full").expect("Linux has it");
    answers_and_stops(Process::start_with_log(&NOISY, Stdio::from(full)));
}

#[test]
fn a_log_that_nobody_reads_loses_lines_only() {
    let (reader, writer) = pipe().expect("the system has pipes");
    answers_and_stops(Process::start_with_log(&NOISY, Stdio::from(writer)));
    drop(reader);
}

#[test]
fn refusals_are_logged_at_a_bounded_rate() {
    let scratch = Scratch::new();
    let path = scratch.path("log");
    let log = File::create(&path).expect("writable");
    let args = ["--log-rate", "1", "--drain-delay", "0", "--access-log"];
    let server = Process::start_with_log(&args, Stdio::from(log));
    let start = Instant::now();
    for _ in 0..100 {
        assert_eq!(status(&server.embed("{", "")), 400);
        assert_eq!(status(&server.get("/nowhere")), 404);
    }
    let seconds = start.elapsed().as_secs() as usize + 1;
    for _ in 0..3 {
        assert_eq!(status(&server.embed(GOOD, "")), 200);
    }
    server.signal("TERM");
    assert_eq!(server.code(), Some(0));
    let log = std::fs::read_to_string(&path).expect("log lines are UTF-8");
    let count = |word: &str| log.lines().filter(|line| line.contains(word)).count();
    // One rate per reason.
    for reason in ["syntax", "no_route"] {
        let lines = count(reason);
        assert!((1..=seconds).contains(&lines), "{lines} lines of {reason} in {seconds} s:\n{log}");
    }
    assert_eq!(count("answered"), 3, "answers are not limited:\n{log}");
    let latency =
        log.split_once("latency_ms=").and_then(|(_, rest)| rest.split([' ', '\n']).next());
    let decimals = latency.and_then(|latency| latency.split_once('.')).map_or(0, |(_, d)| d.len());
    assert!(latency.is_some() && decimals <= 2, "{latency:?} is not rounded");
}

#[test]
fn answers_are_logged_only_if_asked_for() {
    let scratch = Scratch::new();
    let path = scratch.path("log");
    let server = Process::start_with_log(&[], Stdio::from(File::create(&path).expect("writable")));
    assert_eq!(status(&server.embed(GOOD, "")), 200);
    server.signal("INT");
    assert_eq!(server.code(), Some(0));
    let log = std::fs::read_to_string(&path).expect("log lines are UTF-8");
    assert!(log.contains("ready") && !log.contains("answered"), "{log}");
}
