//! Connections and streams end in time whatever their clients do, and make room for others.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use bigbatch_server::{Keys, Options, Transport};

use crate::support::{Gate, Server, Setup, post, read_all, served, status};

const LIMIT: Duration = Duration::from_millis(400);
/// How late a deadline may be noticed.
const LATE: Duration = Duration::from_secs(2);
const GOOD: &str = r#"{"inputs":"hello"}"#;

const ABANDONED: &str =
    "bigbatch_requests_total{method=\"POST\",route=\"/embed\",outcome=\"abandoned\"} 1\n";

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const ENHANCE_YOUR_CALM: u8 = 11;

/// A client of HTTP/2 that writes and reads frames.
struct FrameClient(TcpStream);

/// A frame as it was received.
struct Received {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: Vec<u8>,
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let [_, a, b, c] = (payload.len() as u32).to_be_bytes();
    [[a, b, c, kind, flags].as_slice(), &stream.to_be_bytes(), payload].concat()
}

/// The head of a request, all fields literal and without indexing.
fn fields(method: &str, path: &str) -> Vec<u8> {
    let fields = [
        (":method", method),
        (":scheme", "http"),
        (":authority", "x"),
        (":path", path),
        ("content-type", "application/json"),
    ];
    let text = |text: &str| [&[text.len() as u8], text.as_bytes()].concat();
    fields
        .into_iter()
        .flat_map(|(name, value)| [vec![0], text(name), text(value)].concat())
        .collect()
}

impl FrameClient {
    /// Connects and sets the window with which each stream begins.
    fn connect(server: &Server, window: u32) -> FrameClient {
        let mut client = FrameClient(server.connect());
        let setting = [[0, 4].as_slice(), &window.to_be_bytes()].concat();
        client.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        client.send(&frame(SETTINGS, 0, 0, &setting));
        client
    }

    fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).expect("the server listens");
    }

    fn request(&mut self, stream: u32, method: &str, path: &str, body: &str) {
        self.send(&frame(HEADERS, END_HEADERS, stream, &fields(method, path)));
        self.send(&frame(DATA, END_STREAM, stream, body.as_bytes()));
    }

    fn widen(&mut self, stream: u32, bytes: u32) {
        self.send(&frame(WINDOW_UPDATE, 0, stream, &bytes.to_be_bytes()));
    }

    /// Returns the next frame; `None` at the end of the connection.
    fn receive(&mut self) -> Option<Received> {
        let mut head = [0; 9];
        self.0.read_exact(&mut head).ok()?;
        let [a, b, c, kind, flags, stream @ ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        self.0.read_exact(&mut payload).ok()?;
        Some(Received { kind, flags, stream: u32::from_be_bytes(stream), payload })
    }

    /// Reads frames until one is of this kind and stream; panics at the end of the connection.
    fn wait_for(&mut self, kind: u8, stream: u32) -> Received {
        loop {
            let frame = self.receive().expect("the connection stays open");
            if (frame.kind, frame.stream) == (kind, stream) {
                return frame;
            }
        }
    }

    /// Reads the rest of an answer and returns its length.
    fn read_body(&mut self, stream: u32) -> usize {
        let mut length = 0;
        loop {
            let data = self.wait_for(DATA, stream);
            length += data.payload.len();
            if data.flags & END_STREAM != 0 {
                return length;
            }
        }
    }
}

fn server(transport: Transport) -> Server {
    let transport = Transport { stall_timeout: LIMIT, ..transport };
    let options = Options { body_timeout: LIMIT, ..Options::default() };
    let keys = Keys::load(Some("right"), None).expect("a key");
    Server::start(vec![served("a")], Setup { options, transport, keys, tls: None })
}

fn open_server(transport: Transport) -> Server {
    Server::start(vec![served("a")], Setup { transport, ..Setup::default() })
}

/// A request whose answer has megabytes.
fn large() -> String {
    format!(r#"{{"inputs":"{}"}}"#, "aq".repeat(150_000))
}

fn counted(page: &str, series: &str) -> u64 {
    let line = page.lines().find_map(|line| line.strip_prefix(series));
    line.and_then(|value| value.trim().parse().ok()).unwrap_or_else(|| panic!("{series}: {page}"))
}

#[test]
fn a_stream_without_a_window_is_reset_and_no_other() {
    let server = server(Transport::default());
    let mut client = FrameClient::connect(&server, 0);
    // 401, 200 and 404: refusals have the deadline too.
    for (stream, method, path) in [(1, "POST", "/embed"), (3, "GET", "/metrics"), (5, "GET", "/no")]
    {
        let started = Instant::now();
        client.request(stream, method, path, GOOD);
        client.wait_for(HEADERS, stream);
        client.wait_for(RST_STREAM, stream);
        let took = started.elapsed();
        assert!((LIMIT..LIMIT + LATE).contains(&took), "{path}: {took:?}");
    }
    client.request(7, "GET", "/metrics", "");
    client.widen(7, 1 << 20);
    assert!(client.read_body(7) > 1000, "the connection serves other streams");
    let page = server.get("/metrics");
    assert_eq!(counted(&page, r#"bigbatch_connections_cut_total{cause="slow_reader"}"#), 3);
    // Only this request itself is in flight.
    server.until("/metrics", |page| page.contains("bigbatch_requests_in_flight 1\n"));
}

#[test]
fn the_last_piece_of_an_answer_has_the_deadline_too() {
    let server = server(Transport::default());
    let mut client = FrameClient::connect(&server, 0);
    client.request(1, "GET", "/metrics", "");
    client.wait_for(HEADERS, 1);
    // hyper hands a piece to HTTP/2 as soon as the window has a byte.
    client.widen(1, 1);
    client.wait_for(RST_STREAM, 1);
}

#[test]
fn a_stream_read_in_small_bites_is_reset() {
    const SHORT: Duration = Duration::from_millis(50);
    let transport = Transport { min_response_data_rate: 1 << 40, ..Transport::default() };
    let server = Server::start(
        vec![served("a")],
        Setup { transport: Transport { stall_timeout: SHORT, ..transport }, ..Setup::default() },
    );
    // Bites that pay for their control frames, and too many of them for the time.
    let mut client = FrameClient::connect(&server, 64);
    client.widen(0, 1 << 30);
    client.request(1, "POST", "/tokenize", &format!(r#"{{"inputs":"{}"}}"#, "aq".repeat(7000)));
    client.wait_for(HEADERS, 1);
    let started = Instant::now();
    loop {
        let frame = client.receive().expect("the connection stays open");
        match frame.kind {
            DATA => client.widen(1, frame.payload.len() as u32),
            RST_STREAM => break,
            _ => {}
        }
    }
    assert!(started.elapsed() < LIMIT + LATE, "{:?}", started.elapsed());
}

#[test]
fn an_answer_read_byte_by_byte_is_cut_off() {
    let transport =
        Transport { stall_timeout: LIMIT, min_response_data_rate: 1 << 40, ..Transport::default() };
    let server = open_server(transport);
    let mut stream = server.connect();
    stream.write_all(&post("/tokenize", "", large().as_bytes())).expect("the server listens");
    let mut byte = [0];
    stream.read_exact(&mut byte).expect("an answer begins");
    let started = Instant::now();
    // What the system has buffered may be read before the end.
    while started.elapsed() < LIMIT + LATE && stream.read_exact(&mut byte).is_ok() {}
    read_all(&mut stream);
    let page = server.get("/metrics");
    assert_eq!(counted(&page, r#"bigbatch_connections_cut_total{cause="slow_reader"}"#), 1);
}

#[test]
fn a_body_that_stalls_in_http_2_is_refused_in_time() {
    let options = Options { body_timeout: LIMIT, ..Options::default() };
    let server = Server::start(vec![served("a")], Setup { options, ..Setup::default() });
    let mut client = FrameClient::connect(&server, 1 << 20);
    let started = Instant::now();
    client.send(&frame(HEADERS, END_HEADERS, 1, &fields("POST", "/embed")));
    client.send(&frame(DATA, 0, 1, b"{"));
    client.wait_for(HEADERS, 1);
    let took = started.elapsed();
    assert!((LIMIT..LIMIT + LATE).contains(&took), "{took:?}");
    let page = server.get("/metrics");
    assert_eq!(counted(&page, r#"bigbatch_refusals_total{reason="slow_body"}"#), 1);
}

#[test]
fn a_flood_of_control_frames_ends_the_connection() {
    let server = server(Transport::default());
    let mut client = FrameClient::connect(&server, 1 << 20);
    let pings = frame(PING, 0, 0, b"12345678").repeat(100);
    // The server answers some, and closes while the client still writes.
    let _ = (0..1000).all(|_| client.0.write_all(&pings).is_ok() && client.receive().is_some());
    let last = std::iter::from_fn(|| client.receive()).last().expect("a frame");
    assert_eq!((last.kind, last.payload.ends_with(&[ENHANCE_YOUR_CALM])), (GOAWAY, true));
    let page = server.get("/metrics");
    assert_eq!(counted(&page, r#"bigbatch_connections_cut_total{cause="control_frames"}"#), 1);
}

#[test]
fn http_2_is_recognised_in_a_preface_of_single_bytes() {
    let transport = Transport {
        header_timeout: Duration::from_millis(200),
        keep_alive: Duration::from_secs(1),
        ..Transport::default()
    };
    let server = open_server(transport);
    let mut client = FrameClient(server.connect());
    client.0.set_nodelay(true).expect("it is TCP");
    for byte in b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" {
        client.send(&[*byte]);
    }
    client.send(&frame(SETTINGS, 0, 0, &[]));
    client.request(1, "GET", "/ready", "");
    client.read_body(1);
    client.send(&frame(PING, 0, 0, b"12345678"));
    let answered = Instant::now();
    while let Some(frame) = client.receive() {
        assert!(frame.kind <= WINDOW_UPDATE, "it speaks HTTP/2: {}", frame.kind);
    }
    assert!(answered.elapsed() > Duration::from_millis(800), "it was kept for --keep-alive");
}

#[test]
fn an_idle_connection_makes_room_for_a_new_client() {
    let server = open_server(Transport { max_connections: 1, ..Transport::default() });
    let mut idle = server.connect();
    idle.write_all(b"GET /ready HTTP/1.1\r\nhost: x\r\n\r\n").expect("the server listens");
    idle.read_exact(&mut [0; 10]).expect("an answer");
    server.until("/info", |answer| status(answer) == 200);
    read_all(&mut idle);
    let page = server.get("/metrics");
    assert_eq!(counted(&page, r#"bigbatch_connections_cut_total{cause="evicted"}"#), 1);
}

#[test]
fn a_connection_in_use_is_not_closed_for_another() {
    let gate = Gate::default();
    let transport = Transport { max_connections: 1, ..Transport::default() };
    let server = Server::start(vec![gate.served()], Setup { transport, ..Setup::default() });
    gate.shut();
    let mut busy = server.connect();
    busy.write_all(&post("/embed", "", GOOD.as_bytes())).expect("the server listens");
    // For longer than an idle connection is spared.
    let started = Instant::now();
    server.until("/info", |answer| {
        assert_eq!(status(answer), 503, "{answer}");
        started.elapsed() > Duration::from_millis(1500)
    });
    gate.open();
    assert_eq!(status(&read_all(&mut busy)), 200);
}

#[test]
fn reserved_connections_answer_health_checks_and_refuse_the_rest() {
    let server = open_server(Transport { max_connections: 1, ..Transport::default() });
    // A request whose body does not end.
    let mut busy = server.connect();
    let unfinished = post("/embed", "", GOOD.as_bytes());
    busy.write_all(&unfinished[..unfinished.len() - 1]).expect("the server listens");
    for open in ["/health", "/ready", "/ping", "/metrics"] {
        // The client would keep the connection.
        let request = format!("GET {open} HTTP/1.1\r\nhost: x\r\n\r\n");
        let answer = server.exchange(request.as_bytes());
        assert_eq!(status(&answer), 200, "{open}: {answer}");
    }
    for (path, error) in
        [("/embed", r#""error_type":"Unhealthy""#), ("/v1/embeddings", r#""code":503"#)]
    {
        let answer = server.exchange(&post(path, "", GOOD.as_bytes()));
        assert_eq!(status(&answer), 503, "{answer}");
        for part in ["retry-after: 1\r\n", "connection: close\r\n", "--max-connections", error] {
            assert!(answer.contains(part), "{part} in {answer}");
        }
    }
    // A silent client does not keep a reserved connection.
    let started = Instant::now();
    server.exchange(b"");
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
}

#[test]
fn work_of_a_client_that_gives_up_is_cancelled() {
    let gate = Gate::default();
    let server = Server::start(vec![gate.served()], Setup::default());
    gate.shut();
    let mut stream = server.connect();
    stream.write_all(&post("/embed", "", GOOD.as_bytes())).expect("the server listens");
    server.until("/metrics", |page| page.contains("te_queue_size 1\n"));
    drop(stream);
    server.until("/metrics", |page| page.contains(ABANDONED));
    gate.open();
}

#[test]
fn work_of_a_client_that_resets_its_connection_is_cancelled_at_once() {
    let gate = Gate::default();
    let server = Server::start(vec![gate.served()], Setup::default());
    gate.shut();
    let mut stream = server.connect();
    stream.write_all(b"GET /ready HTTP/1.1\r\nhost: x\r\n\r\n").expect("the server listens");
    stream.peek(&mut [0]).expect("an answer");
    stream.write_all(&post("/embed", "", GOOD.as_bytes())).expect("the server listens");
    server.until("/metrics", |page| page.contains("te_queue_size 1\n"));
    let started = Instant::now();
    // A socket that is closed with unread bytes is reset.
    drop(stream);
    server.until("/metrics", |page| page.contains(ABANDONED));
    assert!(started.elapsed() < LATE, "{:?}", started.elapsed());
    gate.open();
}

#[test]
fn a_client_that_closes_its_sending_side_gets_its_answers() {
    let gate = Gate::default();
    let server = Server::start(vec![gate.served()], Setup::default());
    let send = |request: &[u8]| {
        let mut stream = server.connect();
        stream.write_all(request).expect("the server listens");
        stream.shutdown(Shutdown::Write).expect("it is open");
        stream
    };
    let embed = post("/embed", "", GOOD.as_bytes());
    let kept_alive =
        String::from_utf8(embed.clone()).expect("text").replace("connection: close\r\n", "");
    let answer = read_all(&mut send(&embed));
    assert!(status(&answer) == 200 && answer.ends_with("]]"), "{answer}");
    let answers = read_all(&mut send(kept_alive.repeat(2).as_bytes()));
    assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), 2, "{answers}");
    let answer = read_all(&mut send(&post("/tokenize", "", large().as_bytes())));
    assert!(status(&answer) == 200 && answer.len() > 1 << 20 && answer.ends_with("]]"));
    assert_eq!(status(&read_all(&mut send(b"GET /ready HTTP/1.0\r\n\r\n"))), 200);
    for waiting in [&embed, kept_alive.as_bytes()] {
        gate.shut();
        let mut stream = send(waiting);
        server.until("/metrics", |page| page.contains("te_queue_size 1\n"));
        gate.open();
        let answer = read_all(&mut stream);
        assert!(status(&answer) == 200 && answer.ends_with("]]"), "{answer}");
    }
    assert_eq!(status(&read_all(&mut send(&embed[..embed.len() - 1]))), 400, "half a body");
    server.until("/metrics", |page| page.contains("bigbatch_requests_in_flight 1\n"));
}

#[test]
fn a_request_names_one_host() {
    let server = server(Transport::default());
    let ask = |version: &str, hosts: &str| {
        let request = format!("GET /ready HTTP/{version}\r\n{hosts}connection: close\r\n\r\n");
        status(&server.exchange(request.as_bytes()))
    };
    assert_eq!(ask("1.1", "host: a\r\n"), 200);
    assert_eq!(ask("1.1", ""), 400);
    assert_eq!(ask("1.1", "host: a\r\nhost: b\r\n"), 400);
    assert_eq!(ask("1.1", "host: a\r\nhost: a\r\n"), 400);
    assert_eq!(ask("1.0", ""), 200);
    let mut client = FrameClient::connect(&server, 1 << 20);
    client.request(1, "GET", "/ready", "");
    assert_eq!(client.read_body(1), "ready\n".len(), "HTTP/2 names it otherwise");
}

#[test]
fn heads_that_cannot_be_read_are_counted() {
    let transport = Transport { header_timeout: LIMIT, ..Transport::default() };
    let server = server(transport);
    let long = format!("GET /ready HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n", "y".repeat(60_000));
    for (request, expected) in [(long.as_str(), 431), ("hello\r\n\r\n", 400), ("GET /re", 408)] {
        assert_eq!(status(&server.exchange(request.as_bytes())), expected);
    }
    let page = server.get("/metrics");
    assert_eq!(counted(&page, r#"bigbatch_refusals_total{reason="head"}"#), 2);
    assert_eq!(counted(&page, r#"bigbatch_refusals_total{reason="slow_head"}"#), 1);
    let other = r#"bigbatch_requests_total{method="other",route="other",outcome="refused"}"#;
    assert_eq!(counted(&page, other), 3);
}

#[test]
fn a_model_whose_name_is_not_utf_8_does_not_exist() {
    let server = open_server(Transport::default());
    for path in ["/models/%ff/embed", "/models/%ff/v1/embeddings"] {
        let answer = server.exchange(&post(path, "", GOOD.as_bytes()));
        assert_eq!(status(&answer), 404, "{path}: {answer}");
    }
    let answer = server.get("/v1/models/%ff");
    assert_eq!(status(&answer), 404, "{answer}");
}
