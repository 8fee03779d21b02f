//! Single tokens: hidden states, scores, spans in the text, and the tokens that remain after truncation.

use std::sync::LazyLock;

use bigbatch_engine::{
    Answer, Engine, EngineOptions, Input, Model, Request, RequestError, Response, RopeOverride,
    Task, TaskKind, Tokenizer, Tokens, Truncate,
};
use proptest::prelude::*;

fn engine(task: TaskKind) -> Engine {
    let checkpoint = bigbatch_models::checkpoint("random", task).unwrap();
    let model = Model::load(&checkpoint, RopeOverride::Checkpoint).unwrap();
    let mut options = EngineOptions::default();
    options.device.max_batch_tokens = Some(1024);
    Engine::start(model, &options).unwrap()
}

fn run(engine: &Engine, text: &str, task: Task) -> Response {
    let request = Request::new(Input::Text(text.into()), task, Truncate::No);
    engine.submit(request).unwrap().wait().unwrap()
}

fn rows(response: Response) -> (Vec<f32>, usize) {
    let Answer::Rows { rows, width } = response.answer else { panic!("not rows") };
    (rows, width)
}

const EMBED: Task = Task::Embed { pooling: None, normalize: false, dimensions: None, layer: None };

#[test]
fn the_mean_of_all_hidden_states_is_the_embedding() {
    let engine = engine(TaskKind::Embed);
    let (rows, width) = rows(run(&engine, "Every token has a row.", Task::EmbedAll));
    let Answer::Embedding(expected) = run(&engine, "Every token has a row.", EMBED).answer else {
        panic!("no embedding")
    };
    assert_eq!(width, expected.len());
    let count = (rows.len() / width) as f32;
    for (column, expected) in expected.iter().enumerate() {
        let mean = rows.iter().skip(column).step_by(width).sum::<f32>() / count;
        assert!((mean - expected).abs() < 1e-5, "column {column}: {mean} and {expected}");
    }
}

/// Requests of each kind in one batch: rows must not be dealt to the wrong one.
#[test]
fn hidden_states_do_not_depend_on_the_batch() {
    let engine = engine(TaskKind::Embed);
    let text = |n: usize| format!("text {n} {}", "and more ".repeat(n * 5 % 7));
    let mask = engine.model().tokenizer.mask_token().unwrap();
    let task = |n: usize| match n % 4 {
        0 | 3 => (text(n), Task::EmbedAll),
        1 => (text(n), EMBED),
        _ => (format!("{} {mask}", text(n)), Task::FillMask { top_k: 2 }),
    };
    // The first ten begin and end with other tasks; they wait behind a long text, so they share a batch.
    let order = [1, 2, 3, 5, 4, 6, 0, 8, 9, 10];
    let alone: Vec<Answer> =
        order.iter().map(|&n| run(&engine, &task(n).0, task(n).1).answer).collect();
    let submit = |text: &str, task: Task| {
        let input = Input::Text(text.into());
        engine.submit(Request::new(input, task, Truncate::No)).unwrap()
    };
    let first = submit(&"word ".repeat(900), EMBED);
    let together: Vec<_> = order.iter().map(|&n| submit(&task(n).0, task(n).1)).collect();
    let together: Vec<_> = together.into_iter().map(|pending| pending.wait().unwrap()).collect();
    first.wait().unwrap();
    assert!(together.iter().any(|response| response.batch.sequences > 3), "no batch was shared");
    for (alone, together) in alone.iter().zip(together) {
        assert_eq!(*alone, together.answer);
    }
}

#[test]
fn a_tokens_best_score_is_its_label() {
    let engine = engine(TaskKind::Tag);
    let text = "Ada Lovelace was born in London.";
    let (scores, width) = rows(run(&engine, text, Task::TokenScores { raw_scores: false }));
    let Answer::Tags { token_labels, .. } = run(&engine, text, Task::Tag).answer else {
        panic!("no tags")
    };
    assert_eq!(scores.len(), token_labels.len() * width);
    for (scores, label) in scores.chunks(width).zip(token_labels) {
        assert_eq!(scores[label.id], label.score);
        assert!((scores.iter().sum::<f32>() - 1.0).abs() < 1e-6);
    }
}

#[test]
fn a_model_without_the_head_refuses() {
    let wrong = |kind, task: Task| {
        let input = Input::Text("a".into());
        let request = Request::new(input, task, Truncate::No);
        matches!(engine(kind).submit(request).err(), Some(RequestError::WrongTask { .. }))
    };
    assert!(wrong(TaskKind::Classify, Task::EmbedAll));
    assert!(wrong(TaskKind::Embed, Task::TokenScores { raw_scores: true }));
}

#[test]
fn a_cut_keeps_the_side_that_was_asked_for() {
    let engine = engine(TaskKind::Embed);
    let tokenizer = &engine.model().tokenizer;
    let input = Input::Text("one two three four five six seven eight nine ten".into());
    let whole = tokenizer.encode(&input, 1024, Truncate::No).unwrap();
    let (room, n) = (8 - tokenizer.frame_tokens(), whole.ids.len());
    let right = tokenizer.encode(&input, 8, Truncate::Right).unwrap();
    let left = tokenizer.encode(&input, 8, Truncate::Left).unwrap();
    assert!(right.is_truncated() && left.is_truncated() && !whole.is_truncated());
    assert_eq!(right.ids[1..=room], whole.ids[1..=room]);
    assert_eq!(left.ids[1..=room], whole.ids[n - 1 - room..n - 1]);
    assert_eq!(left.spans[1..=room], whole.spans[n - 1 - room..n - 1]);
    let ids = Input::Ids((1..=9).collect());
    assert_eq!(tokenizer.encode(&ids, 3, Truncate::Left).unwrap().ids, [7, 8, 9]);
    assert_eq!(tokenizer.encode(&ids, 3, Truncate::Right).unwrap().ids, [1, 2, 3]);
}

/// LettuceDetect's layout: the context is cut, and spans are those of the second text.
#[test]
fn of_a_text_in_context_the_context_is_cut() {
    let engine = engine(TaskKind::Tag);
    let tokenizer = &engine.model().tokenizer;
    let text = "h\u{e9}llo there";
    let own = tokenizer.encode_bare(text).unwrap();
    let context = "one two three four five six seven eight nine ten";
    let input = Input::InContext { context: context.into(), text: text.into() };
    let whole = tokenizer.encode(&input, 1024, Truncate::No).unwrap();
    let limit = own.ids.len() + 6;
    for (truncate, first) in [(Truncate::Right, whole.ids[1]), (Truncate::Left, 0)] {
        let cut = tokenizer.encode(&input, limit, truncate).unwrap();
        assert!(cut.is_truncated() && cut.ids.len() == limit);
        assert_eq!(
            (&cut.ids[cut.own.clone()], &cut.spans[cut.own.clone()]),
            (&own.ids[..], &own.spans[..])
        );
        assert_eq!(cut.own.end + 1, limit, "the last special token");
        assert_eq!(cut.ids[1] == whole.ids[1], first != 0, "the side that is cut");
    }
    let none = tokenizer.encode(&input, own.ids.len() + 3, Truncate::Right).unwrap_err();
    assert!(none.to_string().contains("shorten the second text"), "{none}");
}

#[test]
fn a_cut_to_a_number_of_tokens_keeps_that_many() {
    let engine = engine(TaskKind::Embed);
    let tokenizer = &engine.model().tokenizer;
    let text = "one two three four five six seven eight nine ten".to_owned();
    let encode =
        |input: &Input, truncate| tokenizer.encode(input, 1024, truncate).map(|tokens| tokens.ids);
    let whole = encode(&Input::Text(text.clone()), Truncate::No).unwrap();
    let n = whole.len();
    for tokens in 3..n {
        let right = encode(&Input::Text(text.clone()), Truncate::RightTo(tokens)).unwrap();
        let left = encode(&Input::Text(text.clone()), Truncate::LeftTo(tokens)).unwrap();
        assert_eq!(right, [&whole[..tokens - 1], &whole[n - 1..]].concat());
        assert_eq!(left, [&whole[..1], &whole[n + 1 - tokens..]].concat());
        let pair = Input::Pair(text.as_str().into(), text.clone());
        let pair = tokenizer.encode(&pair, 1024, Truncate::RightTo(tokens + 2)).unwrap();
        assert_eq!((pair.ids.len(), pair.is_truncated()), (tokens + 2, true));
    }
    // Not more than the engine's own limit, and nothing is cut that fits.
    let over = tokenizer.encode(&Input::Text(text.clone()), 5, Truncate::RightTo(7)).unwrap();
    assert_eq!((over.ids.len(), over.is_truncated()), (5, true));
    let fits = tokenizer.encode(&Input::Text(text.clone()), 1024, Truncate::RightTo(n)).unwrap();
    assert!(!fits.is_truncated());
    assert_eq!(fits.ids, whole);
    let ids = Input::Ids((1..=9).collect());
    assert_eq!(encode(&ids, Truncate::RightTo(2)).unwrap(), [1, 2]);
    assert_eq!(encode(&ids, Truncate::LeftTo(2)).unwrap(), [8, 9]);
    // The special tokens alone are no input.
    assert!(encode(&Input::Text(text), Truncate::RightTo(2)).is_err());
}

#[test]
fn a_bare_text_has_no_special_tokens() {
    let engine = engine(TaskKind::Embed);
    let tokenizer = &engine.model().tokenizer;
    let text = "one two three four".to_owned();
    let whole = tokenizer.encode(&Input::Text(text.clone()), 64, Truncate::No).unwrap();
    let bare = Input::Bare(text);
    let read = tokenizer.encode(&bare, 64, Truncate::No).unwrap();
    assert_eq!(read.ids, whole.ids[1..whole.ids.len() - 1]);
    assert_eq!(read.spans, whole.spans[1..whole.ids.len() - 1]);
    let cut = tokenizer.encode(&bare, 64, Truncate::LeftTo(1)).unwrap();
    assert_eq!((&cut.ids[..], cut.is_truncated()), (&read.ids[read.ids.len() - 1..], true));
    assert_eq!(
        tokenizer.encode(&bare, 1, Truncate::No),
        Err(RequestError::TooLong { tokens: read.ids.len(), at_least: false, limit: 1 })
    );
    assert_eq!(
        tokenizer.encode(&Input::Bare(String::new()), 64, Truncate::No),
        Err(RequestError::Empty)
    );
}

#[test]
fn decoding_leaves_special_tokens_out_on_request() {
    let engine = engine(TaskKind::Embed);
    let tokenizer = &engine.model().tokenizer;
    let text = "h\u{e9}llo there";
    let tokens = tokenizer.tokens(text, true).unwrap();
    let pieces: Vec<_> = tokenizer.pieces(text, &tokens).collect();
    let ids = tokens.ids.clone();
    assert_eq!(tokenizer.decode_all(&ids, true).unwrap(), "h\u{e9}llo there");
    let whole = tokenizer.decode_all(&ids, false).unwrap();
    assert!(whole.starts_with(&*pieces[0].text) && pieces[0].special, "{whole}");
    assert!(tokenizer.decode_all(&[u32::MAX], true).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Bare tokens with the special tokens around them equal the encoding of the whole text, and tokens stand for
/// their characters.
    #[test]
    fn a_frame_around_all_tokens_is_the_whole_text(text in "[ a-zA-Z0-9.\u{e9}\u{4e2d}\u{1f600}]{1,80}") {
        static TOKENIZER: LazyLock<Tokenizer> = LazyLock::new(|| {
            Tokenizer::open(&bigbatch_models::checkpoint("random", TaskKind::Embed).unwrap()).unwrap()
        });
        let tokenizer = &*TOKENIZER;
        let whole = tokenizer.encode(&Input::Text(text.clone()), 4096, Truncate::No).unwrap();
        let bare = tokenizer.encode_bare(&text).unwrap();
        prop_assert_eq!(&tokenizer.wrap(&bare, 0..bare.ids.len()), &whole);
        prop_assert_eq!(tokenizer.tokens(&text, true).unwrap(), whole);
        let part: Tokens = tokenizer.wrap(&bare, 0..0);
        prop_assert_eq!(part.ids.len(), tokenizer.frame_tokens());
    }
}
