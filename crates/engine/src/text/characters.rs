//! A text indexed by characters, as tokenizers count, and not by bytes.

use std::ops::Range;

/// A text and the byte offset of each of its characters.
pub(crate) struct Characters<'a> {
    text: &'a str,
    starts: Vec<usize>,
}

impl<'a> Characters<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        let ends = std::iter::once(text.len());
        Characters { text, starts: text.char_indices().map(|(at, _)| at).chain(ends).collect() }
    }

    pub(crate) fn slice(&self, span: &Range<usize>) -> &'a str {
        let last = self.starts.len() - 1;
        &self.text[self.starts[span.start.min(last)]..self.starts[span.end.min(last)]]
    }
}
