//! Statuses of the driver and of cuBLASLt as [`DeviceError`]s, with the call that returned them.

use std::ffi::CStr;

use cudarc::cublaslt::result::CublasError;
use cudarc::cublaslt::sys as lt;
use cudarc::driver::result::DriverError;
use cudarc::driver::sys::CUresult;

use crate::error::DeviceError;

/// Adds the device and the call to a status, to make a [`DeviceError`] of it.
pub trait CallContext<T> {
    /// Returns the value, or an error that names `device` and `call`.
    ///
    /// # Errors
    /// [`DeviceError::Poisoned`] for a fault that ends the process's use of the device, else
    /// [`DeviceError::Call`].
    fn context(self, device: &str, call: &'static str) -> Result<T, DeviceError>;
}

impl<T> CallContext<T> for Result<T, DriverError> {
    fn context(self, device: &str, call: &'static str) -> Result<T, DeviceError> {
        self.map_err(|DriverError(status)| {
            let (device, reason) = (device.to_string(), describe(status));
            if is_sticky(status) {
                DeviceError::Poisoned { device, call, reason }
            } else {
                DeviceError::Call { device, call, reason }
            }
        })
    }
}

impl<T> CallContext<T> for Result<T, CublasError> {
    fn context(self, device: &str, call: &'static str) -> Result<T, DeviceError> {
        self.map_err(|CublasError(status)| {
            // SAFETY: cuBLASLt is open, for it gave this status; the string lives as long as the library.
            let name = unsafe { CStr::from_ptr(lt::cublasLtGetStatusName(status)) };
            let reason = name.to_string_lossy().into_owned();
            DeviceError::Call { device: device.to_string(), call, reason }
        })
    }
}

/// Returns the explanation and the name of a driver status.
pub(in crate::backend::cuda) fn describe(status: CUresult) -> String {
    let error = DriverError(status);
    let text = |text: Result<&CStr, DriverError>| text.map(|t| t.to_string_lossy().into_owned());
    match (text(error.error_name()), text(error.error_string())) {
        (Ok(name), Ok(meaning)) => format!("{meaning} ({name})"),
        _ => format!("status {}", status as u32),
    }
}

/// Returns whether the driver answers every later call of this process with the same status. Uncorrectable
/// memory errors, the end of an MPS server and all faults inside a kernel are of this kind.
fn is_sticky(status: CUresult) -> bool {
    matches!(
        status,
        CUresult::CUDA_ERROR_ECC_UNCORRECTABLE
            | CUresult::CUDA_ERROR_NVLINK_UNCORRECTABLE
            | CUresult::CUDA_ERROR_CONTAINED
            | CUresult::CUDA_ERROR_ILLEGAL_ADDRESS
            | CUresult::CUDA_ERROR_LAUNCH_TIMEOUT
            | CUresult::CUDA_ERROR_CONTEXT_IS_DESTROYED
            | CUresult::CUDA_ERROR_ASSERT
            | CUresult::CUDA_ERROR_HARDWARE_STACK_ERROR
            | CUresult::CUDA_ERROR_ILLEGAL_INSTRUCTION
            | CUresult::CUDA_ERROR_MISALIGNED_ADDRESS
            | CUresult::CUDA_ERROR_INVALID_ADDRESS_SPACE
            | CUresult::CUDA_ERROR_INVALID_PC
            | CUresult::CUDA_ERROR_LAUNCH_FAILED
            | CUresult::CUDA_ERROR_MPS_CLIENT_TERMINATED
            | CUresult::CUDA_ERROR_EXTERNAL_DEVICE
    )
}
