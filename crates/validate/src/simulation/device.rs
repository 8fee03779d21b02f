//! The device of a simulation: its limits, how it pauses, and what a batch takes on it.

use std::path::Path;

use bigbatch_engine::{CostModel, Limits, MAX_MASKS, Turns};
use serde::Serialize;

use crate::error::Error;

/// Masked positions are not simulated, so this limit is never reached.
const fn limits(max_batch_tokens: usize) -> Limits {
    Limits { max_batch_tokens, max_batch_sequences: 512, max_masks: MAX_MASKS }
}

/// A device that exists as limits and predicted times only.
#[derive(Debug, Clone, Serialize)]
pub struct SimulatedDevice {
    /// `gpu` or `cpu`.
    pub name: &'static str,
    /// Seconds of a batch as a function of its size.
    pub costs: CostModel,
    /// Limits of a batch.
    #[serde(skip)]
    pub limits: Limits,
    /// Limits of the short batches that run while a long one pauses.
    #[serde(skip)]
    pub short_lane: Limits,
    /// How long its slices are, and how long others may run between them.
    #[serde(skip)]
    pub turns: Turns,
    /// Whether it is given the next batch while it runs one.
    pub asynchronous: bool,
}

impl SimulatedDevice {
    /// Returns a GPU. Its costs were fitted on an H200 with ModernBERT-base: `docs/perf-log.md`, section 19.
    pub fn gpu() -> SimulatedDevice {
        SimulatedDevice {
            name: "gpu",
            costs: CostModel {
                batch_seconds: 0.56e-3,
                token_seconds: 0.539e-6,
                square_seconds: 5.02e-11,
                sequence_seconds: 0.0,
            },
            limits: limits(65_536),
            short_lane: limits(8192),
            turns: Turns::GPU,
            asynchronous: true,
        }
    }

    /// Returns a CPU. Its costs are of the order of `embedded:jailbreak` on two cores: 2 ms for 67 tokens and 13 s for 32768,
    /// `docs/perf-log.md`, section 17.
    pub fn cpu() -> SimulatedDevice {
        SimulatedDevice {
            name: "cpu",
            costs: CostModel {
                batch_seconds: 0.3e-3,
                token_seconds: 25e-6,
                square_seconds: 1.1e-8,
                sequence_seconds: 50e-6,
            },
            limits: limits(16_384),
            short_lane: limits(2048),
            turns: Turns::HOST,
            asynchronous: false,
        }
    }
}

/// Upper limit on each of the times of a batch, in seconds.
const COST_SECONDS_MAX: f64 = 100.0;

/// Parses the costs of a batch: `batch,token,square,sequence` in seconds, or the path of a JSON file of a [`CostModel`].
///
/// # Errors
/// [`Error::Costs`] if the file cannot be read, or a number is missing, negative or not finite, or a token takes no time or
/// more than 100 s.
pub fn parse_costs(given: &str) -> Result<CostModel, Error> {
    let fault = |reason: String| Error::Costs { given: given.to_owned(), reason };
    let numbers: Result<Vec<f64>, _> = given.split(',').map(|part| part.trim().parse()).collect();
    let costs = match numbers.as_deref() {
        Ok(&[batch_seconds, token_seconds, square_seconds, sequence_seconds]) => {
            CostModel { batch_seconds, token_seconds, square_seconds, sequence_seconds }
        }
        Ok(numbers) => return Err(fault(format!("it has {} numbers, not 4", numbers.len()))),
        Err(_) => {
            let text = std::fs::read_to_string(Path::new(given));
            let text = text.map_err(|error| fault(error.to_string()))?;
            serde_json::from_str(&text).map_err(|error| fault(error.to_string()))?
        }
    };
    let CostModel { batch_seconds, token_seconds, square_seconds, sequence_seconds } = costs;
    let all = [batch_seconds, token_seconds, square_seconds, sequence_seconds];
    if !all.iter().all(|seconds| seconds.is_finite() && *seconds >= 0.0) {
        return Err(fault("a time is negative or not finite".into()));
    }
    if token_seconds == 0.0 && square_seconds == 0.0 {
        return Err(fault("tokens take no time".into()));
    }
    if all.iter().any(|seconds| *seconds > COST_SECONDS_MAX) {
        return Err(fault(format!("a time is above {COST_SECONDS_MAX} s")));
    }
    Ok(costs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_are_four_numbers_that_make_sense() {
        let costs = parse_costs("1e-3, 2e-6,0,3e-6").expect("valid");
        assert_eq!((costs.batch_seconds, costs.sequence_seconds), (1e-3, 3e-6));
        for (given, expected) in [
            ("1,2,3", "it has 3 numbers"),
            ("1,2,3,4,5", "it has 5 numbers"),
            ("1,-2,3,4", "negative"),
            ("1,nan,3,4", "not finite"),
            ("1,0,0,4", "take no time"),
            ("1e308,1,1,1", "above 100 s"),
            ("no-such-file.json", "No such file"),
        ] {
            let error = parse_costs(given).expect_err("refused").to_string();
            assert!(error.contains(expected) && error.contains(given), "{error}");
            assert_eq!(error.lines().count(), 1);
        }
    }
}
