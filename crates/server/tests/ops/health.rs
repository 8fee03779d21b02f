//! Health checks that look at the device, overload, and the shutdown.

use std::io::{Read, Write};
use std::time::Duration;

use bigbatch_engine::DeviceError;
use bigbatch_server::serve::Shutdown;
use bigbatch_server::{Keys, Options, Phase, Transport};

use crate::support::{
    Gate, PATIENCE, Server, Setup, post, read_all, served, served_with_hook, status,
};

const GOOD: &str = r#"{"inputs":"hello"}"#;

#[test]
fn an_idle_device_proves_its_health_by_a_batch() {
    let server = Server::start(vec![served("a"), served("b")], Setup::default());
    assert_eq!(status(&server.get("/health")), 200);
    let page = server.get("/metrics");
    assert!(page.contains("bigbatch_batch_tokens_count{model=\"a\"} 1\n"), "{page}");
    assert!(page.contains("bigbatch_batch_tokens_count{model=\"b\"} 1\n"), "{page}");
    // That batch was recent enough: no other runs.
    assert_eq!(status(&server.get("/ping")), 200);
    assert!(server.get("/metrics").contains("bigbatch_batch_tokens_count{model=\"a\"} 1\n"));
}

#[test]
fn a_device_that_hangs_is_not_healthy_even_with_requests_queued() {
    let gate = Gate::default();
    let health_wait = Duration::from_millis(200);
    let options = Options { health_wait, health_fresh: Duration::ZERO, ..Options::default() };
    let server = Server::start(vec![gate.served()], Setup { options, ..Setup::default() });
    // The prediction for the next batch comes from this one.
    assert_eq!(status(&server.embed(GOOD, "")), 200);
    gate.shut();
    let mut second = server.connect();
    second.write_all(&post("/embed", "", GOOD.as_bytes())).expect("the server listens");
    let answer = server.until("/health", |answer| status(answer) == 503);
    assert!(answer.contains("has run for"), "{answer}");
    gate.open();
    assert_eq!(status(&read_all(&mut second)), 200);
    server.until("/health", |answer| status(answer) == 200);
}

#[test]
fn accepted_requests_are_answered_after_the_server_begins_to_stop() {
    let gate = Gate::default();
    gate.shut();
    let server = Server::start(vec![gate.served()], Setup::default());
    let mut stream = server.connect();
    let request = String::from_utf8(post("/embed", "", GOOD.as_bytes())).expect("text");
    let request = request.replace("connection: close\r\n", "");
    stream.write_all(request.as_bytes()).expect("the server listens");
    server.until("/metrics", |page| page.contains("te_queue_size 1\n"));
    let mut idle = server.connect();
    idle.write_all(b"GET /ready HTTP/1.1\r\nhost: x\r\n\r\n").expect("the server listens");
    idle.read_exact(&mut [0; 10]).expect("an answer begins");
    server.app.life.enter(Phase::Draining);
    let answer = server.get("/ready");
    assert!(status(&answer) == 503 && answer.contains("draining"), "{answer}");
    server.app.life.enter(Phase::Closing);
    // The idle connection is closed at once; the other only after its answer.
    assert!(read_all(&mut idle).ends_with("\r\n\r\nready\n"));
    gate.open();
    let answer = read_all(&mut stream);
    assert_eq!(status(&answer), 200, "{answer}");
    assert_eq!(server.stop(), Shutdown::Drained);
}

#[test]
fn kept_connections_are_closed_after_their_next_answer_while_draining() {
    let server = Server::start(vec![served("a")], Setup::default());
    let kept = |request: &str| request.replace("connection: close\r\n", "");
    let get = "GET /ready HTTP/1.1\r\nhost: x\r\n\r\n".to_owned();
    let post = kept(&String::from_utf8(post("/embed", "", GOOD.as_bytes())).expect("text"));
    let mut stream = server.connect();
    stream.write_all(get.as_bytes()).expect("the server listens");
    let mut answer = [0; 512];
    let read = stream.read(&mut answer).expect("an answer");
    let answer = String::from_utf8_lossy(&answer[..read]).into_owned();
    assert!(status(&answer) == 200 && !answer.contains("connection: close"), "{answer}");
    server.app.life.enter(Phase::Draining);
    for (mut stream, request, code) in [(stream, &post, 200), (server.connect(), &get, 503)] {
        stream.write_all(request.as_bytes()).expect("the server still serves");
        // Reads until the server closes the connection.
        let answer = read_all(&mut stream);
        assert!(answer.contains("connection: close\r\n"), "{answer}");
        assert_eq!(status(&answer), code, "{answer}");
    }
}

#[test]
fn a_drain_that_takes_too_long_is_cut() {
    let gate = Gate::default();
    gate.shut();
    let transport = Transport { drain_timeout: Duration::from_millis(50), ..Transport::default() };
    let server = Server::start(vec![gate.served()], Setup { transport, ..Setup::default() });
    let mut stream = server.connect();
    stream.write_all(&post("/embed", "", GOOD.as_bytes())).expect("the server listens");
    server.until("/metrics", |page| page.contains("te_queue_size 1\n"));
    // Dropping the last engine would wait for its device.
    let app = server.app.clone();
    assert_eq!(server.stop(), Shutdown::Cut { connections: 1 });
    gate.open();
    drop(app);
}

#[test]
fn a_lost_device_answers_every_request_and_stops_the_server() {
    let gate = Gate::default();
    gate.shut();
    let behind = gate.clone();
    let served = served_with_hook(move || {
        behind.pass();
        let reason = "planted".into();
        Err(DeviceError::Poisoned { device: "test".into(), call: "begin", reason })
    });
    let server = Server::start(vec![served], Setup::default());
    let mut streams: Vec<_> = (0..4)
        .map(|_| {
            let mut stream = server.connect();
            stream.write_all(&post("/embed", "", GOOD.as_bytes())).expect("the server listens");
            stream
        })
        .collect();
    server.until("/metrics", |page| page.contains("te_queue_size 4\n"));
    gate.open();
    for stream in &mut streams {
        let answer = read_all(stream);
        assert_eq!(status(&answer), 503, "{answer}");
        assert!(answer.contains("must restart") && answer.contains("Unhealthy"), "{answer}");
    }
    let Server { ended, runtime, app, .. } = server;
    let ended = runtime.block_on(async { tokio::time::timeout(PATIENCE, ended).await });
    let ended = ended.expect("in time").expect("no panic");
    assert_eq!((ended, app.life.phase()), (Shutdown::DeviceLost, Phase::Lost));
}

#[test]
fn an_answer_that_does_not_come_is_a_503() {
    let gate = Gate::default();
    gate.shut();
    let options = Options { request_timeout: Duration::from_millis(50), ..Options::default() };
    let server = Server::start(vec![gate.served()], Setup { options, ..Setup::default() });
    let answer = server.embed(GOOD, "");
    assert!(status(&answer) == 503 && answer.contains("retry-after"), "{answer}");
    gate.open();
}

#[test]
fn a_full_queue_says_when_to_retry() {
    let gate = Gate::default();
    gate.shut();
    let server = Server::start(vec![gate.served_with(1)], Setup::default());
    let mut first = server.connect();
    first.write_all(&post("/embed", "", GOOD.as_bytes())).expect("the server listens");
    server.until("/metrics", |page| page.contains("te_queue_size 1\n"));
    for (path, body, says) in [
        ("/embed", GOOD, r#""error_type":"Overloaded""#),
        ("/v1/embeddings", r#"{"input":"a"}"#, r#""type":"overloaded_error""#),
    ] {
        let answer = server.exchange(&post(path, "", body.as_bytes()));
        assert!(status(&answer) == 429 && answer.contains("retry-after: 1\r\n"), "{answer}");
        assert!(answer.contains(says), "{answer}");
    }
    gate.open();
    assert_eq!(status(&read_all(&mut first)), 200);
    assert_eq!(status(&server.embed(GOOD, "")), 200);
}

#[test]
fn both_sides_of_a_comparison_are_queued_together() {
    let gate = Gate::default();
    gate.shut();
    let server = Server::start(vec![gate.served()], Setup::default());
    let mut both: Vec<_> = [
        ("/similarity", r#"{"inputs":{"source_sentence":"a","sentences":["b","c"]}}"#),
        ("/score", r#"{"queries":"a","documents":["b","c"]}"#),
    ]
    .map(|(path, body)| {
        let mut stream = server.connect();
        stream.write_all(&post(path, "", body.as_bytes())).expect("the server listens");
        stream
    })
    .into();
    server.until("/metrics", |page| page.contains("te_queue_size 6\n"));
    gate.open();
    for stream in &mut both {
        assert_eq!(status(&read_all(stream)), 200);
    }
}

#[test]
fn every_answer_has_a_request_id() {
    let server = Server::start(vec![served("a")], Setup::default());
    let answer = server.embed(GOOD, "x-request-id: abc-1\r\n");
    assert!(answer.contains("x-request-id: abc-1\r\n"), "{answer}");
    let long = format!("x-request-id: {}\r\n", "a".repeat(200));
    let answer = server.embed(r#"{"inputs":[]}"#, &long);
    let own = answer.split("x-request-id: ").nth(1).and_then(|rest| rest.split("\r\n").next());
    assert_eq!(own.map(str::len), Some(32), "{answer}");
    let refused = server.app.observe.recent_refusals();
    assert_eq!(Some(refused[0].request_id.as_str()), own);
    assert_eq!((refused[0].reason, refused[0].status), ("empty", 400));
}

#[test]
fn pages_of_other_origins_call_only_where_allowed() {
    let ask = "OPTIONS /embed HTTP/1.1\r\nhost: x\r\norigin: https://a.example\r\n\
        access-control-request-method: POST\r\nconnection: close\r\n\r\n";
    let allowed = "access-control-allow-origin: https://a.example\r\n";
    let headers = "access-control-request-headers: authorization\r\n";
    let ask = ask.replace(
        "access-control-request-method",
        &format!("{headers}access-control-request-method"),
    );
    let options = |origins: &[&str]| Options {
        cors_allow_origin: origins
            .iter()
            .map(|origin| origin.parse().expect("an origin"))
            .collect(),
        ..Options::default()
    };
    for (origins, allows) in
        [(&["https://a.example"][..], true), (&["https://b.example"], false), (&[], false)]
    {
        let setup = Setup { options: options(origins), ..Setup::default() };
        let server = Server::start(vec![served("a")], setup);
        let answer = server.exchange(ask.as_bytes());
        assert_eq!(answer.contains(allowed), allows, "{origins:?}: {answer}");
        // By name: `*` would not cover it.
        let named = answer.contains("access-control-allow-headers: authorization\r\n");
        assert!(named || !allows, "{origins:?}: {answer}");
    }
}

/// HAProxy checks health with such requests by default.
#[test]
fn an_options_request_without_a_requested_method_is_no_preflight() {
    for origins in [&["https://a.example"][..], &[]] {
        let options = Options {
            cors_allow_origin: origins
                .iter()
                .map(|origin| origin.parse().expect("an origin"))
                .collect(),
            ..Options::default()
        };
        let keys = Keys::load(Some("right"), None).expect("a key");
        let server = Server::start(vec![served("a")], Setup { options, keys, ..Setup::default() });
        for (path, code) in [("/", 401), ("/ready", 405), ("/embed", 401), ("/nothing", 401)] {
            let ask = format!("OPTIONS {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
            let answer = server.exchange(ask.as_bytes());
            assert_eq!(status(&answer), code, "{path}: {answer}");
        }
    }
}

#[test]
fn head_is_get_without_the_answer() {
    let keys = Keys::load(Some("right"), None).expect("a key");
    let server = Server::start(vec![served("a")], Setup { keys, ..Setup::default() });
    let head = |path: &str| {
        server.exchange(
            format!("HEAD {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").as_bytes(),
        )
    };
    for path in ["/health", "/ready", "/ping", "/metrics", "/", "/docs"] {
        let answer = head(path);
        assert!(status(&answer) == 200 && answer.ends_with("\r\n\r\n"), "{path}: {answer}");
    }
    for path in ["/info", "/dashboard/data", "/nothing"] {
        assert_eq!(status(&head(path)), 401, "{path}");
    }
    server.app.life.enter(Phase::Draining);
    assert_eq!(status(&head("/ready")), 503);
}
