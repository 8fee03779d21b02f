//! Memory readings: what a target reports of itself, what the operating system says of a process,
//! and what NVML says of a process and its card.
//!
//! A reading carries what ran when it was taken (requests under way, batches so far), so that a
//! report can lay memory beside load without guessing from clocks. Nothing here interprets: whether
//! a series leaks is for the analysis to say.

use bigbatch_engine::backend::device_memory_of;
use bigbatch_engine::units::proc_bytes;
use serde::{Deserialize, Serialize};

/// One reading. What a target cannot tell is `None`, never zero.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct MemorySample {
    /// Resident memory of the target's process, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rss_bytes: Option<u64>,
    /// Device memory of the target's process, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_used_bytes: Option<u64>,
    /// Memory of the whole card that is in use, by this process, others and the driver, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub card_used_bytes: Option<u64>,
    /// The target's own arena.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arena: Option<ArenaSample>,
    /// Requests that the target has taken and not yet answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests_in_flight: Option<usize>,
    /// Batches that its device has, running or next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batches_in_flight: Option<usize>,
    /// Batches that the target has started since its own start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batches: Option<u64>,
}

/// One reading of memory and when it was taken.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct MemoryPoint {
    /// Milliseconds since the start of the run.
    pub at_ms: f64,
    /// Whether the target was idle (before or after the cell) or under load.
    pub moment: MemoryPhase,
    /// The reading.
    #[serde(flatten)]
    pub sample: MemorySample,
}

/// When a reading was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MemoryPhase {
    /// Idle, before the cell's first request.
    Before,
    /// Under the cell's load.
    During,
    /// Idle again, after its last request.
    After,
}

/// State of an arena, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct ArenaSample {
    /// All of it.
    pub capacity_bytes: u64,
    /// In use now: what the batch under way holds.
    pub used_bytes: u64,
    /// Most ever touched.
    pub high_water_bytes: u64,
    /// Largest block that could be handed out now.
    pub largest_free_bytes: u64,
    /// Where several arenas are added up here: the greatest fragmentation of any by itself, 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fragmentation_max: Option<f64>,
}

impl ArenaSample {
    /// Bytes that nobody holds.
    pub fn free_bytes(&self) -> u64 {
        self.capacity_bytes.saturating_sub(self.used_bytes)
    }

    /// Share of the free bytes that no single block can hold, 0 to 1; see [`fragmentation`].
    pub fn fragmentation(&self) -> f64 {
        let of_one = || fragmentation(self.free_bytes(), self.largest_free_bytes);
        self.fragmentation_max.unwrap_or_else(of_one)
    }
}

/// 1 - largest free block / all free bytes: 0 when the free memory is one block, or when there is none.
pub fn fragmentation(free_bytes: u64, largest_free_bytes: u64) -> f64 {
    if free_bytes == 0 {
        return 0.0;
    }
    1.0 - largest_free_bytes.min(free_bytes) as f64 / free_bytes as f64
}

/// Resident memory of this process in bytes, from `/proc/self/status`; `None` where there is none.
pub fn process_rss_bytes() -> Option<u64> {
    proc_bytes(&std::fs::read_to_string("/proc/self/status").ok()?, "VmRSS")
}

/// Resident memory of process `pid` in bytes; `None` once it has ended, or where there is no `/proc`.
pub fn rss_bytes_of(pid: u32) -> Option<u64> {
    proc_bytes(&std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?, "VmRSS")
}

/// A reading of process `pid` from outside: resident memory, and device memory in builds with CUDA
/// on a machine where NVML lists the process. What cannot be read is `None`.
pub fn process_memory(pid: u32) -> MemorySample {
    let device = device_memory_of(pid).unwrap_or_default();
    MemorySample {
        rss_bytes: rss_bytes_of(pid),
        device_used_bytes: device.process_bytes,
        card_used_bytes: device.card_bytes,
        ..MemorySample::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_read_by_its_id() {
        let own = std::process::id();
        if process_rss_bytes().is_some() {
            assert!(rss_bytes_of(own).is_some_and(|bytes| bytes > 1 << 20));
            assert!(process_memory(own).rss_bytes.is_some());
        }
        // Beyond the largest process id of any kernel.
        assert_eq!(process_memory(u32::MAX).rss_bytes, None);
    }

    #[test]
    fn fragmentation_is_the_free_share_outside_the_largest_block() {
        let arena = |used_bytes, largest_free_bytes| ArenaSample {
            capacity_bytes: 1000,
            used_bytes,
            largest_free_bytes,
            ..ArenaSample::default()
        };
        assert_eq!(arena(0, 1000).fragmentation(), 0.0);
        assert_eq!(arena(200, 600).fragmentation(), 0.25);
        assert_eq!(arena(1000, 0).fragmentation(), 0.0, "nothing is free, so nothing is scattered");
    }

    #[test]
    fn readings_of_older_files_are_still_read() {
        let sample: MemorySample = serde_json::from_str("{\"rss_bytes\":7}").expect("valid");
        assert_eq!(sample, MemorySample { rss_bytes: Some(7), ..MemorySample::default() });
    }
}
