//! Memory in use as the driver's management library reports it: what `nvidia-smi` shows, and what a budget is
//! checked against.
//!
//! CUDA's own reading needs a context, and so cannot measure the context. NVML reads before `cuInit`, when an
//! unused device may already report hundreds of MiB. So this process's share is its own entry where NVML
//! lists it (it does not in a container, whose process ids differ), and otherwise the growth since that first
//! reading, which other processes on the device disturb.

use std::ffi::{c_char, c_int, c_uint, c_void};

use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};

use crate::backend::DeviceMemory;

const SUCCESS: c_int = 0;
const INSUFFICIENT_SIZE: c_int = 7;
const NOT_AVAILABLE: u64 = u64::MAX;

type Handle = *mut c_void;

#[repr(C)]
#[derive(Default)]
struct Memory {
    total: u64,
    free: u64,
    used: u64,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Process {
    pid: c_uint,
    used_bytes: u64,
    gpu_instance: c_uint,
    compute_instance: c_uint,
}

#[repr(C)]
struct PciInfo {
    legacy_id: [c_char; 16],
    domain: c_uint,
    bus: c_uint,
    device: c_uint,
    ids: [c_uint; 2],
    id: [c_char; 32],
}

/// The library's functions.
pub(in crate::backend::cuda) struct Nvml {
    driver: unsafe extern "C" fn(*mut c_char, c_uint) -> c_int,
    count: unsafe extern "C" fn(*mut c_uint) -> c_int,
    by_index: unsafe extern "C" fn(c_uint, *mut Handle) -> c_int,
    pci: unsafe extern "C" fn(Handle, *mut PciInfo) -> c_int,
    memory: unsafe extern "C" fn(Handle, *mut Memory) -> c_int,
    processes: unsafe extern "C" fn(Handle, *mut c_uint, *mut Process) -> c_int,
}

/// A device's address on the bus: domain, bus, device.
pub(in crate::backend::cuda) type PciAddress = (u32, u32, u32);

impl Nvml {
    /// Returns the library, opened once; `None` if it is missing or does not start.
    pub(in crate::backend::cuda) fn get() -> Option<&'static Nvml> {
        static NVML: std::sync::OnceLock<Option<Nvml>> = std::sync::OnceLock::new();
        NVML.get_or_init(Nvml::open).as_ref()
    }

    fn open() -> Option<Nvml> {
        // SAFETY: the driver's library by the name that every NVIDIA tool uses; the signatures are those of
        // nvml.h, unchanged since NVML 11.
        unsafe {
            let library = super::libraries::driver_folders()
                .iter()
                .map(|folder| folder.join("libnvidia-ml.so.1"))
                .filter(|path| path.is_file())
                .find_map(|path| Library::open(Some(path), RTLD_NOW | RTLD_LOCAL).ok())?;
            let init = *library.get::<unsafe extern "C" fn() -> c_int>(b"nvmlInit_v2\0").ok()?;
            let nvml = Nvml {
                driver: *library.get(b"nvmlSystemGetDriverVersion\0").ok()?,
                count: *library.get(b"nvmlDeviceGetCount_v2\0").ok()?,
                by_index: *library.get(b"nvmlDeviceGetHandleByIndex_v2\0").ok()?,
                pci: *library.get(b"nvmlDeviceGetPciInfo_v3\0").ok()?,
                memory: *library.get(b"nvmlDeviceGetMemoryInfo\0").ok()?,
                processes: *library.get(b"nvmlDeviceGetComputeRunningProcesses_v3\0").ok()?,
            };
            if init() != SUCCESS {
                return None;
            }
            // Its functions are used for the life of the process.
            std::mem::forget(library);
            Some(nvml)
        }
    }

    /// Returns the driver's version, such as `580.65.06`.
    pub(in crate::backend::cuda) fn driver_version(&self) -> Option<String> {
        let mut text = [0 as c_char; 96];
        // SAFETY: `text` has the length passed, which is more than NVML's own 80.
        let status = unsafe { (self.driver)(text.as_mut_ptr(), text.len() as c_uint) };
        let bytes = text.iter().map(|&byte| byte as u8).take_while(|&byte| byte != 0);
        (status == SUCCESS).then(|| bytes.map(char::from).collect())
    }

    /// Returns the used bytes of every device.
    pub(in crate::backend::cuda) fn used_by_device(&self) -> Vec<(PciAddress, u64)> {
        let mut count = 0;
        // SAFETY: `count` is live.
        if unsafe { (self.count)(&mut count) } != SUCCESS {
            return Vec::new();
        }
        (0..count).filter_map(|index| self.used_at(index)).collect()
    }

    fn used_at(&self, index: c_uint) -> Option<(PciAddress, u64)> {
        let mut handle: Handle = std::ptr::null_mut();
        // SAFETY: `handle` is live.
        if unsafe { (self.by_index)(index, &mut handle) } != SUCCESS {
            return None;
        }
        Some((self.address(handle)?, self.used(handle)?))
    }

    fn address(&self, handle: Handle) -> Option<PciAddress> {
        // SAFETY: all-zero bytes are a value of this plain struct.
        let mut info: PciInfo = unsafe { std::mem::zeroed() };
        // SAFETY: the handle is NVML's own; `info` has the size of nvmlPciInfo_t.
        let status = unsafe { (self.pci)(handle, &mut info) };
        (status == SUCCESS).then_some((info.domain, info.bus, info.device))
    }

    fn used(&self, handle: Handle) -> Option<u64> {
        Some(self.memory(handle)?.used)
    }

    fn memory(&self, handle: Handle) -> Option<Memory> {
        let mut memory = Memory::default();
        // SAFETY: the handle is NVML's own; `memory` has the size of nvmlMemory_t.
        let status = unsafe { (self.memory)(handle, &mut memory) };
        (status == SUCCESS).then_some(memory)
    }

    /// Returns every device.
    fn devices(&'static self) -> Vec<NvmlDevice> {
        let mut count = 0;
        // SAFETY: `count` is live.
        if unsafe { (self.count)(&mut count) } != SUCCESS {
            return Vec::new();
        }
        let device = |index| {
            let mut handle: Handle = std::ptr::null_mut();
            // SAFETY: `handle` is live.
            let found = unsafe { (self.by_index)(index, &mut handle) } == SUCCESS;
            found.then_some(NvmlDevice { nvml: self, handle })
        };
        (0..count).filter_map(device).collect()
    }

    /// Returns the device at this address.
    pub(in crate::backend::cuda) fn device(
        &'static self,
        address: PciAddress,
    ) -> Option<NvmlDevice> {
        self.devices().into_iter().find(|device| self.address(device.handle) == Some(address))
    }
}

/// Returns the memory that a process uses, summed over its devices, and what these devices have in use. For a
/// process that NVML does not list (it has no context, or this is a container with its own process ids) only
/// the card's use is returned, and only if the machine has a single card.
pub(in crate::backend) fn memory_of(pid: u32) -> Option<DeviceMemory> {
    let devices = Nvml::get()?.devices();
    let uses = |device: &NvmlDevice| Some((device.bytes_of(pid)?, device.used_bytes()?));
    let used: Vec<(u64, u64)> = devices.iter().filter_map(uses).collect();
    match (used.is_empty(), devices.as_slice()) {
        (true, [only]) => Some(DeviceMemory { process_bytes: None, card_bytes: only.used_bytes() }),
        (true, _) => None,
        (false, _) => Some(DeviceMemory {
            process_bytes: Some(used.iter().map(|(process, _)| process).sum()),
            card_bytes: Some(used.iter().map(|(_, card)| card).sum()),
        }),
    }
}

/// One device, as NVML sees it.
pub(in crate::backend::cuda) struct NvmlDevice {
    nvml: &'static Nvml,
    handle: Handle,
}

// SAFETY: NVML's functions may be called from any thread, and its handles are not tied to one.
unsafe impl Send for NvmlDevice {}
// SAFETY: as above.
unsafe impl Sync for NvmlDevice {}

impl NvmlDevice {
    /// Returns the bytes that all processes and the driver use.
    pub(in crate::backend::cuda) fn used_bytes(&self) -> Option<u64> {
        self.nvml.used(self.handle)
    }

    /// Returns the bytes that are free.
    pub(in crate::backend::cuda) fn free_bytes(&self) -> Option<u64> {
        Some(self.nvml.memory(self.handle)?.free)
    }

    /// Returns the bytes that this process uses; `None` if NVML does not list it.
    pub(in crate::backend::cuda) fn own_bytes(&self) -> Option<u64> {
        self.bytes_of(std::process::id())
    }

    /// Returns the bytes that a process uses; `None` if NVML does not list it.
    fn bytes_of(&self, pid: u32) -> Option<u64> {
        let mut processes = vec![Process::default(); 64];
        loop {
            let mut count = processes.len() as c_uint;
            // SAFETY: `processes` has room for `count` entries of nvmlProcessInfo_t.
            let status =
                unsafe { (self.nvml.processes)(self.handle, &mut count, processes.as_mut_ptr()) };
            match status {
                SUCCESS => processes.truncate(count as usize),
                // More processes may start between two calls.
                INSUFFICIENT_SIZE if processes.len() < 4096 => {
                    processes.resize(2 * (count as usize).max(processes.len()), Process::default());
                    continue;
                }
                _ => return None,
            }
            let own = processes.iter().find(|process| process.pid == pid)?;
            return (own.used_bytes != NOT_AVAILABLE).then_some(own.used_bytes);
        }
    }
}
