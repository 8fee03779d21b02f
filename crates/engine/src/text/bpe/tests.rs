//! The encoder against the library, over kinds of tokenizers and generated texts.

use std::borrow::Cow;
use std::time::{Duration, Instant};

use fastrand::Rng;
use serde_json::{Value, json};

use super::*;
use crate::checkpoint::Checkpoint;
use crate::text::input::{Input, Truncate};
use crate::text::tokenize::Tokenizer;

/// Generated texts per tokenizer.
const TEXTS: usize = 20_000;

const RANDOM: &str = include_str!("../../../../models/random/tokenizer.json");
const EMBED: &str = include_str!("../../../../models/embed/tokenizer.json");
const BYTES: &str = include_str!("../../../tests/sentence_transformers_goldens/tokenizer.json");

/// Reads one of the repository's tokenizers with some of its parts replaced.
fn changed(json: &str, change: impl FnOnce(&mut Value)) -> Value {
    let mut tokenizer: Value = serde_json::from_str(json).expect("valid");
    change(&mut tokenizer);
    tokenizer
}

/// Added tokens of every kind with ids from `first`: in one another, of spaces, with flags.
fn added(first: usize) -> Value {
    let kinds: [(&str, &[&str]); 14] = [
        ("[MASK]", &["lstrip", "special"]),
        ("<sep>", &["rstrip", "special"]),
        ("<sep><sep>", &[]),
        ("the", &["single_word"]),
        ("Big Batch", &["normalized"]),
        ("Batch", &["normalized", "single_word"]),
        ("  ", &["normalized"]),
        ("     ", &["normalized"]),
        ("one", &["rstrip", "lstrip", "normalized"]),
        ("\u{e9}t", &["normalized"]),
        ("\u{4e2d}", &["single_word", "normalized"]),
        ("'s", &["single_word"]),
        ("~", &["normalized"]),
        ("\n\n", &["lstrip"]),
    ];
    let token = |(at, (content, flags)): (usize, (&str, &[&str]))| {
        let flag = |name| flags.contains(&name);
        json!({"id": first + at, "content": content, "single_word": flag("single_word"), "lstrip": flag("lstrip"),
            "rstrip": flag("rstrip"), "normalized": flag("normalized"), "special": flag("special")})
    };
    kinds.into_iter().enumerate().map(token).collect()
}

/// The kinds that are taken. `BIGBATCH_MODERNBERT_TOKENIZER` adds ModernBERT's own, as for `gold_tokens.rs`.
fn kinds() -> Vec<(&'static str, Value)> {
    let ignore = |tokenizer: &mut Value| tokenizer["model"]["ignore_merges"] = json!(true);
    let mut kinds = vec![
        ("GPT-2's words, NFC", changed(RANDOM, |_| {})),
        ("words of this project", changed(EMBED, |_| {})),
        ("hardly any merges", changed(BYTES, |_| {})),
        ("added tokens", changed(RANDOM, |tokenizer| tokenizer["added_tokens"] = added(4096))),
        (
            "added tokens, words of this project, merges ignored",
            changed(EMBED, |tokenizer| {
                tokenizer["added_tokens"] = added(4096);
                ignore(tokenizer);
            }),
        ),
        (
            "merges of which some are gone",
            changed(RANDOM, |tokenizer| {
                let merges = tokenizer["model"]["merges"].as_array_mut().expect("a list");
                let mut random = Rng::with_seed(3);
                random.shuffle(merges);
                merges.truncate(merges.len() * 2 / 3);
            }),
        ),
    ];
    if let Ok(folder) = std::env::var("BIGBATCH_MODERNBERT_TOKENIZER") {
        let json = std::fs::read(format!("{folder}/tokenizer.json")).expect("it is there");
        kinds.push(("ModernBERT", serde_json::from_slice(&json).expect("valid")));
    }
    kinds
}

fn library(json: &Value) -> tokenizers::Tokenizer {
    tokenizers::Tokenizer::from_bytes(json.to_string()).expect("valid")
}

fn open(json: &Value) -> Tokenizer {
    let file = ("tokenizer.json".into(), Cow::Owned(json.to_string().into_bytes()));
    Tokenizer::open(&Checkpoint::memory("a test", vec![file])).expect("valid")
}

/// Parts of texts: added tokens, their halves, endings, white space and joined characters.
const PARTS: [&str; 36] = [
    "[MASK]",
    "<sep>",
    "<sep",
    "[MASK",
    "Big Batch",
    "Big ",
    "Batch",
    "the",
    "one",
    "~",
    "'s",
    "'ll",
    "'re",
    "'",
    "'S",
    "'\u{17f}",
    "[CLS]",
    "|||",
    "<|padding|>",
    "\r\n",
    "\n",
    "\n\n",
    "\t",
    " ",
    "  ",
    "     ",
    "\u{a0}",
    "\u{85}",
    "\u{2028}",
    "\u{3000}",
    "\u{200b}",
    "\u{feff}",
    "\u{1f468}\u{200d}\u{1f469}",
    "\u{1f1e9}\u{1f1ea}",
    "\u{1f44d}\u{1f3fd}",
    "\u{e9}t",
];

const WORDS: [&str; 12] = [
    " the",
    " of",
    " Whale",
    "ship",
    " internationalization",
    "Ishmael",
    " 2024",
    " a",
    "don't",
    " I",
    ".",
    ", ",
];

/// Returns a text of parts that encoders differ on.
fn text(random: &mut Rng) -> String {
    let mut text = String::new();
    for _ in 0..random.usize(1..12) {
        let times = if random.u8(..20) == 0 { random.usize(1..80) } else { random.usize(1..4) };
        match random.u8(..12) {
            0..3 => {
                (0..times).for_each(|_| text.push_str(PARTS[random.usize(..PARTS.len())]));
            }
            3..6 => {
                (0..times).for_each(|_| text.push_str(WORDS[random.usize(..WORDS.len())]));
            }
            6 => text.extend((0..times).map(|_| random.char('a'..='z'))),
            7 => text.extend((0..times).map(|_| random.char(' '..='~'))),
            8 => text.extend(std::iter::repeat_n(random.char(' '..='\u{17f}'), times)),
            // Letters, marks and digits of many scripts, CJK, Hangul; all others are rare.
            9 => text.extend((0..times).map(|_| random.char('\u{80}'..='\u{1fff}'))),
            10 => text.extend((0..times).map(|_| random.char('\u{2000}'..='\u{d7ff}'))),
            _ => text.extend((0..times).map(|_| random.char(..))),
        }
    }
    text
}

#[test]
fn tokens_and_spans_are_the_librarys() {
    for (name, json) in kinds() {
        let library = library(&json);
        let bpe = Bpe::of(&library).unwrap_or_else(|| panic!("{name} is taken"));
        let mut random = Rng::with_seed(1);
        let mut taken = 0;
        for _ in 0..TEXTS {
            let text = text(&mut random);
            let Some(encoded) = bpe.encode(&text, 0) else { continue };
            taken += 1;
            let expected = library.encode_char_offsets(text.as_str(), false).expect("valid");
            let expected = Encoded::new(&expected, false);
            let (ours, theirs) = ((encoded.ids, encoded.spans), (expected.ids, expected.spans));
            assert_eq!(ours, theirs, "{name}: {text:?}");
        }
        // The others may not be in NFC, or have tokens that take the white space of the next.
        assert!(taken > TEXTS / 2, "{name}: {taken}");
        println!("{name}: {taken} of {TEXTS} texts");
    }
}

/// Inputs of each shape, cut in each way, are what the library's post-processor and truncation make of its tokens.
#[test]
fn inputs_are_those_of_the_library() {
    for (name, json) in kinds() {
        let (ours, by_library) = (open(&json), open(&json).by_library());
        assert!(ours.bpe().is_some() && ours.post_process().only_adds(), "{name} is taken");
        let mut random = Rng::with_seed(2);
        for _ in 0..300 {
            let (first, second) = (text(&mut random), text(&mut random));
            let inputs = [
                Input::Text(first.clone()),
                Input::Bare(first.clone()),
                Input::Pair(first.as_str().into(), second.clone()),
                Input::InContext { context: first.as_str().into(), text: second },
            ];
            let limit = random.usize(1..60);
            let shorter = limit / 2 + 1;
            for input in inputs {
                for truncate in [
                    Truncate::No,
                    Truncate::Right,
                    Truncate::Left,
                    Truncate::RightTo(shorter),
                    Truncate::LeftTo(shorter),
                ] {
                    let expected = by_library.encode(&input, limit, truncate);
                    let encoded = ours.encode(&input, limit, truncate);
                    assert_eq!(encoded, expected, "{name} {limit} {truncate:?} {input:?}");
                }
            }
            assert_eq!(ours.count(&first), by_library.count(&first), "{name}: {first:?}");
        }
    }
}

/// Options that change tokens in a way that is not computed here leave all texts to the library.
#[test]
fn other_kinds_are_left_to_the_library() {
    let level = |prefix: bool, regex: bool| json!({"type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": true, "use_regex": regex});
    let steps = |behavior: &str, invert: bool| {
        let pattern = json!({"Regex": r" ?\p{L}+| ?\p{N}| ?[^\s\p{L}\p{N}]|\s+(?!\S)|\s+"});
        let split =
            json!({"type": "Split", "pattern": pattern, "behavior": behavior, "invert": invert});
        json!({"type": "Sequence", "pretokenizers": [split, level(false, false)]})
    };
    let cases = [
        ("/model/dropout", json!(0.5)),
        ("/model/unk_token", json!("[UNK]")),
        ("/model/byte_fallback", json!(true)),
        ("/model/end_of_word_suffix", json!("</w>")),
        ("/normalizer", json!({"type": "NFKC"})),
        ("/normalizer", json!({"type": "Lowercase"})),
        ("/pre_tokenizer", level(true, true)),
        ("/pre_tokenizer", level(false, false)),
        ("/pre_tokenizer", steps("Removed", false)),
        ("/pre_tokenizer", steps("Isolated", true)),
        ("/pre_tokenizer", Value::Null),
    ];
    let taken = |json: &Value| Bpe::of(&library(json)).is_some();
    assert!(taken(
        &changed(RANDOM, |tokenizer| tokenizer["pre_tokenizer"] = steps("Isolated", false))
    ));
    for (key, value) in cases {
        let json = changed(RANDOM, |tokenizer| {
            *tokenizer.pointer_mut(key).expect("it has the key") = value.clone();
        });
        assert!(!taken(&json), "{key}: {value}");
    }
    let trimmed = changed(RANDOM, |tokenizer| tokenizer["post_processor"] = level(true, true));
    assert!(open(&trimmed).bpe().is_none());
    let mut lower_case = open(&changed(EMBED, |_| {}));
    assert!(lower_case.bpe().is_some());
    lower_case.lower_case().expect("it lower-cases");
    assert!(lower_case.bpe().is_none());
}

/// Four times the bytes take less than ten times as long: sixteen if time grew by the square. The shortest of up to
/// twenty runs counts, so that other processes can delay the answer and not change it.
#[test]
fn time_is_linear_in_bytes() {
    let json = changed(RANDOM, |tokenizer| tokenizer["added_tokens"] = added(4096));
    let bpe = Bpe::of(&library(&json)).expect("it is taken");
    let time = |text: &str| {
        let start = Instant::now();
        std::hint::black_box(bpe.encode(text, 0));
        start.elapsed()
    };
    for part in
        ["a", "aq", " ", "\n", "\u{4e2d}", "'", "[MASK", "[MASK] ", "<sep> ", "the whale ", "\t\n"]
    {
        let texts = [1, 4].map(|times| part.repeat(times * (16 << 10) / part.len()));
        let mut shortest = [Duration::MAX; 2];
        let is_linear = (0..20).any(|_| {
            for (shortest, text) in shortest.iter_mut().zip(&texts) {
                *shortest = time(text).min(*shortest);
            }
            shortest[1] < 10 * shortest[0]
        });
        assert!(is_linear, "{part:?}: {shortest:?}");
    }
}

/// A cut text has the tokens of the whole, whatever the added tokens around the cut.
#[test]
fn texts_are_cut_where_tokens_do_not_change() {
    for (name, json) in kinds() {
        let bpe = Bpe::of(&library(&json)).unwrap_or_else(|| panic!("{name} is taken"));
        let mut random = Rng::with_seed(4);
        let mut cuts = 0;
        for _ in 0..TEXTS / 4 {
            let whole = text(&mut random);
            let mut seen = random.usize(..=whole.len());
            while !whole.is_char_boundary(seen) {
                seen -= 1;
            }
            let (Some(cut), Some(all)) = (bpe.last_cut(&whole[..seen]), bpe.encode(&whole, 0))
            else {
                continue;
            };
            let (before, after) = whole.split_at(cut);
            let mut parts = bpe.encode(before, 0).expect("it is in NFC");
            let after = bpe.encode(after, before.chars().count()).expect("it is in NFC");
            let end = after.len();
            parts.append(after, 0..end);
            assert_eq!(parts, all, "{name}: {whole:?} at {cut} of {seen}");
            cuts += 1;
        }
        assert!(cuts > TEXTS / 20, "{name}: {cuts}");
    }
}
