//! Computes the memory that a request could hold, before anything is done for it: for its charge to the host's memory
//! and for `--answer-limit`. Allocates and reserves nothing; `memory` reserves.
//!
//! Texts are not tokenized yet, so their bytes bound their tokens. The sizes of structures are rounded up; JSON is
//! counted as it is written, and beside the values that it is written from. Memory bounded by the number of threads,
//! such as that of tokenizing, is not counted here.

use std::iter::Sum;

use bigbatch_engine::{Chunks, Input, MAX_MASKS, Model, Task};

/// Bytes per number of an answer: as f32, and in JSON, where it has up to 16 characters.
const NUMBER_BYTES: usize = 20;
/// Bytes per label of an answer besides its name.
const LABEL_BYTES: usize = 160;
/// Bytes per entity of an answer besides its text. Every token may be one.
const ENTITY_BYTES: usize = 400;
/// Bytes per candidate of a mask besides the text that it makes.
const CANDIDATE_BYTES: usize = 320;
/// Bytes per token that waits: its id and its span.
const TOKEN_BYTES: usize = 24;
/// Bytes per token of the answer of `/tokenize` besides its text: its fields in JSON, or its name and a string for it.
const LISTED_TOKEN_BYTES: usize = 160;
/// Bytes per token while ids are decoded besides its text: an id and two strings.
const DECODED_TOKEN_BYTES: usize = 128;
/// Bytes per input that waits: its request, its slot, its answer's envelope.
const INPUT_BYTES: usize = 1024;
/// Bytes per JSON value while a body is read: the value, in a list that grows, before its type is known.
const VALUE_BYTES: usize = 96;
/// Texts are held twice: some are repeated in the answer, others put behind a prompt.
const COPIES: usize = 2;

/// Returns the bytes held while a body is parsed: the body, its texts, and its values, of which each begins after one
/// of three characters.
pub(crate) fn of_parsing(body: &[u8]) -> usize {
    let values = body.iter().filter(|byte| matches!(byte, b',' | b'[' | b'{')).count();
    2 * body.len() + VALUE_BYTES * (values + 1)
}

/// Returns the bytes held while a text of so many bytes is tokenized: the text, and a token per byte.
pub(crate) fn of_tokenizing(bytes: usize) -> usize {
    (COPIES + TOKEN_BYTES) * bytes
}

/// The bytes of a job.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Footprint {
    /// Texts and their tokens while they wait.
    pub(crate) inputs_bytes: usize,
    /// Answers, as values and as JSON.
    pub(crate) answer_bytes: usize,
}

impl Footprint {
    /// Returns the bytes of all of the job.
    pub(crate) fn total_bytes(&self) -> usize {
        self.inputs_bytes.saturating_add(self.answer_bytes)
    }

    /// Returns the footprint of a text of so many tokens and the list of them.
    pub(crate) fn of_tokens(text: &str, tokens: usize) -> Footprint {
        let inputs_bytes = COPIES * text.len() + TOKEN_BYTES * tokens;
        Footprint { inputs_bytes, answer_bytes: json_bytes(text) + LISTED_TOKEN_BYTES * tokens }
    }

    /// Returns the footprint of so many token ids and the texts that they stand for. `longest` is the longest token.
    pub(crate) fn of_decoding(ids: usize, longest: usize) -> Footprint {
        // A control character takes six bytes in JSON.
        let answer_bytes = ids.saturating_mul(7 * longest);
        Footprint { inputs_bytes: ids.saturating_mul(DECODED_TOKEN_BYTES), answer_bytes }
    }

    /// Returns the footprint of one input and its answer. The input has at most `max_tokens`, or any number if it is
    /// read in windows: then `max_tokens` is `None`.
    pub(crate) fn of_input(
        model: &Model,
        task: &Task,
        input: &Input,
        max_tokens: Option<usize>,
    ) -> Footprint {
        Footprint::of_size(model, task, &InputSize::of(input), max_tokens)
    }

    /// As [`Footprint::of_input`], for one text of at most `max_tokens`.
    pub(crate) fn of_text(model: &Model, task: &Task, text: &str, max_tokens: usize) -> Footprint {
        Footprint::of_size(model, task, &InputSize::of_texts(1, "", text), Some(max_tokens))
    }

    /// Returns what a text in windows takes beyond the footprint of the text: what windows share is read, held and
    /// answered once per window.
    pub(crate) fn of_windows(model: &Model, task: &Task, chunks: &Chunks) -> Footprint {
        let (count, shared) = (chunks.count(), chunks.shared_tokens());
        // All windows take the bytes of the text as often as its tokens.
        let shared_bytes =
            (chunks.text().len() as f64 / chunks.tokens() as f64 * shared as f64).ceil();
        let inputs_bytes = INPUT_BYTES * count + shared_bytes as usize + TOKEN_BYTES * shared;
        let of_each = count.saturating_mul(answer_bytes(model, task, "", 0));
        let answer_bytes = of_each.saturating_add(answer_bytes(model, task, "", shared));
        Footprint { inputs_bytes, answer_bytes }
    }

    fn of_size(
        model: &Model,
        task: &Task,
        &InputSize { bytes, texts, ids, text }: &InputSize<'_>,
        max_tokens: Option<usize>,
    ) -> Footprint {
        let frame = texts * model.tokenizer.frame_tokens();
        let tokens = (bytes + ids + frame).min(max_tokens.unwrap_or(usize::MAX));
        let inputs_bytes = INPUT_BYTES + COPIES * bytes + 4 * ids + TOKEN_BYTES * tokens;
        Footprint { inputs_bytes, answer_bytes: answer_bytes(model, task, text, tokens) }
    }
}

/// The footprint of several parts of a request.
impl Sum for Footprint {
    fn sum<I: Iterator<Item = Footprint>>(parts: I) -> Footprint {
        parts.fold(Footprint::default(), |sum, part| Footprint {
            inputs_bytes: sum.inputs_bytes.saturating_add(part.inputs_bytes),
            answer_bytes: sum.answer_bytes.saturating_add(part.answer_bytes),
        })
    }
}

/// The size of an input before it is tokenized.
struct InputSize<'a> {
    /// Bytes of its texts.
    bytes: usize,
    /// Number of its texts, each with special tokens around it.
    texts: usize,
    /// Token ids that it gives.
    ids: usize,
    /// The text that its answer is about.
    text: &'a str,
}

impl<'a> InputSize<'a> {
    /// Returns the size of one text, or of two of which the answer is about the second.
    fn of_texts(texts: usize, before: &str, text: &'a str) -> InputSize<'a> {
        InputSize { bytes: before.len() + text.len(), texts, ids: 0, text }
    }

    fn of(input: &'a Input) -> InputSize<'a> {
        match input {
            Input::Text(text) | Input::Bare(text) => InputSize::of_texts(1, "", text),
            Input::Prompted(prompt, text) => InputSize::of_texts(1, prompt, text),
            Input::Pair(first, second) | Input::InContext { context: first, text: second } => {
                InputSize::of_texts(2, first, second)
            }
            Input::Ids(ids) => InputSize { ids: ids.len(), ..InputSize::of_texts(0, "", "") },
            Input::Tokens(text, tokens) => {
                InputSize { ids: tokens.ids.len(), ..InputSize::of_texts(0, "", text) }
            }
        }
    }
}

/// Returns the bytes of the answer about a text of at most so many tokens, as values and as JSON.
fn answer_bytes(model: &Model, task: &Task, text: &str, tokens: usize) -> usize {
    let labels = model.labels.len();
    let numbers = match task {
        Task::Classify { .. } | Task::Rank { .. } => {
            let names: usize = model.labels.iter().map(String::len).sum();
            return LABEL_BYTES * labels + 4 * names;
        }
        Task::Tag | Task::Aggregate { .. } => {
            let longest = model.labels.iter().map(String::len).max().unwrap_or(0);
            let scores = size_of::<f32>() * labels;
            return tokens.saturating_mul(ENTITY_BYTES + 4 * longest + scores) + 8 * text.len();
        }
        Task::FillMask { top_k } => {
            let mask = model.tokenizer.mask_token().unwrap_or_default();
            let masks = if mask.is_empty() { 0 } else { text.matches(&mask).count() };
            let candidates = masks.min(MAX_MASKS).saturating_mul(*top_k);
            return candidates.saturating_mul(CANDIDATE_BYTES + json_bytes(text));
        }
        Task::TokenScores { .. } => tokens.saturating_mul(labels),
        Task::EmbedAll => tokens.saturating_mul(model.config.hidden_size),
        Task::Embed { dimensions, .. } => dimensions.unwrap_or(model.embedding.width),
    };
    numbers.saturating_mul(NUMBER_BYTES)
}

/// Returns the bytes of a text in JSON, without quotes.
pub(crate) fn json_bytes(text: &str) -> usize {
    let escaped = |byte: u8| match byte {
        b'"' | b'\\' => 2,
        0..0x20 => 6,
        _ => 1,
    };
    text.bytes().map(escaped).sum()
}
