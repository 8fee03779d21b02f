//! A bounded pool for tokenizing outside the engines: for windows, `/v1/analyze`, `/tokenize`, `/decode` and `/detokenize`.
//!
//! An engine tokenizes whole texts on its own threads. This pool has the same bounds: `--tokenizer-threads` jobs
//! at once, and `--max-concurrent-requests` jobs running or waiting. No async thread is blocked.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bigbatch_engine::Engine;
use tokio::sync::Semaphore;

use crate::error::Refusal;

/// The pool: permits to run, and slots for running and waiting jobs.
pub(crate) struct TokenizerPool {
    permits: Arc<Semaphore>,
    taken: Arc<AtomicUsize>,
    capacity: usize,
}

/// A slot in the pool, held from admission to the end of the job.
struct PoolSlot(Arc<AtomicUsize>);

impl Drop for PoolSlot {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl TokenizerPool {
    /// Returns a pool with the bounds of this engine's own tokenizer threads.
    pub(crate) fn with_bounds_of(engine: &Engine) -> TokenizerPool {
        TokenizerPool::new(engine.tokenizer_threads(), engine.max_concurrent_requests())
    }

    fn new(threads: usize, places: usize) -> TokenizerPool {
        TokenizerPool {
            permits: Arc::new(Semaphore::new(threads)),
            taken: Arc::default(),
            capacity: places,
        }
    }

    /// Runs `work` on a blocking thread; refuses at once if all slots are taken.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Refusal> {
        let slot = PoolSlot(self.taken.clone());
        if self.taken.fetch_add(1, Ordering::AcqRel) >= self.capacity {
            let places = self.capacity;
            let message = format!(
                "{places} requests wait for a tokenizer thread, the limit (--max-concurrent-requests); \
                 try again later"
            );
            return Err(Refusal::Overloaded { message, wait: None });
        }
        let stopped = || Refusal::Unavailable("the server is stopping".into());
        let permit = self.permits.clone().acquire_owned().await.map_err(|_| stopped())?;
        // The work continues if its client disconnects, so it owns its slot and permit.
        let work = move || {
            let _held = (slot, permit);
            work()
        };
        tokio::task::spawn_blocking(work)
            .await
            .map_err(|_| Refusal::Invalid("the tokenizer failed on this text".into()))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn a_job_beyond_the_slots_is_refused_and_the_others_wait_their_turn() {
        let pool = TokenizerPool::new(1, 2);
        let (go, gate) = mpsc::channel::<()>();
        let first = pool.run(move || gate.recv().is_ok());
        let second = pool.run(|| "second");
        let third = async {
            // At once: it does not wait for a slot.
            tokio::select! {
                biased;
                refused = pool.run(|| ()) => {
                    assert!(matches!(refused, Err(Refusal::Overloaded { .. })), "{refused:?}");
                }
                () = std::future::ready(()) => panic!("it waits"),
            }
            go.send(()).expect("the first waits");
        };
        let (first, second, ()) = tokio::join!(first, second, third);
        assert_eq!((first, second), (Ok(true), Ok("second")));
        assert_eq!(pool.run(|| 1).await, Ok(1));
    }
}
