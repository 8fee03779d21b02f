//! Host memory: the arena, and the process's own allocator asked once for every buffer.

use super::{Allocator, Places, Slots, Usage};
use crate::error::DeviceError;
use crate::model::modernbert::buffers::Buffer;

/// What the host's kernel gives memory in; touching one byte of each makes it real.
const PAGE_BYTES: usize = 4096;

/// One allocation, every buffer at its planned place.
#[derive(Debug)]
pub struct HostArena {
    memory: Vec<u8>,
    places: Places,
}

impl HostArena {
    /// An arena of `bytes`, all of them real from the start.
    pub fn new(bytes: usize) -> HostArena {
        HostArena { memory: vec![1; bytes], places: Places::new("cpu", bytes) }
    }
}

impl Allocator for HostArena {
    fn allocate(&mut self, slot: usize, buffer: &Buffer) -> Result<(), DeviceError> {
        self.places.allocate(slot, buffer)
    }

    fn free(&mut self, slot: usize) -> Result<(), DeviceError> {
        self.places.free(slot);
        Ok(())
    }

    fn touch(&mut self, slot: usize) -> Result<(), DeviceError> {
        if let Some((start, bytes)) = self.places.place(slot) {
            let pages = self.memory[start..start + bytes].iter_mut().step_by(PAGE_BYTES);
            pages.for_each(|byte| *byte = byte.wrapping_add(1));
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<(), DeviceError> {
        Ok(())
    }

    fn usage(&mut self) -> Result<Usage, DeviceError> {
        Ok(self.places.usage(1))
    }
}

/// Every buffer from the process's allocator, and back to it. What that allocator keeps for itself is not
/// seen: as reserved counts what is handed out.
#[derive(Debug, Default)]
pub struct HostPerOperation {
    live: Slots<Vec<u8>>,
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
