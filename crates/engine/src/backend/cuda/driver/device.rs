//! One CUDA device: its context, its properties, its streams and events.
//!
//! The context is the device's primary one, slimmed before anything runs: kernels here use no stack, no
//! `printf` and no heap, and the memory that the driver would set aside for them is the larger half of a
//! context. Memory is allocated in [`super::memory`].

use std::ffi::{c_char, c_uint};
use std::sync::{Arc, OnceLock};

use cudarc::driver::result::{self, DriverError};
use cudarc::driver::sys::{self, CUdevice_attribute as Attribute, CUresult};

use super::arch::Arch;
use super::fault::{CallContext, describe};
use super::libraries::{self, Library};
use super::meter::Meter;
use super::nvml::{Nvml, PciAddress};
use crate::backend::{CudaDevice, DeviceMemory};
use crate::error::DeviceError;

/// Oldest accepted driver, in the encoding of `cuDriverGetVersion`: 1000 x major + 10 x minor.
const OLDEST_DRIVER: i32 = 12000;

/// Properties of a device.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Properties {
    /// Marketing name.
    pub name: String,
    /// Compute capability, major and minor.
    pub capability: (u32, u32),
    /// Number of streaming multiprocessors.
    pub multiprocessors: u32,
    /// Most dynamic shared memory per block, in bytes.
    pub shared_memory_bytes: usize,
    /// Total memory, in bytes.
    pub memory_bytes: u64,
    /// Newest CUDA that the driver supports, major and minor.
    pub driver_version: (u32, u32),
}

/// A device with a context in this process. The context is released with the last reference.
pub struct DeviceContext {
    label: String,
    handle: sys::CUdevice,
    context: sys::CUcontext,
    properties: Properties,
    meter: Meter,
}

// SAFETY: a context may be current on any thread, and each method makes it current before it calls the
// driver.
unsafe impl Send for DeviceContext {}
// SAFETY: the driver's calls are thread-safe; the fields beside the handles never change.
unsafe impl Sync for DeviceContext {}

/// Lists all devices in the driver's order, without making a context on any.
///
/// # Errors
/// [`DeviceError::Unavailable`] if there is no driver or no device.
pub fn list() -> Result<Vec<Properties>, DeviceError> {
    let version = initialise("cuda")?;
    let count = result::device::get_count().context("cuda", "cuDeviceGetCount")?;
    (0..count)
        .map(|ordinal| {
            let label = format!("cuda:{ordinal}");
            let handle = result::device::get(ordinal).context(&label, "cuDeviceGet")?;
            read_properties(&label, handle, version)
        })
        .collect()
}

/// Returns a device's properties and free memory, without making a context on it.
///
/// # Errors
/// [`DeviceError::Unavailable`] if there is no driver or no device of this index.
pub(in crate::backend) fn inspect(ordinal: usize) -> Result<CudaDevice, DeviceError> {
    let label = format!("cuda:{ordinal}");
    let version = initialise(&label)?;
    let handle = find_device(ordinal, &label)?;
    let Properties { name, capability, memory_bytes, driver_version, .. } =
        read_properties(&label, handle, version)?;
    let nvml = Nvml::get();
    let address = read_pci_address(&label, handle)?;
    Ok(CudaDevice {
        name,
        capability,
        memory_bytes,
        free_bytes: nvml.and_then(|nvml| nvml.device(address)?.free_bytes()),
        cuda_version: driver_version,
        driver_version: nvml.and_then(Nvml::driver_version),
    })
}

/// Returns the driver's handle of the device of this index.
fn find_device(ordinal: usize, label: &str) -> Result<sys::CUdevice, DeviceError> {
    let count = result::device::get_count().context(label, "cuDeviceGetCount")?;
    if ordinal >= count as usize {
        let last = count.saturating_sub(1);
        return Err(DeviceError::Unavailable {
            device: label.into(),
            reason: format!("this machine has {count} device(s), cuda:0 to cuda:{last}"),
        });
    }
    result::device::get(ordinal as i32).context(label, "cuDeviceGet")
}

impl DeviceContext {
    /// Makes a context on the device of this index, in the driver's order (`CUDA_VISIBLE_DEVICES` applies).
    ///
    /// # Errors
    /// [`DeviceError::Unavailable`] if there is no driver or one older than CUDA 12.0, no device of this
    /// index, a card older than Ampere, or no room for a context.
    pub fn open(ordinal: usize) -> Result<Arc<DeviceContext>, DeviceError> {
        let label = format!("cuda:{ordinal}");
        let unavailable =
            |reason: String| DeviceError::Unavailable { device: label.clone(), reason };
        let idle = read_idle_bytes();
        let version = initialise(&label)?;
        let handle = find_device(ordinal, &label)?;
        let properties = read_properties(&label, handle, version)?;
        if properties.capability < (8, 0) {
            let (major, minor) = properties.capability;
            return Err(unavailable(format!(
                "{} has compute capability {major}.{minor}; the kernels need 8.0 (Ampere) or newer",
                properties.name
            )));
        }
        let address = read_pci_address(&label, handle)?;
        let idle_bytes = idle.iter().find(|(at, _)| *at == address).map(|(_, used)| *used);
        let context = retain_slim_context(handle)
            .map_err(|DriverError(status)| unavailable(explain_no_context(status)))?;
        let meter = Meter::new(Nvml::get().and_then(|nvml| nvml.device(address)), idle_bytes);
        Ok(Arc::new(DeviceContext { label, handle, context, properties, meter }))
    }

    /// Returns the name that messages give: `cuda:0`.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// Returns the device's properties.
    pub fn properties(&self) -> &Properties {
        &self.properties
    }

    /// Returns the architecture whose machine code it runs best.
    pub fn arch(&self) -> Arch {
        let (major, minor) = self.properties.capability;
        Arch::for_card(major, minor)
    }

    /// Returns the major versions of NVRTC and cuBLASLt that this driver runs: none newer than its own.
    pub fn library_majors(&self) -> &'static [u32] {
        if self.properties.driver_version.0 >= 13 { libraries::MAJORS } else { &[12] }
    }

    /// Returns the driver's handle, valid as long as this device.
    pub fn handle(&self) -> sys::CUdevice {
        self.handle
    }

    /// Makes the context current on this thread.
    ///
    /// # Errors
    /// Fails if the driver's call fails.
    pub fn bind(&self) -> Result<(), DeviceError> {
        // SAFETY: the context lives as long as `self`.
        unsafe { result::ctx::set_current(self.context) }.context(&self.label, "cuCtxSetCurrent")
    }

    /// Returns the device's free and total bytes.
    ///
    /// # Errors
    /// Fails if the driver's call fails.
    pub fn free_and_total_bytes(&self) -> Result<(u64, u64), DeviceError> {
        self.bind()?;
        let (free, total) = result::mem_get_info().context(&self.label, "cuMemGetInfo")?;
        Ok((free as u64, total as u64))
    }

    /// Returns the bytes of the device that this process uses, context and libraries included.
    ///
    /// # Errors
    /// Fails if the driver's call fails.
    pub fn used_bytes(&self) -> Result<u64, DeviceError> {
        match self.meter.used_bytes() {
            Some(used) => Ok(used),
            // Without NVML the owner of memory is unknown: all that is not free counts as this process's.
            None => self.free_and_total_bytes().map(|(free, total)| total - free),
        }
    }

    /// Returns the memory in use by this process and by all; `None` for each that cannot be read.
    pub fn memory(&self) -> DeviceMemory {
        DeviceMemory { process_bytes: self.used_bytes().ok(), card_bytes: self.meter.card_bytes() }
    }
}

impl Drop for DeviceContext {
    fn drop(&mut self) {
        // SAFETY: retained once in `retain_slim_context`. An error here has no one left to handle it.
        let _ = unsafe { result::primary_ctx::release(self.handle) };
    }
}

/// Returns the bytes in use on every device before this process first started the driver, which may take some
/// itself.
fn read_idle_bytes() -> &'static [(PciAddress, u64)] {
    static IDLE: OnceLock<Vec<(PciAddress, u64)>> = OnceLock::new();
    IDLE.get_or_init(|| Nvml::get().map(Nvml::used_by_device).unwrap_or_default())
}

/// Opens and starts the driver, and returns its version.
fn initialise(label: &str) -> Result<i32, DeviceError> {
    let unavailable = |reason: String| DeviceError::Unavailable { device: label.into(), reason };
    read_idle_bytes();
    libraries::open(Library::Driver, &[]).map_err(|error| unavailable(error.to_string()))?;
    let mut version = 0;
    // SAFETY: `version` is live; this call is allowed before cuInit.
    let status = unsafe { sys::cuDriverGetVersion(&mut version) };
    if status == CUresult::CUDA_SUCCESS && (1..OLDEST_DRIVER).contains(&version) {
        return Err(unavailable(format!(
            "the driver supports CUDA {}.{}; bigbatch needs 12.0 or newer: install driver 525 or newer",
            version / 1000,
            version % 1000 / 10
        )));
    }
    result::init().map_err(|DriverError(status)| unavailable(explain_no_start(status)))?;
    Ok(version)
}

fn explain_no_start(status: CUresult) -> String {
    let hint = match status {
        CUresult::CUDA_ERROR_NO_DEVICE => {
            "no NVIDIA device is visible: see `nvidia-smi` and CUDA_VISIBLE_DEVICES, or use --device cpu"
        }
        CUresult::CUDA_ERROR_STUB_LIBRARY => {
            "the loader found a toolkit's stub of libcuda: remove the stubs folder from LD_LIBRARY_PATH"
        }
        CUresult::CUDA_ERROR_SYSTEM_DRIVER_MISMATCH => {
            "libcuda and the kernel's driver have different versions: restart after an update"
        }
        _ => "the driver did not start; see `nvidia-smi`",
    };
    format!("{hint} [{}]", describe(status))
}

fn explain_no_context(status: CUresult) -> String {
    let hint = match status {
        CUresult::CUDA_ERROR_OUT_OF_MEMORY => {
            "other processes hold its memory and a context does not fit; see `nvidia-smi`"
        }
        CUresult::CUDA_ERROR_DEVICE_UNAVAILABLE => {
            "another process uses it exclusively (compute mode), or it is not ready; see `nvidia-smi`"
        }
        _ => "the driver cannot make a context on it; see `nvidia-smi`",
    };
    format!("{hint} [{}]", describe(status))
}

fn read_properties(
    label: &str,
    handle: sys::CUdevice,
    driver: i32,
) -> Result<Properties, DeviceError> {
    let read = |attribute| {
        // SAFETY: the handle is the driver's own, here and below.
        let value = unsafe { result::device::get_attribute(handle, attribute) };
        value.map(|value| value as u32).context(label, "cuDeviceGetAttribute")
    };
    let capability = (
        read(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?,
        read(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?,
    );
    let shared = read(Attribute::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN)?;
    // SAFETY: as above.
    let memory = unsafe { result::device::total_mem(handle) }.context(label, "cuDeviceTotalMem")?;
    Ok(Properties {
        name: result::device::get_name(handle).context(label, "cuDeviceGetName")?,
        capability,
        multiprocessors: read(Attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)?,
        shared_memory_bytes: shared as usize,
        memory_bytes: memory as u64,
        driver_version: (driver as u32 / 1000, driver as u32 % 1000 / 10),
    })
}

/// Returns the device's address on the bus: `0000:1b:00.0` as numbers.
fn read_pci_address(label: &str, handle: sys::CUdevice) -> Result<PciAddress, DeviceError> {
    let mut text = [0 as c_char; 32];
    // SAFETY: `text` has the length passed.
    unsafe { sys::cuDeviceGetPCIBusId(text.as_mut_ptr(), text.len() as i32, handle) }
        .result()
        .context(label, "cuDeviceGetPCIBusId")?;
    let text: String = text.iter().take_while(|&&c| c != 0).map(|&c| c as u8 as char).collect();
    Ok(parse_pci_address(&text).unwrap_or_default())
}

fn parse_pci_address(text: &str) -> Option<PciAddress> {
    let mut numbers = text.split([':', '.']).map(|digits| u32::from_str_radix(digits, 16).ok());
    Some((numbers.next()??, numbers.next()??, numbers.next()??))
}

/// Retains the primary context with as little memory set aside as the driver allows, and makes it current.
fn retain_slim_context(handle: sys::CUdevice) -> Result<sys::CUcontext, DriverError> {
    let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
    // Spinning saves tens of microseconds per wait and takes a whole core.
    let wait = if cores >= 4 {
        sys::CUctx_flags::CU_CTX_SCHED_SPIN
    } else {
        sys::CUctx_flags::CU_CTX_SCHED_BLOCKING_SYNC
    };
    // SAFETY: the handle is the driver's own. Flags of a context that is already there (another user of the
    // primary context in this process) stay as they are, which is harmless.
    let _ = unsafe { sys::cuDevicePrimaryCtxSetFlags_v2(handle, wait as c_uint) };
    // SAFETY: as above; released in `DeviceContext::drop`.
    let context = unsafe { result::primary_ctx::retain(handle) }?;
    // SAFETY: just retained.
    unsafe { result::ctx::set_current(context) }?;
    const SMALLEST_FIFO_BYTES: usize = 4096;
    for (limit, bytes) in [
        (sys::CUlimit::CU_LIMIT_STACK_SIZE, 0),
        (sys::CUlimit::CU_LIMIT_PRINTF_FIFO_SIZE, SMALLEST_FIFO_BYTES),
        (sys::CUlimit::CU_LIMIT_MALLOC_HEAP_SIZE, SMALLEST_FIFO_BYTES),
    ] {
        // A driver that rejects a limit keeps its default, which only takes more memory.
        let _ = result::ctx::set_limit(limit, bytes);
    }
    Ok(context)
}

/// A stream that does not wait for the default one.
pub struct Stream {
    device: Arc<DeviceContext>,
    handle: sys::CUstream,
}

// SAFETY: a stream may be used from any thread; the context is made current by each user.
unsafe impl Send for Stream {}

impl Stream {
    /// Creates a stream.
    ///
    /// # Errors
    /// Fails if the driver's call fails.
    pub fn new(device: &Arc<DeviceContext>) -> Result<Stream, DeviceError> {
        device.bind()?;
        let handle = result::stream::create(result::stream::StreamKind::NonBlocking)
            .context(device.label(), "cuStreamCreate")?;
        Ok(Stream { device: device.clone(), handle })
    }

    /// Returns its device.
    pub fn device(&self) -> &Arc<DeviceContext> {
        &self.device
    }

    /// Returns the driver's handle, valid as long as this stream.
    pub fn handle(&self) -> sys::CUstream {
        self.handle
    }

    /// Blocks until all enqueued work is done.
    ///
    /// # Errors
    /// Fails if the driver's call or an earlier launch failed.
    pub fn synchronize(&self) -> Result<(), DeviceError> {
        self.device.bind()?;
        // SAFETY: the stream is alive.
        unsafe { result::stream::synchronize(self.handle) }
            .context(self.device.label(), "cuStreamSynchronize")
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let _ = self.device.bind();
        // SAFETY: created by `new`, destroyed only here.
        let _ = unsafe { result::stream::destroy(self.handle) };
    }
}

/// A point in a stream.
pub struct Event {
    device: Arc<DeviceContext>,
    handle: sys::CUevent,
}

// SAFETY: as for `Stream`.
unsafe impl Send for Event {}

impl Event {
    /// Creates an event; `timed` is needed for [`Event::milliseconds_since`].
    ///
    /// # Errors
    /// Fails if the driver's call fails.
    pub fn new(device: &Arc<DeviceContext>, timed: bool) -> Result<Event, DeviceError> {
        device.bind()?;
        let flags = if timed {
            sys::CUevent_flags::CU_EVENT_DEFAULT
        } else {
            sys::CUevent_flags::CU_EVENT_DISABLE_TIMING
        };
        let handle = result::event::create(flags).context(device.label(), "cuEventCreate")?;
        Ok(Event { device: device.clone(), handle })
    }

    /// Marks the work enqueued on the stream so far.
    ///
    /// # Errors
    /// Fails if the driver's call fails.
    pub fn record(&self, stream: &Stream) -> Result<(), DeviceError> {
        // SAFETY: both are alive and of one context, which is current.
        unsafe { result::event::record(self.handle, stream.handle()) }
            .context(self.device.label(), "cuEventRecord")
    }

    /// Blocks until the marked work is done; returns at once if none was marked.
    ///
    /// # Errors
    /// Fails if the driver's call fails.
    pub fn wait(&self) -> Result<(), DeviceError> {
        // SAFETY: the event is alive.
        unsafe { result::event::synchronize(self.handle) }
            .context(self.device.label(), "cuEventSynchronize")
    }

    /// Returns the device's time between two reached events of one stream.
    ///
    /// # Errors
    /// Fails if the driver's call fails.
    pub fn milliseconds_since(&self, start: &Event) -> Result<f32, DeviceError> {
        type ElapsedTime = unsafe extern "C" fn(*mut f32, sys::CUevent, sys::CUevent) -> CUresult;
        let mut milliseconds = 0.0;
        // SAFETY: the driver is open. The first version of this function, which cudarc no longer binds:
        // drivers of CUDA 12.0 lack the second. Both events are alive; `milliseconds` is live.
        let status = unsafe {
            match sys::culib().get::<ElapsedTime>(b"cuEventElapsedTime\0") {
                Ok(elapsed) => elapsed(&mut milliseconds, start.handle, self.handle),
                Err(_) => CUresult::CUDA_ERROR_NOT_FOUND,
            }
        };
        status.result().context(self.device.label(), "cuEventElapsedTime")?;
        Ok(milliseconds)
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        let _ = self.device.bind();
        // SAFETY: created by `new`, destroyed only here.
        let _ = unsafe { result::event::destroy(self.handle) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bus_addresses_are_hexadecimal() {
        assert_eq!(parse_pci_address("0000:1b:00.0"), Some((0, 0x1b, 0)));
        assert_eq!(parse_pci_address("00010000:C3:1F.0"), Some((0x10000, 0xc3, 0x1f)));
        assert_eq!(parse_pci_address("nonsense"), None);
    }

    #[test]
    fn a_machine_without_a_device_is_reported_in_one_line() {
        match DeviceContext::open(0) {
            Ok(device) => println!("skipped: there is a device, {}", device.properties().name),
            Err(error) => {
                let text = error.to_string();
                assert!(matches!(error, DeviceError::Unavailable { .. }), "{text}");
                assert!(text.starts_with("device cuda:0 is not available: "), "{text}");
                assert!(!text.contains('\n'), "{text}");
            }
        }
    }

    #[test]
    fn an_index_beyond_the_last_device_is_reported_with_their_number() {
        let Ok(devices) = list() else {
            println!("skipped: no CUDA device");
            return;
        };
        let error =
            DeviceContext::open(devices.len()).err().expect("one past the last").to_string();
        assert!(
            error.contains(&format!("this machine has {} device(s)", devices.len())),
            "{error}"
        );
    }
}
