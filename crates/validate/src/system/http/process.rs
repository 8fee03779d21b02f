//! Memory of a target that runs on this machine, by its PID.

use super::error::TargetError;
use crate::system::memory::{MemorySample, process_memory, rss_bytes_of};

/// A process on this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Process {
    pid: u32,
}

impl Process {
    /// Checks that the process `pid` exists.
    pub(super) fn find(pid: u32) -> Result<Process, TargetError> {
        rss_bytes_of(pid).map(|_| Process { pid }).ok_or(TargetError::Process { pid })
    }

    /// Reads the process's memory on the host and the device; empty once it has ended.
    pub(super) fn memory(self) -> MemorySample {
        process_memory(self.pid)
    }
}
