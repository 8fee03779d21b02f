//! Reading texts apart from their engines: for windows, for several models over one text, for `/tokenize`.
//!
//! An engine's own requests are tokenized by its own threads. What is read here is bounded like there: as
//! many texts at once as there are cores, so many waiting, and no async thread is ever held.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Semaphore;

use crate::error::Refusal;

/// Requests that may wait; as many as an engine admits.
const MAX_WAITING: usize = 512;

/// The pool.
pub(crate) struct Tokenizing {
    permits: Arc<Semaphore>,
    taken: Arc<AtomicUsize>,
}

impl Default for Tokenizing {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
        Tokenizing { permits: Arc::new(Semaphore::new(cores)), taken: Arc::default() }
    }
}

/// A place in the pool, from admission to the end of the work.
struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Tokenizing {
    /// Runs this away from the async threads, or refuses at once.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Refusal> {
        let place = Place(self.taken.clone());
        if self.taken.fetch_add(1, Ordering::AcqRel) >= MAX_WAITING {
            let message = format!("{MAX_WAITING} requests wait to be tokenized; try again later");
            return Err(Refusal::Overloaded { message, wait: None });
        }
        let stopped = || Refusal::Unavailable("the server is stopping".into());
        let permit = self.permits.clone().acquire_owned().await.map_err(|_| stopped())?;
        // The work goes on if its client goes away, and so holds its permit to its end.
        let work = move || {
            let _held = (place, permit);
            work()
        };
        tokio::task::spawn_blocking(work)
            .await
            .map_err(|_| Refusal::Invalid("the tokenizer failed on this text".into()))
    }
}
