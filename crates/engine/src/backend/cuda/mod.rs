//! The CUDA backend: the whole device side of a model inside one fixed budget of device memory.
//!
//! Nothing is linked and no toolkit is needed to build. At start-up the driver, NVRTC and cuBLASLt are found
//! and opened ([`libraries`]), our kernels are compiled for the card at hand ([`compile`], kept by
//! [`cache`]), a slim context is made ([`device`]), and [`start`] puts a model on it: weights, an arena of
//! what the budget leaves ([`memory`]), algorithms for every matrix product ([`gemm`]), graphs of small
//! batches. From then on [`CudaBackend`] runs batches and allocates nothing.
//!
//! A row's bits never depend on what is beside it: attention's tiles start at the sequence's own start
//! ([`worklist`]), sums have a fixed order, and an algorithm of cuBLASLt runs only if it gives the bits that
//! every other bucket's gives.
//!
//! Every error is one line. A fault that poisons the process ([`crate::error::DeviceError::Poisoned`]) is
//! told apart from one that fails a batch.
//!
//! What is not here: no caching allocator (those of [`pools`] are for an experiment), no second stream, no mask or score tensor, no unified memory,
//! nothing that needs a driver newer than CUDA 12.0, and no knowledge of layers or heads.

mod backend;
pub mod cache;
pub mod compile;
pub mod device;
mod fault;
pub mod gemm;
mod graphs;
mod inputs;
pub mod kernels;
pub mod libraries;
pub mod memory;
mod module;
pub(in crate::backend) mod nvml;
mod outputs;
pub mod pools;
pub mod resources;
pub mod start;
mod symbols;
mod timing;
mod weights;
pub mod worklist;

pub use backend::CudaBackend;
pub use inputs::{BatchLimits, input_bytes};
pub use outputs::Coming;
