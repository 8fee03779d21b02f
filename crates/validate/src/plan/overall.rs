//! The plan's `[overall]` table: limits over the whole run, beside the bars on single cells.

use serde::{Deserialize, Serialize};

use super::check::{check_number, check_tail_ratio};

/// Limits over the whole run, each optional.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Overall {
    /// Upper limit on p99 / p50 of latency over successful requests, in every cell except ramps and
    /// those whose bar has its own limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tail_ratio_max: Option<f64>,
    /// Upper limit on the fragmentation of the target's arena (1 - largest free / free) at any reading, 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fragmentation_max: Option<f64>,
    /// Upper limit on the target's device memory at any reading, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_memory_bytes_max: Option<u64>,
    /// Whether memory of the target that grows from cell to cell fails the run.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub no_leak: bool,
}

impl Overall {
    /// Returns true if no limit is set.
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
                "overall.device_memory_bytes_max = 0 is out of range; give a number of bytes above 0".into()
            );
        }
        Ok(())
    }
}
