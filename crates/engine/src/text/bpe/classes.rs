//! Classes of characters as the `regex` crate defines them, in a table: what `\p{L}`, `\p{N}`, `\s` and `\w` match.

use std::collections::HashMap;
use std::sync::LazyLock;

use regex_syntax::hir::{Class, HirKind};

/// What is none of the others.
pub(super) const OTHER: u8 = 0;
/// `\p{L}`.
pub(super) const LETTER: u8 = 1;
/// `\p{N}`.
pub(super) const NUMBER: u8 = 2;
/// `\s`.
pub(super) const SPACE: u8 = 3;
/// A bit that `\w` has, whatever else a character is.
const WORD: u8 = 4;

const BLOCK: usize = 256;

/// The class of each character.
pub(super) struct Classes {
    /// Of the first 256 bytes of UTF-8; those of longer characters are not read.
    ascii: [u8; BLOCK],
    /// Which block describes the characters that have these higher bits.
    index: Vec<u16>,
    /// Equal blocks are stored once.
    blocks: Vec<[u8; BLOCK]>,
}

static CLASSES: LazyLock<Classes> = LazyLock::new(Classes::read);

impl Classes {
    /// Returns the table, which the first call builds.
    pub(super) fn get() -> &'static Classes {
        &CLASSES
    }

    fn read() -> Classes {
        let mut all = vec![OTHER; char::MAX as usize + 1];
        let kinds = [(r"\p{L}", LETTER), (r"\p{N}", NUMBER), (r"\s", SPACE), (r"\w", WORD)];
        for (pattern, bits) in kinds {
            let hir = regex_syntax::parse(pattern).expect("a pattern of this file");
            let HirKind::Class(Class::Unicode(class)) = hir.kind() else { continue };
            for range in class.ranges() {
                all[range.start() as usize..=range.end() as usize]
                    .iter_mut()
                    .for_each(|class| *class |= bits);
            }
        }
        let (mut index, mut blocks, mut places) = (Vec::new(), Vec::new(), HashMap::new());
        for block in all.as_chunks::<BLOCK>().0 {
            let place = *places.entry(block).or_insert_with(|| {
                blocks.push(*block);
                blocks.len() as u16 - 1
            });
            index.push(place);
        }
        Classes { ascii: blocks[usize::from(index[0])], index, blocks }
    }

    fn bits(&self, character: char) -> u8 {
        let code = character as usize;
        self.blocks[usize::from(self.index[code / BLOCK])][code % BLOCK]
    }

    /// Returns the class of a character.
    pub(super) fn of(&self, character: char) -> u8 {
        self.bits(character) & !WORD
    }

    /// Returns whether `\w` matches a character.
    pub(super) fn is_word(&self, character: char) -> bool {
        self.bits(character) & WORD != 0
    }

    /// Returns the class and the bytes of the character at a byte of a text, where one begins.
    #[inline]
    pub(super) fn at(&self, text: &str, at: usize) -> Option<(u8, usize)> {
        let byte = *text.as_bytes().get(at)?;
        if byte < 0x80 {
            return Some((self.ascii[usize::from(byte)] & !WORD, 1));
        }
        let character = text[at..].chars().next()?;
        Some((self.of(character), character.len_utf8()))
    }
}
