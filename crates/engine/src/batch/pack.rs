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
    /// First row and number of rows of each mean that is asked for: in ascending order of the layers before it, those
    /// after the last layer at the end, and of one depth in the order of the sequences.
    pub segments: Vec<(u32, u32)>,
    /// The segments that are pooled before the last layer.
    pub exits: Vec<Exit>,
    /// Layers that run; `None` for all.
    pub layers: Option<usize>,
    /// Rows asked for by position, in the order of the sequences.
    pub mask_rows: Vec<u32>,
    /// Rows from the first to the last sequence that asks for [`Rows::Hidden`], those in between included.
    pub hidden_rows: std::ops::Range<u32>,
}

/// Segments that are pooled after some of the layers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exit {
    /// Layers that have run.
    pub layers: usize,
    /// Of [`PackedBatch::segments`].
    pub segments: std::ops::Range<usize>,
}

impl PackedBatch {
    /// Lays the sequences end to end in the order given.
    pub fn pack<'a>(sequences: impl IntoIterator<Item = Sequence<'a>>) -> PackedBatch {
        let mut batch = PackedBatch { cu_seqlens: vec![0], ..PackedBatch::default() };
        let mut pooled = Vec::new();
        let mut layers = Some(0);
        for Sequence { token_ids, wants } in sequences {
            let start = batch.token_ids.len() as u32;
            let len = token_ids.len() as u32;
            batch.token_ids.extend_from_slice(token_ids);
            batch.positions.extend(0..len);
            batch.cu_seqlens.push(start + len);
            layers = wants.layers().zip(layers).map(|(own, most)| own.max(most));
            match wants {
                Rows::Pooled(pooling) | Rows::Exit { pooling, .. } => {
                    let rows = if *pooling == Pooling::Mean { len } else { 1 };
                    pooled.push((wants.depth(), (start, rows)));
                }
                Rows::At(positions) => batch.mask_rows.extend(positions.iter().map(|p| start + p)),
                Rows::All => {}
                Rows::Hidden => {
                    let rows = &mut batch.hidden_rows;
                    let from = if rows.start < rows.end { rows.start } else { start };
                    *rows = from..start + len;
                }
            }
        }
        batch.layers = layers.filter(|&layers| layers > 0);
        pooled.sort_by_key(|&(depth, _)| depth);
        for of_depth in pooled.chunk_by(|a, b| a.0 == b.0) {
            let first = batch.segments.len();
            batch.segments.extend(of_depth.iter().map(|&(_, segment)| segment));
            if let Some(layers) =
                of_depth.first().map(|of| of.0).filter(|&depth| depth != usize::MAX)
            {
                batch.exits.push(Exit { layers, segments: first..batch.segments.len() });
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
