//! Start-up: takes all memory before the first batch, so that nothing is allocated after it.
//!
//! 1. Context, kernels, cuBLASLt and weights are loaded; their memory is measured, not estimated.
//! 2. A first plan uses what the budget leaves, less a reserve for code that is not loaded yet.
//! 3. Rehearsal: the algorithms of every matrix product are chosen and verified, and the largest batch and one
//!    of a single token run. The driver loads code when it first runs, so only now is its size known.
//! 4. The final plan uses what is left after that; then small batches are recorded as graphs.
//! 5. The budget is checked once more against what the driver reports.
//!
//! It takes no model: [`ModelData`] is numbers, tensors and tables, and a [`Planner`] lists the operations of
//! a batch.

use std::sync::Arc;

use super::backend::CudaBackend;
use super::driver::device::{DeviceContext, Event, Stream};
use super::driver::memory::{self, Arena};
use super::executor::Executor;
use super::gemm::{Gemm, GemmShape, Scratch};
use super::graphs::{self, Graph, Player};
use super::inputs::{BatchLimits, Inputs, Padding, input_bytes};
use super::kernels::cache::Cache;
use super::kernels::{HEAD_DIM, Kernels, MAX_HIDDEN};
use super::outputs::Outputs;
use super::report::{LOADING_RESERVE_BYTES, PAGE_BYTES, StartReport};
use super::weights::{DeviceWeights, ModelData, WeightLayout};
use crate::backend::{ALIGN_BYTES, Activation, Backend, Op};
use crate::batch::PackedBatch;
use crate::dtype::Dtype;
use crate::error::{DeviceError, LoadError};
use crate::units;

/// Device, element type and limits of a start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CudaOptions {
    /// Index of the device.
    pub ordinal: usize,
    /// Element type of weights and activations.
    pub dtype: Dtype,
    /// Limit on all memory of the device that this process uses.
    pub memory_budget_bytes: u64,
    /// Whether small batches are recorded as graphs.
    pub graphs: bool,
}

/// Use of an arena.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ArenaPlan {
    /// The largest batch.
    pub limits: BatchLimits,
    /// Bytes that its activations lie in.
    pub workspace_bytes: usize,
}

impl ArenaPlan {
    /// Returns the bytes of the arena that the plan takes, the lists of a batch included.
    pub fn arena_bytes(&self) -> usize {
        self.lists_offset() + input_bytes(self.limits)
    }

    /// Returns the offset of the lists in the arena: they follow the activations.
    fn lists_offset(&self) -> usize {
        self.workspace_bytes.next_multiple_of(ALIGN_BYTES)
    }
}

/// Decides how large batches are, and lists their operations.
pub trait Planner {
    /// Makes the largest plan whose [`ArenaPlan::arena_bytes`] are at most `arena_bytes`. Later programs
    /// follow it.
    ///
    /// # Errors
    /// The bytes of the smallest acceptable plan, if it takes more.
    fn plan(&mut self, arena_bytes: usize) -> Result<ArenaPlan, usize>;

    /// Lists the operations of a batch under the last plan.
    fn program(&self, batch: &PackedBatch) -> Vec<Op>;
}

/// Left free for the graphs, whose size is known only once they are recorded.
const GRAPH_RESERVE_BYTES: u64 = 32 << 20;
/// No graph is recorded once less of the budget is left.
const LEAST_GRAPH_BYTES: u64 = 6 << 20;

/// Puts a model on a device.
///
/// # Errors
/// [`LoadError::Option`] for an element type or shape that the kernels do not support or a budget that the
/// device does not have, [`LoadError::Budget`] for one that is too small, [`LoadError::Device`] if a call of
/// the device fails.
pub fn start(
    model: &ModelData<'_>,
    options: &CudaOptions,
    planner: &mut dyn Planner,
) -> Result<CudaBackend, LoadError> {
    check_model(model, options.dtype)?;
    memory::set_started(false);
    let device = DeviceContext::open(options.ordinal)?;
    let budget =
        Budget { model: model.name, device: device.clone(), bytes: options.memory_budget_bytes };
    budget.check_room()?;

    let stream = Stream::new(&device)?;
    let activations = activations(planner);
    let kernels = Kernels::load(&device, options.dtype, &activations, &Cache::for_user())?;
    let gemm = Gemm::new(&device, options.dtype)?;
    let outputs = Outputs::new(&device)?;
    let context_bytes = device.used_bytes()?;
    let layout = WeightLayout::new(model.tensors, model.ropes, options.dtype);
    let weight_bytes = layout.bytes() as u64;
    let taken = context_bytes + weight_bytes + LOADING_RESERVE_BYTES;
    let check_bytes = least_check_bytes(planner, options.dtype);
    let plan = budget.plan(planner, taken, check_bytes)?;
    let weights = DeviceWeights::upload(&device, layout, model, options.dtype)?;

    let mut executor = Executor {
        stream,
        kernels,
        gemm,
        weights,
        eps: model.norm_eps,
        arena: Arena::reserve(&device, options.memory_budget_bytes as usize)?,
        workspace_bytes: 0,
        high_water: 0,
    };
    let inputs = back_with_memory(&mut executor, &plan, check_bytes)?;
    let report = StartReport { context_bytes, weight_bytes, check_bytes, ..StartReport::default() };
    let player = Player::default();
    let marks = [Event::new(&device, false)?, Event::new(&device, false)?];
    let mut backend = CudaBackend { player, inputs, outputs, lists: None, report, marks, executor };

    rehearse(&mut backend, planner)?;
    let reserve = if options.graphs { GRAPH_RESERVE_BYTES } else { 0 };
    enlarge(&mut backend, planner, &budget, plan, reserve)?;
    if options.graphs {
        record_graphs(&mut backend, planner, &budget)?;
    }
    finish(&mut backend, &budget)?;
    Ok(backend)
}

/// Plans once more, now that all code is loaded and its size known, and rehearses a plan that changed.
fn enlarge(
    backend: &mut CudaBackend,
    planner: &mut dyn Planner,
    budget: &Budget<'_>,
    first: ArenaPlan,
    reserve: u64,
) -> Result<(), LoadError> {
    let used = budget.device.used_bytes()?;
    let arena_bytes = backend.executor.arena.bytes() as u64;
    let StartReport { context_bytes, weight_bytes, check_bytes, .. } = backend.report;
    backend.report.loaded_bytes = used.saturating_sub(context_bytes + weight_bytes + arena_bytes);
    let taken = used - arena_bytes.min(used) + reserve;
    let plan = budget.plan(planner, taken, check_bytes)?;
    if plan != first {
        backend.inputs = back_with_memory(&mut backend.executor, &plan, check_bytes)?;
        rehearse(backend, planner)?;
    }
    Ok(())
}

/// Rejects element types and shapes that the kernels do not support.
fn check_model(model: &ModelData<'_>, dtype: Dtype) -> Result<(), LoadError> {
    let option = |option, reason: String| Err(LoadError::Option { option, reason });
    let &ModelData { name, head_dim, hidden_size, intermediate_size, .. } = model;
    if dtype == Dtype::F32 {
        return option("--dtype", "f32 is not supported on CUDA; use bf16 or f16".into());
    }
    if head_dim != HEAD_DIM {
        let reason = format!(
            "the CUDA kernels need heads of {HEAD_DIM} elements, {name} has heads of {head_dim}; \
             use --device cpu"
        );
        return option("--device", reason);
    }
    if hidden_size > MAX_HIDDEN || !intermediate_size.is_multiple_of(8) {
        let reason = format!(
            "the CUDA kernels need a hidden_size up to {MAX_HIDDEN} and an intermediate_size that is a \
             multiple of 8, {name} has {hidden_size} and {intermediate_size}; use --device cpu"
        );
        return option("--device", reason);
    }
    Ok(())
}

/// The process's share of the device.
struct Budget<'a> {
    /// The name that errors give.
    model: &'a str,
    device: Arc<DeviceContext>,
    bytes: u64,
}

impl Budget<'_> {
    fn remaining_bytes(&self) -> Result<u64, DeviceError> {
        Ok(self.bytes.saturating_sub(self.device.used_bytes()?))
    }

    /// Rejects a budget that the device does not have, or does not have free.
    fn check_room(&self) -> Result<(), LoadError> {
        let (free, total) = self.device.free_and_total_bytes()?;
        let label = self.device.label();
        let reject = |reason| Err(LoadError::Option { option: "--memory-budget", reason });
        if self.bytes > total {
            return reject(format!(
                "{} is more than the {} of {label}",
                units::bytes(self.bytes),
                units::bytes(total)
            ));
        }
        let left = self.remaining_bytes()?;
        if left > free {
            return reject(format!(
                "the budget needs {} beside the context and {} are free on {label}: other processes hold the \
                 rest; lower the budget or free the device",
                units::bytes(left),
                units::bytes(free)
            ));
        }
        Ok(())
    }

    /// Returns the planner's largest plan within the budget less `taken` bytes.
    fn plan(
        &self,
        planner: &mut dyn Planner,
        taken: u64,
        check_bytes: usize,
    ) -> Result<ArenaPlan, LoadError> {
        // The arena is rounded up to the driver's pages.
        let arena_bytes = self.bytes.saturating_sub(taken + PAGE_BYTES) as usize;
        let plan = planner.plan(arena_bytes);
        let plan = if arena_bytes < check_bytes { plan.and(Err(check_bytes)) } else { plan };
        plan.map_err(|least| LoadError::Budget {
            model: self.model.into(),
            budget_bytes: self.bytes,
            needed_bytes: taken + PAGE_BYTES + least.max(check_bytes) as u64,
            detail: format!(
                "{} of context, libraries and weights on {}, the rest for batches",
                units::bytes(taken),
                self.device.label()
            ),
        })
    }
}

/// Returns the activations of the model's operations, each once.
fn activations(planner: &dyn Planner) -> Vec<Activation> {
    let mut found = Vec::new();
    for op in planner.program(&smallest_batch()) {
        if let Op::Gated { activation, .. } | Op::Activate { activation, .. } = op
            && !found.contains(&activation)
        {
            found.push(activation);
        }
    }
    found
}

/// Returns a batch of one token, with a row for every head.
fn smallest_batch() -> PackedBatch {
    rehearsal_batch(1, BatchLimits { tokens: 1, sequences: 1, masks: 1, positions: 1 })
}

/// Returns the least memory that the check of every matrix product needs.
fn least_check_bytes(planner: &dyn Planner, dtype: Dtype) -> usize {
    let ops = planner.program(&smallest_batch());
    ops.iter()
        .filter_map(GemmShape::of)
        .map(|(shape, _)| shape.least_check_bytes(dtype))
        .max()
        .unwrap_or(0)
}

/// Backs a plan with memory: activations first, the lists of a batch after them.
fn back_with_memory(
    executor: &mut Executor,
    plan: &ArenaPlan,
    check_bytes: usize,
) -> Result<Inputs, DeviceError> {
    executor.stream.synchronize()?;
    executor.arena.resize(plan.arena_bytes().max(check_bytes))?;
    executor.workspace_bytes = plan.workspace_bytes;
    let lists = plan.lists_offset() as u64;
    let rows = executor.kernels.attention_rows();
    Inputs::new(executor.stream.device(), plan.limits, rows, executor.arena.address() + lists)
}

/// Chooses and verifies the algorithms of every product of the largest batch, then runs it and a batch of one
/// token.
fn rehearse(backend: &mut CudaBackend, planner: &dyn Planner) -> Result<(), DeviceError> {
    let limits = backend.inputs.limits();
    let largest = rehearsal_batch(limits.tokens, limits);
    let ops = planner.program(&largest);
    let Executor { stream, kernels, gemm, arena, .. } = &mut backend.executor;
    let scratch = Scratch { address: arena.address(), bytes: arena.bytes() };
    for (shape, rows) in ops.iter().filter_map(GemmShape::of) {
        gemm.plan(stream, kernels, shape, rows, scratch)?;
    }
    for tokens in [limits.tokens, 1] {
        run(backend, planner, &rehearsal_batch(tokens, limits))?;
    }
    Ok(())
}

fn run(
    backend: &mut CudaBackend,
    planner: &dyn Planner,
    batch: &PackedBatch,
) -> Result<(), DeviceError> {
    backend.begin(batch)?;
    for op in &planner.program(batch) {
        backend.launch(op)?;
    }
    backend.executor.stream.synchronize()
}

/// Returns a batch of token 0 in the longest sequences possible, each with a segment, and with rows requested
/// by their position.
fn rehearsal_batch(tokens: usize, limits: BatchLimits) -> PackedBatch {
    let mut batch = PackedBatch { cu_seqlens: vec![0], ..PackedBatch::default() };
    while batch.tokens() < tokens && batch.sequences() < limits.sequences {
        let start = batch.tokens() as u32;
        let len = (tokens - batch.tokens()).min(limits.positions);
        batch.token_ids.extend(std::iter::repeat_n(0, len));
        batch.positions.extend(0..len as u32);
        batch.cu_seqlens.push(start + len as u32);
        batch.segments.push((start, len as u32));
    }
    batch.mask_rows = (0..batch.tokens().min(limits.masks) as u32).collect();
    batch
}

/// Records one graph per size, until the budget is used up.
fn record_graphs(
    backend: &mut CudaBackend,
    planner: &dyn Planner,
    budget: &Budget<'_>,
) -> Result<(), DeviceError> {
    let limits = backend.inputs.limits();
    let before = budget.remaining_bytes()?;
    backend.player.clear();
    for tokens in graphs::SIZES.into_iter().filter(|&tokens| tokens <= limits.tokens) {
        if budget.remaining_bytes()? < LEAST_GRAPH_BYTES {
            break;
        }
        let batch = rehearsal_batch(tokens, limits);
        let ops = graphs::recordable(&planner.program(&batch), tokens);
        if ops.is_empty() {
            continue;
        }
        let rows = backend.inputs.tile_rows();
        let padding = Padding::for_graph(tokens, limits.sequences, rows);
        let lists = backend.inputs.lists_of(padding);
        let CudaBackend { executor, player, report, .. } = backend;
        player.add(Graph::record(executor, padding, ops, &lists)?);
        report.graphs.push(tokens);
    }
    backend.executor.stream.synchronize()?;
    backend.report.graph_bytes = before.saturating_sub(budget.remaining_bytes()?);
    Ok(())
}

/// Completes the report, and checks that the whole start stayed within the budget.
fn finish(backend: &mut CudaBackend, budget: &Budget<'_>) -> Result<(), LoadError> {
    let used_bytes = budget.device.used_bytes()?;
    let CudaBackend { report, executor, .. } = backend;
    report.arena_bytes = executor.arena.bytes() as u64;
    report.used_bytes = used_bytes;
    report.cublaslt_version = executor.gemm.version();
    report.gemm = executor.gemm.choices().to_vec();
    if used_bytes > budget.bytes {
        return Err(LoadError::Budget {
            model: budget.model.into(),
            budget_bytes: budget.bytes,
            needed_bytes: used_bytes,
            detail: format!(
                "libraries loaded more than planned: {} beside {} of context and {} of weights",
                units::bytes(report.loaded_bytes),
                units::bytes(report.context_bytes),
                units::bytes(report.weight_bytes)
            ),
        });
    }
    // Rehearsal does not count towards the high-water mark.
    executor.high_water = 0;
    memory::set_started(true);
    Ok(())
}
