//! The CUDA backend: the whole device side of a model inside one fixed budget of device memory.
//!
//! Nothing is linked, and building needs no toolkit. At start-up the driver, NVRTC and cuBLASLt are found and
//! opened ([`driver::libraries`]), our kernels are compiled for the present card ([`kernels::compile`],
//! cached by [`kernels::cache`]), and a slim context is made ([`driver::device`]). Then [`start`] puts a
//! model on the device: weights, an arena of what the budget leaves ([`driver::memory`]), an algorithm for
//! every matrix product ([`gemm`]), and graphs of small batches. From then on [`CudaBackend`] runs batches
//! and allocates nothing.
//!
//! A row's bits never depend on the rows beside it: attention's tiles start at the sequence's own start
//! ([`kernels::worklist`]), sums have a fixed order, and an algorithm of cuBLASLt runs only if it gives the
//! bits of every other bucket's algorithm.
//!
//! Every error is one line. A fault after which the process cannot use the device
//! ([`crate::error::DeviceError::Poisoned`]) has its own variant.
//!
//! It has no caching allocator, no second stream, no mask or score tensor, no unified memory, nothing that
//! needs a driver newer than CUDA 12.0, and no knowledge of layers or heads: a model arrives as numbers,
//! tensors and lists of operations from `device/cuda.rs`.

mod backend;
pub mod driver;
mod executor;
pub mod gemm;
mod graphs;
mod inputs;
pub mod kernels;
mod outputs;
mod report;
pub mod start;
mod timing;
mod weights;

pub use backend::CudaBackend;
pub use inputs::{BatchLimits, input_bytes};
pub use outputs::PendingRows;
pub use report::StartReport;
pub use weights::ModelData;
