//! A text indexed by characters, as tokenizers count, and not by bytes.

use std::cell::Cell;
use std::ops::Range;

/// A text, and the last place where it was sliced: the next slice is usually near, and a table of all characters would
/// be larger than the text.
pub(crate) struct Characters<'a> {
    text: &'a str,
    /// Characters and bytes before the place.
    place: Cell<(usize, usize)>,
}

impl<'a> Characters<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Characters { text, place: Cell::new((0, 0)) }
    }

    /// Returns these characters, those of them that there are.
    pub(crate) fn slice(&self, span: &Range<usize>) -> &'a str {
        &self.text[self.bytes(span)]
    }

    /// Returns the bytes of these characters. Takes time by the distance from the previous call's.
    pub(crate) fn bytes(&self, span: &Range<usize>) -> Range<usize> {
        let start = self.byte(span.start);
        start..self.byte(span.end).max(start)
    }

    /// Returns the byte where a character begins; the end of the text for one that it does not have.
    fn byte(&self, character: usize) -> usize {
        let (at, byte) = self.place.get();
        let (before, after) = self.text.split_at(byte);
        let place = match character.checked_sub(at) {
            Some(0) => (at, byte),
            Some(forward) => match after.char_indices().nth(forward) {
                Some((bytes, _)) => (character, byte + bytes),
                None => (at + after.chars().count(), self.text.len()),
            },
            None if character < at / 2 => {
                let start = self.text.char_indices().nth(character);
                (character, start.map_or(self.text.len(), |(start, _)| start))
            }
            None => {
                let start = before.char_indices().nth_back(at - character - 1);
                (character, start.map_or(0, |(start, _)| start))
            }
        };
        self.place.set(place);
        place.1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_in_any_order_are_those_of_the_characters() {
        let text = "a\u{e9}\u{4e2d} \u{1f600}b";
        let all: Vec<char> = text.chars().collect();
        let characters = Characters::new(text);
        let mut random = fastrand::Rng::with_seed(1);
        for _ in 0..1000 {
            let start = random.usize(..9);
            let end = start + random.usize(..4);
            let expected: String = all[start.min(all.len())..end.min(all.len())].iter().collect();
            assert_eq!(characters.slice(&(start..end)), expected, "{start}..{end}");
        }
    }
}
