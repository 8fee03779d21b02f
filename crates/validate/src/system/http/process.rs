//! Memory of a target that runs on this machine, by the number of its process.

use super::error::TargetError;
use crate::system::memory::{MemorySample, process_memory, rss_bytes_of};

/// A process of this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Process {
    pid: u32,
}

impl Process {
    /// The process `pid`, which must be there now.
    pub(super) fn find(pid: u32) -> Result<Process, TargetError> {
        rss_bytes_of(pid).map(|_| Process { pid }).ok_or(TargetError::Process { pid })
    }

    /// Its memory on the host and the device; nothing once it has ended.
    pub(super) fn memory(self) -> MemorySample {
        process_memory(self.pid)
    }
}
