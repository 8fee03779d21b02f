//! Hostile and broken clients. Each gets the right refusal within its limit plus a second, and the
//! server keeps answering everyone else.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use bigbatch_server::{Keys, Options, Transport};
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::support::{Server, Setup, post, read_all, served, status};

const LIMIT: Duration = Duration::from_millis(400);
const KEY: &str = "authorization: Bearer right\r\n";
const GOOD: &str = r#"{"inputs":"hello"}"#;

fn server() -> Server {
    let options = Options {
        payload_limit_bytes: 10_000,
        compressed_limit_bytes: 10_000,
        body_timeout: LIMIT,
        ..Options::default()
    };
    let transport =
        Transport { header_timeout: LIMIT, stall_timeout: LIMIT, ..Transport::default() };
    let keys = Keys::load(Some("right"), None).expect("a key");
    let setup = Setup { options, transport, keys, tls: None };
    Server::start(vec![served("a"), served("b")], setup)
}

/// Sends something and returns the answer up to the end of the connection.
type Send = Box<dyn Fn(&Server) -> String>;

struct Case {
    what: &'static str,
    send: Send,
    /// 0: no answer, the connection is closed.
    status: u16,
    /// In addition to the second that every case has.
    limit: Duration,
}

fn bytes(what: &'static str, status: u16, bytes: impl Into<Vec<u8>>) -> Case {
    let bytes = bytes.into();
    Case {
        what,
        send: Box::new(move |server| server.exchange(&bytes)),
        status,
        limit: Duration::ZERO,
    }
}

fn body(what: &'static str, status: u16, body: impl AsRef<[u8]>) -> Case {
    bytes(what, status, post("/embed", KEY, body.as_ref()))
}

fn raw(what: &'static str, status: u16, head: &str, rest: &str) -> Case {
    let text = format!(
        "POST /embed HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n{KEY}{head}\r\n{rest}"
    );
    bytes(what, status, text)
}

fn slow(what: &'static str, status: u16, start: &'static str) -> Case {
    let send = |server: &Server| {
        let mut stream = server.connect();
        stream.write_all(start.as_bytes()).expect("the server listens");
        read_all(&mut stream)
    };
    Case { what, send: Box::new(send), status, limit: LIMIT }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).expect("memory");
    encoder.finish().expect("memory")
}

fn bodies() -> Vec<Case> {
    let zeros = gzip(&vec![b'0'; 5_000_000]);
    assert!(zeros.len() < 10_000, "the bomb passes as sent: {}", zeros.len());
    let many = format!(r#"{{"inputs":[{}"a"]}}"#, r#""a","#.repeat(2000));
    let chunked = format!("{:x}\r\n{}\r\n0\r\n\r\n", 20_000, "x".repeat(20_000));
    vec![
        body("broken JSON", 400, r#"{"inputs":"#),
        body("deeply nested JSON", 400, "[".repeat(9000)),
        body("deeply nested value", 400, format!("{{\"inputs\":{}", "[".repeat(9000))),
        body("a wrong type", 422, r#"{"inputs":5}"#),
        body("another wrong type", 422, r#"{"inputs":{"a":"b"}}"#),
        body("a list", 422, r#"["a"]"#),
        body("NaN", 400, r#"{"inputs":NaN}"#),
        body("NaN as an option", 400, r#"{"inputs":"a","dimensions":NaN}"#),
        body("a negative option", 422, r#"{"inputs":"a","dimensions":-1}"#),
        body("an absurd option", 422, r#"{"inputs":"a","dimensions":1000000000}"#),
        body("1e9 as inputs", 422, r#"{"inputs":1e9}"#),
        body("more inputs than allowed", 422, many),
        body("an id beyond the vocabulary", 422, r#"{"inputs":[[4000000000]]}"#),
        body("an id beyond an id", 422, r#"{"inputs":[[99999999999]]}"#),
        body("duplicate keys", 422, r#"{"inputs":"a","inputs":"b"}"#),
        body("a lone surrogate", 400, r#"{"inputs":"\ud800"}"#),
        body("a raw NUL", 400, "{\"inputs\":\"a\0b\"}"),
        body("no UTF-8", 400, [b"{\"inputs\":\"".as_slice(), &[0xff, 0xfe], b"\"}"].concat()),
        body("no inputs", 400, r#"{"inputs":[]}"#),
        body("an empty text", 400, r#"{"inputs":""}"#),
        body("an empty body", 400, ""),
        body("an unknown model", 404, r#"{"inputs":"a","model":"c"}"#),
        body("a body over the limit", 413, vec![b' '; 10_001]),
        raw("a chunked body over the limit", 413, "transfer-encoding: chunked\r\n", &chunked),
        raw(
            "a body said to be huge",
            413,
            "content-length: 99999999999\r\nexpect: 100-continue\r\n",
            "",
        ),
        bytes(
            "a zip bomb",
            413,
            post("/embed", &format!("{KEY}content-encoding: gzip\r\n"), &zeros),
        ),
        bytes(
            "no gzip",
            400,
            post("/embed", &format!("{KEY}content-encoding: gzip\r\n"), b"no gzip"),
        ),
        bytes(
            "gzip twice",
            415,
            post("/embed", &format!("{KEY}content-encoding: gzip, gzip\r\n"), b"{}"),
        ),
        bytes(
            "another encoding",
            415,
            post("/embed", &format!("{KEY}content-encoding: br\r\n"), b"{}"),
        ),
        bytes("no key", 401, post("/embed", "", GOOD.as_bytes())),
        bytes("a bad key", 401, post("/embed", "authorization: Bearer wrong\r\n", GOOD.as_bytes())),
        bytes("no such path", 404, post("/../../etc/passwd", KEY, GOOD.as_bytes())),
    ]
}

fn heads() -> Vec<Case> {
    let close = "connection: close\r\n";
    let length = GOOD.len();
    let many: String = (0..200).map(|n| format!("x-{n}: 1\r\n")).collect();
    let good_chunk = format!("{length:x}\r\n{GOOD}\r\n0\r\n\r\n");
    vec![
        bytes("no HTTP", 400, "hello\r\n\r\n"),
        bytes(
            "a method that no route takes",
            405,
            format!("DELETE /embed HTTP/1.1\r\nhost: x\r\n{KEY}{close}\r\n"),
        ),
        bytes(
            "TLS to a port without",
            400,
            [0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3, 9, 9, 9, 13, 10, 13, 10],
        ),
        bytes(
            "HTTP/2's beginning and garbage",
            0,
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\ngarbage garbage garbage",
        ),
        bytes(
            "an oversized header",
            431,
            format!("GET /health HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(60_000)),
        ),
        bytes("too many headers", 431, format!("GET /health HTTP/1.1\r\n{many}\r\n")),
        bytes("an oversized path", 431, format!("GET /{} HTTP/1.1\r\n\r\n", "y".repeat(70_000))),
        bytes("a NUL in a header", 400, "GET /health HTTP/1.1\r\nx: a\0b\r\n\r\n"),
        raw("two lengths", 400, "content-length: 18\r\ncontent-length: 19\r\n", GOOD),
        raw("a signed length", 400, "content-length: +18\r\n", GOOD),
        raw("a negative length", 400, "content-length: -1\r\n", GOOD),
        raw("another transfer coding", 400, "transfer-encoding: xchunked\r\n", GOOD),
        raw("chunked not last", 400, "transfer-encoding: chunked, identity\r\n", &good_chunk),
        raw("a space before a colon", 400, "content-length : 18\r\n", GOOD),
        raw("a folded header", 400, "x: a\r\n b: c\r\ncontent-length: 18\r\n", GOOD),
        raw(
            "a chunk of no size",
            400,
            "transfer-encoding: chunked\r\n",
            "zz\r\nhello\r\n0\r\n\r\n",
        ),
        raw(
            "a chunk of too large a size",
            400,
            "transfer-encoding: chunked\r\n",
            "fffffffffffffffff\r\n",
        ),
        bytes(
            "chunked in HTTP/1.0",
            400,
            format!("POST /embed HTTP/1.0\r\n{KEY}transfer-encoding: chunked\r\n\r\n0\r\n\r\n"),
        ),
        slow("a slow head", 408, "POST /embed HTT"),
        slow("a head without an end", 408, "GET /health HTTP/1.1\r\nhost: x\r\n"),
        slow("nothing at all", 0, ""),
        slow(
            "a slow body",
            408,
            "POST /embed HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\nauthorization: Bearer right\r\n\
             content-length: 99\r\n\r\n{",
        ),
        slow(
            "a slow chunk",
            408,
            "POST /embed HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\nauthorization: Bearer right\r\n\
             transfer-encoding: chunked\r\n\r\n5\r\n{",
        ),
    ]
}

#[test]
fn each_hostile_input_is_refused_in_time_and_harms_nobody() {
    let server = server();
    for Case { what, send, status: expected, limit } in bodies().into_iter().chain(heads()) {
        let started = Instant::now();
        let answer = send(&server);
        let took = started.elapsed();
        assert_eq!(status(&answer), expected, "{what}: {answer}");
        assert!(took < limit + Duration::from_secs(1), "{what}: {took:?}");
        assert_eq!(status(&server.embed(GOOD, KEY)), 200, "after {what}");
    }
    assert_eq!(status(&server.get("/health")), 200);
    // Only this request itself is in flight.
    let page = server.until("/metrics", |page| page.contains("bigbatch_requests_in_flight 1\n"));
    assert!(page.contains("te_queue_size 0\n"), "{page}");
}

#[test]
fn an_unauthorized_request_is_refused_in_the_dialect_of_its_route() {
    let server = server();
    let answer = server.embed(GOOD, "");
    assert!(answer.contains("www-authenticate: Bearer\r\n"), "{answer}");
    assert!(answer.contains(r#""error_type":"Unauthorized""#), "{answer}");
    let answer = server.exchange(&post("/v1/none", "", b"{}"));
    assert!(answer.contains(r#"{"error":{"message":"#) && status(&answer) == 401, "{answer}");
    for open in ["/health", "/ready", "/ping", "/metrics"] {
        assert_eq!(status(&server.get(open)), 200, "{open}");
    }
}

#[test]
fn a_key_is_read_from_either_header_and_a_bearer_token_decides() {
    let server = server();
    for (expected, headers) in [
        (200, "x-api-key: right\r\n"),
        (401, "x-api-key: wrong\r\n"),
        (401, "x-api-key: Bearer right\r\n"),
        (401, "authorization: Bearer wrong\r\nx-api-key: right\r\n"),
        (200, "authorization: Bearer right\r\nx-api-key: wrong\r\n"),
        (200, "authorization: Basic of-a-proxy\r\nx-api-key: right\r\n"),
    ] {
        assert_eq!(status(&server.embed(GOOD, headers)), expected, "{headers}");
    }
}

#[test]
fn a_request_with_two_lengths_cannot_smuggle_another() {
    let server = server();
    // One server may see one request here, another two. This one answers the first as chunked and closes.
    let smuggled = "0\r\n\r\nGET /metrics HTTP/1.1\r\nhost: x\r\n\r\n";
    let length = smuggled.len();
    let head = format!(
        "POST /embed HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n{KEY}\
         content-length: {length}\r\ntransfer-encoding: chunked\r\n\r\n"
    );
    let answer = server.exchange(format!("{head}{smuggled}").as_bytes());
    assert_eq!(status(&answer), 400, "{answer}");
    assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
}

#[test]
fn clients_that_disconnect_leave_nothing_behind() {
    let server = server();
    let whole = post("/embed", KEY, GOOD.as_bytes());
    let vanish = |stream: TcpStream| stream.shutdown(Shutdown::Both).expect("it was open");
    for end in [3, whole.len() - 5, whole.len()] {
        let mut stream = server.connect();
        stream.write_all(&whole[..end]).expect("the server listens");
        vanish(stream);
    }
    let mut stream = server.connect();
    stream.write_all(&whole).expect("the server listens");
    stream.read_exact(&mut [0; 10]).expect("an answer begins");
    vanish(stream);
    server.until("/metrics", |page| {
        page.contains("bigbatch_requests_in_flight 1\n") && page.contains("te_queue_size 0\n")
    });
    assert_eq!(status(&server.embed(GOOD, KEY)), 200);
}

#[test]
fn a_connection_beyond_the_limit_is_told_when_to_retry() {
    let transport =
        Transport { max_connections: 1, reserved_connections: 0, ..Transport::default() };
    let server = Server::start(vec![served("a")], Setup { transport, ..Setup::default() });
    let mut first = server.connect();
    first.write_all(b"GET /ready HTTP/1.1\r\nhost: x\r\n\r\n").expect("the server listens");
    first.read_exact(&mut [0; 10]).expect("an answer");
    let answer = server.get("/ready");
    assert_eq!(status(&answer), 503, "{answer}");
    assert!(answer.contains("retry-after: 1"), "{answer}");
    drop(first);
    server.until("/ready", |answer| status(answer) == 200);
}
