//! Any number of texts: answers in their order, a bounded number in flight, errors in their place.

use std::cell::Cell;

use bigbatch_engine::{
    Aggregation, Answer, Chunking, Engine, EngineOptions, Input, Model, Overlong, Request,
    RequestError, RopeOverride, Task, TaskKind, TextTask, Truncate,
};
use serde_json::json;

fn engine(task: TaskKind, max_concurrent_requests: usize) -> Engine {
    let checkpoint = bigbatch_models::checkpoint("random", task).unwrap();
    let model = Model::load(&checkpoint, RopeOverride::Checkpoint).unwrap();
    let mut options = EngineOptions { max_concurrent_requests, ..EngineOptions::default() };
    options.device.max_batch_tokens = Some(512);
    Engine::start(model, &options).unwrap()
}

#[test]
fn windows_have_the_prompt_of_texts_that_are_read_whole() {
    let read = |kind, task: &Task, has_prompt: bool, overlong| {
        let checkpoint = bigbatch_models::checkpoint("random", kind).unwrap();
        let mut model = Model::load(&checkpoint, RopeOverride::Checkpoint).unwrap();
        if has_prompt {
            let prompts = json!({"prompts": {"a": "a prompt: "}, "default_prompt_name": "a"});
            model.prompts = serde_json::from_value(prompts).unwrap();
        }
        let engine = Engine::start(model, &EngineOptions::default()).unwrap();
        let task = TextTask { overlong, ..task.clone().into() };
        let texts = [Ok::<_, ()>(((), "Ada met Bob in Paris.".to_owned()))];
        let mut answers = engine.answer_all(task, texts).unwrap();
        answers.next().unwrap().unwrap().1.unwrap().tokens
    };
    let aggregate =
        Task::Aggregate { strategy: Aggregation::Simple, ignore_labels: vec!["O".into()] };
    for (kind, task, reads_prompt) in [
        (TaskKind::Classify, Task::Classify { raw_scores: false }, true),
        (TaskKind::Embed, EMBED, true),
        (TaskKind::Tag, Task::Tag, false),
        (TaskKind::Tag, aggregate, false),
    ] {
        let whole = || Overlong::Truncate(Truncate::No);
        let tokens = read(kind, &task, true, whole());
        assert_eq!(tokens > read(kind, &task, false, whole()), reads_prompt, "{task:?}");
        let windows = Overlong::Chunk(Chunking::default());
        assert_eq!(tokens, read(kind, &task, true, windows), "{task:?}");
    }
}

const EMBED: Task = Task::Embed { pooling: None, normalize: true, dimensions: None, layer: None };

fn text(n: usize) -> String {
    format!("text {n} says {}", "so ".repeat(n * 7 % 40))
}

fn alone(engine: &Engine, text: String) -> Answer {
    let request = Request::new(Input::Text(text), EMBED, Truncate::No);
    engine.submit(request).unwrap().wait().unwrap().answer
}

#[test]
fn answers_have_the_order_keys_and_errors_of_their_texts() {
    let engine = engine(TaskKind::Embed, 512);
    let texts = (0..1000).map(|n| match n {
        _ if n % 50 == 20 => Err(n),
        _ if n % 50 == 30 => Ok((n, String::new())),
        _ if n % 50 == 40 => Ok((n, "so ".repeat(600))),
        _ => Ok((n, text(n))),
    });
    let mut count = 0;
    for (n, answer) in engine.answer_all(EMBED.into(), texts).unwrap().enumerate() {
        count += 1;
        match answer {
            Err(key) => assert!(key == n && n % 50 == 20, "{key} at {n}"),
            Ok((key, Err(RequestError::Empty))) => {
                assert!(key == n && n % 50 == 30, "{key} at {n}")
            }
            Ok((key, Err(RequestError::TooLong { .. }))) => assert!(key == n && n % 50 == 40),
            Ok((key, Err(error))) => panic!("{key} at {n}: {error}"),
            Ok((key, Ok(found))) => {
                assert_eq!(key, n);
                if n % 97 == 0 {
                    assert_eq!(found.answer, alone(&engine, text(n)), "{n} got another answer");
                }
            }
        }
    }
    assert_eq!((count, engine.in_flight()), (1000, 0));
}

#[test]
fn texts_are_read_as_they_are_needed_whatever_else_is_in_flight() {
    let engine = engine(TaskKind::Embed, 8);
    let others: Vec<_> = (0..8)
        .map(|n| {
            let input = Input::Text(text(n));
            engine.submit(Request::new(input, EMBED, Truncate::No)).unwrap()
        })
        .collect();
    let read = Cell::new(0);
    let texts = (0..200).map(|n| {
        read.set(n + 1);
        text(n)
    });
    for (n, vector) in engine.embed_all(texts).unwrap().enumerate() {
        vector.unwrap();
        assert!(read.get() <= n + 4, "{} were read when {n} was answered", read.get());
        assert!(engine.in_flight() <= 8 + 4, "{} in flight", engine.in_flight());
    }
    assert_eq!(read.get(), 200);
    others.into_iter().for_each(|other| drop(other.wait().unwrap()));
}

#[test]
fn long_texts_are_read_fewer_at_a_time() {
    let engine = engine(TaskKind::Embed, 512);
    let long = "so ".repeat(500_000);
    let read = Cell::new(0);
    let texts = (0..20).map(|n| {
        read.set(n + 1);
        Ok::<_, ()>((n, long.clone()))
    });
    let overlong = Overlong::Truncate(Truncate::Right);
    let task = TextTask { overlong, ..EMBED.into() };
    for answer in engine.answer_all(task, texts).unwrap() {
        let (n, answer) = answer.unwrap();
        assert!(answer.unwrap().truncated);
        assert!(
            read.get() <= n + 3,
            "{} texts of 1.5 MB were read when {n} was answered",
            read.get()
        );
    }
}

#[test]
fn large_keys_and_errors_are_read_fewer_at_a_time() {
    let engine = engine(TaskKind::Embed, 512);
    let read = Cell::new(0);
    let texts = (0..20).map(|n| {
        read.set(n + 1);
        if n % 2 == 0 { Ok((n, text(n))) } else { Err(n) }
    });
    let answers = engine.answer_all(EMBED.into(), texts).unwrap();
    for (n, answer) in answers.with_held_bytes(|_| 3 << 20).enumerate() {
        assert_eq!(answer.map_or_else(|n| n, |(n, _)| n), n);
        assert!(read.get() <= n + 2, "{} were read when {n} was answered", read.get());
    }
    assert_eq!(read.get(), 20);
}

#[test]
fn a_text_may_have_more_windows_than_may_be_in_flight() {
    let engine = engine(TaskKind::Classify, 4);
    let chunking = Chunking { size: Some(10), ..Chunking::default() };
    let task = Task::Classify { raw_scores: false };
    let task = TextTask { overlong: Overlong::Chunk(chunking), ..task.into() };
    let texts = [100, 1, 50].map(|words| Ok::<_, ()>((words, "so ".repeat(words))));
    let found: Vec<_> = engine.answer_all(task, texts).unwrap().map(Result::unwrap).collect();
    let chunks = found.into_iter().map(|(words, answer)| (words, answer.unwrap().chunks.unwrap()));
    let chunks: Vec<(usize, usize)> = chunks.collect();
    assert!(chunks[0].1 >= 12 && chunks[1].1 == 1 && chunks[2].1 >= 6, "{chunks:?}");
    assert_eq!(engine.in_flight(), 0);
}

#[test]
fn what_no_text_could_be_answered_with_is_an_error_before_any_is_read() {
    let engine = engine(TaskKind::Classify, 8);
    let unread = || (0..3).map(|_| -> Result<((), String), ()> { panic!("a text was read") });
    let classify = Task::Classify { raw_scores: false };
    let chunk = |size| Overlong::Chunk(Chunking { size: Some(size), ..Chunking::default() });
    let pair = |overlong, first: &str| TextTask {
        overlong,
        context: Some(first.into()),
        ..classify.clone().into()
    };
    for task in [
        Task::Tag.into(),
        TextTask { overlong: chunk(100_000), ..classify.clone().into() },
        TextTask { overlong: chunk(2), ..classify.clone().into() },
        pair(chunk(16), "a query"),
        pair(Overlong::Truncate(Truncate::No), ""),
    ] {
        let refused = engine.answer_all(task.clone(), unread()).err();
        let expected =
            matches!(refused, Some(RequestError::WrongTask { .. } | RequestError::Invalid(_)));
        assert!(expected, "{task:?}: {refused:?}");
    }
    assert!(matches!(engine.tag_all([""; 0]).err(), Some(RequestError::WrongTask { .. })));
}

#[test]
fn each_task_has_its_own_answers() {
    let texts = ["Ada met Bob in [MASK].", "one [MASK]"];
    let classes = engine(TaskKind::Classify, 8);
    let labels: Vec<_> = classes.classify_all(texts).unwrap().map(Result::unwrap).collect();
    assert!(labels.len() == 2 && labels[0][0].score >= labels[0][1].score);
    let tags = engine(TaskKind::Tag, 8);
    assert_eq!(tags.tag_all(texts).unwrap().map(Result::unwrap).count(), 2);
    let masks = engine(TaskKind::FillMask, 8);
    let masks: Vec<_> = masks.fill_mask_all(3, texts).unwrap().map(Result::unwrap).collect();
    assert_eq!(masks.iter().map(|m| (m.len(), m[0].len())).collect::<Vec<_>>(), [(1, 3), (1, 3)]);
}
