//! The device to run on, and the limits within which it runs.

#[cfg(feature = "cuda")]
use crate::dtype::Dtype;

/// The device that a model runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DeviceKind {
    /// Host threads, in f32.
    #[default]
    Cpu,
    /// Plain loops on the host: the oracle of the tests, too slow to serve with.
    Reference,
    /// A CUDA device by its index, computing in bf16 or f16.
    #[cfg(feature = "cuda")]
    Cuda(usize, Dtype),
}

impl DeviceKind {
    /// Returns the first CUDA device in bf16 if this build has CUDA and the machine a device, else the CPU.
    pub fn auto() -> DeviceKind {
        #[cfg(feature = "cuda")]
        if crate::backend::cuda::driver::device::list().is_ok_and(|devices| !devices.is_empty()) {
            return DeviceKind::Cuda(0, Dtype::Bf16);
        }
        DeviceKind::Cpu
    }
}

/// Limits of the device side of an engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceOptions {
    /// Where to run.
    pub kind: DeviceKind,
    /// Threads of a host backend.
    pub threads: usize,
    /// On a host everything but the weights of embedded models; on a CUDA device everything that the process uses of it.
    pub memory_budget_bytes: u64,
    /// `None`: as many as the budget holds, up to the number beyond which a batch runs no faster.
    pub max_batch_tokens: Option<usize>,
    /// Upper limit on sequences per batch.
    pub max_batch_sequences: usize,
}
