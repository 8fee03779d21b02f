//! The report of a start, and the reserves that a start plans with.

use super::gemm::Choice;

/// Left free while the first plan is rehearsed: code of cuBLASLt, loaded lazily, took up to 80 MiB on an
/// H100.
pub(super) const LOADING_RESERVE_BYTES: u64 = 128 << 20;
/// The driver's page, to which the arena is rounded up.
pub(super) const PAGE_BYTES: u64 = 2 << 20;

/// Choices and measurements of a start, in bytes of device memory.
#[derive(Debug, Clone, Default, serde::Serialize)]
pub struct StartReport {
    /// Context, kernels and libraries, before weights and arena.
    pub context_bytes: u64,
    /// Weights and rotary tables.
    pub weight_bytes: u64,
    /// Code that the driver loaded at the first launches and matrix products.
    pub loaded_bytes: u64,
    /// The arena.
    pub arena_bytes: u64,
    /// Least memory for the check of matrix products; no arena is smaller.
    pub check_bytes: usize,
    /// Recorded graphs.
    pub graph_bytes: u64,
    /// All memory that this process uses at the end of the start.
    pub used_bytes: u64,
    /// Sizes of the recorded graphs, in tokens.
    pub graphs: Vec<usize>,
    /// Version of cuBLASLt: 130000 for 13.0.0.
    pub cublaslt_version: usize,
    /// The algorithm of each product, with the candidates excluded before it.
    pub gemm: Vec<Choice>,
}

impl StartReport {
    /// Returns the part of the reserve for code that code and graphs did not take.
    pub fn unused_reserve_bytes(&self) -> u64 {
        let reserve = LOADING_RESERVE_BYTES + PAGE_BYTES;
        reserve.saturating_sub(self.loaded_bytes + self.graph_bytes)
    }
}
