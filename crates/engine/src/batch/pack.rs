//! Packing: sequences laid end to end, without padding.
//!
//! The batch is plain data. `cu_seqlens` (cumulative sequence lengths) tells where each sequence starts
//! and ends; positions count from each sequence's own start. Cost follows real tokens only.

use crate::pooling::Pooling;

/// Token ids of one request, and what is wanted from its hidden states.
#[derive(Debug, Clone, Copy)]
pub struct Sequence<'a> {
    /// Special tokens included; never empty.
    pub token_ids: &'a [u32],
    /// Which rows are read out.
    pub wants: &'a Rows,
}

/// Which rows of a sequence's final hidden states go on to a head or out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rows {
    /// The mean of all of them, or the first: one row.
    Pooled(Pooling),
    /// Those at these positions.
    At(Vec<u32>),
    /// Every one, through the head.
    All,
    /// Every one, as it is.
    Hidden,
}

/// Sequences packed for one forward pass.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PackedBatch {
    /// `[T]`.
    pub token_ids: Vec<u32>,
    /// `[T]`, each token's position in its own sequence.
    pub positions: Vec<u32>,
    /// [sequences + 1], starts at 0, ends at T.
    pub cu_seqlens: Vec<u32>,
    /// First row and number of rows of each mean that is asked for, in request order.
    pub segments: Vec<(u32, u32)>,
    /// Rows asked for by position, in request order.
    pub mask_rows: Vec<u32>,
    /// From the first to the last of the sequences that want every row as it is, with what lies between.
    pub hidden_rows: std::ops::Range<u32>,
}

impl PackedBatch {
    /// Lays the sequences end to end in the order given.
    pub fn pack<'a>(sequences: impl IntoIterator<Item = Sequence<'a>>) -> PackedBatch {
        let mut batch = PackedBatch { cu_seqlens: vec![0], ..PackedBatch::default() };
        for Sequence { token_ids, wants } in sequences {
            let start = batch.token_ids.len() as u32;
            let len = token_ids.len() as u32;
            batch.token_ids.extend_from_slice(token_ids);
            batch.positions.extend(0..len);
            batch.cu_seqlens.push(start + len);
            match wants {
                Rows::Pooled(Pooling::Mean) => batch.segments.push((start, len)),
                Rows::Pooled(Pooling::Cls) => batch.segments.push((start, 1)),
                Rows::At(positions) => batch.mask_rows.extend(positions.iter().map(|p| start + p)),
                Rows::All => {}
                Rows::Hidden => {
                    let rows = &mut batch.hidden_rows;
                    let from = if rows.start < rows.end { rows.start } else { start };
                    *rows = from..start + len;
                }
            }
        }
        batch
    }

    /// Tokens of all sequences.
    pub fn tokens(&self) -> usize {
        self.token_ids.len()
    }

    /// Number of sequences.
    pub fn sequences(&self) -> usize {
        self.cu_seqlens.len() - 1
    }

    /// First row and end row of each sequence.
    pub fn spans(&self) -> impl Iterator<Item = std::ops::Range<usize>> + '_ {
        self.cu_seqlens.windows(2).map(|pair| pair[0] as usize..pair[1] as usize)
    }
}
