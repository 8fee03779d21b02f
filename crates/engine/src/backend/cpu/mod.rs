//! The fast host backend: f32, packed, threaded, and the same bits for a text in any batch.
//!
//! The order of a row's arithmetic depends on that row or its sequence alone: GEMMs sum over the inner
//! dimension in fixed blocks (`gemm`), attention walks blocks counted from its own sequence's start
//! (`attention`), labels are plain dot products. Threads split rows or columns, never a sum. Products run over
//! at least [`min_rows`] rows; the rows beyond the batch's own are never read.
//!
//! Loops are written for the compiler to vectorise; `pulp` compiles each for the instruction sets it
//! knows and picks one at start-up, so there is no intrinsic here.

mod activation;
mod attention;
mod ceilings;
mod gemm;
mod math;
mod rows;

pub(crate) use attention::{QUERIES, QUERY_STEP};
pub use gemm::min_rows;

use std::ops::Range;

use rayon::{ThreadPool, ThreadPoolBuilder};

use super::host_arena::HostArena;
use super::{ArenaUsage, Backend, Ceilings, Fetch, Op, RopeTable, View, WeightTable};
use crate::batch::PackedBatch;
use crate::error::{DeviceError, LoadError};

/// The host backend: a thread pool, weights, rotary tables and one arena.
pub struct CpuBackend {
    pool: ThreadPool,
    operands: Operands,
}

/// The weights, tables, scratch and arena that operations use, without the threads that run them.
struct Operands {
    weights: WeightTable,
    ropes: Vec<RopeTable>,
    heads: usize,
    norm_eps: f32,
    arena: HostArena,
    scratch: attention::ScratchPool,
    batch: PackedBatch,
}

/// Returns the name of the widest instruction set that this machine has and the loops here are compiled for.
pub fn instruction_set() -> String {
    format!("{:?}", pulp::Arch::new()).split('(').next().unwrap_or_default().into()
}

/// Returns the bytes that a backend of this many threads holds besides arena, weights and tables.
pub fn scratch_bytes(threads: usize, head_dim: usize) -> usize {
    threads * attention::scratch_bytes(head_dim)
}

impl CpuBackend {
    /// Starts the threads and reserves the arena. `heads` is `num_attention_heads`; `ropes` are in the order of
    /// their [`super::RopeId`]s.
    ///
    /// # Errors
    /// [`DeviceError::Unavailable`] if the operating system cannot start the threads, [`LoadError::HostMemory`] if
    /// there is no room for the arena.
    pub fn new(
        weights: WeightTable,
        ropes: Vec<RopeTable>,
        heads: usize,
        norm_eps: f32,
        arena_bytes: usize,
        threads: usize,
    ) -> Result<Self, LoadError> {
        let pool = ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|n| format!("bigbatch-cpu-{n}"))
            .build()
            .map_err(|e| DeviceError::Unavailable {
                device: "cpu".into(),
                reason: e.to_string(),
            })?;
        let head_dim = ropes.first().map_or(0, |table| 2 * table.pairs);
        let scratch = attention::ScratchPool::new(threads, head_dim);
        let (arena, batch) = (HostArena::new(arena_bytes)?, PackedBatch::default());
        let operands = Operands { weights, ropes, heads, norm_eps, arena, scratch, batch };
        Ok(CpuBackend { pool, operands })
    }
}

impl Operands {
    /// Runs attention for the queries of some rows.
    fn attention(&mut self, qkv: &View, out: &View, window: Option<usize>, queries: Range<usize>) {
        let Operands { heads, arena, scratch, batch, .. } = self;
        let shape = attention::Shape { heads: *heads, hidden: out.cols, window };
        let (input, output) = arena.input_output(qkv, out);
        attention::attention(input, output, &batch.cu_seqlens, queries, shape, scratch);
    }

    fn run(&mut self, op: &Op) {
        if let Op::Attention { qkv, out, window } = op {
            return self.attention(qkv, out, *window, 0..out.rows);
        }
        let Operands { weights, ropes, norm_eps, arena, batch, .. } = self;
        let norm_of = |norm: &super::NormWeights| rows::Norm {
            weight: weights.get(norm.weight),
            bias: norm.bias.map(|id| weights.get(id)),
            eps: *norm_eps,
        };
        match op {
            Op::Embed { embedding, norm, out } => {
                let table = weights.get(*embedding);
                rows::embed(
                    table,
                    &batch.token_ids,
                    &norm_of(norm),
                    arena.get_mut(out),
                    out.stride,
                );
            }
            Op::Norm { x, norm, out } if x == out => {
                rows::norm_in_place(arena.get_mut(x), x.stride, &norm_of(norm));
            }
            Op::Norm { x, norm, out } => {
                let (input, output) = arena.input_output(x, out);
                rows::norm(input, output, x.cols, &norm_of(norm));
            }
            Op::Linear { x, weight, bias, out, accumulate } => {
                let bias = bias.map(|id| weights.get(id));
                // Regions have room for more rows than the batch has; the results of those rows are never read.
                let rows = x.rows.max(gemm::min_rows(out.cols));
                let (x, out) = (View { rows, ..*x }, View { rows, ..*out });
                let (input, output) = arena.input_output(&x, &out);
                gemm::linear(input, &x, weights.get(*weight), bias, output, &out, *accumulate);
            }
            Op::LinearRows { x, weight, bias, out } => {
                let bias = bias.map(|id| weights.get(id));
                let (input, output) = arena.input_output(x, out);
                rows::linear_rows(input, x, weights.get(*weight), bias, output);
            }
            Op::Rope { qkv, table } => {
                rows::rope(arena.get_mut(qkv), qkv.stride, &batch.positions, &ropes[table.0]);
            }
            Op::Attention { .. } => unreachable!("it has run"),
            Op::Gated { x, activation: f } => activation::gated(*f, arena.get_mut(x), x.cols),
            Op::Activate { x, activation: f } => {
                activation::activate(*f, arena.get_mut(x), x.cols);
            }
            Op::Pool { x, first, out } => {
                let (input, output) = arena.input_output(x, out);
                let segments = &batch.segments[*first..][..out.rows];
                rows::pool(input, output, x.cols, segments);
            }
            Op::Gather { x, out } => {
                let (input, output) = arena.input_output(x, out);
                rows::gather(input, output, x.cols, &batch.mask_rows);
            }
        }
    }
}

impl Backend for CpuBackend {
    fn begin(&mut self, batch: &PackedBatch) -> Result<(), DeviceError> {
        self.operands.batch.clone_from(batch);
        Ok(())
    }

    fn launch(&mut self, op: &Op) -> Result<(), DeviceError> {
        let CpuBackend { pool, operands } = self;
        pool.install(|| operands.run(op));
        Ok(())
    }

    fn launch_rows(&mut self, op: &Op, rows: Range<usize>) -> Result<(), DeviceError> {
        if let Op::Attention { qkv, out, window } = op {
            let CpuBackend { pool, operands } = self;
            pool.install(|| operands.attention(qkv, out, *window, rows));
            return Ok(());
        }
        super::launch_independent_rows(self, op, rows)
    }

    fn fetch(&mut self, view: &View) -> Result<Fetch, DeviceError> {
        let data = self.operands.arena.get(view);
        let rows = (0..view.rows).flat_map(|row| &data[row * view.stride..][..view.cols]);
        Ok(Fetch::Done(rows.copied().collect()))
    }

    fn write(&mut self, view: &View, rows: &[f32]) -> Result<(), DeviceError> {
        self.operands.arena.write(view, rows);
        Ok(())
    }

    fn arena(&self) -> ArenaUsage {
        self.operands.arena.usage()
    }

    fn time(&mut self, ops: &[Op], repeats: usize) -> Result<Vec<f64>, DeviceError> {
        super::time_on_host(self, ops, repeats)
    }

    fn ceilings(&mut self) -> Result<Ceilings, DeviceError> {
        Ok(self.pool.install(ceilings::measure))
    }
}
