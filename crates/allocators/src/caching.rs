//! A simulated best-fit caching allocator.
//!
//! It follows PyTorch's (`c10/cuda/CUDACachingAllocator.cpp`, default settings): sizes are rounded up to 512
//! bytes; small buffers (up to 1 MiB) come from segments of 2 MiB, medium ones (below 10 MiB) from segments
//! of 20 MiB, larger ones from a segment each, rounded up to 2 MiB. An allocation takes the smallest free
//! block that fits and splits off the remainder; a freed block merges with its free neighbours. Segments are
//! kept until a new one would exceed the limit; then every wholly free segment is released.
//!
//! It tracks addresses on one stream and touches no memory, so it has no times.

use std::collections::{BTreeMap, BTreeSet};

use bigbatch_engine::DeviceError;

use crate::allocator::{Allocator, FreeMemory, SlotTable, Usage};
use crate::buffers::Buffer;

const ROUND_BYTES: usize = 512;
const SMALL_BYTES: usize = 1 << 20;
const SMALL_SEGMENT_BYTES: usize = 2 << 20;
const MEDIUM_SEGMENT_BYTES: usize = 20 << 20;
const LARGE_FROM_BYTES: usize = 10 << 20;
const LARGE_ROUND_BYTES: usize = 2 << 20;

/// A part of a segment.
#[derive(Debug, Clone, Copy)]
struct Block {
    bytes: usize,
    free: bool,
    small: bool,
}

/// Segments and blocks of the simulated cache.
#[derive(Debug)]
pub struct CachingAllocator {
    limit: usize,
    /// Blocks by their offset in the segment; `None` for a released segment.
    segments: Vec<Option<BTreeMap<usize, Block>>>,
    /// Free blocks of large and of small segments: (bytes, segment, offset).
    free: [BTreeSet<(usize, usize, usize)>; 2],
    /// (segment, offset).
    live: SlotTable<(usize, usize)>,
    reserved: usize,
    used: usize,
    system_calls: u64,
}

impl CachingAllocator {
    /// Returns an empty cache that reserves at most `limit_bytes`.
    pub fn new(limit_bytes: u64) -> CachingAllocator {
        CachingAllocator {
            limit: usize::try_from(limit_bytes).unwrap_or(usize::MAX),
            segments: Vec::new(),
            free: [BTreeSet::new(), BTreeSet::new()],
            live: SlotTable::default(),
            reserved: 0,
            used: 0,
            system_calls: 0,
        }
    }

    /// Returns segment and offset of the smallest free block of at least `bytes`.
    fn find_best_fit(&self, bytes: usize, small: bool) -> Option<(usize, usize)> {
        let fits = self.free[usize::from(small)].range((bytes, 0, 0)..).next();
        fits.map(|&(_, segment, start)| (segment, start))
    }

    /// Reserves a segment for a buffer of `bytes`; `None` if it would exceed the limit.
    fn add_segment(&mut self, bytes: usize, small: bool) -> Option<(usize, usize)> {
        let size = match bytes {
            _ if small => SMALL_SEGMENT_BYTES,
            0..LARGE_FROM_BYTES => MEDIUM_SEGMENT_BYTES,
            _ => bytes.next_multiple_of(LARGE_ROUND_BYTES),
        };
        if self.reserved + size > self.limit {
            self.release_free_segments();
        }
        if self.reserved + size > self.limit {
            return None;
        }
        self.reserved += size;
        self.system_calls += 1;
        let index = self.segments.len();
        let block = Block { bytes: size, free: true, small };
        self.segments.push(Some([(0, block)].into()));
        self.free[usize::from(small)].insert((size, index, 0));
        Some((index, 0))
    }

    fn release_free_segments(&mut self) {
        for (index, segment) in self.segments.iter_mut().enumerate() {
            let Some(blocks) = segment else { continue };
            if let (1, Some(block)) = (blocks.len(), blocks.get(&0).filter(|block| block.free)) {
                self.free[usize::from(block.small)].remove(&(block.bytes, index, 0));
                self.reserved -= block.bytes;
                self.system_calls += 1;
                *segment = None;
            }
        }
    }

    /// Marks the front of a free block as used, and splits off the rest where that is large enough.
    fn take(&mut self, (segment, start): (usize, usize), bytes: usize) {
        let Some(blocks) = self.segments[segment].as_mut() else { return };
        let Some(block) = blocks.get_mut(&start) else { return };
        let free = &mut self.free[usize::from(block.small)];
        free.remove(&(block.bytes, segment, start));
        let rest = block.bytes - bytes;
        block.free = false;
        let splits = if block.small { rest >= ROUND_BYTES } else { rest > SMALL_BYTES };
        if splits {
            let small = block.small;
            block.bytes = bytes;
            blocks.insert(start + bytes, Block { bytes: rest, free: true, small });
            free.insert((rest, segment, start + bytes));
        }
    }

    /// Frees a block, merges it with its free neighbours, and returns the bytes freed.
    fn release(&mut self, segment: usize, start: usize) -> usize {
        let Some(blocks) = self.segments[segment].as_mut() else { return 0 };
        let Some(&Block { bytes: given, small, .. }) = blocks.get(&start) else { return 0 };
        let free = &mut self.free[usize::from(small)];
        let (mut from, mut bytes) = (start, given);
        if let Some((&next, block)) = blocks.range(start + 1..).next()
            && block.free
        {
            bytes += block.bytes;
            free.remove(&(block.bytes, segment, next));
            blocks.remove(&next);
        }
        if let Some((&before, block)) = blocks.range(..start).next_back()
            && block.free
        {
            bytes += block.bytes;
            free.remove(&(block.bytes, segment, before));
            blocks.remove(&start);
            from = before;
        }
        blocks.insert(from, Block { bytes, free: true, small });
        free.insert((bytes, segment, from));
        given
    }
}

impl Allocator for CachingAllocator {
    fn is_simulated(&self) -> bool {
        true
    }

    fn allocate(&mut self, slot: usize, buffer: &Buffer) -> Result<(), DeviceError> {
        let bytes = buffer.bytes.next_multiple_of(ROUND_BYTES);
        let small = bytes <= SMALL_BYTES;
        let found = self.find_best_fit(bytes, small).or_else(|| self.add_segment(bytes, small));
        let Some((segment, start)) = found else {
            return Err(DeviceError::OutOfMemory {
                device: "simulated".into(),
                purpose: "a segment of the cache",
                asked_bytes: bytes as u64,
                free_bytes: self.limit.saturating_sub(self.reserved) as u64,
            });
        };
        self.take((segment, start), bytes);
        let blocks = self.segments[segment].as_ref();
        self.used += blocks.and_then(|blocks| blocks.get(&start)).map_or(0, |block| block.bytes);
        self.live.put(slot, (segment, start));
        Ok(())
    }

    fn free(&mut self, slot: usize) -> Result<(), DeviceError> {
        if let Some((segment, start)) = self.live.take(slot) {
            self.used -= self.release(segment, start);
        }
        Ok(())
    }

    fn touch(&mut self, _: usize) -> Result<(), DeviceError> {
        Ok(())
    }

    fn finish(&mut self) -> Result<(), DeviceError> {
        Ok(())
    }

    fn usage(&mut self) -> Result<Usage, DeviceError> {
        let largest = self.free.iter().filter_map(|blocks| blocks.last()).map(|&(bytes, ..)| bytes);
        Ok(Usage {
            reserved_bytes: self.reserved as u64,
            used_bytes: self.used as u64,
            free: Some(FreeMemory {
                bytes: (self.reserved - self.used) as u64,
                largest_bytes: largest.max().unwrap_or(0) as u64,
            }),
            system_calls: Some(self.system_calls),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    fn allocate(
        cache: &mut CachingAllocator,
        slot: usize,
        bytes: usize,
    ) -> Result<(), DeviceError> {
        let buffer =
            Buffer { name: String::new(), bytes, first_step: 0, last_step: 0, offset_bytes: 0 };
        cache.allocate(slot, &buffer)
    }

    /// Reserved, used, and largest free block, in MiB.
    fn state(cache: &mut CachingAllocator) -> (usize, usize, usize) {
        let usage = cache.usage().unwrap();
        let free = usage.free.unwrap();
        let mib = |bytes: u64| bytes as usize / MIB;
        (mib(usage.reserved_bytes), mib(usage.used_bytes), mib(free.largest_bytes))
    }

    #[test]
    fn segments_are_split_reused_and_merged() {
        let mut cache = CachingAllocator::new(1 << 30);
        allocate(&mut cache, 0, 4 * MIB).unwrap();
        assert_eq!(state(&mut cache), (20, 4, 16), "a medium segment, its rest free");
        allocate(&mut cache, 1, 6 * MIB).unwrap();
        allocate(&mut cache, 2, 6 * MIB).unwrap();
        assert_eq!(state(&mut cache), (20, 16, 4), "from the same segment");
        cache.free(1).unwrap();
        assert_eq!(state(&mut cache), (20, 10, 6), "a hole");
        cache.free(0).unwrap();
        assert_eq!(state(&mut cache), (20, 6, 10), "merged with the hole behind it");
        allocate(&mut cache, 3, 3 * MIB).unwrap();
        assert_eq!(
            state(&mut cache),
            (20, 10, 10),
            "the smaller free block, all of it: 1 MiB is no rest"
        );
        cache.free(2).unwrap();
        cache.free(3).unwrap();
        assert_eq!(state(&mut cache), (20, 0, 20), "one block again");
        assert_eq!(cache.usage().unwrap().system_calls, Some(1));
    }

    #[test]
    fn small_and_large_buffers_have_segments_of_their_own() {
        let mut cache = CachingAllocator::new(1 << 30);
        allocate(&mut cache, 0, 100).unwrap();
        assert_eq!(cache.usage().unwrap().used_bytes, 512);
        assert_eq!(state(&mut cache).0, 2);
        allocate(&mut cache, 1, 11 * MIB).unwrap();
        assert_eq!(state(&mut cache).0, 2 + 12, "rounded to 2 MiB");
        // 1 MiB of it is too little to split off: it counts as used.
        assert_eq!(state(&mut cache).1, 12);
    }

    #[test]
    fn a_full_cache_releases_free_segments_before_it_fails() {
        let mut cache = CachingAllocator::new(32 * MIB as u64);
        allocate(&mut cache, 0, 16 * MIB).unwrap();
        cache.free(0).unwrap();
        assert_eq!(state(&mut cache), (16, 0, 16));
        allocate(&mut cache, 1, 24 * MIB).unwrap();
        assert_eq!(state(&mut cache), (24, 24, 0), "the 16 MiB were released");
        let error = allocate(&mut cache, 2, 12 * MIB).unwrap_err();
        assert!(matches!(error, DeviceError::OutOfMemory { .. }), "{error}");
        cache.free(1).unwrap();
        allocate(&mut cache, 2, 12 * MIB).unwrap();
        assert_eq!(state(&mut cache), (24, 12, 12), "from the segment that is free now");
    }
}
