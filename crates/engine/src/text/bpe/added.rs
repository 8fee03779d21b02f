//! Added tokens: strings that are tokens wherever they stand in a text, found before it is split into words.
//!
//! The library looks for them twice, before and after it normalizes the text; a [`Set`] is one of the two.

use std::ops::Range;

use tokenizers::AddedToken;

use super::classes::Classes;

/// A token of a set.
struct Entry {
    content: Vec<u8>,
    id: u32,
    /// Must not have letters or digits around it.
    single_word: bool,
    /// Takes the white space before it.
    left: bool,
    /// Takes the white space after it.
    right: bool,
}

/// Added tokens that are looked for at once.
pub(super) struct Set {
    /// By content.
    entries: Vec<Entry>,
    /// The bytes that tokens begin with.
    first: [bool; 256],
    /// The second bytes that a token with this first byte may have, as bits; all of them if it may have no second.
    second: Vec<[u64; 4]>,
    /// Bytes of the longest one.
    longest: usize,
}

/// The text cannot be split as the library does: a token took white space that the next one consists of.
#[derive(Debug)]
pub(super) struct Overlap;

impl Set {
    pub(super) fn new<'a>(tokens: impl Iterator<Item = (u32, &'a AddedToken)>) -> Set {
        let entry = |(id, token): (u32, &AddedToken)| Entry {
            content: token.content.clone().into_bytes(),
            id,
            single_word: token.single_word,
            left: token.lstrip,
            right: token.rstrip,
        };
        let mut entries: Vec<Entry> = tokens.map(entry).collect();
        entries.sort_by(|a, b| a.content.cmp(&b.content));
        let longest = entries.iter().map(|entry| entry.content.len()).max().unwrap_or(0);
        let mut second = vec![[0; 4]; 256];
        let first = |byte| entries.iter().any(|entry| entry.content.first() == Some(&byte));
        let first = std::array::from_fn(|byte| first(byte as u8));
        for entry in &entries {
            match entry.content[..] {
                [first] => second[usize::from(first)] = [u64::MAX; 4],
                [first, next, ..] => {
                    second[usize::from(first)][usize::from(next / 64)] |= 1 << (next % 64);
                }
                [] => {}
            }
        }
        Set { entries, first, second, longest }
    }

    /// Returns the bytes of the longest token.
    pub(super) fn longest(&self) -> usize {
        self.longest
    }

    /// Returns the longest token that a text has at a byte.
    #[inline]
    fn find(&self, bytes: &[u8], at: usize) -> Option<&Entry> {
        let second = &self.second[usize::from(bytes[at])];
        // The last byte of a text has none after it: zero stands for any.
        let next = bytes.get(at + 1).copied().unwrap_or(0);
        if second[usize::from(next / 64)] & (1 << (next % 64)) == 0 {
            return None;
        }
        self.find_longest(&bytes[at..])
    }

    fn find_longest(&self, bytes: &[u8]) -> Option<&Entry> {
        let (mut entries, mut found) = (&self.entries[..], None);
        for (depth, byte) in bytes.iter().enumerate() {
            // Shorter ones come first.
            let start = entries.partition_point(|entry| entry.content.get(depth) < Some(byte));
            let end = entries.partition_point(|entry| entry.content.get(depth) <= Some(byte));
            entries = &entries[start..end];
            let Some(first) = entries.first() else { break };
            if first.content.len() == depth + 1 {
                found = Some(first);
            }
        }
        found
    }

    /// Returns whether a token may stand before, behind or across a byte of a text.
    pub(super) fn touches(&self, bytes: &[u8], at: usize) -> bool {
        (at.saturating_sub(self.longest)..=at.min(bytes.len().saturating_sub(1))).any(|start| {
            self.find(bytes, start).is_some_and(|entry| start + entry.content.len() >= at)
        })
    }

    /// Splits a range of a text at the tokens in it: passes each part in order, with the id if it is a token.
    ///
    /// # Errors
    /// [`Overlap`]; parts before it have been passed.
    pub(super) fn split(
        &self,
        text: &str,
        range: Range<usize>,
        part: &mut impl FnMut(Range<usize>, Option<u32>) -> Result<(), Overlap>,
    ) -> Result<(), Overlap> {
        let within = &text[..range.end];
        let (mut done, mut at) = (range.start, range.start);
        while at < range.end {
            let rest = &within.as_bytes()[at..];
            let Some(next) = rest.iter().position(|&byte| self.first[usize::from(byte)]) else {
                break;
            };
            at += next;
            let Some(entry) = self.find(within.as_bytes(), at) else {
                at += 1;
                continue;
            };
            let (mut start, mut end) = (at, at + entry.content.len());
            at = end;
            if entry.single_word
                && !stands_alone(&within[range.start..], start - range.start, end - range.start)
            {
                continue;
            }
            if entry.left {
                start = done + within[done..start.max(done)].trim_end().len();
            }
            if entry.right {
                end = within.len() - within[end..].trim_start().len();
            }
            if start < done || end <= start {
                return Err(Overlap);
            }
            if done < start {
                part(done..start, None)?;
            }
            part(start..end, Some(entry.id))?;
            done = end;
        }
        if done < range.end { part(done..range.end, None) } else { Ok(()) }
    }
}

/// Returns whether no letters or digits are around a range of a text.
fn stands_alone(text: &str, start: usize, end: usize) -> bool {
    let is_word = |character: Option<char>| character.is_some_and(|c| Classes::get().is_word(c));
    !is_word(text[..start].chars().next_back()) && !is_word(text[end..].chars().next())
}
