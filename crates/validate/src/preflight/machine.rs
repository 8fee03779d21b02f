//! The machine that the generator runs on, for the report: read from `/proc`, without names of host or user.

use std::fs;

use bigbatch_engine::units::proc_bytes;
use serde::{Deserialize, Serialize};

/// The facts that a reader needs to compare figures. It has no names of host or user.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// Operating system and architecture.
    pub platform: String,
    /// Kernel release.
    pub kernel: String,
    /// Model of the processor.
    pub cpu: String,
    /// Threads that can run at once.
    pub cpu_threads: usize,
    /// Main memory in bytes.
    pub memory_bytes: Option<u64>,
}

impl Machine {
    /// Reads the facts; those that are unavailable stay empty.
    pub fn read() -> Machine {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        Machine {
            platform: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            cpu: cpu_model(&read("/proc/cpuinfo")).unwrap_or_default(),
            cpu_threads: std::thread::available_parallelism().map_or(1, usize::from),
            memory_bytes: proc_bytes(&read("/proc/meminfo"), "MemTotal"),
        }
    }
}

fn cpu_model(cpuinfo: &str) -> Option<String> {
    let line = cpuinfo.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_proc_files() {
        assert_eq!(
            cpu_model("processor: 0\nmodel name\t: Some CPU\n").as_deref(),
            Some("Some CPU")
        );
    }
}
