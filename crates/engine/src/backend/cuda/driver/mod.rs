//! The CUDA driver and the libraries beside it: found, opened and wrapped.
//!
//! [`libraries`] finds and opens them, [`device`] makes a context, streams and events, [`memory`] allocates
//! device and pinned memory, `nvml` and `meter` read how much is in use, [`arch`] names architectures, and
//! [`fault`] turns status codes into [`crate::error::DeviceError`], one line each. Nothing here uses a
//! kernel or a model: those are in [`super::kernels`] and [`super::start`].

pub mod arch;
pub mod device;
pub mod fault;
pub mod libraries;
pub mod memory;
mod meter;
pub(in crate::backend) mod nvml;
mod symbols;
