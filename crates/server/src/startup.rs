//! Starting several models under one memory budget.
//!
//! They are started one after the other. Each is given its weights and an equal share of what all weights
//! leave; what it does not take, such as when `--max-batch-tokens` bounds its arena, goes to those after it.
//!
//! On a CPU every engine counts its own memory, so it is told its share. On a CUDA device start-up reads what
//! the driver says of the whole process, so an engine is told what the process may use with it: what those
//! before it use and its share. What the first context and libraries take is set aside before sharing.

use bigbatch_engine::device::{Device, DeviceKind};
use bigbatch_engine::engine::{Engine, EngineOptions};
use bigbatch_engine::error::LoadError;
use bigbatch_engine::model::Model;

use crate::models::ServedModel;

/// What a CUDA context and its libraries take, about; measured on an H100.
const CONTEXT_BYTES: u64 = 400 << 20;

/// A model that is read and not started.
pub struct UnstartedModel {
    /// What requests call it.
    pub name: String,
    /// Where it came from.
    pub source: String,
    /// The model.
    pub model: Model,
}

/// Starts them in order under `options`' budget.
///
/// # Errors
/// [`LoadError`] of the first that does not start; one of the budget speaks of the whole budget.
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
        let engine =
            Engine::start(model, &own).map_err(|error| of_all(error, total, share, remaining))?;
        let plan = engine.memory_plan();
        used = match engine.device_used_bytes() {
            Some(used) => used,
            None => used + plan.fixed_bytes + plan.arena_bytes,
        };
        started.push(ServedModel::new(name, source, engine));
    }
    Ok(started)
}

/// What the first of `weights` may use: its own bytes and an equal share of what all of them leave.
fn share(total: u64, used: u64, weights: &[u64]) -> u64 {
    let left = total.saturating_sub(used + weights.iter().sum::<u64>());
    weights[0] + left / weights.len() as u64
}

/// An error about a share, said of the whole budget.
fn of_all(error: LoadError, total: u64, share: u64, remaining: u64) -> LoadError {
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
