//! Start-up: what must happen before the first batch so that nothing is allocated after it.
//!
//! 1. Context, kernels, cuBLASLt, weights: what they take is measured, not estimated.
//! 2. A first plan within what the budget leaves, less a reserve for what is yet to be loaded.
//! 3. Rehearsal: every matrix product's algorithms are chosen and verified, and the largest and the smallest
//!    batch run. The driver loads code when it first runs, so only now is its size known.
//! 4. The final plan, within what is really left; then small batches are recorded as graphs.
//! 5. The budget is checked once more against what the driver reports.

use std::sync::Arc;

use super::backend::{CudaBackend, State};
use super::driver::device::{Device, Stream};
use super::driver::memory::{self, Arena};
use super::gemm::{Choice, Gemm, GemmShape, Scratch};
use super::graphs::{self, Graph, Player};
use super::inputs::{BatchLimits, Inputs, Padding, input_bytes};
use super::kernels::cache::Cache;
use super::kernels::{HEAD_DIM, Kernels, MAX_HIDDEN};
use super::outputs::Outputs;
use super::weights::DeviceWeights;
use crate::backend::{Backend, Op};
use crate::batch::PackedBatch;
use crate::dtype::Dtype;
use crate::error::{DeviceError, LoadError};
use crate::model::Model;
use crate::units;

/// What to run on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CudaOptions {
    /// Index of the device.
    pub ordinal: usize,
    /// Element type of weights and activations.
    pub dtype: Dtype,
    /// All that this process may use of the device.
    pub memory_budget_bytes: u64,
    /// Whether small batches are recorded as graphs.
    pub graphs: bool,
}

/// What the engine makes of an arena.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Planned {
    /// The largest batch.
    pub limits: BatchLimits,
    /// Bytes that its views lie in.
    pub workspace_bytes: usize,
}

impl Planned {
    /// Bytes of the arena that the plan takes, inputs included.
    pub fn arena_bytes(&self) -> usize {
        self.workspace_bytes.next_multiple_of(ALIGN_BYTES) + input_bytes(self.limits)
    }
}

/// The engine's side of planning.
pub trait Planner {
    /// The largest plan whose [`Planned::arena_bytes`] are within `arena_bytes`, which later programs follow;
    /// or, where even the smallest acceptable one is not, the bytes that it takes.
    ///
    /// # Errors
    /// The bytes that the smallest acceptable plan takes.
    fn plan(&mut self, arena_bytes: usize) -> Result<Planned, usize>;

    /// The launches of a batch under the last plan.
    fn program(&self, batch: &PackedBatch) -> Vec<Op>;
}

/// What start-up chose and measured, in bytes of device memory.
#[derive(Debug, Clone, Default, serde::Serialize)]
pub struct StartReport {
    /// The context, kernels and libraries included, before weights and arena.
    pub context_bytes: u64,
    /// Weights and rotary tables.
    pub weight_bytes: u64,
    /// Code that matrix products and first launches loaded.
    pub loaded_bytes: u64,
    /// The arena.
    pub arena_bytes: u64,
    /// What the start-up check of matrix products takes at least; no arena is smaller.
    pub check_bytes: usize,
    /// Recorded graphs.
    pub graph_bytes: u64,
    /// All of this process's use, at the end of start-up.
    pub used_bytes: u64,
    /// Sizes recorded as graphs, in tokens.
    pub graphs: Vec<usize>,
    /// cuBLASLt's version, 130000 for 13.0.0.
    pub cublaslt_version: usize,
    /// Algorithms chosen, and candidates passed over before each.
    pub gemm: Vec<Choice>,
}

impl StartReport {
    /// What start-up kept free for code beyond what code and graphs then took.
    pub fn unused_reserve_bytes(&self) -> u64 {
        let kept = LOADING_RESERVE_BYTES + PAGE_BYTES;
        kept.saturating_sub(self.loaded_bytes + self.graph_bytes)
    }
}

/// Kept free while the first plan is rehearsed: lazily loaded code of cuBLASLt took up to 80 MiB on an H100.
const LOADING_RESERVE_BYTES: u64 = 128 << 20;
/// Kept free for the graphs, whose size shows only once they are recorded.
const GRAPH_RESERVE_BYTES: u64 = 32 << 20;
/// No graph is recorded when less is left.
const LEAST_GRAPH_BYTES: u64 = 6 << 20;
const PAGE_BYTES: u64 = 2 << 20;
const ALIGN_BYTES: usize = 256;

/// Puts a model on a device.
///
/// # Errors
/// [`LoadError::Option`] for a type or shape that the kernels do not do or a budget beyond the device,
/// [`LoadError::Budget`] for one too small, [`LoadError::Device`] for what the device refuses.
pub fn start(
    model: &Model,
    options: &CudaOptions,
    planner: &mut dyn Planner,
) -> Result<CudaBackend, LoadError> {
    check_model(model, options.dtype)?;
    memory::set_started(false);
    let device = Device::open(options.ordinal)?;
    let budget = Budget { device: device.clone(), bytes: options.memory_budget_bytes };
    budget.check_room()?;

    let stream = Stream::new(&device)?;
    let kernels = Kernels::load(&device, options.dtype, &Cache::of_user())?;
    let gemm = Gemm::new(&device, options.dtype)?;
    let outputs = Outputs::new(&device)?;
    let ropes = model.config.rope_tables(model.config.max_tokens);
    let context_bytes = device.used_bytes()?;
    let specs = &model.architecture.tensors;
    let weight_bytes = super::weights::bytes(specs, &ropes, options.dtype) as u64;
    let taken = context_bytes + weight_bytes + LOADING_RESERVE_BYTES;
    let check_bytes = least_check_bytes(planner, options.dtype);
    let mut planned = plan(planner, model, &budget, taken, check_bytes)?;
    let weights = DeviceWeights::upload(&device, specs, &model.weights, &ropes, options.dtype)?;

    let arena = Arena::reserve(&device, options.memory_budget_bytes as usize)?;
    let mut state = State {
        stream,
        kernels,
        gemm,
        weights,
        eps: model.config.norm_eps,
        arena,
        workspace_bytes: 0,
        high_water: 0,
    };
    let inputs = place(&mut state, &planned, check_bytes)?;
    let report = StartReport { context_bytes, weight_bytes, check_bytes, ..StartReport::default() };
    let player = Player::default();
    let mut backend = CudaBackend { player, inputs, outputs, lists: None, report, state };

    rehearse(&mut backend, planner)?;
    let used = device.used_bytes()?;
    let arena_bytes = backend.state.arena.bytes() as u64;
    backend.report.loaded_bytes = used.saturating_sub(context_bytes + weight_bytes + arena_bytes);
    let reserve = if options.graphs { GRAPH_RESERVE_BYTES } else { 0 };
    let taken = used - arena_bytes.min(used) + reserve;
    let larger = plan(planner, model, &budget, taken, check_bytes)?;
    if larger != planned {
        planned = larger;
        backend.inputs = place(&mut backend.state, &planned, check_bytes)?;
        rehearse(&mut backend, planner)?;
    }
    if options.graphs {
        record_graphs(&mut backend, planner, &budget)?;
    }
    finish(&mut backend, &budget, model)?;
    Ok(backend)
}

fn check_model(model: &Model, dtype: Dtype) -> Result<(), LoadError> {
    let config = &model.config;
    let option = |option, reason: String| Err(LoadError::Option { option, reason });
    if dtype == Dtype::F32 {
        return option("--dtype", "f32 is not supported on CUDA; use bf16 or f16".into());
    }
    if config.head_dim() != HEAD_DIM {
        let reason = format!(
            "the CUDA kernels are for heads of {HEAD_DIM}, {} has heads of {}; use --device cpu",
            model.name,
            config.head_dim()
        );
        return option("--device", reason);
    }
    if config.hidden_size > MAX_HIDDEN || !config.intermediate_size.is_multiple_of(8) {
        let reason = format!(
            "the CUDA kernels are for a hidden_size up to {MAX_HIDDEN} and an intermediate_size that is a \
             multiple of 8, {} has {} and {}; use --device cpu",
            model.name, config.hidden_size, config.intermediate_size
        );
        return option("--device", reason);
    }
    Ok(())
}

/// The process's share of the device.
struct Budget {
    device: Arc<Device>,
    bytes: u64,
}

impl Budget {
    fn left(&self) -> Result<u64, DeviceError> {
        Ok(self.bytes.saturating_sub(self.device.used_bytes()?))
    }

    /// Whether the device has what the budget promises.
    fn check_room(&self) -> Result<(), LoadError> {
        let (free, total) = self.device.free_and_total_bytes()?;
        let label = self.device.label();
        let refuse = |reason| Err(LoadError::Option { option: "--memory-budget", reason });
        if self.bytes > total {
            return refuse(format!(
                "{} is more than {label} has, {}",
                units::bytes(self.bytes),
                units::bytes(total)
            ));
        }
        let left = self.left()?;
        if left > free {
            return refuse(format!(
                "{} are asked for beside the context and {} are free on {label}: other processes hold the \
                 rest; lower the budget or free the device",
                units::bytes(left),
                units::bytes(free)
            ));
        }
        Ok(())
    }
}

/// The planner's best within the budget less what is `taken`.
fn plan(
    planner: &mut dyn Planner,
    model: &Model,
    budget: &Budget,
    taken: u64,
    check_bytes: usize,
) -> Result<Planned, LoadError> {
    // The arena is rounded up to the driver's pages.
    let arena_bytes = budget.bytes.saturating_sub(taken + PAGE_BYTES) as usize;
    let planned = planner.plan(arena_bytes);
    let enough = if arena_bytes < check_bytes { planned.and(Err(check_bytes)) } else { planned };
    enough.map_err(|least| LoadError::Budget {
        model: model.name.clone(),
        budget_bytes: budget.bytes,
        needed_bytes: taken + PAGE_BYTES + least.max(check_bytes) as u64,
        detail: format!(
            "{} of context, libraries and weights on {}, the rest for batches",
            units::bytes(taken),
            budget.device.label()
        ),
    })
}

/// What the check of the largest matrix product takes at least.
fn least_check_bytes(planner: &dyn Planner, dtype: Dtype) -> usize {
    let limits = BatchLimits { tokens: 1, sequences: 1, masks: 1, positions: 1 };
    let ops = planner.program(&rehearsal_batch(1, limits));
    ops.iter()
        .filter_map(GemmShape::of)
        .map(|(shape, _)| shape.least_check_bytes(dtype))
        .max()
        .unwrap_or(0)
}

/// Puts memory behind a plan: the workspace first, the inputs after it.
fn place(state: &mut State, planned: &Planned, check_bytes: usize) -> Result<Inputs, DeviceError> {
    state.stream.synchronize()?;
    state.arena.resize(planned.arena_bytes().max(check_bytes))?;
    state.workspace_bytes = planned.workspace_bytes;
    let inputs = planned.workspace_bytes.next_multiple_of(ALIGN_BYTES) as u64;
    let rows = state.kernels.attention_rows();
    Inputs::new(state.stream.device(), planned.limits, rows, state.arena.address() + inputs)
}

/// Chooses and verifies the algorithms of every product of the largest batch, then runs it and the smallest.
fn rehearse(backend: &mut CudaBackend, planner: &dyn Planner) -> Result<(), DeviceError> {
    let limits = backend.inputs.limits();
    let largest = rehearsal_batch(limits.tokens, limits);
    let ops = planner.program(&largest);
    let state = &mut backend.state;
    let scratch = Scratch { address: state.arena.address(), bytes: state.arena.bytes() };
    let State { stream, kernels, gemm, .. } = state;
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
    backend.state.stream.synchronize()
}

/// Token 0 in the longest sequences possible, each with a segment, and rows asked for by position.
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

fn record_graphs(
    backend: &mut CudaBackend,
    planner: &dyn Planner,
    budget: &Budget,
) -> Result<(), DeviceError> {
    let limits = backend.inputs.limits();
    let before = budget.left()?;
    backend.player.clear();
    for tokens in graphs::SIZES.into_iter().filter(|&tokens| tokens <= limits.tokens) {
        if budget.left()? < LEAST_GRAPH_BYTES {
            break;
        }
        let batch = rehearsal_batch(tokens, limits);
        let ops = graphs::recordable(&planner.program(&batch), tokens);
        if ops.is_empty() {
            continue;
        }
        let rows = backend.inputs.tile_rows();
        let padding = Padding::of_size(tokens, limits.sequences, rows);
        let lists = backend.inputs.lists_of(padding);
        let CudaBackend { state, player, report, .. } = backend;
        player.add(Graph::record(state, padding, ops, &lists)?);
        report.graphs.push(tokens);
    }
    backend.state.stream.synchronize()?;
    backend.report.graph_bytes = before.saturating_sub(budget.left()?);
    Ok(())
}

fn finish(backend: &mut CudaBackend, budget: &Budget, model: &Model) -> Result<(), LoadError> {
    let used_bytes = budget.device.used_bytes()?;
    let CudaBackend { report, state, .. } = backend;
    report.arena_bytes = state.arena.bytes() as u64;
    report.used_bytes = used_bytes;
    report.cublaslt_version = state.gemm.version();
    report.gemm = state.gemm.choices().to_vec();
    if used_bytes > budget.bytes {
        return Err(LoadError::Budget {
            model: model.name.clone(),
            budget_bytes: budget.bytes,
            needed_bytes: used_bytes,
            detail: format!(
                "libraries loaded more than expected: {} beside {} of context and {} of weights",
                units::bytes(report.loaded_bytes),
                units::bytes(report.context_bytes),
                units::bytes(report.weight_bytes)
            ),
        });
    }
    // Rehearsal does not count as use.
    state.high_water = 0;
    memory::set_started(true);
    Ok(())
}
