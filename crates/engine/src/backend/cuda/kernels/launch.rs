//! Loads the kernels and launches them: checks the shapes of each launch and derives its grid from them.
//!
//! The launch geometry is stated in each `.cu` file; the constants here repeat it, and a test compares them
//! with the sources. Which operation becomes which launch is decided in `executor.rs`.

use std::sync::Arc;

use super::activation::ActivationKernels;
use super::cache::Cache;
use super::compile::{Compiler, SOURCES, Target};
use super::module::{Arg, Function, Module, allow_shared};
use crate::backend::Activation;
use crate::backend::cuda::driver::device::{DeviceContext, Stream};
use crate::dtype::Dtype;
use crate::error::DeviceError;

/// Elements per head that the attention and RoPE kernels support.
pub const HEAD_DIM: usize = 64;
/// Longest row of a norm, in elements: a longer one does not fit the registers of a warp.
pub const MAX_HIDDEN: usize = 2048;
/// Queries per tile of windowed attention, and of full attention on cards without a kernel of their own.
pub const ATTENTION_ROWS: usize = 128;

const NORM_ROWS: usize = 4;
const NORM_THREADS: u32 = 128;
const ROPE_TOKENS: usize = 4;
const ROPE_THREADS: u32 = 128;
const ATTENTION_THREADS: u32 = 128;
const ATTENTION_SHARED_BYTES: usize = 49152;
const HOPPER_ROWS: usize = 192;
const HOPPER_THREADS: u32 = 512;
const HOPPER_SHARED_BYTES: usize = 114_944;
const POOL_THREADS: u32 = 256;
const GATHER_THREADS: usize = 256;
const LINEAR_ROWS: usize = 4;
const LINEAR_LABELS: usize = 8;
const LINEAR_THREADS: u32 = 128;
const STARTUP_THREADS: usize = 256;

/// A matrix in device memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Matrix {
    /// Device address of the first row.
    pub address: u64,
    /// Number of rows.
    pub rows: usize,
    /// Elements used of each row.
    pub cols: usize,
    /// Elements from one row's start to the next one's.
    pub stride: usize,
    /// Element type.
    pub dtype: Dtype,
}

/// Device addresses of a norm's f32 scale and bias.
#[derive(Debug, Clone, Copy)]
pub struct NormAddresses {
    /// [hidden].
    pub weight: u64,
    /// [hidden]; 0 for none.
    pub bias: u64,
    /// Added to the variance.
    pub eps: f32,
}

/// All kernels for one element type.
pub struct Kernels {
    dtype: Dtype,
    embed_norm: Function,
    layer_norm: Function,
    layer_norm_f32: Function,
    rope: Function,
    attention_full: FullAttention,
    attention_window: Function,
    pub(super) activations: Vec<ActivationKernels>,
    pool: Function,
    gather_rows: Function,
    linear_rows: Function,
    linear_rows_f32: Function,
    fill_random: Function,
    count_differences: Function,
    _modules: Vec<Module>,
}

/// Full attention: one block per tile and head, or one persistent block per multiprocessor that walks the
/// list.
#[derive(Clone, Copy)]
enum FullAttention {
    Tiled(Function),
    Hopper { function: Function, multiprocessors: usize },
}

impl Kernels {
    /// Compiles, or takes from the cache, and loads every kernel, those of `activations` included.
    ///
    /// # Errors
    /// [`DeviceError::Unavailable`] without NVRTC or for a source that does not compile; otherwise the
    /// driver's error.
    pub fn load(
        device: &Arc<DeviceContext>,
        dtype: Dtype,
        activations: &[Activation],
        cache: &Cache,
    ) -> Result<Kernels, DeviceError> {
        let unavailable =
            |reason: String| DeviceError::Unavailable { device: device.label().into(), reason };
        let target = Target::from_environment(device.arch()).map_err(unavailable)?;
        let compiler = Compiler::open(device.library_majors())
            .map_err(|error| unavailable(error.to_string()))?;
        let mut modules = Vec::new();
        let mut functions = Vec::new();
        let mut activation_kernels = Vec::new();
        for source in SOURCES.iter().filter(|source| source.applies(target)) {
            for variant in source.variants(activations) {
                let image = compiler
                    .compile_cached(source, target, dtype, variant, cache)
                    .map_err(|error| unavailable(error.to_string()))?;
                let module = Module::load(device, &image)?;
                match variant {
                    None => {
                        for &entry in source.entries {
                            functions.push(module.function(entry)?);
                        }
                    }
                    Some(activation) => {
                        activation_kernels.push(ActivationKernels::of(&module, activation)?);
                    }
                }
                modules.push(module);
            }
        }
        let find = |name: &str| {
            functions
                .iter()
                .copied()
                .find(|function| function.name == name)
                .ok_or_else(|| unavailable(format!("no kernel source defines {name}")))
        };
        let attention_full = match find("attention_full_sm90") {
            Ok(function) => {
                let multiprocessors = device.properties().multiprocessors as usize;
                allow_shared(device, target, &function, HOPPER_SHARED_BYTES)?;
                FullAttention::Hopper { function, multiprocessors }
            }
            Err(_) => FullAttention::Tiled(find("attention_full")?),
        };
        for name in ["attention_full", "attention_window"] {
            allow_shared(device, target, &find(name)?, ATTENTION_SHARED_BYTES)?;
        }
        Ok(Kernels {
            dtype,
            embed_norm: find("embed_norm")?,
            layer_norm: find("layer_norm")?,
            layer_norm_f32: find("layer_norm_f32")?,
            rope: find("rope")?,
            attention_full,
            attention_window: find("attention_window")?,
            activations: activation_kernels,
            pool: find("pool")?,
            gather_rows: find("gather_rows")?,
            linear_rows: find("linear_rows")?,
            linear_rows_f32: find("linear_rows_f32")?,
            fill_random: find("fill_random")?,
            count_differences: find("count_differences")?,
            _modules: modules,
        })
    }

    /// `out[t] = norm(embedding[ids[t]])`.
    pub(in crate::backend::cuda) fn embed_norm(
        &self,
        stream: &Stream,
        ids: u64,
        embedding: u64,
        norm: NormAddresses,
        out: Matrix,
    ) -> Result<(), DeviceError> {
        self.check_dense(out);
        let args = [
            Arg::Address(ids),
            Arg::Address(embedding),
            Arg::Address(norm.weight),
            Arg::Address(norm.bias),
            Arg::Address(out.address),
            Arg::int(out.rows),
            Arg::int(out.cols),
            Arg::Float(norm.eps),
        ];
        let grid = (out.rows.div_ceil(NORM_ROWS), 1);
        self.embed_norm.launch(stream, grid, NORM_THREADS, 0, &args)
    }

    /// `out = norm(x)`; both elements or both f32.
    pub(in crate::backend::cuda) fn norm(
        &self,
        stream: &Stream,
        x: Matrix,
        norm: NormAddresses,
        out: Matrix,
    ) -> Result<(), DeviceError> {
        assert!(x.stride == x.cols && out.stride == out.cols && x.dtype == out.dtype);
        let args = [
            Arg::Address(x.address),
            Arg::Address(norm.weight),
            Arg::Address(norm.bias),
            Arg::Address(out.address),
            Arg::int(x.rows),
            Arg::int(x.cols),
            Arg::Float(norm.eps),
        ];
        let function = if x.dtype == Dtype::F32 { &self.layer_norm_f32 } else { &self.layer_norm };
        function.launch(stream, (x.rows.div_ceil(NORM_ROWS), 1), NORM_THREADS, 0, &args)
    }

    /// Rotates queries and keys in place.
    pub(in crate::backend::cuda) fn rope(
        &self,
        stream: &Stream,
        qkv: Matrix,
        table: u64,
        positions: u64,
    ) -> Result<(), DeviceError> {
        self.check_dense(qkv);
        let args = [
            Arg::Address(qkv.address),
            Arg::Address(table),
            Arg::Address(positions),
            Arg::int(qkv.rows),
            Arg::int(qkv.cols / (3 * HEAD_DIM)),
        ];
        self.rope.launch(stream, (qkv.rows.div_ceil(ROPE_TOKENS), 1), ROPE_THREADS, 0, &args)
    }

    /// Returns the queries per tile of full and of windowed attention.
    pub fn attention_rows(&self) -> (usize, usize) {
        let full = match self.attention_full {
            FullAttention::Tiled(_) => ATTENTION_ROWS,
            FullAttention::Hopper { .. } => HOPPER_ROWS,
        };
        (full, ATTENTION_ROWS)
    }

    /// Full attention over the `tiles` tiles at `list`.
    pub(in crate::backend::cuda) fn attention_full(
        &self,
        stream: &Stream,
        qkv: Matrix,
        out: Matrix,
        (list, tiles): (u64, usize),
    ) -> Result<(), DeviceError> {
        self.check_dense(qkv);
        self.check_dense(out);
        let heads = out.cols / HEAD_DIM;
        let addresses = [Arg::Address(qkv.address), Arg::Address(out.address), Arg::Address(list)];
        match &self.attention_full {
            FullAttention::Tiled(function) => {
                let (threads, shared) = (ATTENTION_THREADS, ATTENTION_SHARED_BYTES);
                function.launch(stream, (tiles, heads), threads, shared, &addresses)
            }
            FullAttention::Hopper { function, multiprocessors } => {
                let [qkv, out, list] = addresses;
                let args = [qkv, out, list, Arg::int(tiles), Arg::int(heads)];
                let grid = ((tiles * heads).min(*multiprocessors), 1);
                function.launch(stream, grid, HOPPER_THREADS, HOPPER_SHARED_BYTES, &args)
            }
        }
    }

    /// Windowed attention over the `tiles` tiles at `list`.
    pub(in crate::backend::cuda) fn attention_window(
        &self,
        stream: &Stream,
        qkv: Matrix,
        out: Matrix,
        (list, tiles): (u64, usize),
        window: usize,
    ) -> Result<(), DeviceError> {
        self.check_dense(qkv);
        self.check_dense(out);
        let args = [
            Arg::Address(qkv.address),
            Arg::Address(out.address),
            Arg::Address(list),
            Arg::int(window),
        ];
        let grid = (out.cols / HEAD_DIM, tiles);
        self.attention_window.launch(stream, grid, ATTENTION_THREADS, ATTENTION_SHARED_BYTES, &args)
    }

    /// Means of segments: `bounds` holds first and end row of each, `starts` the index of each pair.
    pub(in crate::backend::cuda) fn pool(
        &self,
        stream: &Stream,
        x: Matrix,
        bounds: u64,
        starts: u64,
        out: Matrix,
    ) -> Result<(), DeviceError> {
        self.check_dense(x);
        assert!(out.dtype == Dtype::F32 && out.stride == out.cols);
        let args = [
            Arg::Address(x.address),
            Arg::Address(bounds),
            Arg::Address(starts),
            Arg::Address(out.address),
            Arg::int(x.cols),
        ];
        self.pool.launch(stream, (x.cols / 64, out.rows), POOL_THREADS, 0, &args)
    }

    /// `out[r] = x[rows[r]]`.
    pub(in crate::backend::cuda) fn gather(
        &self,
        stream: &Stream,
        x: Matrix,
        rows: u64,
        out: Matrix,
    ) -> Result<(), DeviceError> {
        self.check_dense(x);
        self.check_dense(out);
        let args = [
            Arg::Address(x.address),
            Arg::Address(rows),
            Arg::Address(out.address),
            Arg::int(out.rows),
            Arg::int(out.cols),
        ];
        let grid = ((out.rows * out.cols / 8).div_ceil(GATHER_THREADS), 1);
        self.gather_rows.launch(stream, grid, GATHER_THREADS as u32, 0, &args)
    }

    /// `out = x w^T + bias` in f32, for few outputs or few rows; `x` in elements or f32.
    pub(in crate::backend::cuda) fn linear_rows(
        &self,
        stream: &Stream,
        x: Matrix,
        weight: u64,
        bias: u64,
        out: Matrix,
    ) -> Result<(), DeviceError> {
        assert!(x.stride == x.cols && out.stride == out.cols && out.dtype == Dtype::F32);
        let args = [
            Arg::Address(x.address),
            Arg::Address(weight),
            Arg::Address(bias),
            Arg::Address(out.address),
            Arg::int(x.rows),
            Arg::int(out.cols),
            Arg::int(x.cols),
        ];
        let grid = (x.rows.div_ceil(LINEAR_ROWS), out.cols.div_ceil(LINEAR_LABELS));
        let function =
            if x.dtype == Dtype::F32 { &self.linear_rows_f32 } else { &self.linear_rows };
        function.launch(stream, grid, LINEAR_THREADS, 0, &args)
    }

    /// Fills with elements uniform in (-1, 1); `bytes` is rounded down to 16.
    pub(in crate::backend::cuda) fn fill_random(
        &self,
        stream: &Stream,
        address: u64,
        bytes: usize,
        seed: u32,
    ) -> Result<(), DeviceError> {
        let vectors = bytes / 16;
        let args = [Arg::Address(address), Arg::int(vectors), Arg::Int(seed as i32)];
        let grid = (vectors.div_ceil(STARTUP_THREADS), 1);
        self.fill_random.launch(stream, grid, STARTUP_THREADS as u32, 0, &args)
    }

    /// Adds the number of 16-byte vectors that differ to the u32 at `count`.
    pub(in crate::backend::cuda) fn count_differences(
        &self,
        stream: &Stream,
        a: u64,
        b: u64,
        bytes: usize,
        count: u64,
    ) -> Result<(), DeviceError> {
        let vectors = bytes / 16;
        let args = [Arg::Address(a), Arg::Address(b), Arg::int(vectors), Arg::Address(count)];
        let grid = (vectors.div_ceil(STARTUP_THREADS), 1);
        self.count_differences.launch(stream, grid, STARTUP_THREADS as u32, 0, &args)
    }

    pub(super) fn check_dense(&self, matrix: Matrix) {
        assert!(
            matrix.dtype == self.dtype && matrix.stride == matrix.cols,
            "kernel expects dense {}: {matrix:?}",
            self.dtype
        );
    }
}

#[cfg(test)]
mod tests {
    use super::super::activation::{ACTIVATION_ROWS, ACTIVATION_THREADS, GATED_THREADS};
    use super::*;

    fn define(source: &str, name: &str) -> usize {
        let text = SOURCES.iter().find(|s| s.name == source).expect("a source of this name").text;
        let line = text.lines().find(|line| line.starts_with(&format!("#define {name} ")));
        let value = line.and_then(|line| line.split_whitespace().nth(2));
        value.and_then(|v| v.parse().ok()).unwrap_or_else(|| panic!("{name} in {source}.cu"))
    }

    #[test]
    fn geometry_equals_the_sources() {
        let attention = |name| define("attention", name);
        assert_eq!(attention("ATTN_ROWS"), ATTENTION_ROWS);
        assert_eq!(attention("ATTN_THREADS"), ATTENTION_THREADS as usize);
        let shared = 128 * (ATTENTION_ROWS + 2 * attention("ATTN_STAGES") * attention("ATTN_KEYS"));
        assert_eq!(shared, ATTENTION_SHARED_BYTES);
        let hopper = |name| define("attention_sm90", name);
        let consumers = hopper("ATTN90_CONSUMERS");
        assert_eq!((64 * consumers, 128 * (consumers + 1)), (HOPPER_ROWS, HOPPER_THREADS as usize));
        let tiles = 2 * hopper("ATTN90_STAGES") * hopper("ATTN90_KEYS");
        assert_eq!(128 * (2 * HOPPER_ROWS + tiles) + 256, HOPPER_SHARED_BYTES);
        assert_eq!(define("norm", "NORM_ROWS"), NORM_ROWS);
        assert_eq!(define("norm", "NORM_THREADS"), NORM_THREADS as usize);
        assert_eq!(define("rope", "ROPE_TOKENS"), ROPE_TOKENS);
        assert_eq!(define("rope", "ROPE_THREADS"), ROPE_THREADS as usize);
        assert_eq!(define("activation", "GATED_THREADS"), GATED_THREADS);
        assert_eq!(define("activation", "ACTIVATION_ROWS"), ACTIVATION_ROWS);
        assert_eq!(define("activation", "ACTIVATION_THREADS"), ACTIVATION_THREADS as usize);
        assert_eq!(define("pool", "POOL_THREADS"), POOL_THREADS as usize);
        assert_eq!(define("pool", "GATHER_THREADS"), GATHER_THREADS);
        assert_eq!(define("linear_rows", "LINEAR_ROWS"), LINEAR_ROWS);
        assert_eq!(define("linear_rows", "LINEAR_LABELS"), LINEAR_LABELS);
        assert_eq!(define("linear_rows", "LINEAR_THREADS"), LINEAR_THREADS as usize);
        assert_eq!(define("startup", "STARTUP_THREADS"), STARTUP_THREADS);
    }
}
