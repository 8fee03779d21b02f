//! cuda
pub mod cache;
pub mod compile;
pub mod device;
mod fault;
pub mod gemm;
pub mod kernels;
pub mod libraries;
pub mod memory;
mod nvml;
pub mod resources;
