//! Clients that stay, time out, err and disconnect at random, over a device whose batches fail and panic at random:
//! each that stays has one answer, the counters add up, and nothing stays taken.
//!
//! The seed is fixed, but not the order in which threads run. `crates/engine/tests/chaos.rs` does the same without
//! HTTP.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use bigbatch_engine::DeviceError;
use bigbatch_server::Keys;
use fastrand::Rng;
use serde_json::json;

use crate::support::{Gate, Server, Setup, TestFile, post, served_with_hook, status};

const SEED: u64 = 23;
const CLIENTS: [&str; 6] = ["a", "b", "a", "c", "b", "a"];
const REQUESTS_PER_CLIENT: usize = 60;
/// Words of the texts; the last one is long enough to be run in slices.
const WORDS: [usize; 6] = [1, 2, 7, 30, 120, 1200];

/// Requests whose clients disconnect while no batch runs, so that they are certainly abandoned.
const ABANDONED: u64 = 20;

/// How many requests of a client ended how.
#[derive(Debug, Default)]
struct Tally {
    /// Answers by their status.
    answered: BTreeMap<u16, u64>,
    /// Requests whose client did not wait.
    disconnected: u64,
}

impl Tally {
    fn add(&mut self, other: Tally) {
        for (status, count) in other.answered {
            *self.answered.entry(status).or_default() += count;
        }
        self.disconnected += other.disconnected;
    }

    fn of(&self, status: u16) -> u64 {
        self.answered.get(&status).copied().unwrap_or(0)
    }

    fn stayed(&self) -> u64 {
        self.answered.values().sum()
    }
}

/// One of the clients.
struct Client<'a> {
    server: &'a Server,
    key: String,
    /// The answer to each text of [`WORDS`] on a quiet server.
    expected: &'a [String],
    random: Rng,
    tally: Tally,
}

impl Client<'_> {
    fn run(mut self) -> Tally {
        for _ in 0..REQUESTS_PER_CLIENT {
            match self.random.u8(..8) {
                0 => self.disconnect_in_the_body(),
                1 => self.disconnect_before_the_answer(),
                2 => self.disconnect_in_the_answer(),
                3 => self.send_what_is_refused(),
                4 => self.send_with_a_deadline(),
                _ => self.send(""),
            }
        }
        self.tally
    }

    /// Returns an index into [`WORDS`], mostly of a short text, and a request with some copies of it.
    fn request(&mut self, more: &str) -> (usize, usize, Vec<u8>) {
        let longest = if self.random.u8(..10) == 0 { WORDS.len() } else { WORDS.len() - 2 };
        let text = self.random.usize(..longest);
        let copies = self.random.usize(1..4);
        let priority = if self.random.bool() { "batch" } else { "interactive" };
        let headers = format!("{}x-priority: {priority}\r\n{more}", self.key);
        (text, copies, post("/embed", &headers, body(WORDS[text], copies).as_bytes()))
    }

    fn send(&mut self, more: &str) {
        let (text, copies, request) = self.request(more);
        let answer = self.server.exchange(&request);
        let code = self.record(&answer);
        let expected: &[u16] = if more.is_empty() { &[200, 424] } else { &[200, 424, 429, 503] };
        assert!(expected.contains(&code), "{answer}");
        if code == 200 {
            let one = self.expected[text].as_str();
            let expected = format!("[{}]", vec![one; copies].join(","));
            assert_eq!(content(&answer), expected, "{} words", WORDS[text]);
        }
    }

    fn send_with_a_deadline(&mut self) {
        let header = format!("x-request-timeout-ms: {}\r\n", self.random.u64(1..40));
        self.send(&header);
    }

    fn send_what_is_refused(&mut self) {
        let (body, expected) = self
            .random
            .choice([
                (r#"{"inputs":"#, 400),
                (r#"{"inputs":5}"#, 422),
                (r#"{"inputs":""}"#, 400),
                (r#"{"inputs":[[4000000000]]}"#, 422),
            ])
            .expect("there are some");
        let answer = self.server.exchange(&post("/embed", &self.key, body.as_bytes()));
        assert_eq!(self.record(&answer), expected, "{body}: {answer}");
    }

    fn disconnect_in_the_body(&mut self) {
        let (.., request) = self.request("");
        let body = request.windows(4).position(|end| end == b"\r\n\r\n").expect("a head") + 4;
        let sent = self.random.usize(body..request.len());
        self.disconnect_after(&request[..sent], 0);
    }

    fn disconnect_before_the_answer(&mut self) {
        let (.., request) = self.request("");
        self.disconnect_after(&request, 0);
    }

    fn disconnect_in_the_answer(&mut self) {
        let (.., request) = self.request("");
        let read = self.random.usize(1..600);
        self.disconnect_after(&request, read);
    }

    fn disconnect_after(&mut self, sent: &[u8], read: usize) {
        let mut stream = self.server.connect();
        stream.write_all(sent).expect("the server listens");
        // An answer may be shorter.
        let _ = stream.read_exact(&mut vec![0; read]);
        // The server may have closed already.
        let _ = stream.shutdown(Shutdown::Both);
        self.tally.disconnected += 1;
    }

    fn record(&mut self, answer: &str) -> u16 {
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
        let code = status(answer);
        *self.tally.answered.entry(code).or_default() += 1;
        code
    }
}

fn body(words: usize, copies: usize) -> String {
    json!({ "inputs": vec!["word ".repeat(words); copies] }).to_string()
}

fn content(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").expect("a head").1
}

/// Returns the sum of the samples of a metric whose labels contain all of these.
fn metric(page: &str, name: &str, labels: &[&str]) -> u64 {
    let values = page.lines().filter_map(|line| {
        let rest = line.strip_prefix(name).filter(|rest| rest.starts_with(['{', ' ']))?;
        let (has, value) = rest.rsplit_once(' ')?;
        labels.iter().all(|label| has.contains(label)).then(|| value.parse::<u64>())
    });
    values.map(|value| value.expect("it counts")).sum()
}

/// Checks that every request is counted once, and those that stayed as what they were told. How those ended that did
/// not stay, only the server knows.
fn check_counters(page: &str, tally: &Tally, quiet: u64) {
    let route = |outcome: &str| {
        let outcome = format!("outcome=\"{outcome}\"");
        metric(page, "bigbatch_requests_total", &["route=\"/embed\"", &outcome])
    };
    let (ok, refused, abandoned) = (route("ok"), route("refused"), route("abandoned"));
    assert!(abandoned >= ABANDONED, "{abandoned}");
    let sent = quiet + tally.stayed() + tally.disconnected;
    assert_eq!(ok + refused + abandoned, sent, "{ok} + {refused} + {abandoned}: {tally:?}");
    let stayed_ok = quiet + tally.of(200);
    let gone = tally.disconnected;
    assert!((stayed_ok..=stayed_ok + gone).contains(&ok), "{ok}: {tally:?}");
    let stayed_refused = tally.stayed() - tally.of(200);
    assert!((stayed_refused..=stayed_refused + gone).contains(&refused), "{refused}: {tally:?}");
    assert_eq!(metric(page, "bigbatch_refusals_total", &[]), refused);
    assert_eq!(metric(page, "te_request_count", &[]), sent);
    assert_eq!(metric(page, "te_request_success", &[]), ok);
    assert_eq!(metric(page, "te_request_failure", &[]), refused + abandoned);
    let inputs = |what: &str| metric(page, &format!("bigbatch_inputs{what}_total"), &[]);
    assert!(inputs("_answered") + inputs("_failed") <= inputs(""), "{page}");
    assert_eq!(inputs("_answered"), metric(page, "te_request_input_length_count", &[]));
    assert!(metric(page, "bigbatch_batches_failed_total", &[]) > 0, "no batch failed");
}

fn start(gate: Gate, unreliable: Arc<AtomicBool>, keys: Keys) -> Server {
    let mut random = Rng::with_seed(SEED);
    let served = served_with_hook(move || {
        gate.pass();
        if unreliable.load(Ordering::Relaxed) {
            match random.u8(..16) {
                0 => panic!("planted"),
                1 => {
                    let (device, reason) = ("test".into(), "planted".into());
                    return Err(DeviceError::Call { device, call: "begin", reason });
                }
                _ => {}
            }
        }
        Ok(())
    });
    Server::start(vec![served], Setup { keys, ..Setup::default() })
}

#[test]
fn chaos_leaves_each_client_that_stays_one_answer_and_nothing_taken() {
    let file = TestFile::new("chaos", "a\nb\nc\n");
    let (gate, unreliable) = (Gate::default(), Arc::new(AtomicBool::new(false)));
    let keys = Keys::load(None, Some(file.0.clone())).expect("loads");
    let server = start(gate.clone(), unreliable.clone(), keys);
    let key = |client: &str| format!("authorization: Bearer {client}\r\n");
    let quiet = |words: usize| {
        let answer = server.embed(&body(words, 1), &key("a"));
        assert_eq!(status(&answer), 200, "{answer}");
        let list = content(&answer);
        let one = list.strip_prefix('[').and_then(|list| list.strip_suffix(']'));
        one.expect("a list of one").to_owned()
    };
    let expected = WORDS.map(quiet);
    let client = |(number, client): (u64, &&str)| {
        let random = Rng::with_seed(SEED + number);
        let (server, expected, tally) = (&server, expected.as_slice(), Tally::default());
        Client { server, key: key(client), expected, random, tally }
    };

    unreliable.store(true, Ordering::Relaxed);
    let mut tally = Tally::default();
    thread::scope(|scope| {
        let clients = (0..).zip(&CLIENTS).map(client);
        let clients: Vec<_> = clients.map(|one| scope.spawn(move || one.run())).collect();
        for client in clients {
            tally.add(client.join().expect("the client saw what it should"));
        }
    });
    unreliable.store(false, Ordering::Relaxed);

    gate.shut();
    let mut last = client((99, &"b"));
    (0..ABANDONED).for_each(|_| last.disconnect_before_the_answer());
    tally.add(last.tally);
    server.until("/metrics", |page| {
        metric(page, "bigbatch_requests_total", &["outcome=\"abandoned\""]) >= ABANDONED
    });
    gate.open();

    let sent = (CLIENTS.len() * REQUESTS_PER_CLIENT) as u64 + ABANDONED;
    assert_eq!(tally.stayed() + tally.disconnected, sent);
    assert!(tally.of(200) > 50 && tally.disconnected > 50, "{tally:?}");
    // Only the request for this page itself is in flight.
    let page = server.until("/metrics", |page| {
        let gauges = ["te_queue_size", "bigbatch_waiting", "bigbatch_request_memory_bytes"];
        gauges.iter().all(|gauge| metric(page, gauge, &[]) == 0)
            && metric(page, "bigbatch_requests_in_flight", &[]) == 1
            && metric(page, "bigbatch_arena_used_bytes", &[]) == 0
    });
    check_counters(&page, &tally, WORDS.len() as u64);
    assert_eq!(WORDS.map(quiet), expected);
}
