//! The engine's options, from the environment: the bindings' functions have no arguments for them.
//!
//! The variables are those of `bigbatch serve`, and mean the same for each model here as there for all: models are
//! loaded one by one, at the router's pace, so none can be given a share of what all of them will need.

use bigbatch_engine::{DeviceKind, EngineOptions, units};

use crate::error::CallError;

const MEMORY_BUDGET: &str = "BIGBATCH_MEMORY_BUDGET";
const MAX_BATCH_TOKENS: &str = "BIGBATCH_MAX_BATCH_TOKENS";
const THREADS: &str = "BIGBATCH_THREADS";
const TOKENIZER_THREADS: &str = "BIGBATCH_TOKENIZER_THREADS";

/// Returns the options of an engine on this device. `used_bytes` of its memory are held by the engines before it; a
/// CUDA device counts the memory of the whole process.
///
/// # Errors
/// [`CallError::Setting`] with the variable that cannot be used.
pub(crate) fn engine_options(
    kind: DeviceKind,
    used_bytes: u64,
    variable: impl Fn(&'static str) -> Option<String>,
) -> Result<EngineOptions, CallError> {
    let set = |name| variable(name).filter(|value| !value.is_empty());
    let mut options = EngineOptions::default();
    options.device.kind = kind;
    if let Some(text) = set(MEMORY_BUDGET) {
        options.device.memory_budget_bytes = units::parse_bytes(&text)
            .map_err(|reason| CallError::Setting { variable: MEMORY_BUDGET, reason })?;
    }
    options.device.memory_budget_bytes += used_bytes;
    if let Some(text) = set(MAX_BATCH_TOKENS) {
        options.device.max_batch_tokens = Some(number(MAX_BATCH_TOKENS, &text, 1 << 24)?);
    }
    if let Some(text) = set(THREADS) {
        options.device.threads = number(THREADS, &text, 1024)?;
    }
    if let Some(text) = set(TOKENIZER_THREADS) {
        options.tokenizer_threads = number(TOKENIZER_THREADS, &text, 1024)?;
    }
    Ok(options)
}

fn number(variable: &'static str, text: &str, max: usize) -> Result<usize, CallError> {
    let number = text.trim().parse().ok().filter(|number| (1..=max).contains(number));
    number.ok_or_else(|| CallError::Setting {
        variable,
        reason: format!("'{text}' is not a number between 1 and {max}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(name: &str, value: &str) -> Result<EngineOptions, String> {
        let variable = |asked: &str| (asked == name).then(|| value.to_owned());
        engine_options(DeviceKind::Cpu, 7, variable).map_err(|error| error.to_string())
    }

    #[test]
    fn variables_are_options() {
        let device = |name, value| options(name, value).unwrap().device;
        let defaults = EngineOptions::default();
        assert_eq!(device(MEMORY_BUDGET, "1MiB").memory_budget_bytes, (1 << 20) + 7);
        assert_eq!(device(MAX_BATCH_TOKENS, "2048").max_batch_tokens, Some(2048));
        assert_eq!(device(THREADS, "3").threads, 3);
        assert_eq!(options(TOKENIZER_THREADS, "5").unwrap().tokenizer_threads, 5);
        assert_eq!(device(THREADS, "").threads, defaults.device.threads);
        assert_eq!(device("", "").memory_budget_bytes, defaults.device.memory_budget_bytes + 7);
    }

    #[test]
    fn what_is_no_value_is_named() {
        for (name, value) in [
            (MEMORY_BUDGET, "lots"),
            (THREADS, "0"),
            (TOKENIZER_THREADS, "-1"),
            (MAX_BATCH_TOKENS, "1e9"),
        ] {
            let error = options(name, value).unwrap_err();
            assert!(error.contains(name) && error.contains(value), "{error}");
        }
    }
}
