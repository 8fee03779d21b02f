//! Text to token ids, with the place of each token in the text.
//!
//! The `tokenizers` crate does the work. Truncation and padding that a `tokenizer.json` may ask for are
//! switched off: nothing is cut unless the caller says so, and packed batches have no padding.

use std::ops::Range;

use serde_json::Value;
use tokenizers::utils::truncation::{TruncationDirection, TruncationParams, TruncationStrategy};
use tokenizers::{Encoding, PostProcessor};

use crate::error::{LoadError, RequestError};
use crate::model::Checkpoint;

/// What a request gives the model to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// One text.
    Text(String),
    /// Two texts read together, such as a query and a document.
    Pair(String, String),
    /// Token ids, special ones included, as they are.
    Ids(Vec<u32>),
}

/// Token ids and where they come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tokens {
    /// Special tokens included.
    pub ids: Vec<u32>,
    /// Place of each token in the first text, in characters; empty for special tokens.
    pub spans: Vec<Range<usize>>,
    /// Whether the input was cut.
    pub truncated: bool,
}

/// A loaded tokenizer.
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    mask_id: Option<u32>,
    vocab_end: u32,
}

impl Tokenizer {
    /// Reads `tokenizer.json` and, for the mask token, `tokenizer_config.json`.
    ///
    /// # Errors
    /// [`LoadError::Tokenizer`] when it is missing or damaged.
    pub fn open(checkpoint: &Checkpoint) -> Result<Tokenizer, LoadError> {
        let bad = |reason: String| LoadError::Tokenizer { model: checkpoint.name().into(), reason };
        let json = checkpoint.require("tokenizer.json")?;
        let mut inner = tokenizers::Tokenizer::from_bytes(&json)
            .map_err(|e| bad(format!("tokenizer.json is not readable ({e})")))?;
        inner.with_truncation(None).map_err(|e| bad(e.to_string()))?;
        inner.with_padding(None);
        let named = match checkpoint.read("tokenizer_config.json")? {
            None => None,
            Some(json) => {
                let config: Value = serde_json::from_slice(&json)
                    .map_err(|e| bad(format!("tokenizer_config.json: {e}")))?;
                let token = &config["mask_token"];
                token.as_str().or(token["content"].as_str()).map(str::to_owned)
            }
        };
        let candidates = named.iter().map(String::as_str).chain(["[MASK]", "<mask>"]);
        let mask_id = candidates.filter_map(|token| inner.token_to_id(token)).next();
        let vocab_end = inner.get_vocab(true).values().max().map_or(0, |id| id + 1);
        Ok(Tokenizer { inner, mask_id, vocab_end })
    }

    /// Reads the tokenizer of SOURCE, as [`Checkpoint::resolve`] reads it, without its model.
    ///
    /// # Errors
    /// [`LoadError::Source`] when there is no such source, else as [`Tokenizer::open`].
    pub fn load(source: &str) -> Result<Tokenizer, LoadError> {
        Tokenizer::open(&Checkpoint::resolve_tokenizer(source)?)
    }

    /// One more than the largest id.
    pub fn vocab_end(&self) -> u32 {
        self.vocab_end
    }

    /// Whether a model of this vocabulary has a row for every id.
    ///
    /// # Errors
    /// [`LoadError::Tokenizer`] naming the largest id.
    pub fn check(&self, vocab_size: usize, model: &str) -> Result<(), LoadError> {
        if self.vocab_end as usize <= vocab_size {
            return Ok(());
        }
        let largest = self.vocab_end - 1;
        Err(LoadError::Tokenizer {
            model: model.into(),
            reason: format!("it has ids up to {largest}, the model's vocab_size is {vocab_size}"),
        })
    }

    /// The token that fill-mask fills.
    pub fn mask_id(&self) -> Option<u32> {
        self.mask_id
    }

    /// How that token is written.
    pub fn mask_token(&self) -> Option<String> {
        self.mask_id.and_then(|id| self.inner.id_to_token(id))
    }

    /// A token as text, without the marks of its vocabulary.
    pub fn decode(&self, id: u32) -> String {
        self.inner.decode(&[id], false).unwrap_or_default()
    }

    /// Tokenizes one input. With `truncate`, cuts it to `limit` tokens, the longer text of a pair first.
    ///
    /// # Errors
    /// [`RequestError::Empty`], [`RequestError::TooLong`], [`RequestError::Invalid`] for ids that the
    /// model does not have.
    pub fn encode(
        &self,
        input: &Input,
        limit: usize,
        truncate: bool,
    ) -> Result<Tokens, RequestError> {
        let tokens = match input {
            Input::Text(text) => self.encode_texts(text, None, truncate.then_some(limit))?,
            Input::Pair(text, pair) => {
                self.encode_texts(text, Some(pair), truncate.then_some(limit))?
            }
            Input::Ids(ids) => {
                let kept = if truncate { ids.len().min(limit) } else { ids.len() };
                Tokens {
                    ids: ids[..kept].to_vec(),
                    spans: vec![0..0; kept],
                    truncated: kept < ids.len(),
                }
            }
        };
        match tokens.ids.len() {
            0 => Err(RequestError::Empty),
            n if n > limit => Err(RequestError::TooLong { tokens: n, limit }),
            _ => Ok(tokens),
        }
    }

    fn encode_texts(
        &self,
        text: &str,
        pair: Option<&str>,
        limit: Option<usize>,
    ) -> Result<Tokens, RequestError> {
        let invalid = |e: tokenizers::Error| RequestError::Invalid(format!("cannot tokenize: {e}"));
        if text.is_empty() || pair.is_some_and(str::is_empty) {
            return Err(RequestError::Empty);
        }
        let mut first = self.inner.encode_char_offsets(text, false).map_err(invalid)?;
        let mut second = match pair {
            None => None,
            Some(pair) => Some(self.inner.encode_char_offsets(pair, false).map_err(invalid)?),
        };
        let special = self.inner.get_post_processor().map_or(0, |p| p.added_tokens(pair.is_some()));
        let length = |e: &Option<Encoding>| e.as_ref().map_or(0, Encoding::len);
        let before = first.len() + length(&second);
        let mut truncated = false;
        if let Some(limit) = limit
            && before + special > limit
        {
            let room = limit.checked_sub(special).filter(|&room| room > 0).ok_or_else(|| {
                RequestError::Invalid(format!("a limit of {limit} tokens leaves no room for text"))
            })?;
            let params = TruncationParams {
                direction: TruncationDirection::Right,
                max_length: room,
                strategy: TruncationStrategy::LongestFirst,
                stride: 0,
            };
            (first, second) =
                tokenizers::utils::truncation::truncate_encodings(first, second, &params)
                    .map_err(invalid)?;
            truncated = true;
        }
        let encoding = self.inner.post_process(first, second, true).map_err(invalid)?;
        let own = |i: usize, &(start, end): &(usize, usize)| {
            let special = encoding.get_special_tokens_mask().get(i).is_some_and(|&m| m == 1);
            let other_text = encoding.token_to_sequence(i).is_some_and(|sequence| sequence != 0);
            if special || other_text { 0..0 } else { start..end }
        };
        let spans = encoding.get_offsets().iter().enumerate().map(|(i, o)| own(i, o)).collect();
        Ok(Tokens { ids: encoding.get_ids().to_vec(), spans, truncated })
    }

    /// Byte spans of the tokens of a text, without special tokens: what a generator of texts of exact
    /// length cuts by.
    ///
    /// # Errors
    /// [`RequestError::Invalid`] when the tokenizer fails on the text.
    pub fn byte_spans(&self, text: &str) -> Result<Vec<(usize, usize)>, RequestError> {
        self.inner
            .encode(text, false)
            .map(|encoding| encoding.get_offsets().to_vec())
            .map_err(|e| RequestError::Invalid(format!("cannot tokenize: {e}")))
    }

    /// Tokens of a text, special ones included.
    ///
    /// # Errors
    /// [`RequestError::Invalid`] when the tokenizer fails on the text.
    pub fn count(&self, text: &str) -> Result<usize, RequestError> {
        self.inner
            .encode_fast(text, true)
            .map(|encoding| encoding.len())
            .map_err(|e| RequestError::Invalid(format!("cannot tokenize: {e}")))
    }
}
