//! Allocators of device memory: the planned arena, the driver's stream-ordered pool, and one allocation per
//! buffer.
//!
//! Work stays pending as it does with kernels: each buffer is written on the stream when it is allocated
//! (`cuMemsetD8Async`), so that a free which waits for the device (`cuMemFree`) waits here too.
//!
//! The pool is not the device's default one and has no other user. Its release threshold is the number of
//! bytes that it may keep when the stream is synchronised; the driver's default is 0.
//!
//! This is the crate's only file with `unsafe`: the driver's calls for pools are raw. The engine's own device
//! memory is `bigbatch_engine::backend::cuda::driver::memory`.

use std::ffi::c_void;
use std::sync::Arc;

use bigbatch_engine::DeviceError;
use bigbatch_engine::backend::cuda::driver::device::{DeviceContext, Stream};
use bigbatch_engine::backend::cuda::driver::fault::CallContext;
use bigbatch_engine::backend::cuda::driver::memory::check_allocation;
use cudarc::driver::result;
use cudarc::driver::sys::{self, CUmemPool_attribute as Attribute};

use crate::allocator::{Allocator, PlannedRegions, SlotTable, Usage};
use crate::buffers::Buffer;

/// The purpose that out-of-memory errors name.
const PURPOSE: &str = "a buffer";

/// An allocation's address and size.
type Allocation = (sys::CUdeviceptr, usize);

/// Enqueues a write to all of a block; does nothing for an empty slot.
fn fill(stream: &Stream, block: Option<Allocation>) -> Result<(), DeviceError> {
    let Some((address, bytes)) = block else { return Ok(()) };
    // SAFETY: callers pass a live allocation of this size, last used on this stream.
    unsafe { result::memset_d8_async(address, 1, bytes, stream.handle()) }
        .context(stream.device().label(), "cuMemsetD8Async")
}

/// One allocation, with every buffer at its planned offset.
pub struct DeviceArena {
    stream: Stream,
    address: sys::CUdeviceptr,
    regions: PlannedRegions,
}

impl DeviceArena {
    /// Allocates `bytes` on the device.
    ///
    /// # Errors
    /// [`DeviceError::OutOfMemory`] if the device has less.
    pub fn new(device: &Arc<DeviceContext>, bytes: usize) -> Result<DeviceArena, DeviceError> {
        let stream = Stream::new(device)?;
        device.bind()?;
        // SAFETY: a plain allocation; freed in `drop`.
        let status = unsafe { result::malloc_sync(bytes.max(1)) };
        let address = check_allocation(status, device, "cuMemAlloc", PURPOSE, bytes)?;
        Ok(DeviceArena { stream, address, regions: PlannedRegions::new("cuda", bytes) })
    }
}

impl Allocator for DeviceArena {
    fn allocate(&mut self, slot: usize, buffer: &Buffer) -> Result<(), DeviceError> {
        self.regions.allocate(slot, buffer)
    }

    fn free(&mut self, slot: usize) -> Result<(), DeviceError> {
        self.regions.free(slot);
        Ok(())
    }

    fn touch(&mut self, slot: usize) -> Result<(), DeviceError> {
        let region = self.regions.region(slot);
        fill(&self.stream, region.map(|(start, bytes)| (self.address + start as u64, bytes)))
    }

    fn finish(&mut self) -> Result<(), DeviceError> {
        self.stream.synchronize()
    }

    fn usage(&mut self) -> Result<Usage, DeviceError> {
        Ok(self.regions.usage(1))
    }
}

impl Drop for DeviceArena {
    fn drop(&mut self) {
        // Also makes the context current.
        let _ = self.stream.synchronize();
        // SAFETY: allocated in `new`, freed only here, all work on it done.
        let _ = unsafe { result::free_sync(self.address) };
    }
}

/// One `cuMemAllocFromPoolAsync` and one `cuMemFreeAsync` per buffer.
pub struct StreamOrderedPool {
    stream: Stream,
    pool: sys::CUmemoryPool,
    live: SlotTable<Allocation>,
}

impl StreamOrderedPool {
    /// Makes a pool that keeps at most `release_threshold_bytes` at a synchronisation: `u64::MAX` for all, 0
    /// for none.
    ///
    /// # Errors
    /// Fails if the device has no memory pools.
    pub fn new(
        device: &Arc<DeviceContext>,
        release_threshold_bytes: u64,
    ) -> Result<StreamOrderedPool, DeviceError> {
        let stream = Stream::new(device)?;
        device.bind()?;
        // SAFETY: all-zero bytes are "no handle type, no size limit" in this plain struct.
        let mut properties: sys::CUmemPoolProps = unsafe { std::mem::zeroed() };
        properties.allocType = sys::CUmemAllocationType::CU_MEM_ALLOCATION_TYPE_PINNED;
        properties.location.type_ = sys::CUmemLocationType::CU_MEM_LOCATION_TYPE_DEVICE;
        properties.location.id = device.handle();
        // SAFETY: the properties are live; destroyed in `drop`.
        let pool = unsafe { result::mem_pool::create(&properties) }
            .context(device.label(), "cuMemPoolCreate")?;
        let pool = StreamOrderedPool { stream, pool, live: SlotTable::default() };
        let mut threshold = release_threshold_bytes;
        let value = (&raw mut threshold).cast::<c_void>();
        // SAFETY: the pool is alive; this attribute is a live u64.
        unsafe {
            let attribute = Attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD;
            result::mem_pool::set_attribute(pool.pool, attribute, value)
        }
        .context(device.label(), "cuMemPoolSetAttribute")?;
        Ok(pool)
    }

    fn attribute(&self, attribute: Attribute) -> Result<u64, DeviceError> {
        let mut value = 0u64;
        // SAFETY: the pool is alive; the attributes asked for are u64.
        unsafe {
            let value = (&raw mut value).cast::<c_void>();
            result::mem_pool::get_attribute(self.pool, attribute, value)
        }
        .context(self.stream.device().label(), "cuMemPoolGetAttribute")?;
        Ok(value)
    }
}

impl Allocator for StreamOrderedPool {
    fn allocate(&mut self, slot: usize, buffer: &Buffer) -> Result<(), DeviceError> {
        // SAFETY: the pool and the stream are alive; the memory is used on this stream only.
        let status =
            unsafe { result::mem_pool::alloc_async(self.pool, buffer.bytes, self.stream.handle()) };
        let (device, call) = (self.stream.device(), "cuMemAllocFromPoolAsync");
        let address = check_allocation(status, device, call, PURPOSE, buffer.bytes)?;
        self.live.put(slot, (address, buffer.bytes));
        Ok(())
    }

    fn free(&mut self, slot: usize) -> Result<(), DeviceError> {
        let Some((address, _)) = self.live.take(slot) else { return Ok(()) };
        // SAFETY: allocated on this stream, taken from the slots so that it is freed once.
        unsafe { result::free_async(address, self.stream.handle()) }
            .context(self.stream.device().label(), "cuMemFreeAsync")
    }

    fn touch(&mut self, slot: usize) -> Result<(), DeviceError> {
        fill(&self.stream, self.live.get_mut(slot).copied())
    }

    fn finish(&mut self) -> Result<(), DeviceError> {
        self.stream.synchronize()
    }

    fn usage(&mut self) -> Result<Usage, DeviceError> {
        Ok(Usage {
            reserved_bytes: self.attribute(Attribute::CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT)?,
            used_bytes: self.attribute(Attribute::CU_MEMPOOL_ATTR_USED_MEM_CURRENT)?,
            free: None,
            system_calls: None,
        })
    }
}

impl Drop for StreamOrderedPool {
    fn drop(&mut self) {
        for (address, _) in self.live.drain() {
            // SAFETY: as in `free`.
            let _ = unsafe { result::free_async(address, self.stream.handle()) };
        }
        let _ = self.stream.synchronize();
        // SAFETY: created in `new`, destroyed only here; nothing is allocated from it any more.
        let _ = unsafe { result::mem_pool::destroy(self.pool) };
    }
}

/// One `cuMemAlloc` and one `cuMemFree` per buffer.
pub struct DevicePerOperation {
    stream: Stream,
    live: SlotTable<Allocation>,
    used: u64,
    /// Free bytes of the device before the first allocation.
    free_before: u64,
    system_calls: u64,
}

impl DevicePerOperation {
    /// Makes a stream and notes the device's free memory; allocates nothing.
    ///
    /// # Errors
    /// Fails if the driver's calls fail.
    pub fn new(device: &Arc<DeviceContext>) -> Result<DevicePerOperation, DeviceError> {
        let stream = Stream::new(device)?;
        let (free_before, _) = device.free_and_total_bytes()?;
        Ok(DevicePerOperation {
            stream,
            live: SlotTable::default(),
            used: 0,
            free_before,
            system_calls: 0,
        })
    }
}

impl Allocator for DevicePerOperation {
    fn allocate(&mut self, slot: usize, buffer: &Buffer) -> Result<(), DeviceError> {
        // SAFETY: a plain allocation; freed in `free` or `drop`.
        let status = unsafe { result::malloc_sync(buffer.bytes) };
        let device = self.stream.device();
        let address = check_allocation(status, device, "cuMemAlloc", PURPOSE, buffer.bytes)?;
        self.live.put(slot, (address, buffer.bytes));
        self.used += buffer.bytes as u64;
        self.system_calls += 1;
        Ok(())
    }

    fn free(&mut self, slot: usize) -> Result<(), DeviceError> {
        let Some((address, bytes)) = self.live.take(slot) else { return Ok(()) };
        self.used -= bytes as u64;
        self.system_calls += 1;
        // SAFETY: allocated in `allocate`, taken from the slots so that it is freed once; the driver waits
        // for the work that uses it.
        unsafe { result::free_sync(address) }.context(self.stream.device().label(), "cuMemFree")
    }

    fn touch(&mut self, slot: usize) -> Result<(), DeviceError> {
        fill(&self.stream, self.live.get_mut(slot).copied())
    }

    fn finish(&mut self) -> Result<(), DeviceError> {
        self.stream.synchronize()
    }

    /// Counts as reserved what the device has less than before the first allocation; other processes on the
    /// device disturb the reading.
    fn usage(&mut self) -> Result<Usage, DeviceError> {
        let (free, _) = self.stream.device().free_and_total_bytes()?;
        Ok(Usage {
            reserved_bytes: self.free_before.saturating_sub(free),
            used_bytes: self.used,
            free: None,
            system_calls: Some(self.system_calls),
        })
    }
}

impl Drop for DevicePerOperation {
    fn drop(&mut self) {
        let _ = self.stream.synchronize();
        for (address, _) in self.live.drain() {
            // SAFETY: as in `free`.
            let _ = unsafe { result::free_sync(address) };
        }
    }
}
