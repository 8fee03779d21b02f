//! One CUDA device: its context, its properties, its streams.
//!
//! The context is the device's primary one, slimmed before anything runs: kernels here use no stack, no
//! `printf` and no heap, and what the driver would set aside for them is the larger half of a context.

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

/// Oldest driver accepted, as `cuDriverGetVersion` counts: 1000 x major + 10 x minor.
const OLDEST_DRIVER: i32 = 12000;

/// What a device is and has.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Properties {
    /// Marketing name.
    pub name: String,
    /// Compute capability.
    pub capability: (u32, u32),
    /// Streaming multiprocessors.
    pub multiprocessors: u32,
    /// Most dynamic shared memory of one block, in bytes.
    pub shared_memory_bytes: usize,
    /// All memory of the device, in bytes.
    pub memory_bytes: u64,
    /// CUDA version that the driver supports, major and minor.
    pub driver_version: (u32, u32),
}

/// A device with a context in this process. Dropped when the last user is gone.
pub struct Device {
    label: String,
    handle: sys::CUdevice,
    context: sys::CUcontext,
    properties: Properties,
    meter: Meter,
}

// SAFETY: a context may be current on any thread, and each call here makes it so first.
unsafe impl Send for Device {}
// SAFETY: the driver's calls are thread-safe; what is kept beside the handles never changes.
unsafe impl Sync for Device {}

/// What can be said of a device without a context on it, for `doctor`.
///
/// # Errors
/// [`DeviceError::Unavailable`] where there is no driver or no device.
pub fn list() -> Result<Vec<Properties>, DeviceError> {
    let version = initialise("cuda")?;
    let count = result::device::get_count().context("cuda", "cuDeviceGetCount")?;
    (0..count)
        .map(|ordinal| {
            let label = format!("cuda:{ordinal}");
            let handle = result::device::get(ordinal).context(&label, "cuDeviceGet")?;
            properties(&label, handle, version)
        })
        .collect()
}

/// What preflight asks of a device; no context is made on it.
pub(in crate::backend) fn inspect(ordinal: usize) -> Result<CudaDevice, DeviceError> {
    let label = format!("cuda:{ordinal}");
    let version = initialise(&label)?;
    let handle = handle(ordinal, &label)?;
    let Properties { name, capability, memory_bytes, driver_version, .. } =
        properties(&label, handle, version)?;
    let nvml = Nvml::get();
    let address = pci_address(&label, handle)?;
    Ok(CudaDevice {
        name,
        capability,
        memory_bytes,
        free_bytes: nvml.and_then(|nvml| nvml.device(address)?.free_bytes()),
        cuda_version: driver_version,
        driver_version: nvml.and_then(Nvml::driver_version),
    })
}

/// The device of this index.
fn handle(ordinal: usize, label: &str) -> Result<sys::CUdevice, DeviceError> {
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

impl Device {
    /// Makes a context on the device of this index, in the driver's order (`CUDA_VISIBLE_DEVICES` applies).
    ///
    /// # Errors
    /// [`DeviceError::Unavailable`], in one line: no driver, a driver too old, no such device, a card older
    /// than Ampere, a device that others occupy.
    pub fn open(ordinal: usize) -> Result<Arc<Device>, DeviceError> {
        let label = format!("cuda:{ordinal}");
        let unavailable =
            |reason: String| DeviceError::Unavailable { device: label.clone(), reason };
        let idle = idle_bytes();
        let version = initialise(&label)?;
        let handle = handle(ordinal, &label)?;
        let properties = properties(&label, handle, version)?;
        if properties.capability < (8, 0) {
            let (major, minor) = properties.capability;
            return Err(unavailable(format!(
                "{} has compute capability {major}.{minor}; 8.0 (Ampere) or newer is needed",
                properties.name
            )));
        }
        let address = pci_address(&label, handle)?;
        let idle_bytes = idle.iter().find(|(at, _)| *at == address).map(|(_, used)| *used);
        let context =
            slim_context(handle).map_err(|DriverError(status)| unavailable(busy(status)))?;
        let meter = Meter::new(Nvml::get().and_then(|nvml| nvml.device(address)), idle_bytes);
        Ok(Arc::new(Device { label, handle, context, properties, meter }))
    }

    /// `cuda:0`.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// What the device is and has.
    pub fn properties(&self) -> &Properties {
        &self.properties
    }

    /// The machine code it runs best.
    pub fn arch(&self) -> Arch {
        let (major, minor) = self.properties.capability;
        Arch::of_card(major, minor)
    }

    /// Versions of NVRTC and cuBLASLt that this driver runs: not newer ones than its own.
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

    /// Free and total bytes, as the context sees them.
    ///
    /// # Errors
    /// The driver's.
    pub fn free_and_total_bytes(&self) -> Result<(u64, u64), DeviceError> {
        self.bind()?;
        let (free, total) = result::mem_get_info().context(&self.label, "cuMemGetInfo")?;
        Ok((free as u64, total as u64))
    }

    /// Bytes of the device that this process uses, context and libraries included.
    ///
    /// # Errors
    /// The driver's.
    pub fn used_bytes(&self) -> Result<u64, DeviceError> {
        match self.meter.used_bytes() {
            Some(used) => Ok(used),
            // Without NVML nobody tells whose memory it is: all that is not free counts as ours.
            None => self.free_and_total_bytes().map(|(free, total)| total - free),
        }
    }

    /// What this process and what everything on the card uses; what cannot be read is `None`.
    pub fn memory(&self) -> DeviceMemory {
        DeviceMemory { process_bytes: self.used_bytes().ok(), card_bytes: self.meter.card_bytes() }
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        // SAFETY: retained once in `slim_context`. An error at the end of use helps nobody.
        let _ = unsafe { result::primary_ctx::release(self.handle) };
    }
}

/// What every device read before this process first started the driver, which may take memory itself.
fn idle_bytes() -> &'static [(PciAddress, u64)] {
    static IDLE: OnceLock<Vec<(PciAddress, u64)>> = OnceLock::new();
    IDLE.get_or_init(|| Nvml::get().map(Nvml::used_everywhere).unwrap_or_default())
}

/// Opens and starts the driver; its version.
fn initialise(label: &str) -> Result<i32, DeviceError> {
    let unavailable = |reason: String| DeviceError::Unavailable { device: label.into(), reason };
    idle_bytes();
    libraries::open(Library::Driver, &[]).map_err(|error| unavailable(error.to_string()))?;
    let mut version = 0;
    // SAFETY: `version` is live; this call is allowed before cuInit.
    let status = unsafe { sys::cuDriverGetVersion(&mut version) };
    if status == CUresult::CUDA_SUCCESS && (1..OLDEST_DRIVER).contains(&version) {
        return Err(unavailable(format!(
            "the driver supports CUDA {}.{}; 12.0 or newer is needed: install driver 525 or newer",
            version / 1000,
            version % 1000 / 10
        )));
    }
    result::init().map_err(|DriverError(status)| unavailable(no_device(status)))?;
    Ok(version)
}

fn no_device(status: CUresult) -> String {
    let hint = match status {
        CUresult::CUDA_ERROR_NO_DEVICE => {
            "no NVIDIA device is visible: see `nvidia-smi` and CUDA_VISIBLE_DEVICES, or use --device cpu"
        }
        CUresult::CUDA_ERROR_STUB_LIBRARY => {
            "the loader found a toolkit's stub of libcuda: remove the stubs folder from LD_LIBRARY_PATH"
        }
        CUresult::CUDA_ERROR_SYSTEM_DRIVER_MISMATCH => {
            "libcuda and the kernel's driver are of different versions: restart after an update"
        }
        _ => "the driver did not start; see `nvidia-smi`",
    };
    format!("{hint} [{}]", describe(status))
}

fn busy(status: CUresult) -> String {
    let hint = match status {
        CUresult::CUDA_ERROR_OUT_OF_MEMORY => {
            "other processes hold its memory and no context fits; see `nvidia-smi`"
        }
        CUresult::CUDA_ERROR_DEVICE_UNAVAILABLE => {
            "another process has it for itself (compute mode), or it is not ready; see `nvidia-smi`"
        }
        _ => "no context could be made",
    };
    format!("{hint} [{}]", describe(status))
}

fn properties(label: &str, handle: sys::CUdevice, driver: i32) -> Result<Properties, DeviceError> {
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

/// `0000:1b:00.0` as numbers.
fn pci_address(label: &str, handle: sys::CUdevice) -> Result<PciAddress, DeviceError> {
    let mut text = [0 as c_char; 32];
    // SAFETY: `text` has the length told.
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

/// Retains the primary context with as little set aside as the driver allows, current on this thread.
fn slim_context(handle: sys::CUdevice) -> Result<sys::CUcontext, DriverError> {
    let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
    // A waiting thread that spins answers sooner by tens of microseconds, and takes a whole core.
    let wait = if cores >= 4 {
        sys::CUctx_flags::CU_CTX_SCHED_SPIN
    } else {
        sys::CUctx_flags::CU_CTX_SCHED_BLOCKING_SYNC
    };
    // SAFETY: the handle is the driver's own. Flags of a context that is already there (another user of the
    // primary context in this process) stay as they are, which is harmless.
    let _ = unsafe { sys::cuDevicePrimaryCtxSetFlags_v2(handle, wait as c_uint) };
    // SAFETY: as above; released in `Device::drop`.
    let context = unsafe { result::primary_ctx::retain(handle) }?;
    // SAFETY: just retained.
    unsafe { result::ctx::set_current(context) }?;
    const SMALLEST_FIFO_BYTES: usize = 4096;
    for (limit, bytes) in [
        (sys::CUlimit::CU_LIMIT_STACK_SIZE, 0),
        (sys::CUlimit::CU_LIMIT_PRINTF_FIFO_SIZE, SMALLEST_FIFO_BYTES),
        (sys::CUlimit::CU_LIMIT_MALLOC_HEAP_SIZE, SMALLEST_FIFO_BYTES),
    ] {
        // A driver that refuses a limit keeps its default: more memory, nothing wrong.
        let _ = result::ctx::set_limit(limit, bytes);
    }
    Ok(context)
}

/// A stream that does not wait for the default one.
pub struct Stream {
    device: Arc<Device>,
    handle: sys::CUstream,
}

// SAFETY: a stream may be used from any thread; the context is made current by each user.
unsafe impl Send for Stream {}

impl Stream {
    /// A new stream.
    ///
    /// # Errors
    /// The driver's.
    pub fn new(device: &Arc<Device>) -> Result<Stream, DeviceError> {
        device.bind()?;
        let handle = result::stream::create(result::stream::StreamKind::NonBlocking)
            .context(device.label(), "cuStreamCreate")?;
        Ok(Stream { device: device.clone(), handle })
    }

    /// The device it belongs to.
    pub fn device(&self) -> &Arc<Device> {
        &self.device
    }

    /// Returns the driver's handle, valid as long as this stream.
    pub fn handle(&self) -> sys::CUstream {
        self.handle
    }

    /// Waits until all that was enqueued is done.
    ///
    /// # Errors
    /// The driver's; faults of earlier launches show here.
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
    device: Arc<Device>,
    handle: sys::CUevent,
}

// SAFETY: as for `Stream`.
unsafe impl Send for Event {}

impl Event {
    /// A new event; `timed` for [`Event::milliseconds_since`].
    ///
    /// # Errors
    /// The driver's.
    pub fn new(device: &Arc<Device>, timed: bool) -> Result<Event, DeviceError> {
        device.bind()?;
        let flags = if timed {
            sys::CUevent_flags::CU_EVENT_DEFAULT
        } else {
            sys::CUevent_flags::CU_EVENT_DISABLE_TIMING
        };
        let handle = result::event::create(flags).context(device.label(), "cuEventCreate")?;
        Ok(Event { device: device.clone(), handle })
    }

    /// Marks all that the stream holds so far.
    ///
    /// # Errors
    /// The driver's.
    pub fn record(&self, stream: &Stream) -> Result<(), DeviceError> {
        // SAFETY: both are alive and of one context, which is current.
        unsafe { result::event::record(self.handle, stream.handle()) }
            .context(self.device.label(), "cuEventRecord")
    }

    /// Waits until what was marked is done; at once if nothing was.
    ///
    /// # Errors
    /// The driver's.
    pub fn wait(&self) -> Result<(), DeviceError> {
        // SAFETY: the event is alive.
        unsafe { result::event::synchronize(self.handle) }
            .context(self.device.label(), "cuEventSynchronize")
    }

    /// Device time between two events of one stream, both done.
    ///
    /// # Errors
    /// The driver's.
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
    fn a_machine_without_a_device_says_so_in_one_line() {
        match Device::open(0) {
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
    fn a_device_that_is_not_there_is_named() {
        let Ok(devices) = list() else {
            println!("skipped: no CUDA device");
            return;
        };
        let error = Device::open(devices.len()).err().expect("one past the last").to_string();
        assert!(
            error.contains(&format!("this machine has {} device(s)", devices.len())),
            "{error}"
        );
    }
}
