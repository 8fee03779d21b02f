//! The CUDA driver and the libraries beside it: found, opened and wrapped, with every error in one line.
//!
//! [`libraries`] finds and opens them, [`device`] makes a context, streams and events, [`memory`] takes device
//! and pinned memory, [`nvml`] reads how much is in use, `fault` turns status codes into
//! [`crate::error::DeviceError`]. Nothing here knows a kernel or a model.

pub mod device;
pub mod fault;
pub mod libraries;
pub mod memory;
pub(in crate::backend) mod nvml;
pub mod resources;
mod symbols;
