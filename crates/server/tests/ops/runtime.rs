//! The listener of the model runtime: a Unix socket, before, while and after its server answers.

use std::io::{ErrorKind, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bigbatch_server::serve::{Gateway, Shutdown, listen_unix, serve};
use bigbatch_server::{App, Keys, Models, Options, Phase, Transport, runtime};
use tokio::runtime::Runtime;

use crate::support::{Gate, PATIENCE, post, read_all, served, status};

fn socket_path(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("bigbatch-{name}-{}.sock", std::process::id()))
}

fn exchange(path: &Path, bytes: &[u8]) -> String {
    let mut stream = UnixStream::connect(path).expect("the server listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
    stream.write_all(bytes).expect("the server reads");
    read_all(&mut stream)
}

fn get(path: &Path, of: &str) -> String {
    let head = format!("GET {of} HTTP/1.1\r\nhost: model-runtime\r\nconnection: close\r\n\r\n");
    exchange(path, head.as_bytes())
}

#[test]
fn a_unix_socket_is_served_without_a_key_from_loading_to_its_end() {
    let path = socket_path("runtime");
    let tokio = Runtime::new().expect("a runtime starts");
    let door = Gateway::default();
    let runtime_door = door.of_runtime();
    let listener = tokio.block_on(listen_unix(&path)).expect("the path is free");
    let ended = tokio.spawn(serve(listener, None, Transport::default(), runtime_door.clone()));
    let health = get(&path, "/health");
    assert_eq!(status(&health), 503, "{health}");
    assert!(health.contains(r#""status":"loading""#), "{health}");
    assert_eq!(status(&get(&path, "/health/live")), 200);
    assert!(get(&path, "/v1/models").contains(r#""code":"not_ready""#));
    let models = Models::new(vec![served("m")]).expect("one name");
    let keys = Arc::new(Keys::load(Some("secret"), None).expect("a key"));
    let (life, observe) = (door.life().clone(), door.counters().clone());
    let app = App::with_guards(models, Options::default(), keys, life, observe);
    runtime_door.open(runtime::router(app.clone(), false));
    assert_eq!(status(&get(&path, "/health")), 200);
    let answer = exchange(&path, &post("/v1/embeddings", "", br#"{"input": "a"}"#));
    assert_eq!(status(&answer), 200, "{answer}");
    app.life.enter(Phase::Closing);
    assert_eq!(tokio.block_on(ended).expect("no panic"), Shutdown::Drained);
    assert!(!path.exists(), "the socket goes with its server");
}

#[test]
fn a_socket_left_behind_is_replaced_and_one_in_use_is_not() {
    let path = socket_path("left");
    let tokio = Runtime::new().expect("a runtime starts");
    let listen = || tokio.block_on(listen_unix(&path));
    // As a process leaves it that was killed.
    drop(UnixListener::bind(&path).expect("the path is free"));
    let listener = listen().expect("nobody listens there");
    let refused = listen().map(drop).expect_err("it is in use");
    assert_eq!(refused.kind(), ErrorKind::AddrInUse);
    assert!(UnixStream::connect(&path).is_ok(), "the other one still listens");
    // Somebody else has taken the path meanwhile.
    std::fs::remove_file(&path).expect("it is there");
    let successor = listen().expect("the path is free");
    tokio.block_on(async { drop(listener) });
    assert!(UnixStream::connect(&path).is_ok(), "its socket stays");
    tokio.block_on(async { drop(successor) });
    assert!(!path.exists());
    std::fs::write(&path, "a file").expect("a file is written");
    let refused = listen().map(drop);
    assert!(refused.is_err() && path.exists(), "a file of another kind stays");
    std::fs::remove_file(&path).expect("it is there");
}

/// A deadline ends a request whose batch runs, and each input keeps its own error.
#[test]
fn a_request_ends_at_its_deadline_whatever_the_device_does() {
    let path = socket_path("deadline");
    let tokio = Runtime::new().expect("a runtime starts");
    let door = Gateway::default();
    let runtime_door = door.of_runtime();
    let listener = tokio.block_on(listen_unix(&path)).expect("the path is free");
    let ended = tokio.spawn(serve(listener, None, Transport::default(), runtime_door.clone()));
    let gate = Gate::default();
    let models = Models::new(vec![gate.served()]).expect("one name");
    let (life, observe) = (door.life().clone(), door.counters().clone());
    let app = App::with_guards(models, Options::default(), Arc::default(), life, observe);
    runtime_door.open(runtime::router(app.clone(), false));
    gate.shut();
    let body = br#"{"input": ["a", "b"], "options": {"deadline_ms": 50}}"#;
    let answer = exchange(&path, &post("/v1/embeddings", "", body));
    assert_eq!(status(&answer), 200, "{answer}");
    assert_eq!(answer.matches(r#""error":"deadline_exceeded""#).count(), 2, "{answer}");
    gate.open();
    app.life.enter(Phase::Closing);
    tokio.block_on(ended).expect("no panic");
}
