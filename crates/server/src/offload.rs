//! Runs work on large data beside the async threads, so that one request does not delay others: decompressing, parsing
//! and writing JSON.

use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::Semaphore;
use tokio::task::block_in_place;

/// Data up to this size is worked on at once: that takes less time than a change of threads.
const INLINE_BYTES: usize = 64 << 10;

/// Half of the processors, for all requests together.
pub(crate) struct Offload {
    permits: Semaphore,
}

impl Default for Offload {
    fn default() -> Offload {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Offload { permits: Semaphore::new((processors / 2).max(1)) }
    }
}

impl Offload {
    /// Runs `work` on data of so many bytes. Waits for its turn if the data is large.
    pub(crate) async fn run<T>(&self, bytes: usize, work: impl FnOnce() -> T) -> T {
        if bytes <= INLINE_BYTES {
            return work();
        }
        // The semaphore is never closed, so this is a permit.
        let _permit = self.permits.acquire().await;
        blocking(work)
    }
}

/// Runs work that takes long; the other tasks of this thread move to another one.
fn blocking<T>(work: impl FnOnce() -> T) -> T {
    let several_threads = Handle::try_current()
        .is_ok_and(|runtime| runtime.runtime_flavor() == RuntimeFlavor::MultiThread);
    if several_threads { block_in_place(work) } else { work() }
}
