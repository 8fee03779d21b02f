//! Texts in pieces against the same texts at once, over kinds of tokenizers and texts. Pieces are small here, so that a
//! short text has many cuts.

use std::borrow::Cow;
use std::sync::LazyLock;

use proptest::prelude::*;
use serde_json::{Value, json};
use tokenizers::utils::truncation::{
    TruncationDirection, TruncationParams, TruncationStrategy, truncate_encodings,
};

use super::*;
use crate::checkpoint::Checkpoint;
use crate::text::input::{Input, Truncate};

const SMALL: Sizes = Sizes { piece: 240, overlap: 96 };

const RANDOM: &str = include_str!("../../../../models/random/tokenizer.json");
const EMBED: &str = include_str!("../../../../models/embed/tokenizer.json");
const GEMMA: &str = include_str!("../../model/modernbert/sample_tokenizer.json");

/// One tokenizer that cuts texts into small pieces, and one that does not.
struct Both {
    name: &'static str,
    json: Value,
    pieces: Tokenizer,
    whole: Tokenizer,
}

fn open(name: &str, json: &Value, sizes: Sizes) -> Tokenizer {
    let file = ("tokenizer.json".into(), Cow::Owned(json.to_string().into_bytes()));
    let tokenizer = Tokenizer::open(&Checkpoint::memory(name, vec![file]));
    tokenizer.unwrap_or_else(|error| panic!("{name}: {error}")).with_sizes(sizes)
}

fn both(name: &'static str, json: Value) -> Both {
    let (pieces, whole) = (open(name, &json, SMALL), open(name, &json, Sizes::WHOLE));
    Both { name, json, pieces, whole }
}

/// Reads one of the repository's tokenizers with some of its parts replaced.
fn changed(json: &str, parts: Value) -> Value {
    let mut tokenizer: Value = serde_json::from_str(json).expect("valid");
    for (key, part) in parts.as_object().expect("valid") {
        tokenizer[key] = part.clone();
    }
    tokenizer
}

fn added(id: u32, content: &str, flags: &[&str]) -> Value {
    let flag = |name| flags.contains(&name);
    json!({"id": id, "content": content, "single_word": flag("single_word"), "lstrip": flag("lstrip"),
        "rstrip": flag("rstrip"), "normalized": flag("normalized"), "special": flag("special")})
}

/// Added tokens of every kind, with ids from `first`.
fn added_tokens(first: u32) -> Vec<Value> {
    let kinds: [(&str, &[&str]); 6] = [
        ("[MASK]", &["lstrip", "special"]),
        ("<sep>", &["rstrip", "special"]),
        ("the", &["single_word"]),
        ("Big Batch", &["normalized"]),
        ("    ", &[]),
        ("one", &["rstrip", "lstrip", "normalized"]),
    ];
    (first..).zip(kinds).map(|(id, (content, flags))| added(id, content, flags)).collect()
}

fn words() -> Vec<&'static str> {
    vec![
        "[UNK]", "[CLS]", "[SEP]", "the", "one", "two", "a", "b", "aq", "q", "rain", "##a", "##b",
        "##q", "##aq", "##in", ".", ",", "-", "1", "12", "##2", "e", "##e", "\u{e9}", "\u{4e2d}",
        "t", "##t", "s", "##s", "'",
    ]
}

fn word_piece() -> Value {
    let vocab: serde_json::Map<String, Value> =
        words().iter().enumerate().map(|(id, word)| (word.to_string(), json!(id))).collect();
    json!({"version": "1.0", "truncation": null, "padding": null, "added_tokens": added_tokens(40),
        "normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true,
            "strip_accents": null, "lowercase": true},
        "pre_tokenizer": {"type": "BertPreTokenizer"}, "decoder": null,
        "post_processor": {"type": "BertProcessing", "sep": ["[SEP]", 2], "cls": ["[CLS]", 1]},
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100, "vocab": vocab}})
}

fn unigram(normalizer: Value, pre_tokenizer: Value) -> Value {
    let pieces = [
        "\u{2581}",
        "\u{2581}the",
        "the",
        "\u{2581}one",
        "on",
        "e",
        "a",
        "b",
        "q",
        "aq",
        "aa",
        "aaa",
        "t",
        "h",
        "o",
        "n",
        "r",
        "ain",
        "\u{2581}r",
        "s",
        "'",
        ".",
        ",",
        "1",
        "2",
        "12",
        "\u{e9}",
        "\u{4e2d}",
        "\u{2581}\u{2581}",
    ];
    let scored = pieces.iter().enumerate().map(|(n, piece)| json!([piece, -2.0 - n as f64 / 7.3]));
    let vocab: Vec<Value> = std::iter::once(json!(["<unk>", 0.0])).chain(scored).collect();
    json!({"version": "1.0", "truncation": null, "padding": null, "added_tokens": added_tokens(60),
        "normalizer": normalizer, "pre_tokenizer": pre_tokenizer, "post_processor": null, "decoder": null,
        "model": {"type": "Unigram", "unk_id": 0, "vocab": vocab, "byte_fallback": false}})
}

/// BPE over characters, without bytes.
fn character_bpe(normalizer: Value, pre_tokenizer: Value, suffix: Option<&str>) -> Value {
    let mut tokens = vec!["<unk>".to_owned()];
    for part in ["a", "b", "q", "t", "h", "e", "o", "n", "1", ".", "\u{2581}", "r", "i", "s"] {
        tokens.push(part.into());
        tokens.extend(suffix.map(|suffix| format!("{part}{suffix}")));
    }
    let merges = [["a", "q"], ["a", "a"], ["t", "h"], ["th", "e"], ["o", "n"], ["aa", "aa"]];
    tokens.extend(merges.iter().map(|pair| pair.concat()));
    let vocab: serde_json::Map<String, Value> =
        tokens.iter().enumerate().map(|(id, token)| (token.clone(), json!(id))).collect();
    json!({"version": "1.0", "truncation": null, "padding": null, "added_tokens": added_tokens(60),
        "normalizer": normalizer, "pre_tokenizer": pre_tokenizer, "post_processor": null, "decoder": null,
        "model": {"type": "BPE", "dropout": null, "unk_token": "<unk>", "continuing_subword_prefix": null,
            "end_of_word_suffix": suffix, "fuse_unk": true, "byte_fallback": false, "ignore_merges": false,
            "vocab": vocab, "merges": merges}})
}

fn metaspace(scheme: &str, split: bool) -> Value {
    json!({"type": "Metaspace", "replacement": "\u{2581}", "prepend_scheme": scheme, "split": split})
}

fn byte_level(prefix: bool, regex: bool) -> Value {
    json!({"type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": true, "use_regex": regex})
}

static TOKENIZERS: LazyLock<Vec<Both>> = LazyLock::new(|| {
    let roberta = json!({"type": "RobertaProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2],
        "trim_offsets": true, "add_prefix_space": true});
    let llama = concat!(
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|",
        r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    );
    let split = json!({"type": "Split", "pattern": {"Regex": llama}, "behavior": "Isolated", "invert": false});
    let steps = |steps: &[Value]| json!({"type": "Sequence", "pretokenizers": steps});
    let prepend = json!({"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "\u{2581}"},
        {"type": "Replace", "pattern": {"String": " "}, "content": "\u{2581}"}]});
    let strip = json!({"type": "Strip", "strip_left": true, "strip_right": true});
    let spaces = json!({"type": "WhitespaceSplit"});
    let level = changed(
        RANDOM,
        json!({"added_tokens": added_tokens(4096),
        "pre_tokenizer": byte_level(true, true), "post_processor": roberta}),
    );
    vec![
        both("byte level, NFC", serde_json::from_str(RANDOM).expect("valid")),
        both("byte level, a regex of its own", serde_json::from_str(EMBED).expect("valid")),
        both("byte level, a space before the text, offsets trimmed", level),
        both(
            "byte level, a regex of groups of digits",
            changed(
                RANDOM,
                json!({
            "pre_tokenizer": steps(&[split, byte_level(false, false)]),
            "post_processor": byte_level(true, true)}),
            ),
        ),
        both(
            "byte level, words of any length",
            changed(
                RANDOM,
                json!({
            "normalizer": {"type": "NFKC"}, "pre_tokenizer": byte_level(false, false)}),
            ),
        ),
        both("byte level, stripped", changed(RANDOM, json!({"normalizer": strip}))),
        both("WordPiece", word_piece()),
        both("Unigram", unigram(json!({"type": "NFKC"}), metaspace("always", true))),
        both(
            "Unigram, white space dropped",
            unigram(Value::Null, steps(&[spaces.clone(), metaspace("first", true)])),
        ),
        both("Unigram, not split", unigram(Value::Null, metaspace("always", false))),
        both("BPE, a prefix and one word", character_bpe(prepend, Value::Null, None)),
        both("BPE, bytes for what it lacks", serde_json::from_str(GEMMA).expect("valid")),
        both("BPE, ends of words", character_bpe(Value::Null, spaces, Some("</w>"))),
    ]
});

/// Parts that texts are made of: words, signs, white space of each kind, special tokens and their halves, letters of
/// several bytes, marks and joined emoji.
fn text() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        8 => "[abqe]{1,6}|the|one|rain|Big Batch|[A-Z][a-z]{1,5}".prop_map(|word| format!("{word} ")),
        2 => "[abqt]{1,80}",
        2 => "[.,'\"()-]{1,5}|'s |'t|don't ",
        2 => "[0-9]{1,30}",
        2 => "[ \t]{1,40}|\r\n|\n\n|\u{a0}|\u{3000}",
        2 => "\\[MASK\\]| \\[MASK\\]|<sep>|<sep>  |\\[MA|SK\\]|the|one|    ",
        1 => "[\u{e9}\u{4e2d}\u{6587}\u{df}\u{1d400}\u{1f600}\u{ac00}]{1,20}",
        1 => "(e\u{301}|a\u{323}\u{302}|\u{301}){1,10}",
        1 => "(\u{1f468}\u{200d}\u{1f469}\u{200d}\u{1f467}){1,4}",
        1 => "(a{1,300}|(aq){1,200}|\u{4e2d}{1,100}| {1,300}|\u{2581}{1,50})",
        1 => any::<String>(),
    ];
    prop::collection::vec(part, 1..50).prop_map(|parts| parts.concat())
}

fn truncations(limit: usize) -> [Truncate; 4] {
    [Truncate::Right, Truncate::Left, Truncate::RightTo(limit / 2), Truncate::LeftTo(limit / 3 + 1)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn texts_in_pieces_are_the_whole_texts(text in text()) {
        for Both { name, pieces, whole, .. } in &*TOKENIZERS {
            let expected = whole.encode_pieces(&text);
            prop_assert!(pieces.encode_pieces(&text) == expected, "{name}: {text:?}");
            let count = whole.count(&text);
            prop_assert_eq!(pieces.count(&text), count, "{}", name);
        }
    }

    #[test]
    fn inputs_read_in_pieces_are_those_read_whole(first in text(), second in text(), limit in 5usize..400) {
        for Both { name, pieces, whole, .. } in &*TOKENIZERS {
            let inputs = [
                Input::Text(first.clone()),
                Input::Bare(first.clone()),
                Input::Pair(first.as_str().into(), second.clone()),
                Input::InContext { context: first.as_str().into(), text: second.clone() },
            ];
            for input in inputs {
                for truncate in truncations(limit) {
                    match (pieces.encode(&input, limit, truncate), whole.encode(&input, limit, truncate)) {
                        // The message counts the second text no further than it has to.
                        (Err(RequestError::Invalid(_)), Err(RequestError::Invalid(_))) => {}
                        (read, expected) => prop_assert!(read == expected, "{name} {truncate:?}: {input:?}"),
                    }
                }
                match (pieces.encode(&input, limit, Truncate::No), whole.encode(&input, limit, Truncate::No)) {
                    (
                        Err(RequestError::TooLong { tokens, at_least, .. }),
                        Err(RequestError::TooLong { tokens: all, .. }),
                    ) => prop_assert!(tokens == all || at_least && limit < tokens && tokens <= all, "{name}"),
                    (read, expected) => prop_assert!(read == expected, "{name}: {input:?}"),
                }
            }
        }
    }

    /// The longer of two texts is cut as the library cuts it.
    #[test]
    fn pairs_are_cut_as_by_the_library(first in 1usize..40, second in 1usize..40, room in 1usize..50) {
        let Both { pieces, .. } = &TOKENIZERS[0];
        let text = |tokens| "\n".repeat(tokens).replace('\n', " a");
        let (first, second) = (text(first), text(second));
        let encode = |text: &str| pieces.encode_by_library(text).expect("valid");
        let special = pieces.post_process().added(true);
        let params = TruncationParams {
            direction: TruncationDirection::Right,
            max_length: room,
            strategy: TruncationStrategy::LongestFirst,
            stride: 0,
        };
        let (a, b) = truncate_encodings(encode(&first), Some(encode(&second)), &params).expect("valid");
        let pair = Input::Pair(first.as_str().into(), second);
        let cut = pieces.encode(&pair, room + special, Truncate::Right).expect("valid");
        prop_assert_eq!(cut.own.len(), b.expect("valid").len());
        prop_assert_eq!(cut.ids.len() - cut.own.len() - special, a.len());
    }
}

/// Returns the characters of the largest piece of a text.
fn largest_piece(tokenizer: &Tokenizer, text: &str) -> usize {
    let mut pieces = Pieces::new(tokenizer, text);
    let mut largest = 0;
    while let Some(Piece { encoded, .. }) = pieces.next().expect("it encodes") {
        let spans = encoded.spans;
        largest = largest.max(spans[spans.len() - 1].end - spans[0].start);
    }
    largest
}

/// The two pieces share enough tokens before a cut can stand, however long tokens are.
#[test]
fn texts_of_long_tokens_are_read_in_pieces() {
    let text = format!("{}[MASK]", " ".repeat(400)).repeat(500);
    for Both { name, json, whole, .. } in TOKENIZERS.iter().take(4) {
        let tokenizer = open(name, json, Sizes::CUT);
        let largest = largest_piece(&tokenizer, &text);
        assert!(largest <= PIECE_BYTES, "{name}: {largest}");
        assert!(tokenizer.encode_pieces(&text) == whole.encode_pieces(&text), "{name}");
    }
}

/// Every kind is cut at the sizes in use, but those that read all of a text as one word.
#[test]
fn long_texts_are_read_in_pieces_of_bounded_size() {
    let words = ["rain ", "bin aq. ", "two 12, ", "it's a b\n"];
    let prose: String = (0..40_000).map(|n| words[(n * n + n / 7) % words.len()]).collect();
    for (text, one_word) in [(prose, false), ("aq".repeat(100_000), true)] {
        for Both { name, json, whole, .. } in &*TOKENIZERS {
            let tokenizer = open(name, json, Sizes::CUT);
            let largest = largest_piece(&tokenizer, &text);
            // Those that put something before a text cannot go on within a word, nor those that strip it at a space.
            let cut = match *name {
                "Unigram, not split" | "BPE, a prefix and one word" => false,
                "byte level, stripped" => one_word,
                "byte level, a space before the text, offsets trimmed" => !one_word,
                _ => !one_word || tokenizer.is_bpe(),
            };
            assert_eq!(largest <= PIECE_BYTES, cut, "{name}, one word: {one_word}: {largest}");
            assert!(tokenizer.encode_pieces(&text) == whole.encode_pieces(&text), "{name}");
        }
    }
}

/// A text that is too long is refused by its beginning, and a cut text is read up to the cut.
#[test]
fn no_more_is_read_than_an_answer_needs() {
    let text = "one two 12 ".repeat(2000);
    let Both { pieces, .. } = &TOKENIZERS[0];
    let read = |cut_end, limit| {
        let mut reader = Reader::new(pieces, &text, limit, cut_end);
        reader.read_past(limit).expect("valid");
        (reader.tokens(), reader.complete(), reader.into_kept().len())
    };
    // A row of pieces of 240 bytes, with 11 bytes per 5 tokens, and the rest of the last one.
    let row = 101..side_by_side::ROW * 240 * 5 / 11 + 100;
    let (tokens, complete, _) = read(None, 100);
    assert!(row.contains(&tokens) && !complete, "{tokens}");
    let (tokens, complete, kept) = read(Some(TruncationDirection::Right), 100);
    assert!(row.contains(&tokens) && !complete && kept == 101, "{tokens}, {kept}");
    let (tokens, complete, kept) = read(Some(TruncationDirection::Left), 100);
    assert!(tokens > 6000 && complete && kept == 101, "{tokens}, {kept}");
    let refused = pieces.encode(&Input::Text(text.clone()), 100, Truncate::No).unwrap_err();
    assert!(matches!(refused, RequestError::TooLong { at_least: true, .. }), "{refused}");
    assert!(refused.to_string().contains("at least 1"), "{refused}");
}
