//! Each batch is logged before the device starts it and when it has ended.

use std::fmt::{Debug, Write};
use std::path::Path;
use std::sync::Mutex;

use bigbatch_engine::{
    Checkpoint, Engine, EngineOptions, Input, Model, Request, RopeOverride, Task, Truncate,
};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// One line per event of the engine.
static LINES: Mutex<Vec<String>> = Mutex::new(Vec::new());

struct Lines;

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        match field.name() {
            "device_ms" => self.0.push_str(" device_ms"),
            name => write!(self.0, " {name}={value:?}").expect("a string takes all"),
        }
    }
}

impl Subscriber for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("bigbatch_engine")
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, event: &Event<'_>) {
        let mut line = Line(String::new());
        event.record(&mut line);
        LINES.lock().expect("no panic").push(line.0.trim().to_owned());
    }
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

#[test]
fn a_batch_is_logged_when_it_starts_and_when_it_is_done() {
    tracing::subscriber::set_global_default(Lines).expect("the only test of this binary");
    let golden = Path::new("tests/goldens/seqcls-mean-softmax-legacy");
    let model = Model::load(&Checkpoint::directory(golden), RopeOverride::Checkpoint).unwrap();
    let engine = Engine::start(model, &EngineOptions::default()).unwrap();
    let (input, task) = (Input::Ids(vec![1, 2, 3]), Task::Classify { raw_scores: false });
    for _ in 0..2 {
        let request = Request::new(input.clone(), task.clone(), Truncate::No);
        engine.submit(request).unwrap().wait().unwrap();
    }
    let event = |batch: usize, message: &str, end: &str| {
        format!("message={message} batch={batch} sequences=1 tokens=3{end}")
    };
    let expected = [0, 1]
        .map(|batch| [event(batch, "batch started", ""), event(batch, "batch done", " device_ms")]);
    assert_eq!(*LINES.lock().unwrap(), expected.as_flattened());
}
