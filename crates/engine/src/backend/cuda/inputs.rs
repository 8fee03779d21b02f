//! A batch on its way to the device: ids, positions, segments, rows and work lists in one copy.
//!
//! The lists lie one after another from one address on, packed as the batch's own sizes ask; under a recorded
//! graph ids, positions and tiles have the graph's sizes, so that it finds them where they were. The host
//! side has two pinned buffers in turn: the next batch is written while the last one's copy may be under way.

use std::sync::Arc;

use cudarc::driver::result;

use super::driver::device::{Device, Event, Stream};
use super::driver::fault::CallContext;
use super::driver::memory::Pinned;
use super::kernels::ATTENTION_ROWS;
use super::kernels::worklist::{self, NO_TILE, Tile};
use crate::batch::PackedBatch;
use crate::error::DeviceError;

/// What a batch may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchLimits {
    /// Tokens of all sequences.
    pub tokens: usize,
    /// Sequences, and segments.
    pub sequences: usize,
    /// Rows asked for by position.
    pub masks: usize,
    /// Tokens of one sequence: positions that the rotary tables have.
    pub positions: usize,
}

/// The second index of a launch grid ends here, and tiles and segments are put there.
const MAX_GRID_Y: usize = 65535;

/// Bytes of the arena that the inputs of such batches take.
pub fn input_bytes(limits: BatchLimits) -> usize {
    Places::new(&limits.sizes()).bytes
}

impl BatchLimits {
    fn sizes(&self) -> Sizes {
        Sizes {
            tokens: self.tokens,
            full_tiles: worklist::max_tiles(self.tokens, self.sequences, ATTENTION_ROWS),
            window_tiles: worklist::max_tiles(self.tokens, self.sequences, ATTENTION_ROWS),
            segments: self.sequences,
            rows: self.masks,
        }
    }
}

/// Entries of each list.
#[derive(Debug, Clone, Copy)]
struct Sizes {
    tokens: usize,
    full_tiles: usize,
    window_tiles: usize,
    segments: usize,
    rows: usize,
}

/// Offsets of the lists from the inputs' start. What a graph reads comes first.
#[derive(Debug, Clone, Copy)]
struct Places {
    ids: usize,
    positions: usize,
    longest_first: usize,
    packed_order: usize,
    bounds: usize,
    pairs: usize,
    rows: usize,
    bytes: usize,
}

impl Places {
    fn new(sizes: &Sizes) -> Places {
        let mut end = 0;
        let mut region = |bytes: usize| {
            let start = end;
            end += bytes.next_multiple_of(256);
            start
        };
        Places {
            ids: region(4 * sizes.tokens),
            positions: region(4 * sizes.tokens),
            longest_first: region(size_of::<Tile>() * sizes.full_tiles),
            packed_order: region(size_of::<Tile>() * sizes.window_tiles),
            bounds: region(8 * sizes.segments),
            pairs: region(4 * sizes.segments),
            rows: region(4 * sizes.rows),
            bytes: end,
        }
    }
}

/// The lists of the current batch, as device addresses.
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
    /// 0, 2, 4, ..: where each segment's pair starts in `bounds`.
    pub(super) pairs: u64,
    /// Rows asked for by position.
    pub(super) rows: u64,
    /// Entries of `ids` and of the work lists, padding included.
    pub(super) sizes: Padding,
}

struct Staging {
    host: Pinned,
    copied: Event,
}

/// Both sides.
pub(super) struct Inputs {
    device: Arc<Device>,
    limits: BatchLimits,
    /// Queries of one tile, full and windowed.
    tile_rows: (usize, usize),
    address: u64,
    staging: [Staging; 2],
    turn: usize,
    tiles: [Vec<Tile>; 2],
}

impl Inputs {
    /// `address` has [`input_bytes`] of the arena behind it.
    pub(super) fn new(
        device: &Arc<Device>,
        limits: BatchLimits,
        tile_rows: (usize, usize),
        address: u64,
    ) -> Result<Inputs, DeviceError> {
        let staging = || {
            let host = Pinned::new(device, input_bytes(limits))?;
            Ok(Staging { host, copied: Event::new(device, false)? })
        };
        let staging = [staging()?, staging()?];
        let (device, tiles) = (device.clone(), Default::default());
        Ok(Inputs { device, limits, tile_rows, address, staging, turn: 0, tiles })
    }

    /// Queries of one tile, full and windowed.
    pub(super) fn tile_rows(&self) -> (usize, usize) {
        self.tile_rows
    }

    /// What was planned for.
    pub(super) fn limits(&self) -> BatchLimits {
        self.limits
    }

    /// Writes the batch down and enqueues its copy. `padding` asks for this many ids and tiles, the rest
    /// filled with token 0 and tiles without queries: what a recorded graph runs over. A batch with more
    /// tiles than the padding has is not padded, and the answer says so by its `tokens`.
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

        let sizes = Sizes {
            tokens: padded.tokens,
            full_tiles: padded.full_tiles,
            window_tiles: padded.window_tiles,
            segments: batch.segments.len(),
            rows: batch.mask_rows.len(),
        };
        let places = Places::new(&sizes);
        self.turn = 1 - self.turn;
        let staging = &mut self.staging[self.turn];
        staging.copied.wait()?;
        let host = &mut staging.host.as_mut_slice()[..places.bytes];
        write(host, places.ids, batch.token_ids.iter().copied(), sizes.tokens);
        write(host, places.positions, batch.positions.iter().copied(), sizes.tokens);
        for (place, tiles) in
            [(places.longest_first, longest_first), (places.packed_order, packed_order)]
        {
            let words = tiles.as_flattened().iter().map(|&word| word as u32);
            write(host, place, words, 4 * tiles.len());
        }
        let bounds = batch.segments.iter().flat_map(|&(first, rows)| [first, first + rows]);
        write(host, places.bounds, bounds, 2 * sizes.segments);
        write(host, places.pairs, (0..).step_by(2), sizes.segments);
        write(host, places.rows, batch.mask_rows.iter().copied(), sizes.rows);
        // SAFETY: the arena has at least this many bytes at `address`, and the pinned buffer is not written
        // again before `copied` is reached.
        unsafe { result::memcpy_htod_async(self.address, host, stream.handle()) }
            .context(self.device.label(), "cuMemcpyHtoDAsync")?;
        staging.copied.record(stream)?;
        Ok(self.lists(&places, padded))
    }

    /// Where a graph of this size finds its lists.
    pub(super) fn lists_of(&self, padding: Padding) -> Lists {
        let Padding { tokens, full_tiles, window_tiles } = padding;
        let sizes = Sizes { tokens, full_tiles, window_tiles, segments: 0, rows: 0 };
        self.lists(&Places::new(&sizes), padding)
    }

    fn lists(&self, places: &Places, sizes: Padding) -> Lists {
        let at = |offset: usize| self.address + offset as u64;
        Lists {
            ids: at(places.ids),
            positions: at(places.positions),
            longest_first: at(places.longest_first),
            packed_order: at(places.packed_order),
            bounds: at(places.bounds),
            pairs: at(places.pairs),
            rows: at(places.rows),
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
                "a batch of {} tokens in {} sequences of at most {longest} with {} segments and {} rows is \
                 beyond what was planned: {:?}",
                batch.tokens(),
                batch.sequences(),
                batch.segments.len(),
                batch.mask_rows.len(),
                self.limits
            ),
        })
    }
}

/// Rows and tiles that a recorded graph runs over.
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

/// Writes `count` words from `offset` on; zeros where `words` ends before.
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
        let p = Places::new(&sizes);
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
