//! The device loop over backends that report, wait and fail.

use std::ops::Range;
use std::sync::mpsc;

use super::*;
use crate::backend::{ArenaUsage, Backend, Ceilings, Fetch, Op, View};
use crate::engine::{Engine, EngineOptions, Request};
use crate::model::{InitHead, RopeOverride, smallest};
use crate::task::{Answer, Task};
use crate::text::input::{Input, Truncate};

/// A host backend that reports the calls it gets, and may claim to be asynchronous. Its first `begin` waits for a
/// message.
struct ReportingBackend {
    host: Box<dyn Backend>,
    events: mpsc::Sender<&'static str>,
    go_on: Option<mpsc::Receiver<()>>,
    fail: bool,
    asynchronous: bool,
}

impl Backend for ReportingBackend {
    fn begin(&mut self, batch: &PackedBatch) -> Result<(), DeviceError> {
        self.events.send("begin").expect("the test listens");
        if let Some(go_on) = self.go_on.take() {
            go_on.recv().expect("the test sends");
        }
        self.host.begin(batch)
    }
    fn launch(&mut self, op: &Op) -> Result<(), DeviceError> {
        self.host.launch(op)
    }
    fn launch_rows(&mut self, op: &Op, rows: Range<usize>) -> Result<(), DeviceError> {
        self.host.launch_rows(op, rows)
    }
    fn fetch(&mut self, view: &View) -> Result<Fetch, DeviceError> {
        self.host.fetch(view)
    }
    fn collect(&mut self, fetch: Fetch) -> Result<Vec<f32>, DeviceError> {
        self.events.send("collect").expect("the test listens");
        if self.fail {
            return Err(DeviceError::Poisoned {
                device: "test".into(),
                call: "collect",
                reason: "planted".into(),
            });
        }
        self.host.collect(fetch)
    }
    fn is_asynchronous(&self) -> bool {
        self.asynchronous
    }
    fn write(&mut self, view: &View, rows: &[f32]) -> Result<(), DeviceError> {
        self.host.write(view, rows)
    }
    fn arena(&self) -> ArenaUsage {
        self.host.arena()
    }
    fn time(&mut self, ops: &[Op], repeats: usize) -> Result<Vec<f64>, DeviceError> {
        self.host.time(ops, repeats)
    }
    fn ceilings(&mut self) -> Result<Ceilings, DeviceError> {
        self.host.ceilings()
    }
}

fn model() -> Model {
    Model::load(&smallest(InitHead::MaskedLm), RopeOverride::Checkpoint).expect("loads")
}

fn request(words: usize) -> Request {
    let input = Input::Text("word ".repeat(words));
    let task = Task::Embed { pooling: None, normalize: true, dimensions: None, layer: None };
    Request::new(input, task, Truncate::No)
}

/// An engine for two sequences per batch, the calls its device gets, and the sender that lets its first
/// batch continue.
fn engine(fail: bool) -> (Engine, mpsc::Receiver<&'static str>, mpsc::Sender<()>) {
    engine_on(fail, true)
}

fn engine_on(
    fail: bool,
    asynchronous: bool,
) -> (Engine, mpsc::Receiver<&'static str>, mpsc::Sender<()>) {
    let mut options = EngineOptions { tokenizer_threads: 1, ..EngineOptions::default() };
    options.device.max_batch_sequences = 2;
    options.device.threads = 1;
    let model = model();
    let device = Device::start(&model, &options.device).expect("starts");
    let (events, seen) = mpsc::channel();
    let (leave, go_on) = mpsc::channel();
    let device = device.wrap_backend(|host| {
        let go_on = Some(go_on);
        Box::new(ReportingBackend { host, events, go_on, fail, asynchronous })
    });
    (Engine::spawn(device, model, &options).expect("starts"), seen, leave)
}

fn embedding(answer: Answer) -> Vec<f32> {
    match answer {
        Answer::Embedding(row) => row,
        other => panic!("{other:?}"),
    }
}

/// Submits six requests: the first is alone on the device, the others are tokenized when this returns.
fn submit(
    engine: &Engine,
    seen: &mpsc::Receiver<&'static str>,
    leave: &mpsc::Sender<()>,
) -> Vec<crate::engine::Pending> {
    let mut pending = vec![engine.submit(request(1)).expect("admitted")];
    assert_eq!(seen.recv(), Ok("begin"));
    pending.extend((2..=6).map(|words| engine.submit(request(words)).expect("admitted")));
    // The one tokenizer thread goes in order: when this one is refused, those before it are ready.
    let last = Request { input: Input::Ids(vec![u32::MAX]), ..request(1) };
    last_error(engine.submit(last).expect("admitted"));
    leave.send(()).expect("the device waits");
    pending
}

fn last_error(pending: crate::engine::Pending) -> RequestError {
    pending.wait().expect_err("refused")
}

#[test]
fn a_full_batch_starts_before_the_last_one_is_done_and_no_other_does() {
    let (engine, seen, leave) = engine(false);
    let answers: Vec<_> = submit(&engine, &seen, &leave)
        .into_iter()
        .map(|pending| embedding(pending.wait().expect("answered").answer))
        .collect();
    drop(engine);
    let order: Vec<_> = seen.into_iter().collect();
    // After the first: 2 and 3 ahead of it, 4 and 5 ahead of those; 6 is no full batch and waits.
    let expected = ["begin", "collect", "begin", "collect", "collect", "begin", "collect"];
    assert_eq!(order, expected);
    let alone = Engine::start(model(), &EngineOptions::default()).expect("starts");
    for (words, answer) in (1..).zip(answers) {
        let expected = alone.submit(request(words)).expect("admitted").wait().expect("answered");
        assert_eq!(answer, embedding(expected.answer), "{words} words");
    }
}

/// Waits until every request that was submitted before is tokenized: the one tokenizer thread goes in order, and
/// refuses this one.
fn tokenized(engine: &Engine) {
    let refused = Request { input: Input::Ids(vec![u32::MAX]), ..request(1) };
    last_error(engine.submit(refused).expect("admitted"));
}

#[test]
fn short_texts_pass_a_long_one_that_runs_and_one_too_long_to_pass_does_not() {
    let (engine, seen, leave) = engine_on(false, false);
    let long = engine.submit(request(1500)).expect("admitted");
    assert_eq!(seen.recv(), Ok("begin"));
    let short: Vec<_> =
        [400, 20, 30].map(|words| engine.submit(request(words)).expect("admitted")).into();
    tokenized(&engine);
    leave.send(()).expect("the device waits");
    let batch = |pending: crate::engine::Pending| pending.wait().expect("answered").batch;
    let (long, short) = (batch(long), short.into_iter().map(batch).collect::<Vec<_>>());
    drop(engine);
    assert_eq!((long.id, long.sequences), (0, 1));
    assert_eq!((short[1], short[1].id, short[1].sequences), (short[2], 1, 2), "they passed");
    assert_eq!((short[0].id, short[0].sequences), (2, 1), "a fourth of the work is not short");
    // Once the long one has begun: the short ones, the long one again, and then the one that is not short.
    let order: Vec<_> = seen.into_iter().collect();
    assert_eq!(order, ["begin", "collect", "begin", "collect", "begin", "collect"]);
}

#[test]
fn a_batch_that_nobody_waits_for_is_given_up() {
    let (engine, seen, leave) = engine_on(false, false);
    let long = engine.submit(request(1500)).expect("admitted");
    assert_eq!(seen.recv(), Ok("begin"));
    drop(long);
    leave.send(()).expect("the device waits");
    engine.submit(request(1)).expect("admitted").wait().expect("answered");
    drop(engine);
    // One that runs to its end is collected too.
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), ["begin", "collect"]);
}

#[test]
fn a_lost_device_answers_what_was_started_ahead() {
    let (engine, seen, leave) = engine(true);
    for pending in submit(&engine, &seen, &leave) {
        let error = last_error(pending);
        assert!(matches!(error, RequestError::DeviceLost(_) | RequestError::Stopped), "{error}");
    }
}

#[test]
fn a_thread_that_ends_early_leaves_nobody_waiting() {
    let (engine, seen, leave) = engine(false);
    engine.on_batch(|_| panic!("planted"));
    for pending in submit(&engine, &seen, &leave) {
        assert!(matches!(last_error(pending), RequestError::Stopped));
    }
    assert!(matches!(engine.submit(request(1)), Err(RequestError::Stopped)));
}
