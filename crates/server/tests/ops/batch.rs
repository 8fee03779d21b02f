//! Requests with more inputs than the engine has slots: all are answered, and they leave room for others.

use std::io::Write;
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use bigbatch_engine::DeviceError;
use bigbatch_server::{Options, ServedModel};
use serde_json::{Value, json};

use crate::support::{Gate, Server, Setup, post, read_all, served_with_hook, status};

const LARGE: usize = 2048;
const SLOTS: usize = 64;

fn server(served: ServedModel, options: Options) -> Server {
    Server::start(vec![served], Setup { options, ..Setup::default() })
}

fn text(n: usize) -> String {
    format!("text {n}")
}

fn body(inputs: Vec<String>) -> Vec<u8> {
    let body = json!({ "input": inputs, "dimensions": 4 }).to_string();
    post("/v1/embeddings", "", body.as_bytes())
}

fn large() -> Vec<u8> {
    body((0..LARGE).map(text).collect())
}

/// Sends a request and returns the stream that its answer will come from.
fn begin(server: &Server, request: &[u8]) -> TcpStream {
    let mut stream = server.connect();
    stream.write_all(request).expect("the server listens");
    stream
}

fn data(answer: &str) -> Vec<Value> {
    assert_eq!(status(answer), 200, "{answer:.500}");
    let (_, body) = answer.split_once("\r\n\r\n").expect("a body");
    let body: Value = serde_json::from_str(body).expect("JSON");
    body["data"].as_array().expect("a list").clone()
}

fn until_in_flight(server: &Server, count: usize) {
    let line = format!("te_queue_size {count}\n");
    server.until("/metrics", |page| page.contains(&line));
}

/// Sends as many single requests as there are slots, while the device is held: all are admitted, one more is not.
fn assert_all_slots_are_free(server: &Server, gate: &Gate, slots: usize) {
    gate.open();
    until_in_flight(server, 0);
    gate.shut();
    let single = body(vec![text(0)]);
    let streams: Vec<_> = (0..slots).map(|_| begin(server, &single)).collect();
    until_in_flight(server, slots);
    assert_eq!(status(&server.exchange(&single)), 429);
    gate.open();
    for mut stream in streams {
        assert_eq!(status(&read_all(&mut stream)), 200);
    }
}

#[test]
fn two_large_requests_at_once_are_answered_in_order() {
    let server = server(Gate::default().served_with(SLOTS), Options::default());
    let mut streams = [begin(&server, &large()), begin(&server, &large())];
    let [first, second] = streams.each_mut().map(|stream| data(&read_all(stream)));
    assert_eq!(first.len(), LARGE);
    assert!(first == second, "the same texts have other vectors");
    for n in [0, 1, 63, 64, 1500, LARGE - 1] {
        let alone = data(&server.exchange(&body(vec![text(n)])));
        assert_eq!(first[n]["index"], n);
        assert_eq!(first[n]["embedding"], alone[0]["embedding"], "{n}");
    }
    until_in_flight(&server, 0);
    let page = server.get("/metrics");
    assert!(page.contains(&format!("te_embed_count {}\n", 2 * LARGE + 6)), "{page}");
}

#[test]
fn small_requests_beside_large_ones_are_admitted() {
    let gate = Gate::default();
    gate.shut();
    let server = server(gate.served_with(SLOTS), Options::default());
    let mut streams = vec![begin(&server, &large())];
    until_in_flight(&server, SLOTS / 2);
    streams.push(begin(&server, &large()));
    // Only its own slot: the other has those that both share.
    until_in_flight(&server, SLOTS / 2 + 1);
    for more in 2..=SLOTS / 2 {
        streams.push(begin(&server, &body(vec![text(more)])));
        until_in_flight(&server, SLOTS / 2 + more);
    }
    // Without a slot for its first input, a large request is refused as any other.
    let refused = server.exchange(&large());
    assert!(status(&refused) == 429 && refused.contains("retry-after: "), "{refused}");
    gate.open();
    for mut stream in streams {
        assert_eq!(status(&read_all(&mut stream)), 200);
    }
}

#[test]
fn a_large_request_that_is_late_frees_its_slots() {
    let gate = Gate::default();
    gate.shut();
    let request_timeout = Duration::from_secs(2);
    let server = server(gate.served_with(8), Options { request_timeout, ..Options::default() });
    let mut stream = begin(&server, &large());
    until_in_flight(&server, 4);
    let answer = read_all(&mut stream);
    assert!(status(&answer) == 503 && answer.contains("--request-timeout"), "{answer}");
    gate.open();
    until_in_flight(&server, 0);
    let ten = body((0..10).map(text).collect());
    assert_eq!(data(&server.exchange(&ten)).len(), 10);
}

#[test]
fn a_client_that_disconnects_while_its_inputs_wait_frees_its_slots() {
    let gate = Gate::default();
    gate.shut();
    let server = server(gate.served_with(8), Options::default());
    let stream = begin(&server, &large());
    until_in_flight(&server, 4);
    stream.shutdown(Shutdown::Both).expect("it was open");
    drop(stream);
    // Its request ends, whatever of it is on the device, which is held; the other one asks for this page.
    server.until("/metrics", |page| page.contains("bigbatch_requests_in_flight 1\n"));
    assert_all_slots_are_free(&server, &gate, 8);
}

#[test]
fn a_failed_input_ends_the_request_and_is_named() {
    let gate = Gate::default();
    let server = server(gate.served_with(8), Options::default());
    let mut inputs: Vec<String> = (0..LARGE).map(text).collect();
    inputs[1500] = String::new();
    let answer = server.exchange(&body(inputs));
    assert_eq!(status(&answer), 400, "{answer}");
    assert!(answer.contains("the text is empty (input 1500, counted from 0)"), "{answer}");
    assert_all_slots_are_free(&server, &gate, 8);
}

#[test]
fn a_lost_device_ends_a_request_that_is_being_fed() {
    let mut batches = 0;
    let served = served_with_hook(move || {
        batches += 1;
        match batches {
            1 => Ok(()),
            _ => Err(DeviceError::Poisoned {
                device: "test".into(),
                call: "begin",
                reason: "planted".into(),
            }),
        }
    });
    let answer = server(served, Options::default()).exchange(&large());
    assert!(status(&answer) == 503 && answer.contains("planted"), "{answer}");
}
