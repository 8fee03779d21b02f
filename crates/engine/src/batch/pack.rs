//! Packing: sequences laid end to end, without padding.
//!
//! The batch is plain data. `cu_seqlens` (cumulative sequence lengths) holds where each sequence starts and
//! ends; positions count from each sequence's own start. A backend may run more rows than the batch has
//! (recorded CUDA graphs have fixed sizes, the CPU's products a least number of rows), but no result depends
//! on them. Handing the rows back to their sequences is [`super::rows`].

use super::rows::Rows;
use crate::pooling::Pooling;

/// Token ids of one request, and which rows it asks for.
#[derive(Debug, Clone, Copy)]
pub struct Sequence<'a> {
    /// Special tokens included; never empty.
    pub token_ids: &'a [u32],
    /// Which rows are returned.
    pub wants: &'a Rows,
}

/// Sequences packed for one forward pass. T is the number of their tokens.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PackedBatch {
    /// `[T]`.
    pub token_ids: Vec<u32>,
    /// `[T]`, each token's position in its own sequence.
    pub positions: Vec<u32>,
    /// [sequences + 1], starts at 0, ends at T.
    pub cu_seqlens: Vec<u32>,
    /// First row and number of rows of each mean that is asked for, in the order of the sequences.
    pub segments: Vec<(u32, u32)>,
    /// Rows asked for by position, in the order of the sequences.
    pub mask_rows: Vec<u32>,
    /// Rows from the first to the last sequence that asks for [`Rows::Hidden`], those in between included.
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

    /// Returns T, the tokens of all sequences.
    pub fn tokens(&self) -> usize {
        self.token_ids.len()
    }

    /// Returns the number of sequences.
    pub fn sequences(&self) -> usize {
        self.cu_seqlens.len() - 1
    }

    /// Iterates over the rows of each sequence.
    pub fn spans(&self) -> impl Iterator<Item = std::ops::Range<usize>> + '_ {
        self.cu_seqlens.windows(2).map(|pair| pair[0] as usize..pair[1] as usize)
    }
}
