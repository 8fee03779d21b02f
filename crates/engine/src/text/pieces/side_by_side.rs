//! Pieces of a long text that are encoded at the same time, each on a thread of its own.
//!
//! [`Bpe::last_cut`] finds where a piece can end without encoding it, so all pieces are cut first. A piece that takes the
//! library ends the row: it and what follows are encoded one by one.

use std::num::NonZero;
use std::ops::Range;
use std::sync::LazyLock;
use std::thread::{self, Builder};

use super::{Piece, Pieces};
use crate::text::bpe::Bpe;
use crate::text::encoded::Encoded;

/// Upper limit on pieces of one text that are encoded at a time.
pub(super) const ROW: usize = 4;

/// [`ROW`], or the processors of this machine if there are fewer.
static THREADS: LazyLock<usize> =
    LazyLock::new(|| thread::available_parallelism().map_or(1, NonZero::get).min(ROW));

impl Pieces<'_> {
    /// Encodes the next pieces side by side, if there are several and the tokenizer is known well enough. Puts them into
    /// `ready`, and moves behind them.
    pub(super) fn encode_row(&mut self) {
        let rest = self.text.len() - self.start;
        let most = self.tokenizer.sizes().piece;
        let Some(bpe) = self.tokenizer.bpe().filter(|_| rest > most && self.ahead.is_none()) else {
            return;
        };
        // The last pieces of a text have about the same size, so that no thread waits long for another.
        let bytes = rest.div_ceil(*THREADS).clamp(most / 2, most);
        let row = self.cut_row(bpe, bytes);
        if row.len() < 2 {
            return;
        }
        for (piece, encoded) in row.iter().zip(encode_all(bpe, self.text, &row)) {
            let Some(encoded) = encoded else { return };
            let own = 0..encoded.len();
            self.ready.push_back(Piece { encoded, own });
            (self.start, self.characters) = (piece.bytes.end, piece.characters.end);
            self.finished = self.start == self.text.len();
        }
    }

    /// Cuts the next pieces, of at most so many bytes, without encoding them.
    fn cut_row(&self, bpe: &Bpe, bytes: usize) -> Vec<Stretch> {
        let mut row = Vec::with_capacity(*THREADS);
        let (mut start, mut characters) = (self.start, self.characters);
        while row.len() < *THREADS && start < self.text.len() {
            let end = self.end(start, bytes);
            let cut = match end == self.text.len() {
                true => Some(end),
                false => bpe.last_cut(&self.text[start..end]).map(|cut| start + cut),
            };
            let Some(cut) = cut.filter(|&cut| cut > start) else { break };
            let behind = characters + self.text[start..cut].chars().count();
            row.push(Stretch { bytes: start..cut, characters: characters..behind });
            (start, characters) = (cut, behind);
        }
        row
    }
}

/// A part of a text.
struct Stretch {
    bytes: Range<usize>,
    characters: Range<usize>,
}

/// Encodes parts of a text at the same time. `None` for one that takes the library.
fn encode_all(bpe: &Bpe, text: &str, row: &[Stretch]) -> Vec<Option<Encoded>> {
    let encode = |part: &Stretch| bpe.encode(&text[part.bytes.clone()], part.characters.start);
    let encode = &encode;
    thread::scope(|scope| {
        let (first, others) = row.split_at(1);
        let spawn = |part| Builder::new().spawn_scoped(scope, move || encode(part));
        let threads: Vec<_> = others.iter().map(spawn).collect();
        let first = first.iter().map(encode);
        let joined = others.iter().zip(threads).map(|(part, thread)| match thread {
            Ok(thread) => thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
            // The system has no thread to spare.
            Err(_) => encode(part),
        });
        first.chain(joined).collect()
    })
}
