//! Our kernels: CUDA C++ sources, their compilation and cache, and one typed launch per entry.
//!
//! A kernel is a `.cu` file of this directory, listed in [`compile`], compiled by NVRTC for the present card,
//! cached by [`cache`], loaded by `module` and launched by [`launch`], which checks shapes and derives the
//! grid. [`worklist`] cuts a packed batch into attention tiles; [`resources`] reads the compiler's report for
//! `cargo xtask kernels`. Matrix products are not here: they are cuBLASLt's, see [`super::gemm`].

mod activation;
pub mod cache;
pub mod compile;
pub mod launch;
pub(in crate::backend::cuda) mod module;
pub mod resources;
pub mod worklist;

pub use launch::{ATTENTION_ROWS, HEAD_DIM, Kernels, MAX_HIDDEN, Matrix, NormAddresses};
