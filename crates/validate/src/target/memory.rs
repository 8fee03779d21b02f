//! Memory readings: what a target reports of itself, and what the operating system says of this
//! process.

use serde::{Deserialize, Serialize};

/// One reading. What a target cannot tell is `None`, never zero.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemorySample {
    /// Resident memory of the target's process, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rss_bytes: Option<u64>,
    /// Device memory of the target's process, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_used_bytes: Option<u64>,
    /// The target's own arena.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arena: Option<ArenaSample>,
}

/// State of an arena, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArenaSample {
    /// All of it.
    pub capacity_bytes: u64,
    /// In use now.
    pub used_bytes: u64,
    /// Most ever in use.
    pub high_water_bytes: u64,
    /// Largest block that could be handed out now.
    pub largest_free_bytes: u64,
}

/// Resident memory of this process in bytes, from `/proc/self/status`; `None` where there is none.
pub fn process_rss_bytes() -> Option<u64> {
    parse_vm_rss(&std::fs::read_to_string("/proc/self/status").ok()?)
}

fn parse_vm_rss(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_resident_memory_from_a_status_file() {
        let status = "Name:\tx\nVmHWM:\t    2048 kB\nVmRSS:\t    1536 kB\nThreads:\t1\n";
        assert_eq!(parse_vm_rss(status), Some(1536 * 1024));
        assert_eq!(parse_vm_rss("Name:\tkthread\n"), None);
    }
}
