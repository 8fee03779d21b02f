//! Callers that wait, cancel, time out and err at random, over a device whose batches fail and panic at random: each
//! request ends once, nothing stays taken, and answers have the bits that they have on a quiet engine.
//!
//! The seed is fixed, but not the order in which threads run: all orders, of a few requests, are tried by
//! `src/engine/queue_interleavings.rs`.

mod hooked;

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use bigbatch_engine::{
    Answer, DeviceError, Engine, EngineOptions, Flow, Input, InputLength, Model, Overlong,
    PackedBatch, Pending, Priority, Request, RequestError, Response, RopeOverride, Task, TaskKind,
    Truncate,
};
use fastrand::Rng;

use crate::hooked::hooked;

const SEED: u64 = 17;
const CALLERS: u64 = 8;
const REQUESTS_PER_CALLER: usize = 80;
/// Words of the texts. The last ones take long enough to be run in slices.
const WORDS: [usize; 8] = [1, 2, 3, 5, 20, 60, 300, 1500];
/// Far longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// Returns an engine whose batches fail or panic at random while it is told to.
fn start(unreliable: Arc<AtomicBool>) -> Engine {
    let checkpoint = bigbatch_models::checkpoint("random", TaskKind::Embed).unwrap();
    let model = Model::load(&checkpoint, RopeOverride::Checkpoint).unwrap();
    let mut options = EngineOptions {
        max_concurrent_requests: 24,
        tokenizer_threads: 3,
        ..EngineOptions::default()
    };
    options.device.max_batch_tokens = Some(2048);
    options.device.threads = 1;
    let mut random = Rng::with_seed(SEED);
    let begin = move |_: &PackedBatch| {
        if unreliable.load(Ordering::Relaxed) {
            match random.u8(..12) {
                0 => panic!("planted"),
                1 => {
                    let (device, reason) = ("test".into(), "planted".into());
                    return Err(DeviceError::Call { device, call: "begin", reason });
                }
                _ => {}
            }
        }
        Ok(())
    };
    let wrap = |host| hooked(host, begin);
    Engine::start_with_backend(model, &options, wrap).unwrap()
}

fn request(words: usize) -> Request {
    let task = Task::Embed { pooling: None, normalize: true, dimensions: None, layer: None };
    Request::new(Input::Text("word ".repeat(words)), task, Truncate::No)
}

fn bits(response: &Response) -> Vec<u32> {
    let Answer::Embedding(row) = &response.answer else { panic!("no vector") };
    row.iter().map(|value| value.to_bits()).collect()
}

/// How many requests of a caller ended how.
#[derive(Debug, Default, PartialEq)]
struct Tally {
    answered: usize,
    refused: usize,
    device_failed: usize,
    cancelled: usize,
}

impl Tally {
    fn sum(&self) -> usize {
        self.answered + self.refused + self.device_failed + self.cancelled
    }

    fn plus(self, other: Tally) -> Tally {
        Tally {
            answered: self.answered + other.answered,
            refused: self.refused + other.refused,
            device_failed: self.device_failed + other.device_failed,
            cancelled: self.cancelled + other.cancelled,
        }
    }
}

/// What was submitted, as far as it says how it may end.
#[derive(Debug, Clone, Copy)]
struct Submitted {
    /// Index into [`WORDS`]; `None` for an input that is no text.
    text: Option<usize>,
    has_deadline: bool,
    has_permit: bool,
}

/// One of the callers.
struct Caller<'a> {
    engine: &'a Engine,
    permit: Arc<()>,
    expected: &'a [Vec<u32>],
    random: Rng,
    held: Vec<(Submitted, Pending)>,
    tally: Tally,
}

impl Caller<'_> {
    fn run(mut self) -> Tally {
        for _ in 0..REQUESTS_PER_CALLER {
            let (submitted, result) = self.submit();
            match result {
                Ok(pending) => self.take(submitted, pending),
                Err(error) => self.record(submitted, Err(error)),
            }
            // Up to some requests of a caller wait at once, and a random one is given up or waited for.
            while self.held.len() > 4 {
                let (submitted, pending) = self.held.swap_remove(self.random.usize(..5));
                self.take_last(submitted, pending);
            }
        }
        for (submitted, pending) in std::mem::take(&mut self.held) {
            self.take_last(submitted, pending);
        }
        self.tally
    }

    fn submit(&mut self) -> (Submitted, Result<Pending, RequestError>) {
        let text = (self.random.u8(..16) > 0).then(|| self.random_text());
        let priority = if self.random.bool() { Priority::Interactive } else { Priority::Batch };
        let deadline = match self.random.u8(..4) {
            0 => Some(Instant::now() + Duration::from_millis(self.random.u64(..40))),
            _ => None,
        };
        let flow = Flow { share: self.random.u64(..4), priority };
        let mut request = Request { deadline, flow, ..request(text.map_or(1, |text| WORDS[text])) };
        if text.is_none() {
            request.input = Input::Ids(vec![u32::MAX; self.random.usize(..2)]);
        }
        let has_permit = self.random.bool();
        let submitted = Submitted { text, has_deadline: deadline.is_some(), has_permit };
        if !has_permit {
            return (submitted, self.engine.submit(request));
        }
        let limit = deadline
            .map_or(PATIENCE, |deadline| deadline.saturating_duration_since(Instant::now()));
        let length = InputLength::Bytes(text.map_or(1, |text| 5 * WORDS[text]));
        let time =
            self.engine.reserve([length], Overlong::Truncate(Truncate::No), None, limit, flow);
        let permit = self.permit.clone();
        let result =
            time.and_then(|mut time| self.engine.submit_reserved(request, &mut time, permit));
        (submitted, result)
    }

    /// Mostly a short one.
    fn random_text(&mut self) -> usize {
        let longest = if self.random.u8(..8) == 0 { WORDS.len() } else { 5 };
        self.random.usize(..longest)
    }

    fn take(&mut self, submitted: Submitted, pending: Pending) {
        match self.random.u8(..5) {
            0 => {
                drop(pending);
                self.tally.cancelled += 1;
            }
            1 => {
                // A future that is dropped after one look.
                let mut future = pin!(pending.into_future());
                match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                    Poll::Ready(result) => self.record(submitted, result),
                    Poll::Pending => self.tally.cancelled += 1,
                }
            }
            2 => self.record(submitted, pending.wait()),
            _ => self.held.push((submitted, pending)),
        }
    }

    fn take_last(&mut self, submitted: Submitted, pending: Pending) {
        if self.random.bool() {
            self.record(submitted, pending.wait());
        } else {
            drop(pending);
            self.tally.cancelled += 1;
        }
    }

    fn record(&mut self, submitted: Submitted, result: Result<Response, RequestError>) {
        let Submitted { text, has_deadline, has_permit } = submitted;
        match result {
            Ok(response) => {
                let text = text.expect("ids beyond the vocabulary are refused");
                assert_eq!(bits(&response), self.expected[text], "{} words", WORDS[text]);
                self.tally.answered += 1;
            }
            Err(RequestError::Device(reason)) => {
                assert!(text.is_some() && reason.contains("planted"), "{reason}");
                self.tally.device_failed += 1;
            }
            Err(error) => {
                let is_due = match &error {
                    RequestError::Overloaded { .. } => !has_permit,
                    RequestError::Empty | RequestError::Invalid(_) => text.is_none(),
                    RequestError::WaitTooLong { .. } => has_deadline || has_permit,
                    RequestError::DeadlinePassed => has_deadline,
                    _ => false,
                };
                assert!(is_due, "{submitted:?}: {error}");
                self.tally.refused += 1;
            }
        }
    }
}

/// Waits until something holds that other threads are about to cause.
fn until(what: &str, holds: impl Fn() -> bool) {
    let begin = Instant::now();
    while !holds() {
        assert!(begin.elapsed() < PATIENCE, "{what}");
        thread::yield_now();
    }
}

#[test]
fn chaos_loses_no_request_and_leaves_nothing_taken() {
    let unreliable = Arc::new(AtomicBool::new(false));
    let (engine, permit) = (start(unreliable.clone()), Arc::new(()));
    let failed = Arc::new(AtomicU64::new(0));
    let counts = failed.clone();
    engine.on_batch(move |batch| {
        counts.fetch_add(u64::from(batch.failed), Ordering::Relaxed);
    });
    let answer = |words: usize| bits(&engine.submit(request(words)).unwrap().wait().unwrap());
    let expected: Vec<Vec<u32>> = WORDS.map(answer).into();

    unreliable.store(true, Ordering::Relaxed);
    let tally = thread::scope(|scope| {
        let start = |number: u64| {
            let caller = Caller {
                engine: &engine,
                permit: permit.clone(),
                expected: &expected,
                random: Rng::with_seed(SEED + number),
                held: Vec::new(),
                tally: Tally::default(),
            };
            scope.spawn(move || caller.run())
        };
        let callers: Vec<_> = (0..CALLERS).map(start).collect();
        let tallies = callers.into_iter().map(|caller| caller.join().unwrap());
        tallies.fold(Tally::default(), Tally::plus)
    });
    unreliable.store(false, Ordering::Relaxed);

    assert_eq!(tally.sum(), CALLERS as usize * REQUESTS_PER_CALLER, "{tally:?}");
    let Tally { answered, refused, device_failed, cancelled } = tally;
    assert!(answered > 50 && refused > 10 && device_failed > 0 && cancelled > 50, "{tally:?}");
    assert!(failed.load(Ordering::Relaxed) > 0);
    // Those that were cancelled on the device leave it with their batch.
    until("slots are taken", || engine.in_flight() == 0);
    until("permits are held", || Arc::strong_count(&permit) == 1);
    until("a batch is on the device", || engine.batches_in_flight() == 0);
    let no_wait = [None, Some(Duration::ZERO)];
    until("work is outstanding", || no_wait.contains(&engine.predict_wait()));
    for priority in [Priority::Interactive, Priority::Batch] {
        assert_eq!(engine.waiting(priority), 0);
    }
    for (words, expected) in WORDS.iter().zip(&expected) {
        assert_eq!(&answer(*words), expected, "{words} words");
    }
}
