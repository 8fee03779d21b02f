//! Ways of finding memory for the buffers of a batch, for comparing the engine's with others.
//!
//! The engine itself uses none of these: its arena is planned ([`crate::model::Workspace`]) and its batches
//! ask nobody. An experiment replays the buffers that a batch would ask for ([`crate::model::modernbert::buffers`])
//! through each, and reads what it costs in time and memory.
//!
//! * [`host`]: the arena and allocation per operation in host memory, really done.
//! * [`caching`]: a best-fit caching allocator as eager frameworks have it, simulated: it keeps books about
//!   addresses and touches no memory.
//! * `cuda::pools`: the arena, the driver's stream-ordered pool and allocation per operation on a device.

pub mod caching;
pub mod host;

use crate::error::DeviceError;
use crate::model::modernbert::buffers::Buffer;

/// What an allocator holds at one moment, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Taken from the system or the device.
    pub reserved_bytes: u64,
    /// Handed out.
    pub used_bytes: u64,
    /// Reserved and not handed out, and the largest block of it that one buffer could have; `None` where the
    /// allocator does not tell.
    pub free: Option<Free>,
    /// Calls to the system or the driver so far that took or gave back memory; `None` where unseen.
    pub system_calls: Option<u64>,
}

/// Memory that is reserved and idle, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Free {
    /// All of it.
    pub bytes: u64,
    /// The largest block.
    pub largest_bytes: u64,
}

/// Finds memory for buffers. A buffer is named by its slot, its place in its batch's list.
pub trait Allocator {
    /// Whether it only keeps books.
    fn is_simulated(&self) -> bool {
        false
    }

    /// Finds memory for `buffer`.
    ///
    /// # Errors
    /// [`DeviceError::OutOfMemory`] where there is none.
    fn allocate(&mut self, slot: usize, buffer: &Buffer) -> Result<(), DeviceError>;

    /// Gives back the memory of a slot. A slot that has none is left alone.
    ///
    /// # Errors
    /// The driver's.
    fn free(&mut self, slot: usize) -> Result<(), DeviceError>;

    /// Writes to the buffer as the operation that makes it would, so that memory is really there and work is
    /// under way when it is freed.
    ///
    /// # Errors
    /// The driver's.
    fn touch(&mut self, slot: usize) -> Result<(), DeviceError>;

    /// The end of a batch: waits until all work is done, as reading the rows back does.
    ///
    /// # Errors
    /// The driver's.
    fn finish(&mut self) -> Result<(), DeviceError>;

    /// What it holds now.
    ///
    /// # Errors
    /// The driver's.
    fn usage(&mut self) -> Result<Usage, DeviceError>;
}

/// Blocks by slot.
#[derive(Debug)]
pub(crate) struct Slots<T>(Vec<Option<T>>);

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Slots(Vec::new())
    }
}

impl<T> Slots<T> {
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

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter().flatten()
    }

    #[cfg(feature = "cuda")]
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = T> + '_ {
        self.0.drain(..).flatten()
    }
}

/// The books of an arena: places are known, so finding one is a comparison.
#[derive(Debug)]
pub(crate) struct Places {
    device: &'static str,
    capacity: usize,
    live: Slots<(usize, usize)>,
}

impl Places {
    pub(crate) fn new(device: &'static str, capacity: usize) -> Places {
        Places { device, capacity, live: Slots::default() }
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

    pub(crate) fn place(&mut self, slot: usize) -> Option<(usize, usize)> {
        self.live.get_mut(slot).copied()
    }

    /// Bytes under the live buffers; those computed in place lie on one another and count once. Every buffer
    /// has its place already, so no free byte is out of any buffer's reach.
    pub(crate) fn usage(&self, system_calls: u64) -> Usage {
        let mut live: Vec<(usize, usize)> = self.live.iter().copied().collect();
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
            free: Some(Free { bytes: free, largest_bytes: free }),
            system_calls: Some(system_calls),
        }
    }
}
