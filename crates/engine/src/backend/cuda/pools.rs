//! Device memory for an experiment's buffers: one arena, the driver's stream-ordered pool, and allocation
//! per operation. The engine's own backend uses none of these; [`super::driver::memory`] is its arena.
//!
//! Work stays under way as it does with kernels: each buffer is written on the stream when it is made
//! (`cuMemsetD8Async`), so that a free which waits for the device (`cuMemFree`) waits here too.
//!
//! The pool is one of our own, not the device's default one, with nothing shared and no other user. Its
//! release threshold says how much it may keep when the stream is synchronised; the driver's default is 0.

use std::ffi::c_void;
use std::sync::Arc;

use cudarc::driver::result::{self, DriverError};
use cudarc::driver::sys::{self, CUmemPool_attribute as Attribute, CUresult};

use super::driver::device::{Device, Stream};
use super::driver::fault::At;
use crate::backend::allocators::{Allocator, Places, Slots, Usage};
use crate::error::DeviceError;
use crate::model::modernbert::buffers::Buffer;

/// Writes a slot's memory, where it has any, on the stream.
fn write(stream: &Stream, memory: Option<(sys::CUdeviceptr, usize)>) -> Result<(), DeviceError> {
    let Some((address, bytes)) = memory else { return Ok(()) };
    // SAFETY: callers pass a live allocation of this size, last used on this stream.
    unsafe { result::memset_d8_async(address, 1, bytes, stream.handle()) }
        .at(stream.device().label(), "cuMemsetD8Async")
}

fn refused(device: &Device, call: &'static str, error: DriverError, bytes: usize) -> DeviceError {
    if error.0 != CUresult::CUDA_ERROR_OUT_OF_MEMORY {
        return match Err::<(), _>(error).at(device.label(), call) {
            Err(error) => error,
            Ok(()) => unreachable!("an error stays one"),
        };
    }
    DeviceError::OutOfMemory {
        device: device.label().into(),
        purpose: "a buffer",
        asked_bytes: bytes as u64,
        free_bytes: device.free_and_total_bytes().map_or(0, |(free, _)| free),
    }
}

/// One allocation, every buffer at its planned place.
pub struct DeviceArena {
    stream: Stream,
    address: sys::CUdeviceptr,
    places: Places,
}

impl DeviceArena {
    /// An arena of `bytes` on the device.
    ///
    /// # Errors
    /// [`DeviceError::OutOfMemory`].
    pub fn new(device: &Arc<Device>, bytes: usize) -> Result<DeviceArena, DeviceError> {
        let stream = Stream::new(device)?;
        device.bind()?;
        // SAFETY: a plain allocation; freed in `drop`.
        let address = unsafe { result::malloc_sync(bytes.max(1)) }
            .map_err(|error| refused(device, "cuMemAlloc", error, bytes))?;
        Ok(DeviceArena { stream, address, places: Places::new("cuda", bytes) })
    }
}

impl Allocator for DeviceArena {
    fn allocate(&mut self, slot: usize, buffer: &Buffer) -> Result<(), DeviceError> {
        self.places.allocate(slot, buffer)
    }

    fn free(&mut self, slot: usize) -> Result<(), DeviceError> {
        self.places.free(slot);
        Ok(())
    }

    fn touch(&mut self, slot: usize) -> Result<(), DeviceError> {
        let place = self.places.place(slot);
        write(&self.stream, place.map(|(start, bytes)| (self.address + start as u64, bytes)))
    }

    fn finish(&mut self) -> Result<(), DeviceError> {
        self.stream.synchronize()
    }

    fn usage(&mut self) -> Result<Usage, DeviceError> {
        Ok(self.places.usage(1))
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

/// `cuMemAllocFromPoolAsync` and `cuMemFreeAsync`.
pub struct StreamOrdered {
    stream: Stream,
    pool: sys::CUmemoryPool,
    live: Slots<(sys::CUdeviceptr, usize)>,
}

impl StreamOrdered {
    /// A pool that keeps up to `release_threshold_bytes` over a synchronisation; `u64::MAX`: all, 0: none.
    ///
    /// # Errors
    /// The driver's, where the device has no memory pools.
    pub fn new(
        device: &Arc<Device>,
        release_threshold_bytes: u64,
    ) -> Result<StreamOrdered, DeviceError> {
        let stream = Stream::new(device)?;
        device.bind()?;
        // SAFETY: all-zero bytes are "no handle type, no size limit" in this plain struct.
        let mut properties: sys::CUmemPoolProps = unsafe { std::mem::zeroed() };
        properties.allocType = sys::CUmemAllocationType::CU_MEM_ALLOCATION_TYPE_PINNED;
        properties.location.type_ = sys::CUmemLocationType::CU_MEM_LOCATION_TYPE_DEVICE;
        properties.location.id = device.handle();
        // SAFETY: the properties are live; destroyed in `drop`.
        let pool = unsafe { result::mem_pool::create(&properties) }
            .at(device.label(), "cuMemPoolCreate")?;
        let pool = StreamOrdered { stream, pool, live: Slots::default() };
        let mut threshold = release_threshold_bytes;
        let value = (&raw mut threshold).cast::<c_void>();
        // SAFETY: the pool is alive; this attribute is a live u64.
        unsafe {
            let attribute = Attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD;
            result::mem_pool::set_attribute(pool.pool, attribute, value)
        }
        .at(device.label(), "cuMemPoolSetAttribute")?;
        Ok(pool)
    }

    fn attribute(&self, attribute: Attribute) -> Result<u64, DeviceError> {
        let mut value = 0u64;
        // SAFETY: the pool is alive; the attributes asked for are u64.
        unsafe {
            let value = (&raw mut value).cast::<c_void>();
            result::mem_pool::get_attribute(self.pool, attribute, value)
        }
        .at(self.stream.device().label(), "cuMemPoolGetAttribute")?;
        Ok(value)
    }
}

impl Allocator for StreamOrdered {
    fn allocate(&mut self, slot: usize, buffer: &Buffer) -> Result<(), DeviceError> {
        // SAFETY: the pool and the stream are alive; the memory is used on this stream only.
        let address =
            unsafe { result::mem_pool::alloc_async(self.pool, buffer.bytes, self.stream.handle()) };
        let device = self.stream.device();
        let address = address
            .map_err(|error| refused(device, "cuMemAllocFromPoolAsync", error, buffer.bytes))?;
        self.live.put(slot, (address, buffer.bytes));
        Ok(())
    }

    fn free(&mut self, slot: usize) -> Result<(), DeviceError> {
        let Some((address, _)) = self.live.take(slot) else { return Ok(()) };
        // SAFETY: allocated on this stream, taken from the slots so that it is freed once.
        unsafe { result::free_async(address, self.stream.handle()) }
            .at(self.stream.device().label(), "cuMemFreeAsync")
    }

    fn touch(&mut self, slot: usize) -> Result<(), DeviceError> {
        write(&self.stream, self.live.get_mut(slot).copied())
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

impl Drop for StreamOrdered {
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

/// `cuMemAlloc` and `cuMemFree` for every buffer.
pub struct DevicePerOperation {
    stream: Stream,
    live: Slots<(sys::CUdeviceptr, usize)>,
    used: u64,
    /// Free bytes of the device before the first allocation.
    free_before: u64,
    system_calls: u64,
}

impl DevicePerOperation {
    /// Nothing is taken yet.
    ///
    /// # Errors
    /// The driver's.
    pub fn new(device: &Arc<Device>) -> Result<DevicePerOperation, DeviceError> {
        let stream = Stream::new(device)?;
        let (free_before, _) = device.free_and_total_bytes()?;
        Ok(DevicePerOperation {
            stream,
            live: Slots::default(),
            used: 0,
            free_before,
            system_calls: 0,
        })
    }
}

impl Allocator for DevicePerOperation {
    fn allocate(&mut self, slot: usize, buffer: &Buffer) -> Result<(), DeviceError> {
        // SAFETY: a plain allocation; freed in `free` or `drop`.
        let address = unsafe { result::malloc_sync(buffer.bytes) };
        let device = self.stream.device();
        let address =
            address.map_err(|error| refused(device, "cuMemAlloc", error, buffer.bytes))?;
        self.live.put(slot, (address, buffer.bytes));
        self.used += buffer.bytes as u64;
        self.system_calls += 1;
        Ok(())
    }

    fn free(&mut self, slot: usize) -> Result<(), DeviceError> {
        let Some((address, bytes)) = self.live.take(slot) else { return Ok(()) };
        self.used -= bytes as u64;
        self.system_calls += 1;
        // SAFETY: allocated in `allocate`, taken from the slots so that it is freed once; the driver waits for
        // the work that uses it.
        unsafe { result::free_sync(address) }.at(self.stream.device().label(), "cuMemFree")
    }

    fn touch(&mut self, slot: usize) -> Result<(), DeviceError> {
        write(&self.stream, self.live.get_mut(slot).copied())
    }

    fn finish(&mut self) -> Result<(), DeviceError> {
        self.stream.synchronize()
    }

    /// Reserved is what the device has less than before: other processes on it disturb the reading.
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
