//! Planning batches within what a CUDA device leaves for its arena.

use std::sync::Arc;

use super::options::DeviceOptions;
use super::plan::{self, MemoryPlan, least_batch_tokens, workspace_for};
use super::slices::{Slicer, Slicing};
use super::{Device, DeviceInfo};
use crate::backend::Op;
use crate::backend::cuda::start::{self, ArenaPlan, CudaOptions, Planner};
use crate::backend::cuda::{BatchLimits, ModelData};
use crate::batch::{MAX_MASKS, PackedBatch};
use crate::dtype::Dtype;
use crate::error::LoadError;
use crate::model::{Model, Workspace};

/// Tokens of a batch beyond which a larger one takes no less time per token: every kernel fills the largest
/// device.
const USEFUL_BATCH_TOKENS: usize = 65_536;

/// Most tokens of a batch that runs while a longer one pauses: enough that short requests at half of the device's capacity keep up.
const SHORT_TOKENS_MAX: usize = 8192;

/// Starts the backend within the budget.
///
/// # Errors
/// As [`start::start`].
pub(super) fn start(
    model: &Model,
    options: &DeviceOptions,
    ordinal: usize,
    dtype: Dtype,
) -> Result<Device, LoadError> {
    let cuda = CudaOptions {
        ordinal,
        dtype,
        memory_budget_bytes: options.memory_budget_bytes,
        graphs: true,
    };
    let workspace = workspace_for(model, options, dtype, 1);
    let mut planner = ArenaPlanner { model, options, dtype, workspace, short_lane: None };
    let config = &model.config;
    let data = ModelData {
        name: &model.name,
        head_dim: config.head_dim(),
        hidden_size: config.hidden_size,
        intermediate_size: config.intermediate_size,
        norm_eps: config.norm_eps,
        tensors: &model.architecture.tensors,
        weights: &model.weights,
        ropes: &config.rope_tables(config.max_tokens),
    };
    let backend = start::start(&data, &cuda, &mut planner)?;
    let card = backend.device().clone();
    let report = backend.report().clone();
    let fixed_bytes = report.used_bytes.saturating_sub(report.arena_bytes);
    let budget_bytes = |tokens| {
        let arena_bytes = planner.plan_for(tokens).arena_bytes().max(report.check_bytes);
        fixed_bytes + report.unused_reserve_bytes() + arena_bytes as u64
    };
    let longest = config.max_tokens.min(planner.workspace.max_tokens);
    let memory_plan = MemoryPlan {
        fixed_bytes,
        arena_bytes: report.arena_bytes,
        max_batch_tokens: planner.workspace.max_tokens,
        least_budget_bytes: budget_bytes(least_batch_tokens(model, options)),
        longest_input_budget_bytes: budget_bytes(longest),
    };
    let wave = backend.queries_per_wave(config.num_attention_heads);
    let name = format!("{}, {}", card.label(), card.properties().name);
    Ok(Device {
        config: model.config.clone(),
        architecture: model.architecture.clone(),
        workspace: planner.workspace,
        slicer: planner.short_lane.as_ref().map(|_| Slicer::new(Slicing::of_gpu(wave))),
        short_lane: planner.short_lane,
        threads: options.threads,
        paused: false,
        begun: 0,
        info: DeviceInfo { name, dtype },
        meter: Arc::new(move || Some(card.memory())),
        memory_plan,
        cuda_report: Some(report),
        backend: Box::new(backend),
    })
}

/// Lays out activations in the arena that start-up offers.
struct ArenaPlanner<'a> {
    model: &'a Model,
    options: &'a DeviceOptions,
    dtype: Dtype,
    workspace: Workspace,
    short_lane: Option<Workspace>,
}

impl ArenaPlanner<'_> {
    /// Lays out the activations of batches of up to `tokens` tokens, and of the short ones beside them.
    fn workspaces(&self, tokens: usize) -> (Workspace, Option<Workspace>) {
        let &ArenaPlanner { model, options, dtype, .. } = self;
        let workspace = workspace_for(model, options, dtype, tokens);
        let short = plan::short_lane(model, options, dtype, &workspace, SHORT_TOKENS_MAX);
        (workspace, short)
    }

    fn plan_for(&self, tokens: usize) -> ArenaPlan {
        let (workspace, short) = self.workspaces(tokens);
        let limits = BatchLimits {
            tokens: workspace.max_tokens,
            sequences: workspace.max_sequences,
            masks: MAX_MASKS,
            positions: self.model.config.max_tokens,
        };
        let workspace_bytes = workspace.bytes + short.map_or(0, |short| short.bytes);
        ArenaPlan { limits, workspace_bytes }
    }
}

impl Planner for ArenaPlanner<'_> {
    fn plan(&mut self, arena_bytes: usize) -> Result<ArenaPlan, usize> {
        let bytes = |tokens| self.plan_for(tokens).arena_bytes();
        let least = least_batch_tokens(self.model, self.options);
        if bytes(least) > arena_bytes {
            return Err(bytes(least));
        }
        let most = match self.options.max_batch_tokens {
            Some(_) => least,
            None => self.model.config.max_tokens.max(USEFUL_BATCH_TOKENS),
        };
        let tokens = plan::largest_batch(least, most, |tokens| bytes(tokens) <= arena_bytes);
        (self.workspace, self.short_lane) = self.workspaces(tokens);
        Ok(self.plan_for(tokens))
    }

    fn program(&self, batch: &PackedBatch) -> Vec<Op> {
        // Where the device runs it.
        let lane = self.short_lane.as_ref().filter(|lane| lane.limits().allow(batch));
        self.model.program(lane.unwrap_or(&self.workspace), batch).ops
    }
}
