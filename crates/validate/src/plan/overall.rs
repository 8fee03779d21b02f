//! Limits over the whole run, beside the bars of single cells: the plan's `[overall]`.

use serde::{Deserialize, Serialize};

use super::check::{check_number, check_tail_ratio};

/// What must hold over the whole run. Every limit is optional.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Overall {
    /// Most times the median that the 99th percentile of latency over successful requests may be, in
    /// every cell but ramps and those whose bar has a limit of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tail_ratio_max: Option<f64>,
    /// Greatest fragmentation of the target's arena (1 - largest free / free) at any reading, in 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fragmentation_max: Option<f64>,
    /// Most device memory that the target may hold at any reading.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_memory_bytes_max: Option<u64>,
    /// Whether none of the target's memory may grow from cell to cell.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub no_leak: bool,
}

impl Overall {
    /// Whether it limits nothing.
    pub fn is_empty(&self) -> bool {
        *self == Overall::default()
    }

    pub(super) fn check(&self) -> Result<(), String> {
        check_tail_ratio("overall.tail_ratio_max", self.tail_ratio_max)?;
        if let Some(share) = self.fragmentation_max {
            check_number("overall.fragmentation_max", share, 0.0, 1.0)?;
        }
        if self.device_memory_bytes_max == Some(0) {
            return Err(
                "overall.device_memory_bytes_max = 0 is out of range; give bytes above 0".into()
            );
        }
        Ok(())
    }
}
