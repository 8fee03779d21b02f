//! A bounded pool for tokenizing outside the engines: for windows, `/v1/analyze`, `/tokenize`, `/decode` and `/detokenize`.
//!
//! An engine tokenizes whole texts on its own threads. This pool has the same bounds: `--tokenizer-threads` jobs
//! at once, and `--max-concurrent-requests` jobs running or waiting. Of several threads, large jobs leave one to small
//! ones. No async thread is blocked. A job holds its request's charge until it ends, also after its client has gone.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bigbatch_engine::Engine;
use tokio::sync::Semaphore;

use crate::error::Refusal;
use crate::memory::Charge;

/// The pool: permits to run, and slots for running and waiting jobs.
pub(crate) struct TokenizerPool {
    permits: Arc<Semaphore>,
    /// Permits that large jobs need before.
    large: Arc<Semaphore>,
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
            large: Arc::new(Semaphore::new(threads.saturating_sub(1).max(1))),
            taken: Arc::default(),
            capacity: places,
        }
    }

    /// Runs `work` on a blocking thread; refuses at once if all slots are taken. `charge` is for what the work holds.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        charge: &Arc<Charge>,
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
        let acquire = |permits: &Arc<Semaphore>| permits.clone().acquire_owned();
        let large = match charge.is_large() {
            true => Some(acquire(&self.large).await.map_err(|_| stopped())?),
            false => None,
        };
        let permit = acquire(&self.permits).await.map_err(|_| stopped())?;
        // The work continues if its client disconnects, so it owns its slot, its permits and its charge.
        let held = (charge.clone(), slot, large, permit);
        let work = move || {
            let _held = held;
            work()
        };
        tokio::task::spawn_blocking(work)
            .await
            .map_err(|_| Refusal::Invalid("the tokenizer failed on this text".into()))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, mpsc};

    use super::*;
    use crate::memory::HostMemory;

    /// Returns a charge of so many bytes, of a budget of 1 MiB.
    fn charge(bytes: usize) -> (Arc<HostMemory>, Arc<Charge>) {
        let memory = HostMemory::new(1 << 20);
        let charge = memory.charge();
        charge.set(bytes).expect("it fits");
        (memory, charge)
    }

    #[tokio::test]
    async fn a_job_beyond_the_slots_is_refused_and_the_others_wait_their_turn() {
        let pool = TokenizerPool::new(1, 2);
        let (_, charge) = charge(1);
        let (go, gate) = mpsc::channel::<()>();
        let first = pool.run(&charge, move || gate.recv().is_ok());
        let second = pool.run(&charge, || "second");
        let third = async {
            // At once: it does not wait for a slot.
            tokio::select! {
                biased;
                refused = pool.run(&charge, || ()) => {
                    assert!(matches!(refused, Err(Refusal::Overloaded { .. })), "{refused:?}");
                }
                () = std::future::ready(()) => panic!("it waits"),
            }
            go.send(()).expect("the first waits");
        };
        let (first, second, ()) = tokio::join!(first, second, third);
        assert_eq!((first, second), (Ok(true), Ok("second")));
        assert_eq!(pool.run(&charge, || 1).await, Ok(1));
    }

    #[tokio::test]
    async fn large_jobs_leave_a_thread_to_small_ones() {
        let pool = TokenizerPool::new(2, 8);
        let ((_, large), (_, small)) = (charge(1 << 19), charge(1));
        let (go, gate) = mpsc::channel::<()>();
        let order = Arc::new(Mutex::new(Vec::new()));
        let run = |charge, name: &'static str, before: Box<dyn FnOnce() + Send>| {
            let order = order.clone();
            pool.run(charge, move || {
                before();
                order.lock().expect("no job panics").push(name);
            })
        };
        let first = run(&large, "first", Box::new(move || gate.recv().expect("it is told")));
        let second = run(&large, "second", Box::new(|| ()));
        let third = async {
            run(&small, "small", Box::new(|| ())).await.expect("it runs");
            go.send(()).expect("the first waits");
        };
        let (first, second, ()) = tokio::join!(first, second, third);
        assert_eq!((first, second), (Ok(()), Ok(())));
        assert_eq!(*order.lock().expect("no job panics"), ["small", "first", "second"]);
    }

    #[tokio::test]
    async fn the_bytes_of_a_job_count_until_it_ends() {
        let pool = Arc::new(TokenizerPool::new(1, 2));
        let ((memory, large), (_, other)) = (charge(1000), charge(1));
        let (go, gate) = mpsc::channel::<()>();
        let (started, is_running) = tokio::sync::oneshot::channel();
        let work = move || {
            let _ = started.send(());
            gate.recv().is_ok()
        };
        let its_pool = pool.clone();
        let job = tokio::spawn(async move { its_pool.run(&large, work).await });
        is_running.await.expect("it starts");
        job.abort();
        assert!(job.await.is_err_and(|error| error.is_cancelled()), "its client has gone");
        assert_eq!(memory.taken_bytes(), 1000);
        go.send(()).expect("it still runs");
        // The next job waits for its permit, which it gives back last.
        assert_eq!(pool.run(&other, || ()).await, Ok(()));
        assert_eq!(memory.taken_bytes(), 0);
    }
}
