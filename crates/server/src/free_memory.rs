//! Gives memory back to the system that requests and connections have freed and the allocator keeps: between buffers that
//! live, free ones are of no use to larger requests, so that it would grow without bound.

use std::time::Duration;

use bigbatch_engine::host::{resident_bytes, return_free_memory};

use crate::memory::HostMemory;
use crate::observe::ConnectionCounters;

/// Bytes that the allocator may keep beyond what it kept when memory was last returned.
const KEPT_BYTES: usize = 8 << 20;

/// Time from the end of a request to the return of memory: what it has taken is freed soon after, and the next one may
/// need it again. It also limits the number of returns per second.
const DELAY: Duration = Duration::from_secs(1);

/// Returns free memory after requests and connections have ended, while others go on too. Never ends; does nothing while
/// none ends.
pub(crate) async fn return_memory(memory: &HostMemory, connections: &ConnectionCounters) {
    // The least that the process has held, and whether it was measured while requests took hardly any memory.
    let mut least = held(memory);
    let mut exact = true;
    loop {
        tokio::select! {
            () = memory.wait_for_end() => {}
            () = connections.wait_for_end() => {}
        }
        tokio::time::sleep(DELAY).await;
        let idle = memory.taken_bytes() < KEPT_BYTES;
        let now = held(memory);
        least = least.min(now);
        if now > least + KEPT_BYTES || idle && !exact {
            // It does not panic, so there is nothing to be lost.
            let _ = tokio::task::spawn_blocking(return_free_memory).await;
            (least, exact) = (held(memory), idle);
        }
    }
}

/// Returns the bytes of the process that requests are not charged for; 0 where the system does not tell.
fn held(memory: &HostMemory) -> usize {
    (resident_bytes().unwrap_or(0) as usize).saturating_sub(memory.taken_bytes())
}
