//! Allocators of host memory: the planned arena, and one call of the process's allocator per buffer.

use bigbatch_engine::DeviceError;

use crate::allocator::{Allocator, PlannedRegions, SlotTable, Usage};
use crate::buffers::Buffer;

/// The size of a memory page; writing one byte of each makes the kernel back all of them.
const PAGE_BYTES: usize = 4096;

/// One allocation, with every buffer at its planned offset.
#[derive(Debug)]
pub struct HostArena {
    memory: Vec<u8>,
    regions: PlannedRegions,
}

impl HostArena {
    /// Allocates `bytes` and writes to all of them, so that every page exists before the first batch.
    pub fn new(bytes: usize) -> HostArena {
        HostArena { memory: vec![1; bytes], regions: PlannedRegions::new("cpu", bytes) }
    }
}

impl Allocator for HostArena {
    fn allocate(&mut self, slot: usize, buffer: &Buffer) -> Result<(), DeviceError> {
        self.regions.allocate(slot, buffer)
    }

    fn free(&mut self, slot: usize) -> Result<(), DeviceError> {
        self.regions.free(slot);
        Ok(())
    }

    fn touch(&mut self, slot: usize) -> Result<(), DeviceError> {
        if let Some((start, bytes)) = self.regions.region(slot) {
            let pages = self.memory[start..start + bytes].iter_mut().step_by(PAGE_BYTES);
            pages.for_each(|byte| *byte = byte.wrapping_add(1));
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<(), DeviceError> {
        Ok(())
    }

    fn usage(&mut self) -> Result<Usage, DeviceError> {
        Ok(self.regions.usage(1))
    }
}

/// One allocation and one free per buffer, through the process's allocator. Memory that this allocator keeps
/// for itself is not visible, so reserved bytes equal used bytes.
#[derive(Debug, Default)]
pub struct HostPerOperation {
    live: SlotTable<Vec<u8>>,
    used: u64,
}

impl Allocator for HostPerOperation {
    fn allocate(&mut self, slot: usize, buffer: &Buffer) -> Result<(), DeviceError> {
        let mut memory = Vec::new();
        memory.try_reserve_exact(buffer.bytes).map_err(|_| DeviceError::OutOfMemory {
            device: "cpu".into(),
            purpose: "a buffer of its own",
            asked_bytes: buffer.bytes as u64,
            free_bytes: 0,
        })?;
        self.used += buffer.bytes as u64;
        self.live.put(slot, memory);
        Ok(())
    }

    fn free(&mut self, slot: usize) -> Result<(), DeviceError> {
        if let Some(memory) = self.live.take(slot) {
            self.used -= memory.capacity() as u64;
        }
        Ok(())
    }

    fn touch(&mut self, slot: usize) -> Result<(), DeviceError> {
        if let Some(memory) = self.live.get_mut(slot) {
            for byte in memory.spare_capacity_mut().iter_mut().step_by(PAGE_BYTES) {
                byte.write(1);
            }
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<(), DeviceError> {
        Ok(())
    }

    fn usage(&mut self) -> Result<Usage, DeviceError> {
        let (reserved_bytes, used_bytes) = (self.used, self.used);
        Ok(Usage { reserved_bytes, used_bytes, free: None, system_calls: None })
    }
}
