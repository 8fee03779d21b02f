//! `healthcheck` against answers of a listener in this process: what is healthy, what is not, and what it never uses.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::thread;

use rcgen::generate_simple_self_signed;

use crate::https::terminate_tls;
use crate::support::{RunOutput, bigbatch};

/// Answers every request with `response` until the process ends; returns the port.
fn listen(response: &'static str) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let port = listener.local_addr().expect("it is bound").port();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let head = BufReader::new(&stream).lines().map_while(Result::ok);
            // To the end of the head, so that closing does not reset the connection.
            head.take_while(|line| !line.is_empty()).for_each(drop);
            stream.write_all(response.as_bytes()).ok();
        }
    });
    port
}

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

#[test]
fn a_server_that_answers_200_is_healthy() {
    let port = listen(OK).to_string();
    let url = format!("http://127.0.0.1:{port}/health");
    let expected = format!("healthy: {url} answered 200\n");
    assert_eq!(bigbatch(["healthcheck", "--url", &url]).output(), expected);
    // Where `serve` listens with this environment, and past any proxy.
    let found = bigbatch(["healthcheck"]).env("BIGBATCH_HOST", "0.0.0.0").env("PORT", &port);
    assert_eq!(found.env("http_proxy", "http://127.0.0.1:1").output(), expected);
}

#[test]
fn a_certificate_that_nobody_signed_is_no_fault() {
    let certified = generate_simple_self_signed(vec!["localhost".to_owned()]).expect("one");
    let url = format!("https://{}/health", terminate_tls(listen(OK), &certified));
    assert!(bigbatch(["healthcheck", "--url", &url]).output().starts_with("healthy: https://"));
}

#[test]
fn any_other_answer_and_none_are_unhealthy_in_one_line() {
    let url = |port: u16| format!("http://127.0.0.1:{port}/health");
    let hung = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 23\r\nconnection: close\r\n\r\n\
                a batch hangs\nlook here";
    let moved =
        "HTTP/1.1 302 Found\r\nlocation: /\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let silent_port = silent.local_addr().expect("it is bound").port();
    let closed = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let closed_port = closed.local_addr().expect("it is bound").port();
    drop(closed);
    for (port, reason) in [
        (listen(hung), "answered 503: a batch hangs"),
        (listen(moved), "answered 302"),
        (silent_port, "did not answer: "),
        (closed_port, "did not answer: "),
    ] {
        let url = url(port);
        let args = ["healthcheck", "--timeout", "0.5", "--url", &url];
        let RunOutput { code, stdout, stderr } = bigbatch(args).run();
        assert_eq!((code, stdout.as_str()), (Some(1), ""), "{stderr}");
        assert!(stderr.starts_with(&format!("unhealthy: {url} {reason}")), "{stderr}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
    }
}

#[test]
fn what_is_no_url_is_wrong_usage() {
    let RunOutput { code, stderr, .. } = bigbatch(["healthcheck", "--url", "localhost"]).run();
    assert_eq!(code, Some(2), "{stderr}");
    assert!(stderr.contains("use http://HOST:PORT/health"), "{stderr}");
}
