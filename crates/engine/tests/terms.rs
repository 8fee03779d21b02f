//! Deadlines, priorities and shares of requests, with a device that waits for the test.

mod hooked;

use std::sync::mpsc::{self, Receiver, Sender};
use std::time::{Duration, Instant};

use bigbatch_engine::{
    Engine, EngineOptions, Flow, Input, Model, PackedBatch, Pending, Priority, Request,
    RequestError, RopeOverride, Task, TaskKind, Truncate,
};

use crate::hooked::hooked;

/// An engine with one sequence per batch, whose device reports each batch and then waits for a message, until there can be
/// none. Dropping `gate` opens it for ever.
struct Gated {
    engine: Engine,
    begun: Receiver<usize>,
    gate: Sender<()>,
}

fn gated() -> Gated {
    let checkpoint = bigbatch_models::checkpoint("random", TaskKind::Embed).unwrap();
    let model = Model::load(&checkpoint, RopeOverride::Checkpoint).unwrap();
    let mut options = EngineOptions { tokenizer_threads: 1, ..EngineOptions::default() };
    options.device.max_batch_tokens = Some(2048);
    options.device.max_batch_sequences = 1;
    options.device.threads = 1;
    let ((begin, begun), (gate, go_on)) = (mpsc::channel(), mpsc::channel());
    let report = move |batch: &PackedBatch| {
        let _ = begin.send(batch.sequences());
        let _ = go_on.recv();
        Ok(())
    };
    let wrap = |host| hooked(host, report);
    let engine = Engine::start_with_backend(model, &options, wrap).unwrap();
    Gated { engine, begun, gate }
}

fn request(words: usize) -> Request {
    let task = Task::Embed { pooling: None, normalize: true, dimensions: None, layer: None };
    Request::new(Input::Text("word ".repeat(words)), task, Truncate::No)
}

fn due(words: usize, time: Duration) -> Request {
    Request { deadline: Some(Instant::now() + time), ..request(words) }
}

fn of(share: u64, priority: Priority) -> Request {
    Request { flow: Flow { share, priority }, ..request(3) }
}

impl Gated {
    /// Submits a request that the device holds from then on.
    fn hold(&self) -> Pending {
        let held = self.engine.submit(request(1)).unwrap();
        assert_eq!(self.begun.recv(), Ok(1));
        held
    }

    /// Blocks until the requests that were submitted are tokenized: the one tokenizer refuses this after them.
    fn wait_tokenized(&self, share: u64) {
        let input = Input::Ids(vec![u32::MAX]);
        let flow = Flow { share, priority: Priority::Batch };
        let last = Request { input, flow, ..request(1) };
        let refused = self.engine.submit(last).unwrap().wait();
        assert!(matches!(refused, Err(RequestError::Invalid(_))), "{refused:?}");
    }
}

#[test]
fn a_deadline_that_passes_while_a_request_waits_is_answered_at_once_and_takes_no_device_time() {
    let gated = gated();
    let held = gated.hold();
    let late = gated.engine.submit(due(2, Duration::from_millis(50))).unwrap();
    let in_time = gated.engine.submit(due(3, Duration::from_secs(600))).unwrap();
    // The device is still held: nothing but the deadline can answer.
    assert!(matches!(late.wait(), Err(RequestError::DeadlinePassed)));
    assert_eq!(gated.engine.in_flight(), 2, "its slot is free");
    drop(gated.gate);
    held.wait().unwrap();
    in_time.wait().unwrap();
    assert_eq!(gated.engine.batches(), 2, "two requests ran");
}

#[test]
fn an_answer_that_is_ready_after_the_deadline_is_not_given() {
    let gated = gated();
    // On a busy machine a deadline may pass before the device has the request: then it gets more time.
    let begin = |time: Duration| {
        let running = gated.engine.submit(due(2, time)).ok()?;
        gated.begun.recv_timeout(time).ok().map(|_| (time, running))
    };
    let mut times = (0..10).map(|doubled| Duration::from_millis(10 << doubled));
    let (time, running) = times.find_map(begin).expect("it has the device before its deadline");
    // A later deadline has passed when this returns.
    let later = gated.engine.submit(due(1, time));
    assert!(matches!(
        later.and_then(Pending::wait),
        Err(RequestError::DeadlinePassed | RequestError::WaitTooLong { .. })
    ));
    drop(gated.gate);
    assert!(matches!(running.wait(), Err(RequestError::DeadlinePassed)));
}

#[test]
fn a_deadline_in_the_past_is_refused() {
    let gated = gated();
    let refused = gated.engine.submit(due(1, Duration::ZERO)).map(drop);
    assert_eq!(refused, Err(RequestError::DeadlinePassed));
    assert_eq!(gated.engine.in_flight(), 0);
}

#[test]
fn interactive_requests_run_before_batch_requests_that_came_earlier() {
    let gated = gated();
    let _held = gated.hold();
    let batch: Vec<Pending> =
        (0..3).map(|_| gated.engine.submit(of(1, Priority::Batch)).unwrap()).collect();
    let interactive = gated.engine.submit(of(1, Priority::Interactive)).unwrap();
    gated.wait_tokenized(1);
    let waiting = |priority| gated.engine.waiting(priority);
    assert_eq!((waiting(Priority::Interactive), waiting(Priority::Batch)), (1, 3));
    drop(gated.gate);
    let interactive = interactive.wait().unwrap().batch.id;
    let batch: Vec<u64> = batch.into_iter().map(|one| one.wait().unwrap().batch.id).collect();
    assert_eq!((interactive, batch), (1, vec![2, 3, 4]));
}

#[test]
fn a_client_with_many_requests_lets_that_of_another_pass() {
    let gated = gated();
    let _held = gated.hold();
    let submit = |share| gated.engine.submit(of(share, Priority::Interactive)).unwrap();
    let many: Vec<Pending> = (0..20).map(|_| submit(1)).collect();
    let few: Vec<Pending> = (0..2).map(|_| submit(2)).collect();
    gated.wait_tokenized(3);
    drop(gated.gate);
    let ids = |pending: Vec<Pending>| -> Vec<u64> {
        pending.into_iter().map(|one| one.wait().unwrap().batch.id).collect()
    };
    let few = ids(few);
    assert_eq!(few, [2, 4], "they take turns");
    let many = ids(many);
    assert!(many.is_sorted() && many[19] == 22, "{many:?}");
}

#[test]
fn without_clients_requests_run_in_order_of_arrival() {
    let gated = gated();
    let _held = gated.hold();
    let words = [9, 2, 7, 1, 30, 4];
    let pending = words.map(|words| gated.engine.submit(request(words)).unwrap());
    gated.wait_tokenized(3);
    drop(gated.gate);
    let ids = pending.map(|one| one.wait().unwrap().batch.id);
    assert_eq!(ids, [1, 2, 3, 4, 5, 6]);
}
