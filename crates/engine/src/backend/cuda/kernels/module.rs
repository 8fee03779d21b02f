//! Loads machine code, and launches one of its kernels.

use std::ffi::{CString, c_void};
use std::sync::Arc;

use cudarc::driver::result;
use cudarc::driver::sys::{self, CUfunction_attribute as FunctionAttribute};

use super::compile::Target;
use crate::backend::cuda::driver::device::{DeviceContext, Stream};
use crate::backend::cuda::driver::fault::CallContext;
use crate::error::DeviceError;

/// A kernel argument: a device address, or a number.
#[derive(Debug, Clone, Copy)]
pub(in crate::backend::cuda) enum Arg {
    Address(u64),
    Int(i32),
    Float(f32),
}

impl Arg {
    pub(in crate::backend::cuda) fn int(value: usize) -> Arg {
        debug_assert!(value <= i32::MAX as usize);
        Arg::Int(value as i32)
    }

    /// Returns the bits where the kernel reads them: device and hosts are little-endian.
    fn bits(self) -> u64 {
        match self {
            Arg::Address(address) => address,
            Arg::Int(value) => u64::from(value as u32),
            Arg::Float(value) => u64::from(value.to_bits()),
        }
    }
}

const MAX_ARGS: usize = 10;

/// A loaded module, unloaded when dropped.
pub(in crate::backend::cuda) struct Module {
    device: Arc<DeviceContext>,
    handle: sys::CUmodule,
}

// SAFETY: modules belong to the context, not to a thread.
unsafe impl Send for Module {}

impl Module {
    pub(in crate::backend::cuda) fn load(
        device: &Arc<DeviceContext>,
        image: &[u8],
    ) -> Result<Module, DeviceError> {
        device.bind()?;
        // SAFETY: an ELF image made by NVRTC, or read back from a private cache with its checksum.
        let handle = unsafe { result::module::load_data(image.as_ptr().cast()) }
            .context(device.label(), "cuModuleLoadData")?;
        Ok(Module { device: device.clone(), handle })
    }

    pub(in crate::backend::cuda) fn function(
        &self,
        name: &'static str,
    ) -> Result<Function, DeviceError> {
        let symbol = CString::new(name).unwrap_or_default();
        // SAFETY: the module is loaded, and lives as long as the functions taken from it.
        let handle = unsafe { result::module::get_function(self.handle, symbol) }
            .context(self.device.label(), "cuModuleGetFunction")?;
        Ok(Function { handle, name })
    }
}

impl Drop for Module {
    fn drop(&mut self) {
        let _ = self.device.bind();
        // SAFETY: loaded in `load`, unloaded only here, after its functions' owner is gone.
        let _ = unsafe { result::module::unload(self.handle) };
    }
}

#[derive(Clone, Copy)]
pub(in crate::backend::cuda) struct Function {
    handle: sys::CUfunction,
    pub(in crate::backend::cuda) name: &'static str,
}

// SAFETY: a handle that is valid in the whole process while its module is loaded.
unsafe impl Send for Function {}

/// Number of blocks in either dimension.
pub(in crate::backend::cuda) type Grid = (usize, usize);

impl Function {
    /// Enqueues a launch; does nothing for an empty grid. Arguments must be those that the source declares,
    /// in order, with addresses in range; only the checked methods of [`super::Kernels`] call this.
    pub(in crate::backend::cuda) fn launch(
        &self,
        stream: &Stream,
        grid: Grid,
        threads: u32,
        shared_bytes: usize,
        args: &[Arg],
    ) -> Result<(), DeviceError> {
        if grid.0 == 0 || grid.1 == 0 {
            return Ok(());
        }
        let mut bits = [0u64; MAX_ARGS];
        let mut pointers = [std::ptr::null_mut::<c_void>(); MAX_ARGS];
        for (index, arg) in args.iter().enumerate() {
            bits[index] = arg.bits();
            pointers[index] = (&raw mut bits[index]).cast();
        }
        let grid = (grid.0 as u32, grid.1 as u32, 1);
        // SAFETY: the module is loaded; `pointers` has one entry per argument, each to eight live bytes; the
        // driver copies the values before it returns. The callers check what the kernel reads and writes.
        unsafe {
            result::launch_kernel(
                self.handle,
                grid,
                (threads, 1, 1),
                shared_bytes as u32,
                stream.handle(),
                &mut pointers[..args.len()],
            )
        }
        .context(stream.device().label(), self.name)
    }
}

/// Allows a kernel this much dynamic shared memory.
pub(in crate::backend::cuda) fn allow_shared(
    device: &DeviceContext,
    target: Target,
    function: &Function,
    bytes: usize,
) -> Result<(), DeviceError> {
    let most = target.shared_memory_bytes().min(device.properties().shared_memory_bytes);
    if bytes > most {
        return Err(DeviceError::Unavailable {
            device: device.label().into(),
            reason: format!(
                "{} needs {bytes} bytes of shared memory, a block has {most}",
                function.name
            ),
        });
    }
    // SAFETY: the function's module is loaded.
    unsafe {
        result::function::set_function_attribute(
            function.handle,
            FunctionAttribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES,
            bytes as i32,
        )
    }
    .context(device.label(), "cuFuncSetAttribute")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_lie_where_the_device_reads_them() {
        assert_eq!(Arg::Int(-1).bits(), 0xffff_ffff);
        assert_eq!(Arg::Float(1.0).bits() as u32, 0x3f80_0000);
        assert_eq!(Arg::Address(u64::MAX).bits(), u64::MAX);
    }
}
