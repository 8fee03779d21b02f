//! What a request gives to read and what becomes of it: inputs, their tokens with spans, and how those that are too
//! long are cut. [`super::tokenize`] gets from one to the other.

use std::ops::Range;
use std::sync::Arc;

use tokenizers::utils::truncation::TruncationDirection;

/// The input of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// One text.
    Text(String),
    /// A prompt, and the text that it is put before.
    Prompted(String, String),
    /// Two texts read together, such as a query and a document. Spans count in the second; many pairs may share the
    /// first.
    Pair(Arc<str>, String),
    /// As a pair: a text after the context that it is read in. Truncation cuts the context only.
    InContext {
        /// What is read first.
        context: Arc<str>,
        /// What answers are about.
        text: String,
    },
    /// One text, read without the special tokens that a model expects around it.
    Bare(String),
    /// Token ids, special ones included, as they are.
    Ids(Vec<u32>),
    /// Tokens of a text that was tokenized before, special ones included, and the text that their spans count
    /// in.
    Tokens(String, Tokens),
}

/// How long an input is, in the unit that it is given in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InputLength {
    /// Bytes of a text, or of two that are read together.
    Bytes(usize),
    /// Token ids.
    Tokens(usize),
}

/// What happens to an input that is too long. Numbers of tokens include special ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Truncate {
    /// It is rejected.
    #[default]
    No,
    /// Its end is removed.
    Right,
    /// Its beginning is removed.
    Left,
    /// Its end is removed, so that at most this many tokens are left.
    RightTo(usize),
    /// Its beginning is removed, so that at most this many tokens are left.
    LeftTo(usize),
}

impl Truncate {
    /// Returns the range of `len` tokens to keep if there is room for `room`: all of them with
    /// [`Truncate::No`].
    pub fn kept(self, len: usize, room: usize) -> Range<usize> {
        let excess = len.saturating_sub(self.limit(room));
        match self.cut_end() {
            None => 0..len,
            Some(TruncationDirection::Right) => 0..len - excess,
            Some(TruncationDirection::Left) => excess..len,
        }
    }

    /// Returns the maximum tokens of an input where an engine takes `limit`.
    pub(super) fn limit(self, limit: usize) -> usize {
        match self {
            Truncate::No | Truncate::Right | Truncate::Left => limit,
            Truncate::RightTo(tokens) | Truncate::LeftTo(tokens) => tokens.min(limit),
        }
    }

    /// Returns the end that is removed.
    pub(super) fn cut_end(self) -> Option<TruncationDirection> {
        match self {
            Truncate::No => None,
            Truncate::Right | Truncate::RightTo(_) => Some(TruncationDirection::Right),
            Truncate::Left | Truncate::LeftTo(_) => Some(TruncationDirection::Left),
        }
    }
}

/// Token ids and their spans in the text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tokens {
    /// Special tokens included.
    pub ids: Vec<u32>,
    /// Span of each own token in the text, in characters; empty for the other tokens.
    pub spans: Vec<Range<usize>>,
    /// The tokens of the text, the second one of a pair: those that answers are about. Special tokens lie outside.
    pub own: Range<usize>,
    /// Number of tokens that a truncation removed.
    pub removed: usize,
    /// The first tokens that pooling leaves out: those of a prompt, where the checkpoint asks for that.
    pub prompt: usize,
}

impl Tokens {
    /// Returns whether the input was truncated.
    pub fn is_truncated(&self) -> bool {
        self.removed > 0
    }

    /// Returns the number of tokens of the whole input.
    pub fn given(&self) -> usize {
        self.ids.len() + self.removed
    }
}

impl Input {
    /// Returns how long it is.
    pub fn length(&self) -> InputLength {
        match self {
            Input::Text(text) | Input::Bare(text) => InputLength::Bytes(text.len()),
            Input::Prompted(prompt, text) => InputLength::Bytes(prompt.len() + text.len()),
            Input::Pair(first, text) | Input::InContext { context: first, text } => {
                InputLength::Bytes(first.len() + text.len())
            }
            Input::Ids(ids) => InputLength::Tokens(ids.len()),
            Input::Tokens(_, tokens) => InputLength::Tokens(tokens.ids.len()),
        }
    }

    /// Returns a text with a prompt before it. An empty text stays empty, and is rejected as such later.
    pub fn prompted(prompt: Option<&str>, text: String) -> Input {
        match prompt {
            Some(prompt) if !text.is_empty() && !prompt.is_empty() => {
                Input::Prompted(prompt.into(), text)
            }
            _ => Input::Text(text),
        }
    }
}

/// The special tokens around one text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct SpecialTokens {
    pub(crate) before: Vec<u32>,
    pub(super) after: Vec<u32>,
}

impl SpecialTokens {
    /// Returns the number of special tokens.
    pub(crate) fn len(&self) -> usize {
        self.before.len() + self.after.len()
    }

    /// Puts the special tokens around a range of a text's tokens. Spans still count in the whole text.
    pub(crate) fn wrap(&self, bare: &Tokens, range: Range<usize>) -> Tokens {
        let SpecialTokens { before, after } = self;
        let ids = [before, &bare.ids[range.clone()], after].concat();
        let special = |count: usize| std::iter::repeat_n(0..0, count);
        let spans = bare.spans[range.clone()].iter().cloned();
        let spans = special(before.len()).chain(spans).chain(special(after.len())).collect();
        let own = before.len()..before.len() + range.len();
        Tokens { ids, spans, own, removed: bare.ids.len() - range.len(), prompt: 0 }
    }

    /// Puts the special tokens around all of a text's tokens, which are moved: a long text has millions.
    pub(super) fn around(&self, bare: Tokens) -> Tokens {
        let SpecialTokens { before, after } = self;
        let Tokens { mut ids, mut spans, .. } = bare;
        let own = before.len()..before.len() + ids.len();
        ids.splice(0..0, before.iter().copied());
        ids.extend_from_slice(after);
        spans.splice(0..0, before.iter().map(|_| 0..0));
        spans.extend(after.iter().map(|_| 0..0));
        Tokens { ids, spans, own, removed: 0, prompt: 0 }
    }
}
