//! Rows: those that each sequence asks for, those that a forward pass returns, and the way back to sequences.
//!
//! [`PackedBatch::pack`] lists the rows that the sequences ask for, a model's head computes those that its
//! [`RowLayout`] counts, and [`RowLayout::split`] hands each sequence its own. The three agree on one order:
//! that of the sequences in the batch, but pooled rows are first in order of the layers before them. The values of the rows are the forward pass's
//! ([`crate::model::modernbert::forward`]); what is read from them is [`crate::Task::answer`]'s.

use std::collections::BTreeMap;
use std::ops::Range;

use super::pack::{PackedBatch, Sequence};
use crate::pooling::Pooling;

/// The rows of a sequence's final hidden states that are read: through a head, or as they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rows {
    /// One row: the mean of all of them, or the first.
    Pooled(Pooling),
    /// The same of the hidden states after the first layers: an answer of a model without a head on the device.
    Exit {
        /// Layers that have run.
        layers: usize,
        /// Which row.
        pooling: Pooling,
    },
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
            Rows::Pooled(_) | Rows::Exit { .. } | Rows::All | Rows::Hidden => 0,
        }
    }

    /// Returns the layers that the rows need; `None` for all.
    pub fn layers(&self) -> Option<usize> {
        match self {
            Rows::Exit { layers, .. } => Some(*layers),
            Rows::Pooled(_) | Rows::At(_) | Rows::All | Rows::Hidden => None,
        }
    }

    /// Returns the pooling, if one pooled row is asked for.
    pub(super) fn pooling(&self) -> Option<Pooling> {
        match self {
            Rows::Pooled(pooling) | Rows::Exit { pooling, .. } => Some(*pooling),
            Rows::At(_) | Rows::All | Rows::Hidden => None,
        }
    }

    /// Orders pooled rows by the layers before them, those after the last layer at the end.
    pub(super) fn depth(&self) -> usize {
        self.layers().unwrap_or(usize::MAX)
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
    /// [segments, hidden], in the order of [`PackedBatch::segments`]: models without a head on the device, and masked-LM
    /// models.
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
        let sequences: Vec<Sequence<'ids>> = sequences.into_iter().collect();
        let mut pooled = PooledRows::new(&sequences);
        let (mut logits, mut hidden) = (&rows.logits[..], &rows.hidden[..]);
        // `hidden` starts with the first sequence that asks for it, and has all that follow it up to the last.
        let mut hidden_started = false;
        let mut own_rows = |Sequence { token_ids, wants }: Sequence<'ids>| {
            hidden_started |= *wants == Rows::Hidden;
            let states = if hidden_started { token_ids.len() * self.hidden_size } else { 0 };
            let states = states.min(hidden.len());
            let states = take(&mut hidden, states);
            match wants {
                Rows::Pooled(_) | Rows::Exit { .. } if self.returns_hidden_states() => {
                    let row = pooled.next(wants);
                    &rows.pooled[row * self.hidden_size..][..self.hidden_size]
                }
                Rows::Exit { .. } => &[],
                Rows::Pooled(_) => take(&mut logits, self.outputs),
                Rows::At(positions) => take(&mut logits, positions.len() * self.outputs),
                Rows::All => take(&mut logits, token_ids.len() * self.outputs),
                Rows::Hidden => states,
            }
        };
        sequences.into_iter().map(&mut own_rows).collect()
    }
}

/// Finds the pooled row of each sequence: rows are in order of the layers before them, then in that of the sequences.
struct PooledRows {
    /// The next row of each depth.
    next: BTreeMap<usize, usize>,
}

impl PooledRows {
    fn new(sequences: &[Sequence<'_>]) -> PooledRows {
        let mut next: BTreeMap<usize, usize> = BTreeMap::new();
        for Sequence { wants, .. } in sequences.iter().filter(|one| one.wants.pooling().is_some()) {
            *next.entry(wants.depth()).or_default() += 1;
        }
        let mut before = 0;
        for rows in next.values_mut() {
            before += std::mem::replace(rows, before);
        }
        PooledRows { next }
    }

    fn next(&mut self, wants: &Rows) -> usize {
        let next = self.next.entry(wants.depth()).or_default();
        *next += 1;
        *next - 1
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
    /// Added to the tokens of a row per layer before it, so that a row of another exit is another row.
    const LAYER: u32 = 100;

    #[derive(Debug, Clone)]
    struct Request {
        token_ids: Vec<u32>,
        rows: Rows,
    }

    impl Request {
        fn sequence(&self) -> Sequence<'_> {
            Sequence { token_ids: &self.token_ids, wants: &self.rows }
        }

        /// (first token, tokens and the layers before them) of each row that this request asks for.
        fn expected(&self) -> Vec<(u32, u32)> {
            let one = |&id: &u32| (id, 1);
            match &self.rows {
                Rows::Pooled(pooling) | Rows::Exit { pooling, .. } => {
                    let tokens = match pooling {
                        Pooling::Mean => self.token_ids.len() as u32,
                        Pooling::Cls => 1,
                    };
                    let layers = self.rows.layers().map_or(0, |layers| layers as u32);
                    vec![(self.token_ids[0], tokens + LAYER * layers)]
                }
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
        let pooling = prop_oneof![Just(Pooling::Mean), Just(Pooling::Cls)];
        let positions = prop::collection::vec(any::<prop::sample::Index>(), 1..5);
        let request = (1usize..7, 0..4, pooling, positions, 1usize..4).prop_map(
            move |(tokens, choice, pooling, positions, layers)| {
                let rows = match (logit_rows, choice) {
                    (LogitRows::Tokens, _) => Rows::All,
                    (LogitRows::None | LogitRows::Masks, 0) => Rows::Hidden,
                    (LogitRows::Masks, 1) => {
                        Rows::At(positions.iter().map(|at| at.index(tokens) as u32).collect())
                    }
                    (LogitRows::None | LogitRows::Masks, 2) => Rows::Exit { layers, pooling },
                    _ => Rows::Pooled(pooling),
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
        let layers = |at: usize| {
            let exit = batch.exits.iter().find(|exit| exit.segments.contains(&at));
            exit.map_or(0, |exit| exit.layers as u32)
        };
        let segment = |(at, &(first, rows)): (usize, &(u32, u32))| {
            (batch.token_ids[first as usize], rows + LAYER * layers(at))
        };
        let segments: Vec<(u32, u32)> = batch.segments.iter().enumerate().map(segment).collect();
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
            let deepest = requests.iter().map(|request| request.rows.depth()).max();
            prop_assert_eq!(batch.layers, deepest.filter(|&depth| depth != usize::MAX));
            for (request, own) in requests.iter().zip(own) {
                let through_head = match request.rows {
                    Rows::Pooled(_) => logit_rows == LogitRows::Segments,
                    Rows::At(_) | Rows::All => true,
                    Rows::Exit { .. } | Rows::Hidden => false,
                };
                let width = if through_head { OUTPUTS } else { HIDDEN };
                let expected: Vec<f32> =
                    request.expected().into_iter().flat_map(|row| fill(width, row)).collect();
                prop_assert_eq!(own, &expected[..], "{:?}", request);
            }
        }
    }
}
