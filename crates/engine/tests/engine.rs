//! Many callers and one engine: every request is answered exactly once, or refused at once.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use bigbatch_engine::{
    Answer, Engine, EngineOptions, Flow, Input, InputLength, Model, Overlong, Request,
    RequestError, Response, RopeOverride, Task, TaskKind, Truncate,
};

fn engine(task: TaskKind, options: EngineOptions) -> Engine {
    let checkpoint = bigbatch_models::checkpoint("random", task).unwrap();
    let model = Model::load(&checkpoint, RopeOverride::Checkpoint).unwrap();
    Engine::start(model, &options).unwrap()
}

fn small(max_concurrent_requests: usize) -> EngineOptions {
    let mut options = EngineOptions { max_concurrent_requests, ..EngineOptions::default() };
    options.device.max_batch_tokens = Some(2048);
    options
}

fn classify(text: &str) -> Request {
    let task = Task::Classify { raw_scores: true };
    Request::new(Input::Text(text.into()), task, Truncate::No)
}

fn scores(response: &Response) -> Vec<u32> {
    let Answer::Labels(labels) = &response.answer else { panic!("not labels") };
    labels.iter().map(|l| l.score.to_bits()).collect()
}

#[test]
fn a_hundred_callers_get_their_own_answers_in_shared_batches() {
    let engine = Arc::new(engine(TaskKind::Classify, small(512)));
    let text = |n: usize| format!("caller {n} says {}", "so ".repeat(n * 7 % 60));
    let alone: Vec<Vec<u32>> = (0..100)
        .map(|n| scores(&engine.submit(classify(&text(n))).unwrap().wait().unwrap()))
        .collect();
    let before = engine.batches();
    let callers: Vec<_> = (0..100)
        .map(|n| {
            let (engine, text) = (engine.clone(), text(n));
            thread::spawn(move || engine.submit(classify(&text)).unwrap().wait().unwrap())
        })
        .collect();
    for (caller, alone) in callers.into_iter().zip(&alone) {
        assert_eq!(&scores(&caller.join().unwrap()), alone);
    }
    assert!(engine.batches() - before < 100, "nothing shared a batch");
    assert_eq!(engine.in_flight(), 0);
}

#[test]
fn a_full_queue_refuses_at_once_and_recovers() {
    let engine = engine(TaskKind::Classify, small(3));
    let long = "word ".repeat(1500);
    let until_refused = || {
        let mut admitted = Vec::new();
        let refused = loop {
            match engine.submit(classify(&long)) {
                Ok(pending) => admitted.push(pending),
                Err(error) => break error,
            }
            assert!(admitted.len() < 1000, "it never refuses");
        };
        let RequestError::Overloaded { limit, wait } = refused else { panic!("{refused}") };
        assert_eq!(limit, 3);
        for pending in admitted {
            pending.wait().unwrap();
        }
        wait
    };
    // By the shortest batch the engine tells the constant part of the others' time.
    engine.probe().unwrap().wait().unwrap();
    let begin = Instant::now();
    until_refused();
    engine.submit(classify(&long)).unwrap().wait().unwrap();
    let longest = begin.elapsed();
    let wait = until_refused().expect("batches have run");
    assert!(wait > Duration::ZERO && wait < 3 * longest, "{wait:?} of {longest:?}");
}

#[test]
fn a_permit_replaces_the_limit_and_returns_when_its_request_has_left() {
    let engine = engine(TaskKind::Classify, small(1));
    let permit = Arc::new(());
    let submit = |text: &str| {
        let limit = Duration::from_secs(60);
        let length = InputLength::Bytes(text.len());
        let mut time = engine
            .reserve([length], Overlong::Truncate(Truncate::No), None, limit, Flow::default())
            .unwrap();
        engine.submit_reserved(classify(text), &mut time, permit.clone()).unwrap()
    };
    let pending: Vec<_> = ["one", "two", "three"].map(submit).into();
    let cancelled = submit(&"word ".repeat(1500));
    for pending in pending {
        pending.wait().unwrap();
    }
    drop(cancelled);
    // Whatever became of it: the engine has answered what came after.
    submit("last").wait().unwrap();
    while engine.in_flight() > 0 {
        thread::yield_now();
    }
    drop(engine);
    assert_eq!(Arc::strong_count(&permit), 1);
}

#[test]
fn callers_that_go_away_free_their_places() {
    let engine = engine(TaskKind::Classify, small(64));
    let long = "word ".repeat(1500);
    let pending: Vec<_> = (0..64).map(|_| engine.submit(classify(&long)).unwrap()).collect();
    drop(pending);
    // What was being tokenized or computed finishes; the rest is gone without having run.
    engine.submit(classify("still here")).map(|p| p.wait().unwrap()).unwrap_or_else(|error| {
        panic!("no place was freed: {error}");
    });
    assert!(engine.batches() < 64, "{} batches ran for cancelled requests", engine.batches());
}

#[test]
fn stopping_answers_what_was_admitted() {
    let engine = engine(TaskKind::Classify, small(64));
    let pending: Vec<_> = (0..40).map(|_| engine.submit(classify("one more")).unwrap()).collect();
    drop(engine);
    for pending in pending {
        assert_eq!(pending.wait().map(|response| response.is_truncated()), Ok(false));
    }
}

#[test]
fn bad_requests_are_refused_and_the_others_go_on() {
    let engine = engine(TaskKind::Embed, small(64));
    let embed = |input: Input| {
        let task = Task::Embed { pooling: None, normalize: true, dimensions: None, layer: None };
        Request::new(input, task, Truncate::No)
    };
    let refused = |request: Request| engine.submit(request).and_then(|p| p.wait()).unwrap_err();
    assert_eq!(refused(embed(Input::Text(String::new()))), RequestError::Empty);
    assert_eq!(refused(embed(Input::Ids(vec![]))), RequestError::Empty);
    assert!(matches!(refused(embed(Input::Ids(vec![4096]))), RequestError::Invalid(_)));
    assert!(matches!(
        refused(embed(Input::Text("word ".repeat(5000)))),
        RequestError::TooLong { limit: 2048, .. }
    ));
    assert!(matches!(refused(classify("text")), RequestError::WrongTask { .. }));
    let fill = |text: &str, top_k| {
        Request::new(Input::Text(text.into()), Task::FillMask { top_k }, Truncate::No)
    };
    assert!(matches!(refused(fill("no mask here", 5)), RequestError::Invalid(_)));
    assert!(matches!(refused(fill(&"[MASK]".repeat(65), 5)), RequestError::Invalid(_)));
    assert!(matches!(refused(fill("a [MASK]", 0)), RequestError::Invalid(_)));

    let cut = Request { truncate: Truncate::Right, ..embed(Input::Text("word ".repeat(5000))) };
    let response = engine.submit(cut).unwrap().wait().unwrap();
    assert_eq!((response.tokens, response.is_truncated()), (2048, true));
}
