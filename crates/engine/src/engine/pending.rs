//! The caller's end of a request: blocks or awaits until it is answered, cancels it when dropped.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::request::Response;
use super::shared::Shared;
use crate::error::RequestError;

type RequestResult = Result<Response, RequestError>;

/// Removes a request from the queue when dropped before the answer.
struct CancelGuard {
    shared: Arc<Shared>,
    id: u64,
    answered: bool,
}

impl Drop for CancelGuard {
    fn drop(&mut self) {
        if !self.answered {
            self.shared.queue.cancel(self.id);
        }
    }
}

/// A submitted request: block on it with [`Pending::wait`], or await it. Dropping it cancels the request.
pub struct Pending {
    receiver: oneshot::Receiver<RequestResult>,
    guard: CancelGuard,
}

impl Pending {
    pub(super) fn new(
        shared: &Arc<Shared>,
        id: u64,
        receiver: oneshot::Receiver<RequestResult>,
    ) -> Pending {
        Pending { receiver, guard: CancelGuard { shared: shared.clone(), id, answered: false } }
    }

    /// Blocks until the request is answered.
    ///
    /// # Errors
    /// Any [`RequestError`] but [`RequestError::Overloaded`] and [`RequestError::WrongTask`], which
    /// [`submit`](super::Engine::submit) returns at once.
    pub fn wait(mut self) -> Result<Response, RequestError> {
        let answer =
            self.receiver.recv().unwrap_or_else(|_| Err(self.guard.shared.stopped_error()));
        self.guard.answered = true;
        answer
    }
}

impl IntoFuture for Pending {
    type Output = Result<Response, RequestError>;
    type IntoFuture = ResponseFuture;

    fn into_future(self) -> ResponseFuture {
        ResponseFuture { receiver: self.receiver.into_future(), guard: self.guard }
    }
}

/// [`Pending`] as a future, for any async runtime.
pub struct ResponseFuture {
    receiver: oneshot::AsyncReceiver<RequestResult>,
    guard: CancelGuard,
}

impl Future for ResponseFuture {
    type Output = Result<Response, RequestError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.receiver).poll(cx).map(|answer| {
            self.guard.answered = true;
            answer.unwrap_or_else(|_| Err(self.guard.shared.stopped_error()))
        })
    }
}
