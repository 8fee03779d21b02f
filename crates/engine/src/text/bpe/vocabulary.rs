//! Words to tokens: by a table of words that are one token, else by merging pairs of tokens in the order of their ranks.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::hash::{BuildHasherDefault, Hash, Hasher};

use serde::Deserialize;

/// Bytes of the longest word that fits into a [`key`].
const KEY_BYTES: usize = 15;

/// Bytes of the longest word whose best pair is found by looking at all of them.
const SHORT: usize = 32;

/// Bytes that are characters by themselves.
const ASCII: usize = 128;

/// The rank of pairs that are not merged.
const NONE: u32 = u32::MAX;

/// The fields of the model in a `tokenizer.json` that the encoder reads, as the library writes them.
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
    /// Words that are one token and too long for a [`key`].
    long_words: Table<Box<[u8]>, u32>,
    /// The rank at which two neighbours merge.
    ranks: Table<Pair, u32>,
    /// The ranks of two bytes of ASCII, by both: most words begin as such.
    byte_ranks: Vec<u32>,
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
            let pair = Pair(*vocab.get(left)?, *vocab.get(right)?);
            ranks.insert(pair, u32::try_from(rank).ok()?);
            merged.push(*vocab.get(&format!("{left}{right}"))?);
        }
        let (words, long_words) = (Table::default(), Table::default());
        let byte_pair = |pair: usize| Pair(bytes[pair / ASCII], bytes[pair % ASCII]);
        let byte_rank = |pair| ranks.get(&byte_pair(pair)).copied().unwrap_or(NONE);
        let byte_ranks = (0..ASCII * ASCII).map(byte_rank).collect();
        let mut vocabulary = Vocabulary { bytes, words, long_words, ranks, byte_ranks, merged };
        let mut parts = Vec::new();
        for (text, id) in texts {
            vocabulary.merge(&text, &mut parts);
            let whole = [Part { id, bytes: text.len() as u32 }];
            if text.is_empty() || !ignore_merges && parts != whole {
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

    /// Splits a word into tokens, which replace those in `parts`.
    pub(super) fn merge(&self, word: &[u8], parts: &mut Vec<Part>) {
        parts.clear();
        let part = |&byte: &u8| Part { id: self.bytes[usize::from(byte)], bytes: 1 };
        if word.len() > SHORT {
            parts.extend(word.iter().map(part));
            self.merge_long(parts);
            return;
        }
        let mut short = [Part::default(); SHORT];
        short.iter_mut().zip(word).for_each(|(short, byte)| *short = part(byte));
        let count = self.merge_short(word, &mut short);
        parts.extend_from_slice(&short[..count]);
    }

    #[inline]
    fn rank(&self, left: u32, right: u32) -> u32 {
        self.ranks.get(&Pair(left, right)).copied().unwrap_or(NONE)
    }

    fn byte_rank(&self, left: u8, right: u8) -> u32 {
        if left.is_ascii() && right.is_ascii() {
            return self.byte_ranks[usize::from(left) * ASCII + usize::from(right)];
        }
        self.rank(self.bytes[usize::from(left)], self.bytes[usize::from(right)])
    }

    /// Merges the pair of the lowest rank, the first of equals, until there is none. Returns how many parts are left.
    fn merge_short(&self, word: &[u8], parts: &mut [Part; SHORT]) -> usize {
        // Of each part and the next one; that of the last is none.
        let mut ranks = [NONE; SHORT];
        for (rank, pair) in ranks.iter_mut().zip(word.windows(2)) {
            *rank = self.byte_rank(pair[0], pair[1]);
        }
        let mut count = word.len();
        loop {
            let mut at = 0;
            for next in 1..count {
                if ranks[next] < ranks[at] {
                    at = next;
                }
            }
            let rank = ranks[at];
            if rank == NONE {
                return count;
            }
            let bytes = parts[at].bytes + parts[at + 1].bytes;
            parts[at] = Part { id: self.merged[rank as usize], bytes };
            count -= 1;
            for next in at + 1..count {
                (parts[next], ranks[next]) = (parts[next + 1], ranks[next + 1]);
            }
            ranks[at] = NONE;
            if at + 1 < count {
                ranks[at] = self.rank(parts[at].id, parts[at + 1].id);
            }
            if at > 0 {
                ranks[at - 1] = self.rank(parts[at - 1].id, parts[at].id);
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
#[derive(PartialEq, Eq)]
struct Key(u64, u64);

impl Hash for Key {
    #[inline]
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        hasher.write_u128(u128::from(self.0) | u128::from(self.1) << 64);
    }
}

/// Two tokens side by side.
#[derive(PartialEq, Eq)]
struct Pair(u32, u32);

impl Hash for Pair {
    #[inline]
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        hasher.write_u64(u64::from(self.0) | u64::from(self.1) << 32);
    }
}

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
    Key(bytes as u64, (bytes >> 64) as u64 | (length as u64) << 56)
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
            key(chunk, 0, chunk.len()).hash(self);
        }
    }

    #[inline]
    fn write_u64(&mut self, number: u64) {
        self.write_u128(number.into());
    }

    #[inline]
    fn write_u128(&mut self, number: u128) {
        let (low, high) = (number as u64, (number >> 64) as u64);
        let product = u128::from(self.0 ^ low ^ 0x9e37_79b9_7f4a_7c15)
            * u128::from(high ^ 0xd6e8_feb8_6659_fd93);
        self.0 = product as u64 ^ (product >> 64) as u64;
    }
}
