//! Texts longer than the model, cut into windows.
//!
//! ```text
//! tokens   0 . . . . . . . . . . . . . n       a text, without special tokens
//! window   |-------------|                     each gets the special tokens around it
//! window             |-------------|           the overlap is read twice
//! seam                  ^                      a token's label comes from the side it lies deeper in
//! ```
//!
//! Nothing runs here: a caller submits [`Chunks::inputs`] with [`Chunks::task`] and passes the answers to
//! [`Chunks::merge`], both in `task/merge.rs`. Spans in the merged answer count in the whole text. Windows
//! cannot relate one end of the text to the other; where that matters, use a longer model.

use std::ops::Range;
use std::str::FromStr;

use crate::error::RequestError;
use crate::text::characters::Characters;
use crate::text::input::{Input, SpecialTokens, Tokens, Truncate};
use crate::text::tokenize::Tokenizer;

/// How a text is cut into windows, and how their answers are merged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Chunking {
    /// Tokens per window, special ones included; `None`: the longest input of the engine.
    pub size: Option<usize>,
    /// Tokens that a window shares with the one before.
    pub overlap: usize,
    /// How scores of a classification are merged.
    pub merge: Merge,
}

/// What happens to an input that is too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overlong {
    /// It is rejected or truncated.
    Truncate(Truncate),
    /// It is read in windows. So is a shorter input, if the windows are shorter still.
    Chunk(Chunking),
}

/// How the scores of a label in several windows become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Merge {
    /// The mean: what the text as a whole is about.
    #[default]
    Mean,
    /// The maximum: whether any part of the text has the label. The scores of a softmax then no longer add up
    /// to one.
    Max,
}

impl Chunking {
    /// Returns the tokens of a window without special ones. `limit` is the longest input of the engine, in tokens.
    ///
    /// # Errors
    /// [`RequestError::Invalid`] for a size above `limit` or not above the overlap.
    pub fn room(&self, tokenizer: &Tokenizer, limit: usize) -> Result<usize, RequestError> {
        let invalid = |reason: String| Err(RequestError::Invalid(reason));
        let (size, overlap) = (self.size.unwrap_or(limit), self.overlap);
        if size > limit {
            return invalid(format!("chunk size is {size} tokens, the limit is {limit}"));
        }
        let frame = tokenizer.frame_tokens();
        let room = size.saturating_sub(frame);
        if room <= overlap {
            return invalid(format!(
                "chunk size is {size} tokens, {frame} of them special: with an overlap of {overlap} it must be at least {}",
                frame + overlap + 1
            ));
        }
        Ok(room)
    }
}

impl FromStr for Chunking {
    type Err = String;

    /// `SIZE[,OVERLAP[,MERGE]]`; an empty SIZE is the model's length.
    fn from_str(text: &str) -> Result<Chunking, String> {
        let number = |what: &str, text: &str| {
            text.trim()
                .parse()
                .map_err(|_| format!("{what} is '{text}', which is no number of tokens"))
        };
        let mut parts = text.split(',');
        let size = match parts.next().unwrap_or_default().trim() {
            "" => None,
            size => Some(number("the size", size)?),
        };
        let overlap = parts.next().map_or(Ok(0), |overlap| number("the overlap", overlap))?;
        let merge = match parts.next().map(str::trim) {
            None | Some("mean") => Merge::Mean,
            Some("max") => Merge::Max,
            Some(other) => return Err(format!("the merge is '{other}'; there are mean and max")),
        };
        match parts.next() {
            None => Ok(Chunking { size, overlap, merge }),
            Some(_) => Err("give SIZE, SIZE,OVERLAP or SIZE,OVERLAP,MERGE".into()),
        }
    }
}

/// Cuts `tokens` tokens into windows of `room` tokens, the last of which may be shorter. Each begins `overlap`
/// tokens before the end of the previous one. A text without tokens has one empty window.
///
/// # Panics
/// Unless `overlap` is less than `room`.
pub fn windows(tokens: usize, room: usize, overlap: usize) -> Vec<Range<usize>> {
    assert!(overlap < room, "windows that overlap whole do not advance");
    let mut windows = Vec::new();
    let mut start = 0;
    loop {
        let end = tokens.min(start + room);
        windows.push(start..end);
        if end == tokens {
            return windows;
        }
        start = end - overlap;
    }
}

/// Divides the tokens among overlapping windows: a token belongs to the window in which it lies deeper, that is, in which its
/// shorter side is longer, and of two in which that is alike to the earlier one. So an overlap is halved, and of an odd
/// number of tokens the first window has one more.
pub fn shares(windows: &[Range<usize>]) -> Vec<Range<usize>> {
    let seam = |pair: &[Range<usize>]| (pair[1].start + pair[0].end).div_ceil(2);
    let seams = windows.windows(2).map(seam);
    let begins = windows.iter().take(1).map(|first| first.start).chain(seams.clone());
    let ends = seams.chain(windows.iter().rev().take(1).map(|last| last.end));
    begins.zip(ends).map(|(begin, end)| begin..end).collect()
}

/// One text, cut into windows.
#[derive(Debug, Clone)]
pub struct Chunks {
    pub(crate) text: String,
    /// Tokens of the text without special ones.
    pub(crate) bare: Tokens,
    /// Ranges of `bare`.
    pub(crate) windows: Vec<Range<usize>>,
    /// Special tokens around each window.
    pub(crate) frame: SpecialTokens,
    pub(crate) merge: Merge,
}

impl Chunks {
    /// Tokenizes a text and cuts it; one that fits is one window. `limit` is the longest input of the engine, in
    /// tokens.
    ///
    /// # Errors
    /// As [`Chunking::room`] and [`Tokenizer::encode_bare`].
    pub fn split(
        tokenizer: &Tokenizer,
        text: String,
        chunking: Chunking,
        limit: usize,
    ) -> Result<Chunks, RequestError> {
        let bare = tokenizer.encode_bare(&text)?;
        Chunks::from_tokens(tokenizer, text, bare, chunking, limit)
    }

    /// Cuts a text that was tokenized before.
    ///
    /// # Errors
    /// As [`Chunks::split`].
    pub fn from_tokens(
        tokenizer: &Tokenizer,
        text: String,
        bare: Tokens,
        chunking: Chunking,
        limit: usize,
    ) -> Result<Chunks, RequestError> {
        let room = chunking.room(tokenizer, limit)?;
        let Chunking { overlap, merge, .. } = chunking;
        let windows = windows(bare.ids.len(), room, overlap);
        Ok(Chunks { text, bare, windows, frame: tokenizer.frame().clone(), merge })
    }

    /// Returns the number of windows, at least 1.
    pub fn count(&self) -> usize {
        self.windows.len()
    }

    /// Returns the tokens of all windows, special ones included, beyond those of the whole text.
    pub fn shared_tokens(&self) -> usize {
        let windows = self.windows.iter().map(|window| window.len() + self.frame.len());
        windows.sum::<usize>().saturating_sub(self.tokens())
    }

    /// Returns the whole text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Returns the tokens of the whole text, without special ones.
    pub fn bare(&self) -> &Tokens {
        &self.bare
    }

    /// Returns the windows, as ranges of [`Chunks::bare`].
    pub fn windows(&self) -> &[Range<usize>] {
        &self.windows
    }

    /// Returns the number of special tokens before those of each window.
    pub fn special_tokens_before(&self) -> usize {
        self.frame.before.len()
    }

    /// Returns the tokens of the whole text, special ones included once.
    pub fn tokens(&self) -> usize {
        self.bare.ids.len() + self.frame.len()
    }

    /// Iterates over the inputs to submit, one per window. They are made on demand: overlapping windows may
    /// together be thousands of times the text, so callers should check [`Chunks::count`] first.
    pub fn inputs(&self) -> impl Iterator<Item = Input> + '_ {
        let characters = Characters::new(&self.text);
        self.windows.iter().map(move |window| {
            let own = &self.bare.spans[window.clone()];
            let start = own.iter().map(|span| span.start).min().unwrap_or(0);
            let end = own.iter().map(|span| span.end).max().unwrap_or(0);
            let moved = |span: Range<usize>| {
                if span.is_empty() { 0..0 } else { span.start - start..span.end - start }
            };
            let Tokens { ids, spans, own, .. } = self.frame.wrap(&self.bare, window.clone());
            let spans = spans.into_iter().map(moved).collect();
            let tokens = Tokens { ids, spans, own, removed: 0, prompt: 0 };
            Input::Tokens(characters.slice(&(start..end)).to_owned(), tokens)
        })
    }
}
