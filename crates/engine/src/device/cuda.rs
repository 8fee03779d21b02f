//! Planning batches within what a CUDA device leaves for its arena.

use std::sync::Arc;

use super::options::DeviceOptions;
use super::plan::{self, MemoryPlan, least_batch_tokens, workspace_for};
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
    let mut planner = ArenaPlanner { model, options, dtype, workspace };
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
        let workspace = workspace_for(model, options, dtype, tokens);
        let arena_bytes = arena_plan(model, &workspace).arena_bytes().max(report.check_bytes);
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
    let name = format!("{}, {}", card.label(), card.properties().name);
    Ok(Device {
        config: model.config.clone(),
        architecture: model.architecture.clone(),
        workspace: planner.workspace,
        short_lane: None,
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
}

fn arena_plan(model: &Model, workspace: &Workspace) -> ArenaPlan {
    let limits = BatchLimits {
        tokens: workspace.max_tokens,
        sequences: workspace.max_sequences,
        masks: MAX_MASKS,
        positions: model.config.max_tokens,
    };
    ArenaPlan { limits, workspace_bytes: workspace.bytes }
}

impl Planner for ArenaPlanner<'_> {
    fn plan(&mut self, arena_bytes: usize) -> Result<ArenaPlan, usize> {
        let workspace = |tokens| workspace_for(self.model, self.options, self.dtype, tokens);
        let bytes = |tokens| arena_plan(self.model, &workspace(tokens)).arena_bytes();
        let least = least_batch_tokens(self.model, self.options);
        if bytes(least) > arena_bytes {
            return Err(bytes(least));
        }
        let most = match self.options.max_batch_tokens {
            Some(_) => least,
            None => self.model.config.max_tokens.max(USEFUL_BATCH_TOKENS),
        };
        let tokens = plan::largest_batch(least, most, |tokens| bytes(tokens) <= arena_bytes);
        self.workspace = workspace(tokens);
        Ok(arena_plan(self.model, &self.workspace))
    }

    fn program(&self, batch: &PackedBatch) -> Vec<Op> {
        self.model.program(&self.workspace, batch).ops
    }
}
