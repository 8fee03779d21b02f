//! The tokens of a part of a text on their way from an encoder to a request.

use std::ops::Range;

use tokenizers::Encoding;
use tokenizers::utils::truncation::TruncationDirection;

use super::input::Tokens;

/// Tokens of a part of a text, without special ones around it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Encoded {
    /// In the vocabulary.
    pub(super) ids: Vec<u32>,
    /// In characters of the whole text.
    pub(super) spans: Vec<Range<usize>>,
    /// The word of each token, where the library encoded a part; else empty.
    pub(super) words: Vec<Option<u32>>,
    /// The tokens as written, for a post-processor that reads them; else empty.
    values: Vec<String>,
}

impl Encoded {
    /// Takes what the library encoded. Keeps the tokens as written if a post-processor is to read them.
    pub(super) fn new(encoding: &Encoding, values: bool) -> Encoded {
        Encoded {
            ids: encoding.get_ids().to_vec(),
            spans: encoding.get_offsets().iter().map(|&(start, end)| start..end).collect(),
            words: encoding.get_word_ids().to_vec(),
            values: if values { encoding.get_tokens().to_vec() } else { Vec::new() },
        }
    }

    /// Returns the number of tokens.
    pub(super) fn len(&self) -> usize {
        self.ids.len()
    }

    /// Keeps a range of the tokens.
    pub(super) fn keep(&mut self, range: Range<usize>) {
        keep(&mut self.ids, &range);
        keep(&mut self.spans, &range);
        keep(&mut self.words, &range);
        keep(&mut self.values, &range);
    }

    /// Keeps at most so many tokens, by removing those at an end.
    pub(super) fn truncate(&mut self, tokens: usize, end: TruncationDirection) {
        let excess = self.len().saturating_sub(tokens);
        self.keep(match end {
            TruncationDirection::Right => 0..self.len() - excess,
            TruncationDirection::Left => excess..self.len(),
        });
    }

    /// Adds a range of the tokens that follow.
    pub(super) fn append(&mut self, mut next: Encoded, range: Range<usize>) {
        next.keep(range);
        if self.ids.is_empty() {
            *self = next;
            return;
        }
        self.words.clear();
        self.ids.append(&mut next.ids);
        self.spans.append(&mut next.spans);
        self.values.append(&mut next.values);
    }

    /// Returns the tokens of a text without special ones.
    pub(super) fn into_tokens(self) -> Tokens {
        let Encoded { ids, spans, .. } = self;
        let own = 0..ids.len();
        Tokens { ids, spans, own, removed: 0, prompt: 0 }
    }

    /// Returns the tokens as the library has them, if they were kept as written.
    pub(super) fn into_encoding(self) -> Encoding {
        let Encoded { ids, spans, values, .. } = self;
        let tokens = ids.into_iter().zip(spans).zip(values);
        tokens.map(|((id, span), value)| (id, value, (span.start, span.end), None, 0)).collect()
    }
}

/// Keeps a range of a list, if it has one.
fn keep<T>(list: &mut Vec<T>, range: &Range<usize>) {
    list.truncate(range.end);
    list.drain(..range.start.min(list.len()));
}
