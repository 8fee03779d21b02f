//! The stages of a request, and the time that it spends in each.

use serde::{Deserialize, Serialize};

use crate::format::labelled;
use crate::load::RequestRecord;

labelled! {
    /// A stage of a request.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    pub enum Stage {
        /// From the intended start until the generator sent it.
        Generator = "generator",
        /// Text to token ids.
        Tokenize = "tokenize",
        /// Waiting for a batch.
        Queue = "queue",
        /// Handing the batch to the device.
        Copy = "copy",
        /// The batch on the device, its rows read back.
        Compute = "compute",
        /// The rest: from the target's answer to the last byte, transport included.
        Reply = "reply",
    }
}

impl Stage {
    /// All stages in the order in which a request passes them.
    pub const ALL: [Stage; 6] = [
        Stage::Generator,
        Stage::Tokenize,
        Stage::Queue,
        Stage::Copy,
        Stage::Compute,
        Stage::Reply,
    ];

    /// Returns the microseconds that a request spent in each stage, in the order of [`Stage::ALL`]; `None` if the
    /// target reports no stages.
    pub(crate) fn times_us(record: &RequestRecord) -> Option<[u64; 6]> {
        let stages = record.stages?;
        let reported = stages.tokenize_us + stages.queue_us + stages.device_us();
        Some([
            record.lag_us(),
            stages.tokenize_us,
            stages.queue_us,
            stages.copy_us.unwrap_or(0),
            stages.compute_us,
            record.latency_us().saturating_sub(record.lag_us() + reported),
        ])
    }
}

/// Returns when a request's batch was on the device, in microseconds since the start of the run: its stages are laid
/// end to end from the time of sending.
pub(crate) fn device_span_us(record: &RequestRecord) -> Option<(u64, u64)> {
    let stages = record.stages?;
    let from = record.sent_us + stages.tokenize_us + stages.queue_us;
    Some((from, from + stages.device_us()))
}
