//! The lists that describe a batch to the kernels, copied to the device in one piece: ids, positions,
//! segments, rows and attention's work lists.
//!
//! The lists lie one after another, as long as the batch needs them. For a recorded graph, ids, positions and
//! tiles are padded to the graph's sizes, so that it finds them at the addresses that it was recorded with.
//! On the host two pinned buffers take turns: the next batch is written while the copy of the last one may be
//! pending. The way back is in [`super::outputs`].

use std::ops::Range;
use std::sync::Arc;

use cudarc::driver::result;

use super::driver::device::{DeviceContext, Event, Stream};
use super::driver::fault::CallContext;
use super::driver::memory::PinnedBuffer;
use super::kernels::ATTENTION_ROWS;
use super::kernels::worklist::{self, NO_TILE, Tile};
use crate::backend::Layout;
use crate::batch::PackedBatch;
use crate::error::DeviceError;

/// Limits of one batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchLimits {
    /// Tokens of all sequences.
    pub tokens: usize,
    /// Sequences, and segments.
    pub sequences: usize,
    /// Rows requested by their position.
    pub masks: usize,
    /// Tokens of one sequence: the positions of the rotary tables.
    pub positions: usize,
}

/// Limit of a launch grid's second dimension, which counts tiles and segments.
const MAX_GRID_Y: usize = 65535;

/// Returns the bytes of the arena for the lists of any batch within `limits`.
pub fn input_bytes(limits: BatchLimits) -> usize {
    ListOffsets::new(&limits.sizes()).bytes
}

impl BatchLimits {
    fn sizes(&self) -> ListSizes {
        ListSizes {
            tokens: self.tokens,
            full_tiles: worklist::max_tiles(self.tokens, self.sequences, ATTENTION_ROWS),
            window_tiles: worklist::max_tiles(self.tokens, self.sequences, ATTENTION_ROWS),
            segments: self.sequences,
            rows: self.masks,
        }
    }
}

/// Number of entries of each list.
#[derive(Debug, Clone, Copy)]
struct ListSizes {
    tokens: usize,
    full_tiles: usize,
    window_tiles: usize,
    segments: usize,
    rows: usize,
}

/// Offset of each list from the start of the inputs. The lists that a graph reads come first.
#[derive(Debug, Clone, Copy)]
struct ListOffsets {
    ids: usize,
    positions: usize,
    longest_first: usize,
    packed_order: usize,
    bounds: usize,
    pairs: usize,
    rows: usize,
    bytes: usize,
}

impl ListOffsets {
    fn new(sizes: &ListSizes) -> ListOffsets {
        let mut layout = Layout::default();
        ListOffsets {
            ids: layout.place(4 * sizes.tokens),
            positions: layout.place(4 * sizes.tokens),
            longest_first: layout.place(size_of::<Tile>() * sizes.full_tiles),
            packed_order: layout.place(size_of::<Tile>() * sizes.window_tiles),
            bounds: layout.place(8 * sizes.segments),
            pairs: layout.place(4 * sizes.segments),
            rows: layout.place(4 * sizes.rows),
            bytes: layout.bytes(),
        }
    }
}

/// Device addresses of one batch's lists.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lists {
    /// [T] i32.
    pub(super) ids: u64,
    /// [T] i32.
    pub(super) positions: u64,
    /// Work list of full attention.
    pub(super) longest_first: u64,
    /// Work list of windowed attention.
    pub(super) packed_order: u64,
    /// First and end row of each segment.
    pub(super) bounds: u64,
    /// 0, 2, 4, ..: the index of each segment's pair in `bounds`.
    pub(super) pairs: u64,
    /// Rows requested by their position.
    pub(super) rows: u64,
    /// Entries of `ids` and of the work lists, padding included.
    pub(super) sizes: Padding,
}

/// A pinned buffer, and the event of the last copy from it.
struct Staging {
    host: PinnedBuffer,
    copied: Event,
}

/// Both sides: pinned buffers on the host, a part of the arena on the device.
pub(super) struct Inputs {
    device: Arc<DeviceContext>,
    limits: BatchLimits,
    /// Queries per tile of full and of windowed attention.
    tile_rows: (usize, usize),
    address: u64,
    staging: [Staging; 2],
    turn: usize,
    tiles: [Vec<Tile>; 2],
}

impl Inputs {
    /// Allocates the pinned buffers. At `address` lie [`input_bytes`] of the arena.
    pub(super) fn new(
        device: &Arc<DeviceContext>,
        limits: BatchLimits,
        tile_rows: (usize, usize),
        address: u64,
    ) -> Result<Inputs, DeviceError> {
        let staging = || {
            let host = PinnedBuffer::new(device, input_bytes(limits))?;
            Ok(Staging { host, copied: Event::new(device, false)? })
        };
        let staging = [staging()?, staging()?];
        let (device, tiles) = (device.clone(), Default::default());
        Ok(Inputs { device, limits, tile_rows, address, staging, turn: 0, tiles })
    }

    /// Returns the queries per tile of full and of windowed attention.
    pub(super) fn tile_rows(&self) -> (usize, usize) {
        self.tile_rows
    }

    /// Returns the limits that were planned for.
    pub(super) fn limits(&self) -> BatchLimits {
        self.limits
    }

    /// Writes the batch's lists and enqueues their copy. `padding` extends ids and tiles to the sizes of a
    /// recorded graph, with token 0 and tiles without queries. A batch with more tiles than the graph has is
    /// not padded; the returned [`Lists::sizes`] are then the batch's own.
    pub(super) fn send(
        &mut self,
        stream: &Stream,
        batch: &PackedBatch,
        padding: Option<Padding>,
    ) -> Result<Lists, DeviceError> {
        self.check(batch)?;
        let [longest_first, packed_order] = &mut self.tiles;
        longest_first.clear();
        packed_order.clear();
        worklist::longest_first(&batch.cu_seqlens, self.tile_rows.0, longest_first);
        worklist::packed_order(&batch.cu_seqlens, self.tile_rows.1, packed_order);
        let own = Padding {
            tokens: batch.tokens(),
            full_tiles: longest_first.len(),
            window_tiles: packed_order.len(),
        };
        let padded = padding.filter(|padding| padding.holds(own)).unwrap_or(own);
        longest_first.resize(padded.full_tiles, NO_TILE);
        packed_order.resize(padded.window_tiles, NO_TILE);

        let sizes = ListSizes {
            tokens: padded.tokens,
            full_tiles: padded.full_tiles,
            window_tiles: padded.window_tiles,
            segments: batch.segments.len(),
            rows: batch.mask_rows.len(),
        };
        let offsets = ListOffsets::new(&sizes);
        self.turn = 1 - self.turn;
        let staging = &mut self.staging[self.turn];
        staging.copied.wait()?;
        let host = &mut staging.host.as_mut_slice()[..offsets.bytes];
        write_lists(host, &offsets, &sizes, batch, [longest_first, packed_order]);
        // SAFETY: the arena has at least this many bytes at `address`, and the pinned buffer is not written
        // again before `copied` is reached.
        unsafe { result::memcpy_htod_async(self.address, host, stream.handle()) }
            .context(self.device.label(), "cuMemcpyHtoDAsync")?;
        staging.copied.record(stream)?;
        Ok(self.lists(&offsets, padded))
    }

    /// Returns the tiles of full attention over these rows of the batch that was sent last, counted in the order of the work
    /// list. A tile belongs where its first row is.
    pub(super) fn full_tiles(&self, rows: Range<usize>) -> Range<usize> {
        worklist::tiles_of_rows(&self.tiles[0], self.tile_rows.0, rows)
    }

    /// Returns the addresses of the lists for a graph of this size.
    pub(super) fn lists_of(&self, padding: Padding) -> Lists {
        let Padding { tokens, full_tiles, window_tiles } = padding;
        let sizes = ListSizes { tokens, full_tiles, window_tiles, segments: 0, rows: 0 };
        self.lists(&ListOffsets::new(&sizes), padding)
    }

    fn lists(&self, offsets: &ListOffsets, sizes: Padding) -> Lists {
        let at = |offset: usize| self.address + offset as u64;
        Lists {
            ids: at(offsets.ids),
            positions: at(offsets.positions),
            longest_first: at(offsets.longest_first),
            packed_order: at(offsets.packed_order),
            bounds: at(offsets.bounds),
            pairs: at(offsets.pairs),
            rows: at(offsets.rows),
            sizes,
        }
    }

    fn check(&self, batch: &PackedBatch) -> Result<(), DeviceError> {
        let BatchLimits { tokens, sequences, masks, positions } = self.limits;
        let longest = batch.spans().map(|span| span.len()).max().unwrap_or(0);
        let within = batch.tokens() <= tokens
            && batch.sequences() <= sequences
            && batch.segments.len() <= sequences.min(MAX_GRID_Y)
            && batch.mask_rows.len() <= masks
            && longest <= positions
            && worklist::max_tiles(batch.tokens(), batch.sequences(), ATTENTION_ROWS) <= MAX_GRID_Y;
        if within {
            return Ok(());
        }
        Err(DeviceError::Call {
            device: self.device.label().into(),
            call: "begin",
            reason: format!(
                "a batch of {} tokens in {} sequences of at most {longest} with {} segments and {} rows \
                 exceeds the planned {:?}",
                batch.tokens(),
                batch.sequences(),
                batch.segments.len(),
                batch.mask_rows.len(),
                self.limits
            ),
        })
    }
}

/// Numbers of rows and tiles that launches cover, a recorded graph's padding included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Padding {
    pub(super) tokens: usize,
    pub(super) full_tiles: usize,
    pub(super) window_tiles: usize,
}

impl Padding {
    fn holds(self, batch: Padding) -> bool {
        batch.tokens <= self.tokens
            && batch.full_tiles <= self.full_tiles
            && batch.window_tiles <= self.window_tiles
    }
}

/// Writes all lists, full attention's tiles first.
fn write_lists(
    host: &mut [u8],
    offsets: &ListOffsets,
    sizes: &ListSizes,
    batch: &PackedBatch,
    tiles: [&[Tile]; 2],
) {
    write(host, offsets.ids, batch.token_ids.iter().copied(), sizes.tokens);
    write(host, offsets.positions, batch.positions.iter().copied(), sizes.tokens);
    for (offset, tiles) in [offsets.longest_first, offsets.packed_order].into_iter().zip(tiles) {
        let words = tiles.as_flattened().iter().map(|&word| word as u32);
        write(host, offset, words, 4 * tiles.len());
    }
    let bounds = batch.segments.iter().flat_map(|&(first, rows)| [first, first + rows]);
    write(host, offsets.bounds, bounds, 2 * sizes.segments);
    write(host, offsets.pairs, (0..).step_by(2), sizes.segments);
    write(host, offsets.rows, batch.mask_rows.iter().copied(), sizes.rows);
}

/// Writes `count` little-endian words at `offset`: those of `words`, then zeros.
fn write(host: &mut [u8], offset: usize, words: impl Iterator<Item = u32>, count: usize) {
    let target = &mut host[offset..][..4 * count];
    for (slot, word) in target.chunks_exact_mut(4).zip(words.chain(std::iter::repeat(0))) {
        slot.copy_from_slice(&word.to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_do_not_overlap() {
        let limits = BatchLimits { tokens: 1000, sequences: 7, masks: 64, positions: 1000 };
        let sizes = limits.sizes();
        let p = ListOffsets::new(&sizes);
        let mut regions = [
            (p.ids, 4000),
            (p.positions, 4000),
            (p.longest_first, 16 * sizes.full_tiles),
            (p.packed_order, 16 * sizes.window_tiles),
            (p.bounds, 56),
            (p.pairs, 28),
            (p.rows, 256),
        ];
        regions.sort_unstable();
        for pair in regions.windows(2) {
            assert!(pair[0].0 + pair[0].1 <= pair[1].0);
        }
        assert!(p.rows + 256 <= p.bytes && p.bytes == input_bytes(limits));
    }

    #[test]
    fn words_are_little_endian_and_padded_with_zeros() {
        let mut host = [7u8; 16];
        write(&mut host, 4, [0x0102_0304].into_iter(), 2);
        assert_eq!(host, [7, 7, 7, 7, 4, 3, 2, 1, 0, 0, 0, 0, 7, 7, 7, 7]);
    }
}
