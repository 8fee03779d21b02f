//! Rows: those that each sequence asks for, those that a forward pass returns, and the way back to sequences.
//!
//! [`PackedBatch::pack`] lists the rows that the sequences ask for, a model's head computes those that its
//! [`RowLayout`] counts, and [`RowLayout::split`] hands each sequence its own. The three agree on one order:
//! that of the sequences in the batch. The values of the rows are the forward pass's
//! ([`crate::model::modernbert::forward`]); what is read from them is [`crate::Task::answer`]'s.

use std::ops::Range;

use super::pack::{PackedBatch, Sequence};
use crate::pooling::Pooling;

/// The rows of a sequence's final hidden states that are read: through a head, or as they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rows {
    /// One row: the mean of all of them, or the first.
    Pooled(Pooling),
    /// The rows at these positions of the sequence, through the head.
    At(Vec<u32>),
    /// Every row, through the head.
    All,
    /// Every row, as it is.
    Hidden,
}

impl Rows {
    /// Returns the number of rows asked for by position: what [`Limits::max_masks`](super::Limits::max_masks)
    /// bounds.
    pub fn masks(&self) -> usize {
        match self {
            Rows::At(positions) => positions.len(),
            Rows::Pooled(_) | Rows::All | Rows::Hidden => 0,
        }
    }
}

/// Which rows of a packed batch a head computes logits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogitRows {
    /// None: the model has no head.
    None,
    /// One row per pooled sequence.
    Segments,
    /// One row per token.
    Tokens,
    /// One row per position asked for.
    Masks,
}

impl LogitRows {
    /// Returns the number of rows for a batch of these sizes.
    pub fn count(self, tokens: usize, segments: usize, masks: usize) -> usize {
        match self {
            LogitRows::None => 0,
            LogitRows::Segments => segments,
            LogitRows::Tokens => tokens,
            LogitRows::Masks => masks,
        }
    }
}

/// The shape of what a model returns for a batch: widths of its rows, and which rows become logits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowLayout {
    /// Which rows the head reads.
    pub logit_rows: LogitRows,
    /// Elements of a hidden state.
    pub hidden_size: usize,
    /// Elements of a row of logits; 0 without a head.
    pub outputs: usize,
}

/// The rows that a model returns for one batch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RowCounts {
    /// Rows of [`OutputRows::pooled`].
    pub pooled: usize,
    /// Rows of [`OutputRows::logits`].
    pub logits: usize,
    /// The rows of the packed batch that [`OutputRows::hidden`] holds.
    pub hidden: Range<usize>,
}

/// The rows that a model returned for one batch, row-major.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct OutputRows {
    /// [segments, hidden]: base and masked-LM models.
    pub pooled: Vec<f32>,
    /// [segments, labels], [T, labels] or [mask rows, vocab], by the model's head.
    pub logits: Vec<f32>,
    /// [rows, hidden] of [`PackedBatch::hidden_rows`].
    pub hidden: Vec<f32>,
}

impl RowLayout {
    /// Whether hidden states are an answer: they are unless the head is a classifier.
    fn returns_hidden_states(&self) -> bool {
        matches!(self.logit_rows, LogitRows::None | LogitRows::Masks)
    }

    /// Counts the rows that the model returns for `batch`.
    pub fn counts(&self, batch: &PackedBatch) -> RowCounts {
        let (segments, masks) = (batch.segments.len(), batch.mask_rows.len());
        let logits = self.logit_rows.count(batch.tokens(), segments, masks);
        if !self.returns_hidden_states() {
            return RowCounts { logits, ..RowCounts::default() };
        }
        let hidden = batch.hidden_rows.start as usize..batch.hidden_rows.end as usize;
        RowCounts { pooled: segments, logits, hidden }
    }

    /// Returns each sequence's own rows, one slice per sequence: the inverse of [`PackedBatch::pack`].
    /// `sequences` are the packed ones in the order in which they were packed.
    ///
    /// # Panics
    /// If `rows` holds fewer rows than [`RowLayout::counts`] says for these sequences.
    pub fn split<'rows, 'ids>(
        &self,
        sequences: impl IntoIterator<Item = Sequence<'ids>>,
        rows: &'rows OutputRows,
    ) -> Vec<&'rows [f32]> {
        let (mut pooled, mut logits, mut hidden) =
            (&rows.pooled[..], &rows.logits[..], &rows.hidden[..]);
        // `hidden` starts with the first sequence that asks for it, and has all that follow it up to the last.
        let mut hidden_started = false;
        let mut own_rows = |Sequence { token_ids, wants }: Sequence<'ids>| {
            hidden_started |= *wants == Rows::Hidden;
            let states = if hidden_started { token_ids.len() * self.hidden_size } else { 0 };
            let states = states.min(hidden.len());
            let states = take(&mut hidden, states);
            match wants {
                Rows::Pooled(_) if self.returns_hidden_states() => {
                    take(&mut pooled, self.hidden_size)
                }
                Rows::Pooled(_) => take(&mut logits, self.outputs),
                Rows::At(positions) => take(&mut logits, positions.len() * self.outputs),
                Rows::All => take(&mut logits, token_ids.len() * self.outputs),
                Rows::Hidden => states,
            }
        };
        sequences.into_iter().map(&mut own_rows).collect()
    }
}

/// Cuts the first `count` elements off.
fn take<'rows>(rows: &mut &'rows [f32], count: usize) -> &'rows [f32] {
    let (taken, rest) = rows.split_at(count);
    *rows = rest;
    taken
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Different widths, so that a row taken from the wrong matrix is of the wrong length.
    const HIDDEN: usize = 2;
    const OUTPUTS: usize = 3;

    #[derive(Debug, Clone)]
    struct Request {
        token_ids: Vec<u32>,
        rows: Rows,
    }

    impl Request {
        fn sequence(&self) -> Sequence<'_> {
            Sequence { token_ids: &self.token_ids, wants: &self.rows }
        }

        /// (first token, tokens) of each row that this request asks for.
        fn expected(&self) -> Vec<(u32, u32)> {
            let one = |&id: &u32| (id, 1);
            match &self.rows {
                Rows::Pooled(Pooling::Mean) => {
                    vec![(self.token_ids[0], self.token_ids.len() as u32)]
                }
                Rows::Pooled(Pooling::Cls) => vec![(self.token_ids[0], 1)],
                Rows::At(positions) => {
                    positions.iter().map(|&at| one(&self.token_ids[at as usize])).collect()
                }
                Rows::All | Rows::Hidden => self.token_ids.iter().map(one).collect(),
            }
        }
    }

    /// Requests that a head with these logits can answer, in any mix. Token ids are unique over all requests:
    /// an id is the identity of its sequence and row.
    fn requests(logit_rows: LogitRows) -> impl Strategy<Value = Vec<Request>> {
        let pooled = prop_oneof![Just(Pooling::Mean), Just(Pooling::Cls)].prop_map(Rows::Pooled);
        let positions = prop::collection::vec(any::<prop::sample::Index>(), 1..5);
        let request = (1usize..7, 0..3, pooled, positions).prop_map(
            move |(tokens, choice, pooled, positions)| {
                let rows = match (logit_rows, choice) {
                    (LogitRows::Tokens, _) => Rows::All,
                    (LogitRows::None | LogitRows::Masks, 0) => Rows::Hidden,
                    (LogitRows::Masks, 1) => {
                        Rows::At(positions.iter().map(|at| at.index(tokens) as u32).collect())
                    }
                    _ => pooled,
                };
                (tokens, rows)
            },
        );
        prop::collection::vec(request, 0..9).prop_map(|requests| {
            let mut ids = 1000..;
            let request =
                |(tokens, rows)| Request { token_ids: ids.by_ref().take(tokens).collect(), rows };
            requests.into_iter().map(request).collect()
        })
    }

    fn any_head() -> impl Strategy<Value = (LogitRows, Vec<Request>)> {
        let heads =
            [LogitRows::None, LogitRows::Segments, LogitRows::Tokens, LogitRows::Masks].to_vec();
        prop::sample::select(heads).prop_flat_map(|head| (Just(head), requests(head)))
    }

    /// Row `row` of a batch as a model returns it: (first token, tokens), repeated up to `width`.
    fn fill(width: usize, (first, tokens): (u32, u32)) -> impl Iterator<Item = f32> {
        [first as f32, tokens as f32].into_iter().cycle().take(width)
    }

    /// The rows of a model that returns each token's id: it sees the batch, not the requests.
    fn model(layout: RowLayout, batch: &PackedBatch) -> OutputRows {
        let token = |row: u32| (batch.token_ids[row as usize], 1);
        let segments: Vec<(u32, u32)> = batch
            .segments
            .iter()
            .map(|&(first, rows)| (batch.token_ids[first as usize], rows))
            .collect();
        let logits: Vec<(u32, u32)> = match layout.logit_rows {
            LogitRows::None => Vec::new(),
            LogitRows::Segments => segments.clone(),
            LogitRows::Tokens => (0..batch.tokens() as u32).map(token).collect(),
            LogitRows::Masks => batch.mask_rows.iter().map(|&row| token(row)).collect(),
        };
        let counts = layout.counts(batch);
        let hidden: Vec<(u32, u32)> = counts.hidden.map(|row| token(row as u32)).collect();
        let matrix = |rows: &[(u32, u32)], count: usize, width: usize| -> Vec<f32> {
            rows[..count].iter().flat_map(|&row| fill(width, row)).collect()
        };
        OutputRows {
            pooled: matrix(&segments, counts.pooled, HIDDEN),
            logits: matrix(&logits, counts.logits, OUTPUTS),
            hidden: matrix(&hidden, hidden.len(), HIDDEN),
        }
    }

    proptest! {
        #[test]
        fn every_request_gets_its_own_rows_back((logit_rows, requests) in any_head()) {
            let layout = RowLayout { logit_rows, hidden_size: HIDDEN, outputs: OUTPUTS };
            let batch = PackedBatch::pack(requests.iter().map(Request::sequence));
            let rows = model(layout, &batch);
            let own = layout.split(requests.iter().map(Request::sequence), &rows);
            prop_assert_eq!(own.len(), requests.len());
            for (request, own) in requests.iter().zip(own) {
                let through_head = match request.rows {
                    Rows::Pooled(_) => logit_rows == LogitRows::Segments,
                    Rows::At(_) | Rows::All => true,
                    Rows::Hidden => false,
                };
                let width = if through_head { OUTPUTS } else { HIDDEN };
                let expected: Vec<f32> =
                    request.expected().into_iter().flat_map(|row| fill(width, row)).collect();
                prop_assert_eq!(own, &expected[..], "{:?}", request);
            }
        }
    }
}
