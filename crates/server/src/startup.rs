//! Starts several models under one memory budget.
//!
//! Models start one after the other. Each gets its weights and an equal share of what all weights leave; what
//! it does not use, for example because `--max-batch-tokens` bounds its arena, goes to the models after it.
//!
//! On a CPU every engine counts its own memory, so its budget is its share. On a CUDA device the engine reads
//! the memory of the whole process from the driver, so its budget is the share plus what the models before it
//! use. The memory of the CUDA context and its libraries is set aside before sharing.

use bigbatch_engine::{Device, DeviceKind, Engine, EngineOptions, LoadError, Model};

use crate::models::ServedModel;

/// Approximate memory of a CUDA context and its libraries; measured on an H100.
const CONTEXT_BYTES: u64 = 400 << 20;

/// A model that is loaded but has no engine yet.
pub struct UnstartedModel {
    /// The name by which requests choose it.
    pub name: String,
    /// The `SOURCE` that `--model` gave.
    pub source: String,
    /// The loaded model.
    pub model: Model,
}

/// Starts an engine per model, in order, under the budget of `options`.
///
/// # Errors
/// The [`LoadError`] of the first model that does not start. [`LoadError::Budget`] is in terms of the whole
/// budget.
pub fn start(
    list: Vec<UnstartedModel>,
    options: &EngineOptions,
) -> Result<Vec<ServedModel>, LoadError> {
    let total = options.device.memory_budget_bytes;
    let on_device =
        options.device.kind != DeviceKind::Cpu && options.device.kind != DeviceKind::Reference;
    let weights = list
        .iter()
        .map(|one| Device::weight_bytes(&one.model, options.device.kind))
        .collect::<Result<Vec<u64>, _>>()?;
    let mut used = 0;
    let mut started: Vec<ServedModel> = Vec::new();
    for (index, UnstartedModel { name, source, model }) in list.into_iter().enumerate() {
        let aside = if on_device && index == 0 && weights.len() > 1 { CONTEXT_BYTES } else { 0 };
        let share = share(total, used + aside, &weights[index..]) + aside;
        let mut own = *options;
        own.device.memory_budget_bytes = if on_device { used + share } else { share };
        let remaining = (weights.len() - index) as u64;
        let engine = Engine::start(model, &own)
            .map_err(|error| for_whole_budget(error, total, share, remaining))?;
        let plan = engine.memory_plan();
        used = match engine.device_used_bytes() {
            Some(used) => used,
            None => used + plan.fixed_bytes + plan.arena_bytes,
        };
        started.push(ServedModel::new(name, source, engine));
    }
    Ok(started)
}

/// Returns the bytes that the first of `weights` may use: its own and an equal share of what all of them leave.
fn share(total: u64, used: u64, weights: &[u64]) -> u64 {
    let left = total.saturating_sub(used + weights.iter().sum::<u64>());
    weights[0] + left / weights.len() as u64
}

/// Converts a budget error of one share into one of the whole budget.
fn for_whole_budget(error: LoadError, total: u64, share: u64, remaining: u64) -> LoadError {
    match error {
        LoadError::Budget { model, needed_bytes, detail, .. } if remaining > 1 || share < total => {
            let missing = needed_bytes.saturating_sub(share);
            LoadError::Budget {
                model,
                budget_bytes: total,
                needed_bytes: total + missing * remaining,
                detail: format!("{detail}; several models share the budget"),
            }
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_the_weights_and_an_equal_part_of_the_rest() {
        assert_eq!(share(100, 0, &[10, 30]), 10 + 30);
        // The first took 20 less than it could: the second has them.
        assert_eq!(share(100, 20, &[30]), 80);
        assert_eq!(share(100, 100, &[30]), 30);
        assert_eq!(share(100, 0, &[10]), 100);
    }
}
