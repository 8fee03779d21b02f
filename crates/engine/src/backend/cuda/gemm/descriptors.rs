//! Owners of cuBLASLt's descriptors, which destroy them when dropped.

use std::ffi::c_void;

use cudarc::cublaslt::result::{self, CublasError};
use cudarc::cublaslt::sys::{self, cudaDataType};

use crate::dtype::Dtype;

pub(super) fn data_type(dtype: Dtype) -> cudaDataType {
    match dtype {
        Dtype::F32 => cudaDataType::CUDA_R_32F,
        Dtype::Bf16 => cudaDataType::CUDA_R_16BF,
        Dtype::F16 => cudaDataType::CUDA_R_16F,
    }
}

fn bytes_of<T>(value: &T) -> (*const c_void, usize) {
    ((&raw const *value).cast(), size_of::<T>())
}

/// The library's handle.
pub(super) struct Handle(pub(super) sys::cublasLtHandle_t);

// SAFETY: cuBLASLt's handle is stateless apart from a cache that locks itself.
unsafe impl Send for Handle {}

impl Handle {
    pub(super) fn new() -> Result<Handle, CublasError> {
        result::create_handle().map(Handle)
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // SAFETY: created in `new`, destroyed only here.
        let _ = unsafe { result::destroy_handle(self.0) };
    }
}

/// A matrix as cuBLASLt sees it: column-major, so that rows here are its columns.
pub(super) struct MatrixLayout(pub(super) sys::cublasLtMatrixLayout_t);

// SAFETY: plain host memory of the library's.
unsafe impl Send for MatrixLayout {}

impl MatrixLayout {
    /// Describes a row-major matrix of `rows` rows of `cols` elements, `stride` elements apart.
    pub(super) fn new(
        dtype: Dtype,
        rows: usize,
        cols: usize,
        stride: usize,
    ) -> Result<MatrixLayout, CublasError> {
        result::create_matrix_layout(data_type(dtype), cols as u64, rows as u64, stride as i64)
            .map(MatrixLayout)
    }

    pub(super) fn set(&mut self, rows: usize, stride: usize) -> Result<(), CublasError> {
        use sys::cublasLtMatrixLayoutAttribute_t as Attribute;
        let (rows, stride) = (rows as u64, stride as i64);
        for (attribute, (value, size)) in [
            (Attribute::CUBLASLT_MATRIX_LAYOUT_COLS, bytes_of(&rows)),
            (Attribute::CUBLASLT_MATRIX_LAYOUT_LD, bytes_of(&stride)),
        ] {
            // SAFETY: the layout is alive; the attribute has this type.
            unsafe { result::set_matrix_layout_attribute(self.0, attribute, value, size)? };
        }
        Ok(())
    }
}

impl Drop for MatrixLayout {
    fn drop(&mut self) {
        // SAFETY: created in `new`, destroyed only here.
        let _ = unsafe { result::destroy_matrix_layout(self.0) };
    }
}

/// The operation: `out = x W^T` with sums in f32, with or without a bias.
pub(super) struct Operation(pub(super) sys::cublasLtMatmulDesc_t);

// SAFETY: plain host memory of the library's.
unsafe impl Send for Operation {}

impl Operation {
    pub(super) fn new(bias: bool) -> Result<Operation, CublasError> {
        use sys::cublasLtMatmulDescAttributes_t as Attribute;
        let operation = result::create_matmul_desc(
            sys::cublasComputeType_t::CUBLAS_COMPUTE_32F,
            cudaDataType::CUDA_R_32F,
        )
        .map(Operation)?;
        // The weight, first operand of a column-major library, is stored transposed.
        const TRANSPOSE: i32 = 1; // CUBLAS_OP_T
        operation.set(Attribute::CUBLASLT_MATMUL_DESC_TRANSA, &TRANSPOSE)?;
        if bias {
            let epilogue = sys::cublasLtEpilogue_t::CUBLASLT_EPILOGUE_BIAS;
            operation.set(Attribute::CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue)?;
        }
        Ok(operation)
    }

    pub(super) fn set_bias(&mut self, address: u64) -> Result<(), CublasError> {
        use sys::cublasLtMatmulDescAttributes_t as Attribute;
        self.set(Attribute::CUBLASLT_MATMUL_DESC_BIAS_POINTER, &address)
    }

    fn set<T>(
        &self,
        attribute: sys::cublasLtMatmulDescAttributes_t,
        value: &T,
    ) -> Result<(), CublasError> {
        let (value, size) = bytes_of(value);
        // SAFETY: the descriptor is alive; callers pass the attribute's own type.
        unsafe { result::set_matmul_desc_attribute(self.0, attribute, value, size) }
    }
}

impl Drop for Operation {
    fn drop(&mut self) {
        // SAFETY: created in `new`, destroyed only here.
        let _ = unsafe { result::destroy_matmul_desc(self.0) };
    }
}

/// Resources that an algorithm may use, and alignment that it may rely on.
pub(super) struct Preference(pub(super) sys::cublasLtMatmulPreference_t);

impl Preference {
    /// No split of the inner dimension, at most this workspace, rows aligned to 16 bytes.
    pub(super) fn new(workspace_bytes: usize) -> Result<Preference, CublasError> {
        use sys::cublasLtMatmulPreferenceAttributes_t as Attribute;
        const ALIGNMENT_BYTES: u32 = 16;
        let preference = result::create_matmul_pref().map(Preference)?;
        let unreduced = sys::cublasLtReductionScheme_t::CUBLASLT_REDUCTION_SCHEME_NONE as u32;
        for (attribute, (value, size)) in [
            (Attribute::CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, bytes_of(&workspace_bytes)),
            (Attribute::CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, bytes_of(&unreduced)),
            (Attribute::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, bytes_of(&ALIGNMENT_BYTES)),
            (Attribute::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, bytes_of(&ALIGNMENT_BYTES)),
            (Attribute::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, bytes_of(&ALIGNMENT_BYTES)),
            (Attribute::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, bytes_of(&ALIGNMENT_BYTES)),
        ] {
            // SAFETY: the preference is alive; the attributes have these types.
            unsafe { result::set_matmul_pref_attribute(preference.0, attribute, value, size)? };
        }
        Ok(preference)
    }
}

impl Drop for Preference {
    fn drop(&mut self) {
        // SAFETY: created in `new`, destroyed only here.
        let _ = unsafe { result::destroy_matmul_pref(self.0) };
    }
}
