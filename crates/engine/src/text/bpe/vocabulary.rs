//! Words to tokens: by a table of words that are one token, else by merging pairs of tokens in the order of their ranks.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::hash::{BuildHasherDefault, Hasher};

use serde::Deserialize;

/// Bytes of the longest word that fits into a [`key`].
const KEY_BYTES: usize = 15;

/// Bytes of the longest word whose best pair is found by looking at all of them.
const SHORT: usize = 32;

/// The rank of pairs that are not merged.
const NONE: u32 = u32::MAX;

/// What is read of the model of a `tokenizer.json` that the library wrote.
#[derive(Deserialize)]
pub(super) struct Model {
    vocab: HashMap<String, u32>,
    merges: Vec<(String, String)>,
    ignore_merges: bool,
}

/// Tokens of bytes, and how they are merged.
pub(super) struct Vocabulary {
    /// The token of each byte.
    bytes: [u32; 256],
    /// Words that are one token, by their [`key`].
    words: Table<Key, u32>,
    /// Those that have no key.
    long_words: Table<Box<[u8]>, u32>,
    /// The rank at which two neighbours merge.
    ranks: Table<(u32, u32), u32>,
    /// The token that they become, by rank.
    merged: Vec<u32>,
}

/// A token of a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Part {
    pub(super) id: u32,
    /// Bytes of the word that it stands for.
    pub(super) bytes: u32,
}

/// Memory for the tokens of a word, reused between words.
#[derive(Default)]
pub(super) struct Scratch {
    pub(super) parts: Vec<Part>,
    ranks: Vec<u32>,
}

impl Vocabulary {
    /// Returns the vocabulary of a model without options. `None` if a byte of texts has no token, or two tokens have
    /// one id.
    pub(super) fn new(model: Model) -> Option<Vocabulary> {
        let Model { vocab, merges, ignore_merges } = model;
        let alphabet = alphabet();
        let mut bytes = [NONE; 256];
        let mut ids: Vec<u32> = vocab.values().copied().collect();
        ids.sort_unstable();
        if ids.windows(2).any(|pair| pair[0] == pair[1]) {
            return None;
        }
        // Tokens of other characters never stand for a part of a text.
        let text = |token: &str| -> Option<Vec<u8>> {
            token.chars().map(|character| alphabet.get(&character).copied()).collect()
        };
        let texts: Vec<(Vec<u8>, u32)> =
            vocab.iter().filter_map(|(token, &id)| Some((text(token)?, id))).collect();
        for (text, id) in &texts {
            if let [byte] = text[..] {
                bytes[usize::from(byte)] = *id;
            }
        }
        // The other bytes are in no text.
        let in_texts = |&byte: &usize| !matches!(byte, 0xc0 | 0xc1 | 0xf5..);
        if (0..256).filter(in_texts).any(|byte| bytes[byte] == NONE) {
            return None;
        }
        let mut ranks = Table::default();
        let mut merged = Vec::with_capacity(merges.len());
        for (rank, (left, right)) in merges.iter().enumerate() {
            ranks.insert((*vocab.get(left)?, *vocab.get(right)?), u32::try_from(rank).ok()?);
            merged.push(*vocab.get(&format!("{left}{right}"))?);
        }
        let (words, long_words) = (Table::default(), Table::default());
        let mut vocabulary = Vocabulary { bytes, words, long_words, ranks, merged };
        let mut scratch = Scratch::default();
        for (text, id) in texts {
            vocabulary.merge(&text, &mut scratch);
            let whole = [Part { id, bytes: text.len() as u32 }];
            if text.is_empty() || !ignore_merges && scratch.parts != whole {
                continue;
            }
            if text.len() <= KEY_BYTES {
                vocabulary.words.insert(key(&text, 0, text.len()), id);
            } else {
                vocabulary.long_words.insert(text.into(), id);
            }
        }
        Some(vocabulary)
    }

    /// Returns the token that a range of bytes is as a word.
    #[inline]
    pub(super) fn word(&self, text: &[u8], start: usize, end: usize) -> Option<u32> {
        if end - start <= KEY_BYTES {
            return self.words.get(&key(text, start, end - start)).copied();
        }
        self.long_words.get(&text[start..end]).copied()
    }

    /// Splits a word into tokens, `scratch.parts`.
    pub(super) fn merge(&self, word: &[u8], scratch: &mut Scratch) {
        scratch.parts.clear();
        let part = |&byte: &u8| Part { id: self.bytes[usize::from(byte)], bytes: 1 };
        scratch.parts.extend(word.iter().map(part));
        if word.len() <= SHORT {
            self.merge_short(scratch);
        } else {
            self.merge_long(&mut scratch.parts);
        }
    }

    fn rank(&self, left: u32, right: u32) -> u32 {
        self.ranks.get(&(left, right)).copied().unwrap_or(NONE)
    }

    /// Merges the pair of the lowest rank, the first of equals, until there is none.
    fn merge_short(&self, scratch: &mut Scratch) {
        let Scratch { parts, ranks } = scratch;
        ranks.clear();
        ranks.extend(parts.windows(2).map(|pair| self.rank(pair[0].id, pair[1].id)));
        loop {
            let lower = |a: (usize, u32), b: (usize, u32)| if b.1 < a.1 { b } else { a };
            let best = ranks.iter().copied().enumerate().reduce(lower);
            let Some((at, rank)) = best.filter(|best| best.1 != NONE) else { return };
            let bytes = parts[at].bytes + parts[at + 1].bytes;
            parts[at] = Part { id: self.merged[rank as usize], bytes };
            parts.remove(at + 1);
            ranks.remove(at);
            if at > 0 {
                ranks[at - 1] = self.rank(parts[at - 1].id, parts[at].id);
            }
            if at + 1 < parts.len() {
                ranks[at] = self.rank(parts[at].id, parts[at + 1].id);
            }
        }
    }

    /// As [`Vocabulary::merge_short`], in time n log n. A part that was merged into the one before has no bytes.
    fn merge_long(&self, parts: &mut Vec<Part>) {
        let count = parts.len() as u32;
        // The neighbours of each part.
        let mut before: Vec<u32> = (0..count).map(|at| at.wrapping_sub(1)).collect();
        let mut after: Vec<u32> = (1..=count).collect();
        let push =
            |queue: &mut BinaryHeap<Reverse<(u32, u32)>>, parts: &[Part], left: u32, right: u32| {
                let rank = self.rank(parts[left as usize].id, parts[right as usize].id);
                if rank != NONE {
                    queue.push(Reverse((rank, left)));
                }
            };
        let mut queue = BinaryHeap::new();
        (1..count).for_each(|at| push(&mut queue, parts, at - 1, at));
        while let Some(Reverse((rank, left))) = queue.pop() {
            let at = left as usize;
            let right = after[at];
            // The pair may have changed since it was queued.
            if parts[at].bytes == 0
                || right == count
                || self.rank(parts[at].id, parts[right as usize].id) != rank
            {
                continue;
            }
            parts[at].id = self.merged[rank as usize];
            parts[at].bytes += std::mem::take(&mut parts[right as usize].bytes);
            after[at] = after[right as usize];
            if after[at] < count {
                before[after[at] as usize] = left;
                push(&mut queue, parts, left, after[at]);
            }
            if before[at] < count {
                push(&mut queue, parts, before[at], left);
            }
        }
        parts.retain(|part| part.bytes > 0);
    }
}

/// Returns the bytes of each character that byte-level vocabularies write: printable ones for themselves, the others as
/// the characters from 256 on.
fn alphabet() -> HashMap<char, u8> {
    let mut next = 256;
    let character = |byte: u8| match byte {
        b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff => (char::from(byte), byte),
        _ => {
            next += 1;
            (char::from_u32(next - 1).unwrap_or_default(), byte)
        }
    };
    (0..=u8::MAX).map(character).collect()
}

/// A short word: its bytes, then zeros, then how many bytes there are.
type Key = (u64, u64);

/// Returns the key of a word of at most [`KEY_BYTES`].
#[inline]
fn key(text: &[u8], start: usize, length: usize) -> Key {
    let bytes = match text[start..].first_chunk() {
        Some(chunk) => u128::from_le_bytes(*chunk) & ((1 << (8 * length)) - 1),
        None => {
            let mut bytes = [0; 16];
            bytes[..length].copy_from_slice(&text[start..start + length]);
            u128::from_le_bytes(bytes)
        }
    };
    (bytes as u64, (bytes >> 64) as u64 | (length as u64) << 56)
}

/// A table that texts only look up, so that they cannot choose what collides.
type Table<K, V> = HashMap<K, V, BuildHasherDefault<Fold>>;

/// Hashes by products of 64 bits.
#[derive(Default)]
struct Fold(u64);

impl Hasher for Fold {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(KEY_BYTES) {
            let (low, high) = key(chunk, 0, chunk.len());
            self.write_u64(low);
            self.write_u64(high);
        }
    }

    #[inline]
    fn write_u32(&mut self, number: u32) {
        self.write_u64(u64::from(number));
    }

    #[inline]
    fn write_u64(&mut self, number: u64) {
        let product = u128::from(self.0 ^ number ^ 0x9e37_79b9_7f4a_7c15) * 0xd6e8_feb8_6659_fd93;
        self.0 = product as u64 ^ (product >> 64) as u64;
    }
}
