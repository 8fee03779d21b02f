//! Memory readings: from the target itself, from the operating system, and from NVML.
//!
//! A reading includes the load at its time (requests in flight, batches so far), so that a report can
//! relate memory to load without comparing clocks. Readings are not interpreted here: leaks are judged in
//! [`crate::analysis::memory`], and when readings are taken is decided in [`run`](mod@crate::run).

use bigbatch_allocators::FreeMemory;
use bigbatch_engine::device_memory_of;
use bigbatch_engine::units::proc_bytes;
use serde::{Deserialize, Serialize};

/// One reading. A quantity that the target does not report is `None`, never zero.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct MemorySample {
    /// Resident memory of the target's process, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rss_bytes: Option<u64>,
    /// Device memory of the target's process, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_used_bytes: Option<u64>,
    /// Memory in use on the whole card, by this process, others and the driver, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub card_used_bytes: Option<u64>,
    /// The target's arena.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arena: Option<ArenaSample>,
    /// Requests that the target has accepted and not answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests_in_flight: Option<usize>,
    /// Batches on the device, running or next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batches_in_flight: Option<usize>,
    /// Batches started since the target's start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batches: Option<u64>,
}

/// One memory reading with its time.
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

/// The time of a reading relative to the cell's load.
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

/// The use of an arena, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct ArenaSample {
    /// Size of the arena.
    pub capacity_bytes: u64,
    /// In use now, by the batch that runs.
    pub used_bytes: u64,
    /// Most bytes ever in use.
    pub high_water_bytes: u64,
    /// Largest block that could be allocated now.
    pub largest_free_bytes: u64,
    /// Greatest fragmentation of a single arena, 0 to 1, if these are the sums over several arenas.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fragmentation_max: Option<f64>,
}

impl ArenaSample {
    /// Returns the bytes not in use.
    pub fn free_bytes(&self) -> u64 {
        self.capacity_bytes.saturating_sub(self.used_bytes)
    }

    /// Returns the share of the free bytes outside the largest free block, 0 to 1; see [`fragmentation`].
    pub fn fragmentation(&self) -> f64 {
        let of_one = || fragmentation(self.free_bytes(), self.largest_free_bytes);
        self.fragmentation_max.unwrap_or_else(of_one)
    }
}

/// Returns 1 - largest free block / all free bytes: 0 if the free memory is one block, or if none is free.
pub fn fragmentation(free_bytes: u64, largest_free_bytes: u64) -> f64 {
    FreeMemory { bytes: free_bytes, largest_bytes: largest_free_bytes }.fragmentation()
}

/// Returns the resident memory of this process in bytes; `None` without `/proc`.
pub fn process_rss_bytes() -> Option<u64> {
    proc_bytes(&std::fs::read_to_string("/proc/self/status").ok()?, "VmRSS")
}

/// Returns the resident memory of process `pid` in bytes; `None` once it has ended, or without `/proc`.
pub fn rss_bytes_of(pid: u32) -> Option<u64> {
    proc_bytes(&std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?, "VmRSS")
}

/// Reads the memory of process `pid` from outside: resident memory and, in builds with CUDA on a machine
/// whose NVML lists the process, device memory.
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
