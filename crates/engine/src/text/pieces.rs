//! A text in pieces: encodes a text of any length in the memory that a few pieces take.
//!
//! The library takes some hundred bytes per byte of text while it encodes, so [`Pieces`] gives it [`Sizes::piece`]
//! bytes at a time:
//!
//! ```text
//! text    . . . . . . . . . . . . . . . . . . . . . . . . .
//! piece   |-----------------|~~~~~~ ! ~~~|
//! next                      |~~~~~~ ! ~~~------------------|
//!                          cut     sure
//! ```
//!
//! A piece is cut at a token boundary before its end, and the next piece starts there. Both have encoded the text
//! from the cut to the end of the first (`~`). The cut stands only if both have the same tokens there, up to a margin
//! that is not `sure` because the end of the first piece may have changed it. A piece whose cut does not stand grows
//! until a cut stands or the text ends, so that a tokenizer that cannot be cut encodes the whole text at once.
//! [`super::bpe`] knows where words end: a cut between two of them needs no second encoding, and the pieces between
//! such cuts are encoded [side by side](side_by_side).
//!
//! Why the result is that of the whole text: pre-tokenizers and added tokens are matched from left to right, so two
//! runs that are at the boundary of a match at the same place go on alike. A word that no piece holds whole is cut
//! only if the model is BPE, where tokens are those of the whole word exactly if each pair of neighbours is: the pair
//! at the cut is a pair of the first piece. Both need that what lies more than a piece ahead changes no token.
//! [`super::encode`] uses this for inputs, [`super::tokenize`] for whole texts.

mod side_by_side;

use std::collections::VecDeque;
use std::ops::Range;

use tokenizers::utils::truncation::TruncationDirection;

use crate::error::RequestError;
use crate::text::characters::Characters;
use crate::text::encoded::Encoded;
use crate::text::tokenize::{Tokenizer, invalid};

/// A text of more bytes is encoded in pieces, and is long to a tokenizer thread.
pub(crate) const PIECE_BYTES: usize = 64 << 10;

/// Factor by which a piece grows while it has no cut that stands.
const GROWTH: usize = 4;

/// Tokens that two pieces have to share at least: what a tokenizer puts before a text may pass for its first token.
const SURE_TOKENS: usize = 4;

/// Sizes of pieces in bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sizes {
    /// Of a piece, unless it has to grow.
    pub(super) piece: usize,
    /// Least distance from a cut to the end of its piece. The second half of it is not compared.
    pub(super) overlap: usize,
}

impl Sizes {
    /// The sizes for tokenizers that can be cut.
    pub(super) const CUT: Sizes = Sizes { piece: PIECE_BYTES, overlap: 2 << 10 };
    /// The sizes for tokenizers that encode each text at once.
    pub(super) const WHOLE: Sizes = Sizes { piece: usize::MAX, overlap: 0 };
}

/// A part of a text's encoding without special tokens, before its post-processing. Offsets count characters of the
/// whole text.
pub(super) struct Piece {
    /// Has tokens of the neighbouring pieces at both ends, so that a post-processor takes no token in `own` for the
    /// first of a text that is not.
    pub(super) encoded: Encoded,
    /// The tokens that belong to this piece. Those of all pieces are the tokens of the text.
    pub(super) own: Range<usize>,
}

/// Encodes a text piece by piece.
pub(super) struct Pieces<'a> {
    tokenizer: &'a Tokenizer,
    text: &'a str,
    /// Where the next piece starts, in bytes.
    start: usize,
    /// Characters before `start`.
    characters: usize,
    /// The next piece, if it was encoded to confirm the cut before it. Then its first token has been returned.
    ahead: Option<Encoded>,
    /// Pieces before `start` that have not been returned.
    ready: VecDeque<Piece>,
    /// Whether no piece begins at `start`.
    finished: bool,
}

/// A place to cut a piece.
#[derive(Clone, Copy)]
struct Cut {
    /// The first token after it.
    token: usize,
    /// The first character after it, counted in the whole text.
    character: usize,
    /// Tokens from it on that the end of the piece cannot change: the next piece must begin with the same.
    sure: usize,
}

impl<'a> Pieces<'a> {
    pub(super) fn new(tokenizer: &'a Tokenizer, text: &'a str) -> Pieces<'a> {
        let ready = VecDeque::new();
        Pieces { tokenizer, text, start: 0, characters: 0, ahead: None, ready, finished: false }
    }

    /// Returns whether all pieces have been returned.
    pub(super) fn finished(&self) -> bool {
        self.finished && self.ready.is_empty()
    }

    /// Encodes the next piece. `None` after the last one; a text has at least one piece.
    pub(super) fn next(&mut self) -> tokenizers::Result<Option<Piece>> {
        if self.ready.is_empty() && !self.finished {
            self.encode_row();
        }
        if let Some(piece) = self.ready.pop_front() {
            return Ok(Some(piece));
        }
        if self.finished {
            return Ok(None);
        }
        let mut bytes = self.tokenizer.sizes().piece;
        let (mut encoded, first) = match self.ahead.take() {
            Some(encoded) => (encoded, 1),
            None => (self.encode(self.start, self.characters, bytes)?, 0),
        };
        loop {
            let end = self.end(self.start, bytes);
            if end == self.text.len() {
                self.finished = true;
                let own = first..encoded.len();
                return Ok(Some(Piece { encoded, own }));
            }
            if let Some(token) = self.cut_words(&encoded, first, end) {
                return Ok(Some(Piece { encoded, own: first..token }));
            }
            if let Some(cut) = self.find_cut(&encoded, end)
                && self.confirm(cut, &encoded)?
            {
                return Ok(Some(Piece { encoded, own: first..cut.token + 1 }));
            }
            drop(encoded);
            bytes = bytes.saturating_mul(GROWTH);
            encoded = self.encode(self.start, self.characters, bytes)?;
        }
    }

    /// Moves to the last cut between words of a piece that ends at byte `end`, where the tokens on both sides are known
    /// to be those of the whole text. Returns the first token after it; `None`, and moves nowhere, unless that lies behind
    /// token `first`.
    fn cut_words(&mut self, encoded: &Encoded, first: usize, end: usize) -> Option<usize> {
        let bpe = self.tokenizer.bpe().filter(|_| encoded.words.is_empty())?;
        let cut = self.start + bpe.last_cut(&self.text[self.start..end])?;
        // The piece may have more characters than tokens, but what follows the cut is short.
        let behind = self.text[cut..end].chars().count();
        let characters = encoded.spans.last()?.end - behind;
        let token = encoded.spans.partition_point(|span| span.start < characters);
        if token <= first {
            return None;
        }
        (self.start, self.characters) = (cut, characters);
        Some(token)
    }

    /// Returns the end of a piece of at most so many bytes.
    fn end(&self, start: usize, bytes: usize) -> usize {
        self.floor(start.saturating_add(bytes))
    }

    /// Returns the last boundary of characters that is not after a byte.
    fn floor(&self, byte: usize) -> usize {
        let mut byte = byte.min(self.text.len());
        while !self.text.is_char_boundary(byte) {
            byte -= 1;
        }
        byte
    }

    /// Encodes a piece that starts at a byte with so many characters before it.
    fn encode(&self, start: usize, characters: usize, bytes: usize) -> tokenizers::Result<Encoded> {
        self.tokenizer.encode_alone(&self.text[start..self.end(start, bytes)], characters)
    }

    /// Finds the last good place to cut a piece that ends at byte `end`: before a single space between two letters
    /// or digits, else between words, else between tokens if the model is BPE.
    fn find_cut(&self, encoded: &Encoded, end: usize) -> Option<Cut> {
        let piece = &self.text[self.start..end];
        let characters = Characters::new(piece);
        let latest = self.character_before(end, self.tokenizer.sizes().overlap);
        let earliest = self.characters + (latest.checked_sub(self.characters)?).div_ceil(2).max(1);
        let Encoded { spans, words, .. } = encoded;
        let sure_end = self.character_before(end, self.tokenizer.sizes().overlap / 2);
        let sure = spans.iter().take_while(|span| span.end <= sure_end).count();
        let in_words = self.tokenizer.is_bpe();
        let [mut at_space, mut at_word, mut at_token] = [None; 3];
        let mut reach = self.characters;
        for (token, span) in spans.iter().enumerate() {
            let (before, from) = (reach, span.start);
            reach = reach.max(span.end);
            if from < before || before < earliest {
                continue;
            }
            if from > latest || token + SURE_TOKENS > sure {
                break;
            }
            let cut = Cut { token, character: from, sure: sure - token };
            if words.is_empty() || words[token] == words[token - 1] {
                at_token = Some(cut).filter(|_| in_words && from == before).or(at_token);
                continue;
            }
            at_word = Some(cut);
            let at = before - self.characters;
            let around = characters.slice(&(at - 1..at + 2));
            if from <= before + 1 && is_plain_space(around) {
                at_space = Some(Cut { character: before, ..cut });
            }
        }
        at_space.or(at_word).or(at_token)
    }

    /// Returns the characters of the text before the last `bytes` bytes of a piece that ends at byte `end`.
    fn character_before(&self, end: usize, bytes: usize) -> usize {
        let byte = self.floor(end.saturating_sub(bytes)).max(self.start);
        self.characters + self.text[self.start..byte].chars().count()
    }

    /// Encodes the piece after a cut and moves there if it begins with the tokens that are sure in the piece before.
    fn confirm(&mut self, cut: Cut, encoded: &Encoded) -> tokenizers::Result<bool> {
        let sure = cut.token..cut.token + cut.sure;
        let before = self.text[self.start..].chars().take(cut.character - self.characters);
        let start = self.start + before.map(char::len_utf8).sum::<usize>();
        let next = self.encode(start, cut.character, self.tokenizer.sizes().piece)?;
        let stands = next.ids.starts_with(&encoded.ids[sure.clone()])
            && next.spans.starts_with(&encoded.spans[sure]);
        if stands {
            (self.start, self.characters, self.ahead) = (start, cut.character, Some(next));
        }
        Ok(stands)
    }
}

/// Returns whether three characters are a space between letters or digits.
fn is_plain_space(around: &str) -> bool {
    let mut around = around.chars();
    let word = |character: Option<char>| character.is_some_and(char::is_alphanumeric);
    word(around.next()) && around.next() == Some(' ') && word(around.next())
}

/// Reads the tokens of a text until enough are known, and keeps those that an input may need.
pub(super) struct Reader<'a> {
    pieces: Pieces<'a>,
    /// The end that a truncation removes.
    cut_end: Option<TruncationDirection>,
    /// Upper limit on tokens to keep, at the end that stays; all of them without truncation.
    keep: usize,
    kept: Encoded,
    tokens: usize,
}

impl<'a> Reader<'a> {
    /// Returns a reader of a text for an input of at most `limit` tokens.
    pub(super) fn new(
        tokenizer: &'a Tokenizer,
        text: &'a str,
        limit: usize,
        cut_end: Option<TruncationDirection>,
    ) -> Reader<'a> {
        // One more: a post-processor may treat the first token of a text in another way.
        let keep = cut_end.map_or(usize::MAX, |_| limit.saturating_add(1));
        let kept = Encoded::default();
        Reader { pieces: Pieces::new(tokenizer, text), cut_end, keep, kept, tokens: 0 }
    }

    /// Returns the number of tokens read.
    pub(super) fn tokens(&self) -> usize {
        self.tokens
    }

    /// Returns whether the whole text has been read.
    pub(super) fn complete(&self) -> bool {
        self.pieces.finished()
    }

    /// Returns the tokens that were kept.
    pub(super) fn into_kept(self) -> Encoded {
        self.kept
    }

    /// Reads until there are more than `tokens` tokens or the text ends. The whole text if its beginning is removed.
    pub(super) fn read_past(&mut self, tokens: usize) -> Result<(), RequestError> {
        let whole = self.cut_end == Some(TruncationDirection::Left);
        while !self.complete() && (whole || self.tokens <= tokens) {
            self.read_piece()?;
        }
        Ok(())
    }

    /// Returns whether this text has more tokens than another. Reads no further than that takes.
    pub(super) fn is_longer_than(&mut self, other: &mut Reader<'_>) -> Result<bool, RequestError> {
        loop {
            match (self.complete(), other.complete()) {
                (true, true) => return Ok(self.tokens > other.tokens),
                (true, _) if other.tokens >= self.tokens => return Ok(false),
                (_, true) if self.tokens > other.tokens => return Ok(true),
                (false, true) => self.read_piece()?,
                (false, false) if self.tokens <= other.tokens => self.read_piece()?,
                _ => other.read_piece()?,
            }
        }
    }

    fn read_piece(&mut self) -> Result<(), RequestError> {
        let Some(Piece { encoded, own }) = self.pieces.next().map_err(invalid)? else {
            return Ok(());
        };
        self.tokens += own.len();
        let room = self.keep.saturating_sub(self.kept.len());
        let new = match self.cut_end {
            Some(TruncationDirection::Left) => own.end - own.len().min(self.keep)..own.end,
            _ => own.start..own.start + own.len().min(room),
        };
        self.kept.append(encoded, new);
        let end = self.kept.len();
        self.kept.keep(end.saturating_sub(self.keep)..end);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
