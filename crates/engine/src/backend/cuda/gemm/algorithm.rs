//! Lists cuBLASLt's candidates for a product, and excludes those that split the inner dimension.
//!
//! The library's heuristic ranks algorithms once per shape and bucket of rows, and the first one that passes
//! is taken. Nothing is timed, so every start chooses alike. An algorithm that splits the inner dimension
//! adds partial sums in an order that depends on the number of rows, or on chance. Split-K shows in an
//! algorithm's configuration; stream-K does not, and is excluded by the bits that it gives
//! ([`super::verify`]).

use cudarc::cublaslt::result::CublasError;
use cudarc::cublaslt::sys::{self, cublasLtMatmulAlgoConfigAttributes_t as Attribute};

use super::descriptors::{Handle, MatrixLayout, Operation, Preference};

/// Most candidates that the heuristic returns.
const CANDIDATES: usize = 32;

/// An algorithm in the library's own encoding.
pub(super) type Algorithm = sys::cublasLtMatmulAlgo_t;

/// Why a candidate was excluded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Exclusion {
    /// Splits the inner dimension.
    SplitK,
    /// Gives other bits than the largest bucket's algorithm.
    OtherBits,
    /// The library rejects it when it is checked for the shape.
    Refused,
}

/// The parts of a product that an algorithm is chosen for.
pub(super) struct Problem<'a> {
    pub(super) handle: &'a Handle,
    pub(super) operation: &'a Operation,
    pub(super) weight: &'a MatrixLayout,
    pub(super) x: &'a MatrixLayout,
    pub(super) out: &'a MatrixLayout,
}

impl Problem<'_> {
    /// Returns the heuristic's candidates, best first, each with the reason to exclude it, if any.
    pub(super) fn candidates(
        &self,
        preference: &Preference,
    ) -> Result<Vec<(Algorithm, Option<Exclusion>)>, CublasError> {
        // SAFETY: all-zero bytes are a value of this plain struct, overwritten by the library.
        let mut results: [sys::cublasLtMatmulHeuristicResult_t; CANDIDATES] =
            unsafe { std::mem::zeroed() };
        let mut count = 0;
        // SAFETY: all descriptors are alive; `results` has room for the number passed.
        unsafe {
            sys::cublasLtMatmulAlgoGetHeuristic(
                self.handle.0,
                self.operation.0,
                self.weight.0,
                self.x.0,
                self.out.0,
                self.out.0,
                preference.0,
                CANDIDATES as i32,
                results.as_mut_ptr(),
                &mut count,
            )
            .result()?;
        }
        let valid = results[..count as usize].iter().filter(|found| found.state.result().is_ok());
        valid.map(|found| Ok((found.algo, exclusion(found)?))).collect()
    }

    /// Returns whether the algorithm runs these shapes within a workspace of so many bytes.
    pub(super) fn accepts(&self, algorithm: &Algorithm, workspace_bytes: usize) -> bool {
        // SAFETY: as above.
        unsafe {
            let mut found: sys::cublasLtMatmulHeuristicResult_t = std::mem::zeroed();
            let status = sys::cublasLtMatmulAlgoCheck(
                self.handle.0,
                self.operation.0,
                self.weight.0,
                self.x.0,
                self.out.0,
                self.out.0,
                algorithm,
                &mut found,
            );
            status.result().is_ok() && found.workspaceSize <= workspace_bytes
        }
    }
}

fn exclusion(
    found: &sys::cublasLtMatmulHeuristicResult_t,
) -> Result<Option<Exclusion>, CublasError> {
    let splits: i32 = read(&found.algo, Attribute::CUBLASLT_ALGO_CONFIG_SPLITK_NUM)?;
    let reduction: u32 = read(&found.algo, Attribute::CUBLASLT_ALGO_CONFIG_REDUCTION_SCHEME)?;
    let unsplit = (0..=1).contains(&splits) && reduction == 0;
    Ok((!unsplit).then_some(Exclusion::SplitK))
}

/// Returns number, tile, stages and cluster of an algorithm, for reports.
pub(super) fn describe(algorithm: &Algorithm) -> String {
    let number: i32 = read(algorithm, Attribute::CUBLASLT_ALGO_CONFIG_ID).unwrap_or(-1);
    let tile: u32 = read(algorithm, Attribute::CUBLASLT_ALGO_CONFIG_TILE_ID).unwrap_or(0);
    let stages: u32 = read(algorithm, Attribute::CUBLASLT_ALGO_CONFIG_STAGES_ID).unwrap_or(0);
    let cluster: u16 =
        read(algorithm, Attribute::CUBLASLT_ALGO_CONFIG_CLUSTER_SHAPE_ID).unwrap_or(0);
    format!("algorithm {number}, tile {tile}, stages {stages}, cluster {cluster}")
}

fn read<T: Default>(algorithm: &Algorithm, attribute: Attribute) -> Result<T, CublasError> {
    let mut value = T::default();
    let mut written = 0;
    // SAFETY: `value` has the attribute's type and size; the algorithm came from the library.
    unsafe {
        sys::cublasLtMatmulAlgoConfigGetAttribute(
            algorithm,
            attribute,
            (&raw mut value).cast(),
            size_of::<T>(),
            &mut written,
        )
        .result()?;
    }
    Ok(value)
}
