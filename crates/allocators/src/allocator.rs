//! The interface of an allocator under test, and the tables that the implementations share.

use bigbatch_engine::DeviceError;

use crate::buffers::Buffer;

/// Memory that an allocator holds at one moment, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Taken from the system or the device.
    pub reserved_bytes: u64,
    /// Handed out to buffers.
    pub used_bytes: u64,
    /// Reserved and not handed out; `None` where the allocator does not report it.
    pub free: Option<FreeMemory>,
    /// Calls to the system or the driver so far that took or returned memory; `None` where they are not
    /// visible.
    pub system_calls: Option<u64>,
}

/// Memory that is reserved and not handed out, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FreeMemory {
    /// All free blocks together.
    pub bytes: u64,
    /// The largest block that one buffer could have.
    pub largest_bytes: u64,
}

impl FreeMemory {
    /// Returns `1 - largest / all`, 0 to 1: 0 when the free memory is one block, or when there is none.
    pub fn fragmentation(&self) -> f64 {
        if self.bytes == 0 {
            return 0.0;
        }
        1.0 - self.largest_bytes.min(self.bytes) as f64 / self.bytes as f64
    }
}

/// Finds memory for the buffers of one batch after another. A buffer is identified by its slot: its index in
/// [`crate::BatchBuffers::buffers`].
pub trait Allocator {
    /// Whether it tracks addresses without touching memory, so that it has no times.
    fn is_simulated(&self) -> bool {
        false
    }

    /// Finds memory for `buffer`.
    ///
    /// # Errors
    /// [`DeviceError::OutOfMemory`] if nothing large enough is left; otherwise the driver's error.
    fn allocate(&mut self, slot: usize, buffer: &Buffer) -> Result<(), DeviceError>;

    /// Returns the memory of a slot; does nothing for an empty slot.
    ///
    /// # Errors
    /// Fails if the driver's call fails.
    fn free(&mut self, slot: usize) -> Result<(), DeviceError>;

    /// Writes to the slot's memory as the operation that fills the buffer would, so that its pages exist and
    /// the device has work pending when it is freed.
    ///
    /// # Errors
    /// Fails if the driver's call fails.
    fn touch(&mut self, slot: usize) -> Result<(), DeviceError>;

    /// Ends a batch: blocks until all its work is done, as reading its rows back does.
    ///
    /// # Errors
    /// Fails if the driver's call or earlier work on the device failed.
    fn finish(&mut self) -> Result<(), DeviceError>;

    /// Returns the memory held now.
    ///
    /// # Errors
    /// Fails if the driver's call fails.
    fn usage(&mut self) -> Result<Usage, DeviceError>;
}

/// One block per slot.
#[derive(Debug)]
pub(crate) struct SlotTable<T>(Vec<Option<T>>);

impl<T> Default for SlotTable<T> {
    fn default() -> Self {
        SlotTable(Vec::new())
    }
}

impl<T> SlotTable<T> {
    pub(crate) fn put(&mut self, slot: usize, block: T) {
        if slot >= self.0.len() {
            self.0.resize_with(slot + 1, || None);
        }
        self.0[slot] = Some(block);
    }

    pub(crate) fn take(&mut self, slot: usize) -> Option<T> {
        self.0.get_mut(slot)?.take()
    }

    pub(crate) fn get_mut(&mut self, slot: usize) -> Option<&mut T> {
        self.0.get_mut(slot)?.as_mut()
    }

    fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter().flatten()
    }

    #[cfg(feature = "cuda")]
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = T> + '_ {
        self.0.drain(..).flatten()
    }
}

/// Bytes from an arena's start, and their count.
pub(crate) type Region = (usize, usize);

/// The live regions of a planned arena. Every buffer's offset is known beforehand, so allocating is a bounds
/// check.
#[derive(Debug)]
pub(crate) struct PlannedRegions {
    device: &'static str,
    capacity: usize,
    live: SlotTable<Region>,
}

impl PlannedRegions {
    /// `device` is the name that errors give.
    pub(crate) fn new(device: &'static str, capacity: usize) -> PlannedRegions {
        PlannedRegions { device, capacity, live: SlotTable::default() }
    }

    pub(crate) fn allocate(&mut self, slot: usize, buffer: &Buffer) -> Result<(), DeviceError> {
        if buffer.offset_bytes + buffer.bytes > self.capacity {
            return Err(DeviceError::OutOfMemory {
                device: self.device.into(),
                purpose: "a buffer of the arena",
                asked_bytes: buffer.bytes as u64,
                free_bytes: self.capacity.saturating_sub(buffer.offset_bytes) as u64,
            });
        }
        self.live.put(slot, (buffer.offset_bytes, buffer.bytes));
        Ok(())
    }

    pub(crate) fn free(&mut self, slot: usize) {
        self.live.take(slot);
    }

    pub(crate) fn region(&mut self, slot: usize) -> Option<Region> {
        self.live.get_mut(slot).copied()
    }

    /// Counts the bytes below live buffers, once where buffers share a region because they are computed in
    /// place. Every buffer has its own offset already, so all free bytes count as one block.
    pub(crate) fn usage(&self, system_calls: u64) -> Usage {
        let mut live: Vec<Region> = self.live.iter().copied().collect();
        live.sort_unstable();
        let (mut used, mut covered) = (0, 0);
        for (start, bytes) in live {
            let end = start + bytes;
            used += end.saturating_sub(covered.max(start));
            covered = covered.max(end);
        }
        let free = (self.capacity - used) as u64;
        Usage {
            reserved_bytes: self.capacity as u64,
            used_bytes: used as u64,
            free: Some(FreeMemory { bytes: free, largest_bytes: free }),
            system_calls: Some(system_calls),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fragmentation_is_the_free_share_outside_the_largest_block() {
        let fragmentation =
            |bytes, largest_bytes| FreeMemory { bytes, largest_bytes }.fragmentation();
        assert_eq!(fragmentation(1000, 1000), 0.0);
        assert_eq!(fragmentation(800, 600), 0.25);
        assert_eq!(fragmentation(0, 0), 0.0);
    }
}
