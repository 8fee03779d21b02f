//! The words that a text is split into before they become tokens: what the regular expressions of known tokenizers
//! match, without a regular expression.
//!
//! Each word ends where the next begins, so that a text is read from left to right with one character of lookahead.

use super::classes::{Classes, LETTER, OTHER, SPACE};

/// The expression of GPT-2, which `ByteLevel` has built in.
const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";
/// That of the models that this project trains: `PIECES` of `python/train/tokenizer.py`.
const SINGLE: &str = r" ?\p{L}+| ?\p{N}| ?[^\s\p{L}\p{N}]|\s+(?!\S)|\s+";

/// A way to split texts into words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pattern {
    /// Runs of letters, of digits, of signs; English endings after an apostrophe.
    Gpt2,
    /// Runs of letters; each digit and each sign alone.
    Single,
}

/// A word of a text, from where the one before ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Word {
    /// The byte after it.
    pub(super) end: usize,
    /// Its characters.
    pub(super) characters: usize,
}

impl Pattern {
    /// Returns the pattern of a regular expression.
    pub(super) fn of(expression: &str) -> Option<Pattern> {
        match expression {
            GPT2 => Some(Pattern::Gpt2),
            SINGLE => Some(Pattern::Single),
            _ => None,
        }
    }

    /// Returns the word at a byte of a text, which is where another ends or the start.
    #[inline]
    pub(super) fn word(self, classes: &Classes, text: &str, start: usize) -> Word {
        let bytes = text.as_bytes();
        if self == Pattern::Gpt2
            && bytes[start] == b'\''
            && let Some(length) = ending(&bytes[start..])
        {
            return Word { end: start + length, characters: length };
        }
        let spaces = usize::from(bytes[start] == b' ');
        match classes.at(text, start + spaces) {
            None | Some((SPACE, _)) => white_space(classes, text, start),
            Some((class, length)) => {
                let first = Word { end: start + spaces + length, characters: spaces + 1 };
                if self == Pattern::Single && class != LETTER {
                    return first;
                }
                run(classes, text, first, class).0
            }
        }
    }

    /// Returns whether a word ends between two neighbouring characters of these classes, whatever is around them.
    pub(super) fn splits(before: u8, after: u8) -> bool {
        match before {
            SPACE => false,
            OTHER => after == SPACE,
            _ => before != after,
        }
    }
}

/// Returns the bytes of an English ending after an apostrophe.
fn ending(bytes: &[u8]) -> Option<usize> {
    match bytes {
        [_, b's' | b't' | b'm' | b'd', ..] => Some(2),
        [_, b'r' | b'v', b'e', ..] | [_, b'l', b'l', ..] => Some(3),
        _ => None,
    }
}

/// Extends a word by the characters of a class that follow. Returns the bytes of the last one of them, too.
#[inline]
fn run(classes: &Classes, text: &str, mut word: Word, class: u8) -> (Word, usize) {
    let mut last = 0;
    while let Some((next, length)) = classes.at(text, word.end)
        && next == class
    {
        word = Word { end: word.end + length, characters: word.characters + 1 };
        last = length;
    }
    (word, last)
}

/// Returns a run of white space, without its last character if there is a word behind and others before.
fn white_space(classes: &Classes, text: &str, start: usize) -> Word {
    let (word, last) = run(classes, text, Word { end: start, characters: 0 }, SPACE);
    if word.end == text.len() || word.characters == 1 {
        return word;
    }
    Word { end: word.end - last, characters: word.characters - 1 }
}
