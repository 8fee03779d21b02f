//! How much of a memory budget each part gets, and the largest batch that fits into the rest.
//!
//! Nothing is allocated here. The plan of a CUDA device, where only the driver knows what its libraries take,
//! is made in several steps in `cuda.rs`.

use super::options::{DeviceKind, DeviceOptions};
use crate::backend::{RopeTable, cpu, owned_bytes};
use crate::dtype::Dtype;
use crate::error::LoadError;
use crate::model::{Model, Workspace};
use crate::units;

/// How a memory budget is divided, and the smallest one that would do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct MemoryPlan {
    /// Everything but the arena: weights, tables, and on a CUDA device its context and code.
    pub fixed_bytes: u64,
    /// The arena.
    pub arena_bytes: u64,
    /// Tokens of the largest batch that the arena holds.
    pub max_batch_tokens: usize,
    /// The smallest budget that this model is expected to start with.
    pub least_budget_bytes: u64,
    /// The smallest budget whose batches hold the longest input that this plan holds. With less, the model starts
    /// and refuses inputs that it takes now.
    pub longest_input_budget_bytes: u64,
}

/// Tokens of a batch beyond which a larger one runs no faster on a host. A longer model needs more all the same.
const USEFUL_BATCH_TOKENS: usize = 16_384;

/// A budget that does not hold a batch of this many tokens (or of the model's length, for shorter models) is
/// rejected.
const LEAST_BATCH_TOKENS: usize = 512;

/// Returns the batch, in tokens, that a budget must hold: the one asked for, else [`LEAST_BATCH_TOKENS`] or the
/// length of a shorter model.
pub(super) fn least_batch_tokens(model: &Model, options: &DeviceOptions) -> usize {
    options.max_batch_tokens.unwrap_or(model.config.max_tokens.min(LEAST_BATCH_TOKENS))
}

/// Returns the largest number of tokens from `least` to `most` that `fits`. `least` must fit, and every number
/// below one that fits.
pub(super) fn largest_batch(least: usize, most: usize, fits: impl Fn(usize) -> bool) -> usize {
    let (mut low, mut high) = (least, most.max(least));
    while low < high {
        let middle = low + (high - low).div_ceil(2);
        if fits(middle) { low = middle } else { high = middle - 1 }
    }
    low
}

/// Lays out the activations of batches of up to `tokens` tokens.
pub(super) fn workspace_for(
    model: &Model,
    options: &DeviceOptions,
    dtype: Dtype,
    tokens: usize,
) -> Workspace {
    let sequences = options.max_batch_sequences.min(tokens);
    Workspace::plan(&model.config, &model.architecture, dtype, tokens, sequences)
}

/// Share of a batch's tokens that a short one may have which runs while it pauses: one in so many.
const SHORT_ONE_IN: usize = 8;
/// A device whose batches have fewer tokens does not pause.
const PAUSING_TOKENS: usize = 1024;

/// Most tokens of a batch that runs on a host while a longer one pauses.
const SHORT_TOKENS_MAX: usize = 2048;

/// Lays out the activations of the batches, of at most `most` tokens, that may run while one of `long` pauses: behind those of
/// it. `None` if it is too short to pause.
pub(super) fn short_lane(
    model: &Model,
    options: &DeviceOptions,
    dtype: Dtype,
    long: &Workspace,
    most: usize,
) -> Option<Workspace> {
    let tokens = long.max_tokens;
    (tokens >= PAUSING_TOKENS).then(|| {
        let short = workspace_for(model, options, dtype, (tokens / SHORT_ONE_IN).min(most));
        short.moved_by(long.bytes)
    })
}

/// Plans the largest workspace that a host's budget holds, and behind it that of the batches that run while it pauses.
pub(super) fn plan_host(
    model: &Model,
    options: &DeviceOptions,
) -> Result<(Workspace, Option<Workspace>, MemoryPlan), LoadError> {
    let config = &model.config;
    let weights = owned_bytes(&model.architecture.tensors, &model.weights)?;
    let scratch = cpu::scratch_bytes(options.threads, config.head_dim()) as u64;
    let plan_for = |tokens: usize| {
        let workspace = workspace_for(model, options, Dtype::F32, tokens);
        let short = short_lane(model, options, Dtype::F32, &workspace, SHORT_TOKENS_MAX);
        let short = short.filter(|_| options.kind != DeviceKind::Reference);
        let arena = workspace.bytes + short.as_ref().map_or(0, |short| short.bytes);
        let ropes = 2 * RopeTable::bytes(config.head_dim() / 2, tokens) as u64;
        let fixed = weights + scratch + ropes;
        let total = fixed + arena as u64;
        (workspace, short, fixed, total)
    };
    let total_for = |tokens: usize| plan_for(tokens).3;
    let fits = |tokens: usize| total_for(tokens) <= options.memory_budget_bytes;
    let least = least_batch_tokens(model, options);
    let least_budget_bytes = total_for(least);
    if !fits(least) {
        return Err(LoadError::Budget {
            model: model.name.clone(),
            budget_bytes: options.memory_budget_bytes,
            needed_bytes: least_budget_bytes,
            detail: format!(
                "{} of weights as f32, the rest for batches of {least} tokens",
                units::bytes(weights)
            ),
        });
    }
    let tokens = match options.max_batch_tokens {
        Some(_) => least,
        None => largest_batch(least, config.max_tokens.max(USEFUL_BATCH_TOKENS), fits),
    };
    let (workspace, short, fixed_bytes, total_bytes) = plan_for(tokens);
    let plan = MemoryPlan {
        fixed_bytes,
        arena_bytes: total_bytes - fixed_bytes,
        max_batch_tokens: workspace.max_tokens,
        least_budget_bytes,
        longest_input_budget_bytes: total_for(config.max_tokens.min(workspace.max_tokens)),
    };
    Ok((workspace, short, plan))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_batch_is_the_last_that_fits() {
        for largest in 3..=20 {
            assert_eq!(largest_batch(3, 20, |tokens| tokens <= largest), largest);
        }
        assert_eq!(largest_batch(8, 5, |_| true), 8, "the least stands");
    }
}
