//! Reading texts apart from their engines: for windows, for several models over one text, for `/tokenize`.
//!
//! An engine's own requests are tokenized by its own threads. What is read here is bounded like there, by the
//! same options: as many requests at once as an engine has threads for (`--tokenizer-threads`), so many at work
//! or waiting as an engine admits (`--max-concurrent-requests`), and no async thread is ever held.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bigbatch_engine::engine::Engine;
use tokio::sync::Semaphore;

use crate::error::Refusal;

/// The pool.
pub(crate) struct TokenizerPool {
    permits: Arc<Semaphore>,
    taken: Arc<AtomicUsize>,
    capacity: usize,
}

/// A place in the pool, from admission to the end of the work.
struct Slot(Arc<AtomicUsize>);

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl TokenizerPool {
    /// Bounded as this engine's own.
    pub(crate) fn sized_as(engine: &Engine) -> TokenizerPool {
        TokenizerPool::new(engine.tokenizer_threads(), engine.max_concurrent_requests())
    }

    fn new(threads: usize, places: usize) -> TokenizerPool {
        TokenizerPool {
            permits: Arc::new(Semaphore::new(threads)),
            taken: Arc::default(),
            capacity: places,
        }
    }

    /// Runs this away from the async threads, or refuses at once.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Refusal> {
        let slot = Slot(self.taken.clone());
        if self.taken.fetch_add(1, Ordering::AcqRel) >= self.capacity {
            let places = self.capacity;
            let message = format!("{places} requests wait to be tokenized; try again later");
            return Err(Refusal::Overloaded { message, wait: None });
        }
        let stopped = || Refusal::Unavailable("the server is stopping".into());
        let permit = self.permits.clone().acquire_owned().await.map_err(|_| stopped())?;
        // The work goes on if its client goes away, and so holds its permit to its end.
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
    async fn one_more_than_there_are_places_for_is_refused_and_the_rest_wait_their_turn() {
        let pool = TokenizerPool::new(1, 2);
        let (go, gate) = mpsc::channel::<()>();
        let first = pool.run(move || gate.recv().is_ok());
        let second = pool.run(|| "second");
        let third = async {
            // At once: it does not wait for a place.
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
