//! The CUDA backend: the whole device side of a model inside one fixed budget of device memory.
//!
//! Nothing is linked and no toolkit is needed to build. At start-up the driver, NVRTC and cuBLASLt are found
//! and opened ([`driver::libraries`]), our kernels are compiled for the card at hand ([`kernels::compile`],
//! kept by [`kernels::cache`]), a slim context is made ([`driver::device`]), and [`start`] puts a model on it: weights, an arena of
//! what the budget leaves ([`driver::memory`]), algorithms for every matrix product ([`gemm`]), graphs of small
//! batches. From then on [`CudaBackend`] runs batches and allocates nothing.
//!
//! A row's bits never depend on what is beside it: attention's tiles start at the sequence's own start
//! ([`kernels::worklist`]), sums have a fixed order, and an algorithm of cuBLASLt runs only if it gives the bits that
//! every other bucket's gives.
//!
//! Every error is one line. A fault that poisons the process ([`crate::error::DeviceError::Poisoned`]) is
//! told apart from one that fails a batch.
//!
//! What is not here: no caching allocator, no second stream, no mask or score tensor, no unified memory,
//! nothing that needs a driver newer than CUDA 12.0, and no knowledge of layers or heads.

mod backend;
pub mod driver;
pub mod gemm;
mod graphs;
mod inputs;
pub mod kernels;
mod outputs;
pub mod start;
mod timing;
mod weights;

pub use backend::CudaBackend;
pub use inputs::{BatchLimits, input_bytes};
pub use outputs::Coming;
