//! From inputs to tokens: what of an input is read, and the tokens that the engine is given.
//!
//! All requests of a bundle share one [`TextCache`], so that a text is tokenized once per tokenizer, whatever number of
//! models read it. Nothing is cut silently: an input beyond its budget is refused, cut where the request says so, or read in
//! windows over its whole length.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use bigbatch_engine::{
    Chunking, Chunks, Engine, Input, InputLength, Merge, Overlong, RequestError, Tokenizer, Tokens,
    Truncate,
};

use super::item::{InputUsage, ItemError};
use crate::app::App;

/// What happens to an input with more tokens than its budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Overflow {
    /// It has no answer.
    Reject,
    /// Its end is cut off.
    Truncate,
    /// It is read in windows of so many tokens, special ones included. So is a shorter input. Beyond the budget it has no
    /// answer.
    Window { tokens: usize, overlap: usize },
}

impl Overflow {
    /// Returns [`Overflow::Truncate`], or [`Overflow::Reject`] where `--require-full-input` says so.
    pub(super) fn truncate_if_allowed(app: &App) -> Overflow {
        if app.options.require_full_input { Overflow::Reject } else { Overflow::Truncate }
    }
}

/// How the inputs of a request are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reading {
    pub(super) overflow: Overflow,
    /// The budget: tokens of a whole input, special ones included.
    pub(super) max_tokens: usize,
    /// Whether a text is cut so that what is left is tokenized as it would be alone: what is found in it then lies in
    /// what was read.
    pub(super) cut_text: bool,
}

impl Reading {
    /// Returns how the engine predicts the time of the inputs.
    pub(super) fn overlong(&self) -> Overlong {
        match self.overflow {
            Overflow::Window { tokens, overlap } => Overlong::Chunk(chunking(tokens, overlap)),
            _ => Overlong::Truncate(Truncate::RightTo(self.max_tokens)),
        }
    }
}

/// Returns how a text is cut into windows of so many tokens. Surfaces merge the answers themselves.
fn chunking(tokens: usize, overlap: usize) -> Chunking {
    Chunking { size: Some(tokens), overlap, merge: Merge::Max }
}

/// An input as it is read.
#[derive(Debug)]
pub(super) struct ReadInput {
    pub(super) usage: InputUsage,
    pub(super) pass: Pass,
}

/// The rows that an input asks for.
#[derive(Debug)]
pub(super) enum Pass {
    /// One forward pass over all tokens, and the text that their spans count in.
    Whole(Arc<str>, Tokens),
    /// One per window.
    Windows(Chunks),
}

/// Why an input is not read, and its tokens as far as they are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct InputRefusal {
    pub(super) error: ItemError,
    pub(super) tokens: usize,
}

impl From<RequestError> for InputRefusal {
    fn from(error: RequestError) -> InputRefusal {
        let tokens = match error {
            RequestError::TooLong { tokens, .. } => tokens,
            _ => 0,
        };
        InputRefusal { error: ItemError::of(&error).unwrap_or(ItemError::InvalidInput), tokens }
    }
}

type TokensCell = Arc<OnceLock<Result<Arc<Tokens>, RequestError>>>;

/// The tokens of texts without special ones, by the fingerprint of the tokenizer and the text.
#[derive(Debug, Default)]
pub(super) struct TextCache(Mutex<HashMap<(u64, Arc<str>), TokensCell>>);

impl TextCache {
    /// Returns the tokens of a text, computed at the first call. An empty text has none.
    fn tokens(&self, engine: &Engine, text: &Arc<str>) -> Result<Arc<Tokens>, RequestError> {
        let tokenizer = &engine.model().tokenizer;
        let key = (tokenizer.fingerprint(), text.clone());
        let entry =
            self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(key).or_default().clone();
        let tokenize = || {
            if text.is_empty() {
                return Ok(Arc::default());
            }
            let tokens = tokenizer.encode_bare(text)?;
            let whole = tokens.ids.len() + tokenizer.frame_tokens();
            engine.record_tokens(InputLength::Bytes(text.len()), whole);
            Ok(Arc::new(tokens))
        };
        entry.get_or_init(tokenize).clone()
    }
}

/// Reads one input for an engine.
///
/// # Errors
/// [`InputRefusal`] if the input is not to be tokenized or exceeds its budget.
pub(super) fn read(
    engine: &Engine,
    input: Input,
    reading: Reading,
    cache: &TextCache,
) -> Result<ReadInput, InputRefusal> {
    match input {
        Input::Text(text) => read_text(engine, text.into(), reading, cache),
        Input::Prompted(prompt, text) => {
            let left_out = match engine.model().embedding.include_prompt {
                true => 0,
                false => engine.model().tokenizer.prompt_tokens(&prompt, engine.max_tokens())?,
            };
            let mut read = read_text(engine, (prompt + &text).into(), reading, cache)?;
            if let Pass::Whole(_, tokens) = &mut read.pass {
                tokens.prompt = left_out;
            }
            Ok(read)
        }
        pair => read_pair(&engine.model().tokenizer, &pair, reading),
    }
}

fn read_text(
    engine: &Engine,
    text: Arc<str>,
    reading: Reading,
    cache: &TextCache,
) -> Result<ReadInput, InputRefusal> {
    let (tokenizer, max_tokens) = (&engine.model().tokenizer, reading.max_tokens);
    let bare = cache.tokens(engine, &text)?;
    let frame = tokenizer.frame_tokens();
    let tokens = bare.ids.len() + frame;
    let usage = InputUsage::whole(tokens);
    if let Overflow::Window { tokens: size, overlap } = reading.overflow {
        if tokens > max_tokens {
            return Err(InputRefusal { error: ItemError::ScanBudgetExceeded, tokens });
        }
        let chunking = chunking(size, overlap);
        let bare = Tokens::clone(&bare);
        let chunks = Chunks::from_tokens(
            tokenizer,
            text.as_ref().into(),
            bare,
            chunking,
            engine.max_tokens(),
        );
        let chunks = chunks.map_err(|error| InputRefusal { tokens, ..error.into() })?;
        let usage = InputUsage { windows: chunks.count(), ..usage };
        return Ok(ReadInput { usage, pass: Pass::Windows(chunks) });
    }
    if tokens <= max_tokens {
        let whole = tokenizer.wrap(&bare, 0..bare.ids.len());
        return Ok(ReadInput { usage, pass: Pass::Whole(text, whole) });
    }
    let too_long = InputRefusal { error: ItemError::MaxLengthExceeded, tokens };
    if reading.overflow == Overflow::Reject || max_tokens < frame {
        return Err(too_long);
    }
    let read = match reading.cut_text {
        true => cut_text(tokenizer, &text, &bare, max_tokens - frame)?,
        false => tokenizer.wrap(&bare, 0..max_tokens - frame),
    };
    let usage = InputUsage { processed_tokens: read.ids.len(), truncated: true, ..usage };
    Ok(ReadInput { usage, pass: Pass::Whole(text, read) })
}

/// Returns the tokens, with special ones around them, of the longest beginning of a text that ends where a token ends and
/// has at most `room` tokens of its own.
fn cut_text(
    tokenizer: &Tokenizer,
    text: &str,
    bare: &Tokens,
    room: usize,
) -> Result<Tokens, RequestError> {
    for kept in (1..=room).rev() {
        let end = bare.spans[kept - 1].end;
        let start: String = text.chars().take(end).collect();
        if start.is_empty() {
            break;
        }
        let own = tokenizer.encode_bare(&start)?;
        if own.ids.len() <= room {
            return Ok(tokenizer.wrap(&own, 0..own.ids.len()));
        }
    }
    Ok(tokenizer.wrap(&Tokens::default(), 0..0))
}

/// Reads two texts together: a pair, of which truncation cuts the longer text, or a text after its context, of which it
/// cuts the context. Neither is read in windows.
fn read_pair(
    tokenizer: &Tokenizer,
    pair: &Input,
    reading: Reading,
) -> Result<ReadInput, InputRefusal> {
    let read = match reading.overflow {
        Overflow::Window { .. } => {
            return Err(InputRefusal { error: ItemError::InvalidInput, tokens: 0 });
        }
        // What is left to refuse is a text that does not fit after an empty context.
        Overflow::Truncate => tokenizer
            .encode(pair, reading.max_tokens, Truncate::Right)
            .map_err(|_| InputRefusal { error: ItemError::MaxLengthExceeded, tokens: 0 })?,
        Overflow::Reject => tokenizer.encode(pair, reading.max_tokens, Truncate::No)?,
    };
    let (tokens, processed_tokens) = (read.given(), read.ids.len());
    let truncated = read.is_truncated();
    let usage = InputUsage { processed_tokens, truncated, ..InputUsage::whole(tokens) };
    let text = match pair {
        Input::Pair(_, text) | Input::InContext { text, .. } => text.as_str(),
        _ => "",
    };
    Ok(ReadInput { usage, pass: Pass::Whole(text.into(), read) })
}
