//! Windows over long texts: every token is read and belongs to one window, and the answers merge into one text's.

use std::ops::Range;
use std::sync::LazyLock;

use bigbatch_engine::{
    Answer, Chunking, Chunks, Engine, EngineOptions, Input, LabelScore, Merge, Model, Request,
    RopeOverride, Task, TaskKind, Tokenizer, Truncate, shares, windows,
};
use proptest::prelude::*;

/// Its labels are O, B-RANDOM and I-RANDOM.
fn model() -> &'static Model {
    static MODEL: LazyLock<Model> = LazyLock::new(|| {
        let checkpoint = bigbatch_models::checkpoint("random", TaskKind::Tag).unwrap();
        Model::load(&checkpoint, RopeOverride::Checkpoint).unwrap()
    });
    &MODEL
}

fn tokenizer() -> &'static Tokenizer {
    &model().tokenizer
}

fn chunking(size: usize, overlap: usize, merge: Merge) -> Chunking {
    Chunking { size: Some(size), overlap, merge }
}

/// Windows of 6 tokens and 2 special ones over 14 tokens, two shared.
fn three_windows(merge: Merge) -> Chunks {
    let text = "a b c d e f g h i j k l m".to_owned();
    let chunks = Chunks::split(tokenizer(), text, chunking(8, 2, merge), 100).unwrap();
    assert_eq!((chunks.count(), chunks.tokens()), (3, 16));
    chunks
}

fn labels(scores: [f32; 2]) -> Answer {
    let label = |id: usize| LabelScore { id, label: format!("L{id}"), score: scores[id] };
    let mut labels = vec![label(0), label(1)];
    labels.sort_by(|a, b| b.score.total_cmp(&a.score));
    Answer::Labels(labels)
}

#[test]
fn probabilities_are_averaged_or_the_highest_taken() {
    let windows = || vec![labels([0.9, 0.1]), labels([0.2, 0.8]), labels([0.1, 0.9])];
    let task = Task::Classify { raw_scores: false };
    let merged = |merge| three_windows(merge).merge(model(), &task, windows());
    assert_eq!(merged(Merge::Mean), labels([0.4, 0.6]));
    assert_eq!(merged(Merge::Max), labels([0.9, 0.9]));
}

#[test]
fn vectors_count_by_their_tokens_and_are_cut_and_scaled_at_the_end() {
    let text = "a b c d e f g h".to_owned();
    let chunks = Chunks::split(tokenizer(), text, chunking(8, 0, Merge::Mean), 100).unwrap();
    let windows =
        || vec![Answer::Embedding(vec![1.0, 0.0, 6.0]), Answer::Embedding(vec![4.0, 0.0, 0.0])];
    let embed =
        |normalize, dimensions| Task::Embed { pooling: None, normalize, dimensions, layer: None };
    // 8 tokens and 4.
    assert_eq!(
        chunks.merge(model(), &embed(false, None), windows()),
        Answer::Embedding(vec![2.0, 0.0, 4.0])
    );
    assert_eq!(
        chunks.merge(model(), &embed(true, Some(2)), windows()),
        Answer::Embedding(vec![1.0, 0.0])
    );
}

#[test]
fn sizes_that_cannot_be_honoured_are_refused() {
    let split = |size, overlap| {
        Chunks::split(tokenizer(), "text".into(), chunking(size, overlap, Merge::Mean), 64)
            .err()
            .map(|error| error.to_string())
    };
    assert_eq!(split(64, 61), None);
    assert!(split(65, 0).unwrap().contains("the limit is 64"));
    assert!(split(64, 62).unwrap().contains("it must be at least 65"));
    assert!(split(2, 0).is_some() && split(0, 0).is_some());
}

#[test]
fn a_command_line_says_all_of_it() {
    assert_eq!("512,64,max".parse(), Ok(chunking(512, 64, Merge::Max)));
    assert_eq!("512".parse(), Ok(chunking(512, 0, Merge::Mean)));
    assert_eq!("".parse(), Ok(Chunking::default()));
    assert_eq!(",16".parse(), Ok(Chunking { overlap: 16, ..Chunking::default() }));
    for bad in ["x", "1,x", "1,2,median", "1,2,max,3", "-1"] {
        assert!(bad.parse::<Chunking>().is_err(), "{bad}");
    }
}

/// One window is the text itself, bit for bit; windows of a real engine have places in the whole text.
#[test]
fn an_engine_reads_windows_as_it_reads_texts() {
    for kind in [TaskKind::Tag, TaskKind::Embed, TaskKind::Classify] {
        let checkpoint = bigbatch_models::checkpoint("random", kind).unwrap();
        let model = Model::load(&checkpoint, RopeOverride::Checkpoint).unwrap();
        let engine = Engine::start(model, &EngineOptions::default()).unwrap();
        let task = match kind {
            TaskKind::Tag => Task::Tag,
            TaskKind::Embed => {
                Task::Embed { pooling: None, normalize: true, dimensions: Some(16), layer: None }
            }
            _ => Task::Classify { raw_scores: false },
        };
        let run = |input: Input, task: &Task| {
            let request = Request::new(input, task.clone(), Truncate::No);
            engine.submit(request).unwrap().wait().unwrap().answer
        };
        assert!(Chunks::task(engine.model(), &Task::FillMask { top_k: 1 }).is_err());
        let text = "It rained in \u{c5}rhus, \u{1f327} and nobody minded. ".repeat(4);
        let whole = run(Input::Text(text.clone()), &task);
        for (size, count) in [(4096, 1), (24, 5)] {
            let how = chunking(size, 8, Merge::Mean);
            let chunks =
                Chunks::split(&engine.model().tokenizer, text.clone(), how, engine.max_tokens())
                    .unwrap();
            assert!(chunks.count() >= count, "{}", chunks.count());
            let each = Chunks::task(engine.model(), &task).unwrap();
            let answers = chunks.inputs().map(|input| run(input, &each)).collect();
            let merged = chunks.merge(engine.model(), &task, answers);
            match &merged {
                _ if count == 1 => assert_eq!(merged, whole),
                Answer::Tags { entities, token_labels } => {
                    assert_eq!(token_labels.len(), chunks.tokens());
                    assert!(!entities.is_empty());
                    for entity in entities {
                        let span: String =
                            text.chars().skip(entity.span.start).take(entity.span.len()).collect();
                        assert_eq!(entity.text, span);
                    }
                }
                Answer::Embedding(vector) => assert_eq!(vector.len(), 16),
                _ => {}
            }
        }
    }
}

proptest! {
    #[test]
    fn windows_cover_every_token_and_overlap_as_asked(
        tokens in 0usize..2000, room in 1usize..300, part in 0.0f64..1.0,
    ) {
        let overlap = ((room as f64 * part) as usize).min(room - 1);
        let windows = windows(tokens, room, overlap);
        prop_assert_eq!((windows[0].start, windows[windows.len() - 1].end), (0, tokens));
        for pair in windows.windows(2) {
            prop_assert_eq!(pair[0].len(), room);
            prop_assert_eq!(pair[0].end - pair[1].start, overlap);
            prop_assert!(pair[1].end > pair[0].end, "the last one adds nothing");
        }
        prop_assert!(windows[windows.len() - 1].len() <= room);
        let shares = shares(&windows);
        let all: Vec<usize> = shares.iter().cloned().flatten().collect();
        prop_assert_eq!(all, (0..tokens).collect::<Vec<_>>(), "each token once");
        for (share, window) in shares.iter().zip(&windows) {
            prop_assert!(window.start <= share.start && share.end <= window.end);
        }
    }

    /// The window that gives a token the most context on its shorter side; the earlier of two that are alike.
    #[test]
    fn a_token_belongs_to_the_window_in_which_it_lies_deepest(
        tokens in 1usize..200, room in 1usize..40, part in 0.0f64..1.0,
    ) {
        let overlap = ((room as f64 * part) as usize).min(room - 1);
        let windows = windows(tokens, room, overlap);
        let shares = shares(&windows);
        for token in 0..tokens {
            let depth = |window: &Range<usize>| (token - window.start).min(window.end - 1 - token);
            let mut deepest: Option<(usize, usize)> = None;
            for (n, window) in windows.iter().enumerate().filter(|(_, w)| w.contains(&token)) {
                if deepest.is_none_or(|(_, most)| depth(window) > most) {
                    deepest = Some((n, depth(window)));
                }
            }
            let share = shares.iter().position(|share| share.contains(&token));
            prop_assert_eq!(share, deepest.map(|(n, _)| n), "token {} of {:?}", token, windows);
        }
    }

    /// Where a token's label depends on the token alone, windows give what the whole text gives: no
    /// entity twice, none cut in two, wherever the windows end.
    #[test]
    fn tags_in_windows_are_the_tags_of_the_text(
        text in "[ab\u{e9}\u{4e2d} ]{1,120}", size in 3usize..24, overlap in 0usize..20,
    ) {
        let tokenizer = tokenizer();
        let overlap = overlap.min(size - tokenizer.frame_tokens() - 1);
        let label = |id: u32, span: &Range<usize>| {
            let label = if span.is_empty() { 0 } else { id as usize % 3 };
            let score = (id % 7) as f32 / 8.0;
            LabelScore { id: label, label: model().labels[label].clone(), score }
        };
        let answer = |input: &Input| {
            let Input::Tokens(_, tokens) = input else { panic!("windows are tokens") };
            let labels = tokens.ids.iter().zip(&tokens.spans).map(|(&id, span)| label(id, span));
            Answer::Tags { entities: Vec::new(), token_labels: labels.collect() }
        };
        let merged = |size, overlap| {
            let how = chunking(size, overlap, Merge::Mean);
            let chunks = Chunks::split(tokenizer, text.clone(), how, 4096).unwrap();
            let answers = chunks.inputs().map(|input| answer(&input)).collect();
            chunks.merge(model(), &Task::Tag, answers)
        };
        prop_assert_eq!(merged(size, overlap), merged(4096, 0));
    }
}
