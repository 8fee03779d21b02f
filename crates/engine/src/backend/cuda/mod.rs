//! cuda
pub mod cache;
pub mod compile;
pub mod libraries;
pub mod resources;
