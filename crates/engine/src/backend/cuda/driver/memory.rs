//! Device and pinned memory, and the one arena that takes what the budget leaves.
//!
//! The budget covers all memory of the device that this process uses, as the driver reports it. The arena
//! comes last: its addresses are reserved at once and backed with memory in two steps, first as much as is
//! likely to fit, so that every kernel, GEMM algorithm and graph can run once (the driver loads code when it
//! first runs), then what their code left of the budget. After that nothing is allocated:
//! [`allocations_after_startup`] counts the exceptions, and tests hold it at zero. The order of these steps
//! is in [`super::super::start`].

use std::ffi::c_void;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use cudarc::driver::result::{self, DriverError};
use cudarc::driver::sys::{self, CUresult};

use super::device::DeviceContext;
use super::fault::CallContext;
use crate::error::DeviceError;

static STARTED: AtomicBool = AtomicBool::new(false);
static LATE_ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

/// Returns the number of allocations of device or pinned memory since start-up ended: 0 unless there is a
/// bug.
pub fn allocations_after_startup() -> u64 {
    LATE_ALLOCATIONS.load(Ordering::Relaxed)
}

/// Marks start-up as ended, or as started again for another model or device.
pub(in crate::backend::cuda) fn set_started(started: bool) {
    STARTED.store(started, Ordering::Relaxed);
}

fn count_allocation() {
    if STARTED.load(Ordering::Relaxed) {
        LATE_ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
    }
}

/// Turns the status of a call that allocates `bytes` for `purpose` into a result.
///
/// # Errors
/// [`DeviceError::OutOfMemory`] with the bytes still free, or what [`CallContext`] makes of another status.
pub fn check_allocation<T>(
    status: Result<T, DriverError>,
    device: &DeviceContext,
    call: &'static str,
    purpose: &'static str,
    bytes: usize,
) -> Result<T, DeviceError> {
    match status {
        Err(DriverError(CUresult::CUDA_ERROR_OUT_OF_MEMORY)) => Err(DeviceError::OutOfMemory {
            device: device.label().to_string(),
            purpose,
            asked_bytes: bytes as u64,
            free_bytes: device.free_and_total_bytes().map_or(0, |(free, _)| free),
        }),
        other => other.context(device.label(), call),
    }
}

/// A block of device memory with its own allocation: the weights, the GEMM workspace.
pub struct DeviceBuffer {
    device: Arc<DeviceContext>,
    address: sys::CUdeviceptr,
    bytes: usize,
}

impl DeviceBuffer {
    /// Allocates uninitialised memory.
    ///
    /// # Errors
    /// [`DeviceError::OutOfMemory`] with the purpose.
    pub fn new(
        device: &Arc<DeviceContext>,
        bytes: usize,
        purpose: &'static str,
    ) -> Result<DeviceBuffer, DeviceError> {
        device.bind()?;
        count_allocation();
        // SAFETY: a plain allocation; freed in `drop`.
        let status = unsafe { result::malloc_sync(bytes.max(1)) };
        let address = check_allocation(status, device, "cuMemAlloc", purpose, bytes)?;
        Ok(DeviceBuffer { device: device.clone(), address, bytes })
    }

    /// Returns the device address of the first byte.
    pub(in crate::backend::cuda) fn address(&self) -> u64 {
        self.address
    }

    /// Returns the size in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Copies from the host; `data` may change afterwards. Other streams see the copy after
    /// [`DeviceBuffer::wait_for_writes`].
    ///
    /// # Errors
    /// Fails if the driver's call fails.
    pub fn write(&mut self, offset: usize, data: &[u8]) -> Result<(), DeviceError> {
        assert!(offset + data.len() <= self.bytes, "write past the end of a device buffer");
        self.device.bind()?;
        // SAFETY: the range lies inside this allocation; the source is read when the call returns.
        unsafe { result::memcpy_htod_sync(self.address + offset as u64, data) }
            .context(self.device.label(), "cuMemcpyHtoD")
    }

    /// Blocks until all writes have arrived: a copy from pageable memory returns when the data is staged.
    ///
    /// # Errors
    /// Fails if the driver's call fails.
    pub fn wait_for_writes(&self) -> Result<(), DeviceError> {
        self.device.bind()?;
        // SAFETY: the default stream of the current context, which synchronous copies go through.
        unsafe { result::stream::synchronize(result::stream::null()) }
            .context(self.device.label(), "cuStreamSynchronize")
    }
}

impl Drop for DeviceBuffer {
    fn drop(&mut self) {
        let _ = self.device.bind();
        // SAFETY: allocated in `new`, freed only here. The driver waits for work that uses it.
        let _ = unsafe { result::free_sync(self.address) };
    }
}

/// Page-locked host memory, from and to which the device copies while the host continues.
pub struct PinnedBuffer {
    device: Arc<DeviceContext>,
    address: *mut c_void,
    bytes: usize,
}

// SAFETY: host memory without ties to a thread.
unsafe impl Send for PinnedBuffer {}

impl PinnedBuffer {
    /// Allocates zeroed memory.
    ///
    /// # Errors
    /// Fails if the driver's call fails.
    pub fn new(device: &Arc<DeviceContext>, bytes: usize) -> Result<PinnedBuffer, DeviceError> {
        device.bind()?;
        count_allocation();
        // SAFETY: freed in `drop`; portable, so that every context of this process may copy with it.
        let address = unsafe { result::malloc_host(bytes.max(1), sys::CU_MEMHOSTALLOC_PORTABLE) }
            .context(device.label(), "cuMemHostAlloc")?;
        // SAFETY: just allocated with this size.
        unsafe { std::ptr::write_bytes(address.cast::<u8>(), 0, bytes) };
        Ok(PinnedBuffer { device: device.clone(), address, bytes })
    }

    /// Returns the bytes.
    pub fn as_slice(&self) -> &[u8] {
        // SAFETY: `bytes` zeroed bytes are there; the caller waits for copies before it reads.
        unsafe { std::slice::from_raw_parts(self.address.cast::<u8>(), self.bytes) }
    }

    /// Returns the bytes for writing. No copy from them may be pending.
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        // SAFETY: as above, and borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.address.cast::<u8>(), self.bytes) }
    }

    pub(in crate::backend::cuda) fn address(&self) -> *mut c_void {
        self.address
    }
}

impl Drop for PinnedBuffer {
    fn drop(&mut self) {
        let _ = self.device.bind();
        // SAFETY: allocated in `new`, freed only here; owners wait for their copies first.
        let _ = unsafe { result::free_host(self.address) };
    }
}

/// Size by which the arena grows and shrinks: small enough to fit a budget closely, large enough for few
/// chunks.
const CHUNK_BYTES: usize = 32 << 20;

/// A range of reserved addresses whose first part is backed with memory.
pub struct Arena {
    device: Arc<DeviceContext>,
    address: sys::CUdeviceptr,
    reserved: usize,
    granule: usize,
    chunks: Vec<(sys::CUmemGenericAllocationHandle, usize)>,
}

impl Arena {
    /// Reserves addresses for `bytes`; allocates no memory.
    ///
    /// # Errors
    /// Fails if the driver's call fails.
    pub fn reserve(device: &Arc<DeviceContext>, bytes: usize) -> Result<Arena, DeviceError> {
        device.bind()?;
        let properties = allocation_properties(device);
        let mut granule = 0;
        // SAFETY: both pointers are live.
        unsafe {
            sys::cuMemGetAllocationGranularity(
                &mut granule,
                &properties,
                sys::CUmemAllocationGranularity_flags::CU_MEM_ALLOC_GRANULARITY_RECOMMENDED,
            )
        }
        .result()
        .context(device.label(), "cuMemGetAllocationGranularity")?;
        let reserved = bytes.max(1).next_multiple_of(granule);
        let mut address = 0;
        // SAFETY: `address` is live; freed in `drop`.
        unsafe { sys::cuMemAddressReserve(&mut address, reserved, 0, 0, 0) }
            .result()
            .context(device.label(), "cuMemAddressReserve")?;
        Ok(Arena { device: device.clone(), address, reserved, granule, chunks: Vec::new() })
    }

    /// Returns the device address of the first byte; it never changes.
    pub(in crate::backend::cuda) fn address(&self) -> u64 {
        self.address
    }

    /// Returns the bytes that are backed with memory.
    pub fn bytes(&self) -> usize {
        self.chunks.iter().map(|(_, bytes)| bytes).sum()
    }

    /// Copies from the host and blocks until the data has arrived. No pending work may use the range.
    ///
    /// # Errors
    /// Fails if the driver's call fails.
    pub(in crate::backend::cuda) fn write(
        &mut self,
        offset: usize,
        data: &[u8],
    ) -> Result<(), DeviceError> {
        assert!(offset + data.len() <= self.bytes(), "write past the end of the arena");
        self.device.bind()?;
        let label = self.device.label();
        // SAFETY: the range lies inside the arena; the source outlives both calls.
        unsafe { result::memcpy_htod_sync(self.address + offset as u64, data) }
            .context(label, "cuMemcpyHtoD")?;
        // A copy from pageable memory returns when the data is staged, not when it has arrived.
        // SAFETY: the default stream of the current context, which synchronous copies go through.
        unsafe { result::stream::synchronize(result::stream::null()) }
            .context(label, "cuStreamSynchronize")
    }

    /// Backs the first `bytes` of the addresses with memory, in whole chunks, and releases the memory after
    /// them. No pending work may use the released part.
    ///
    /// # Errors
    /// [`DeviceError::OutOfMemory`]; the arena then has some size in between.
    pub fn resize(&mut self, bytes: usize) -> Result<(), DeviceError> {
        self.device.bind()?;
        let target = bytes.min(self.reserved).next_multiple_of(self.granule);
        while let Some(&(handle, size)) = self.chunks.last()
            && self.bytes() - size >= target
        {
            let at = self.address + (self.bytes() - size) as u64;
            // SAFETY: the last chunk, mapped here with this size in `add_chunk`.
            unsafe { unmap(at, size, handle) };
            self.chunks.pop();
        }
        while self.bytes() < target {
            let chunk = CHUNK_BYTES.next_multiple_of(self.granule);
            self.add_chunk(chunk.min(target - self.bytes()))?;
        }
        Ok(())
    }

    fn add_chunk(&mut self, size: usize) -> Result<(), DeviceError> {
        count_allocation();
        let at = self.address + self.bytes() as u64;
        let properties = allocation_properties(&self.device);
        let mut handle = 0;
        // SAFETY: both pointers are live; released below or when the chunk is unmapped.
        let status = unsafe { sys::cuMemCreate(&mut handle, size, &properties, 0) }.result();
        check_allocation(status, &self.device, "cuMemCreate", "the arena", size)?;
        // SAFETY: the range is reserved and has no memory behind it yet; the handle has this size.
        let mapped = unsafe { sys::cuMemMap(at, size, 0, handle, 0) }.result();
        if let Err(error) = mapped.context(self.device.label(), "cuMemMap") {
            // SAFETY: created above, mapped nowhere.
            let _ = unsafe { sys::cuMemRelease(handle) };
            return Err(error);
        }
        self.chunks.push((handle, size));
        let access = sys::CUmemAccessDesc {
            location: properties.location,
            flags: sys::CUmemAccess_flags::CU_MEM_ACCESS_FLAGS_PROT_READWRITE,
        };
        // SAFETY: the range was mapped just now; one descriptor is passed.
        unsafe { sys::cuMemSetAccess(at, size, &access, 1) }
            .result()
            .context(self.device.label(), "cuMemSetAccess")
    }
}

/// Unmaps and releases the memory of a range. Where that fails, the memory stays taken until the process
/// ends.
///
/// # Safety
/// The handle is mapped there with this size, and nothing uses the range any more.
unsafe fn unmap(at: sys::CUdeviceptr, size: usize, handle: sys::CUmemGenericAllocationHandle) {
    // SAFETY: the caller's promise.
    unsafe {
        let _ = sys::cuMemUnmap(at, size);
        let _ = sys::cuMemRelease(handle);
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        let _ = self.device.bind();
        let mut at = self.address;
        for (handle, size) in self.chunks.drain(..) {
            // SAFETY: mapped in `add_chunk` at this place with this size; the owner has synchronised.
            unsafe { unmap(at, size, handle) };
            at += size as u64;
        }
        // SAFETY: reserved in `reserve`, nothing is mapped any more.
        let _ = unsafe { sys::cuMemAddressFree(self.address, self.reserved) };
    }
}

fn allocation_properties(device: &DeviceContext) -> sys::CUmemAllocationProp {
    // SAFETY: all-zero bytes are "no flags, no handle type, no pointer" in this plain struct.
    let mut properties: sys::CUmemAllocationProp = unsafe { std::mem::zeroed() };
    properties.type_ = sys::CUmemAllocationType::CU_MEM_ALLOCATION_TYPE_PINNED;
    properties.location.type_ = sys::CUmemLocationType::CU_MEM_LOCATION_TYPE_DEVICE;
    properties.location.id = device.handle();
    properties
}
