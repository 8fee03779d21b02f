//! The end of each stream of HTTP/2, and the bodies of answers.
//!
//! hyper does not poll a body while its stream has no window, and an error in the body would come too late. So
//! the future of each stream is watched from outside: when its client has not kept the pace, the future is
//! dropped, which resets that stream and no other.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use axum::body::{Body, Bytes};
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use hyper::rt::Executor;
use tokio::time::{Instant, sleep_until};

use super::pace::{Pace, PaceLimits};
use super::timer::{ActiveRequest, ConnectionTimer};
use crate::observe::Cut;

/// Bytes of an answer that are handed to HTTP/2 at once. It holds them whether the client takes them or not.
const PIECE_BYTES: usize = 16 << 10;

/// The pace of a stream, shared by its future and the body that hyper polls within it.
#[derive(Clone, Default)]
struct StreamPace(Arc<Mutex<Pace>>);

impl StreamPace {
    fn lock(&self) -> MutexGuard<'_, Pace> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

tokio::task_local! {
    /// The pace of the stream that this task serves; absent in the task of an HTTP/1 connection.
    static PACE: StreamPace;
}

/// Spawns the streams of a connection, each until it ends or its client has not kept the pace.
#[derive(Clone)]
pub(super) struct StreamExecutor(pub(super) Arc<ConnectionTimer>);

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for StreamExecutor {
    fn execute(&self, stream: F) {
        let (timer, pace) = (self.0.clone(), StreamPace::default());
        tokio::spawn(PACE.scope(pace.clone(), async move {
            if !run_at_pace(stream, &pace, timer.pace_limits()).await {
                timer.record_cut(Cut::SlowReader);
            }
        }));
    }
}

/// Runs a stream. Returns whether it ended before its deadline, which only its client's progress moves.
async fn run_at_pace(stream: impl Future, pace: &StreamPace, limits: PaceLimits) -> bool {
    let mut stream = pin!(stream);
    let mut alarm = pin!(sleep_until(Instant::now()));
    poll_fn(|cx| {
        if stream.as_mut().poll(cx).is_ready() {
            return Poll::Ready(true);
        }
        let Some(deadline) = pace.lock().deadline(limits) else { return Poll::Pending };
        if alarm.deadline() != deadline {
            alarm.as_mut().reset(deadline);
        }
        alarm.as_mut().poll(cx).map(|()| false)
    })
    .await
}

/// The body of an answer. Its request ends when the last frame has been handed to hyper.
pub(super) struct AnswerBody {
    body: Body,
    request: ActiveRequest,
    /// The pace of its stream, if it has one.
    pace: Option<StreamPace>,
    /// What is left of the current frame.
    rest: Bytes,
    /// Length of the last piece handed to hyper.
    handed_bytes: usize,
}

impl AnswerBody {
    /// Wraps the body of an answer, in the task that serves its request.
    pub(super) fn new(body: Body, request: ActiveRequest) -> AnswerBody {
        request.begin_answer();
        let pace = PACE.try_with(StreamPace::clone).ok();
        AnswerBody { body, request, pace, rest: Bytes::new(), handed_bytes: 0 }
    }
}

impl HttpBody for AnswerBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = &mut *self;
        let Some(pace) = &this.pace else { return Pin::new(&mut this.body).poll_frame(cx) };
        // hyper asks for more when the window had room for the last piece.
        pace.lock().take(this.handed_bytes, Instant::now());
        this.request.add_payload(std::mem::take(&mut this.handed_bytes));
        if this.rest.is_empty() {
            match ready!(Pin::new(&mut this.body).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => this.rest = data,
                    Err(other) => return Poll::Ready(Some(Ok(other))),
                },
                end => return Poll::Ready(end),
            }
        }
        // The last byte goes alone: hyper hands it over when the window has room for all before it, so the
        // stream's future does not end with an answer that HTTP/2 holds for ever.
        let length = match this.rest.len() {
            length @ 0..=1 => length,
            length => (length - 1).min(PIECE_BYTES),
        };
        this.handed_bytes = length;
        pace.lock().wait(Instant::now());
        Poll::Ready(Some(Ok(Frame::data(this.rest.split_to(length)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (hint, rest) = (self.body.size_hint(), self.rest.len() as u64);
        let mut whole = SizeHint::new();
        whole.set_lower(hint.lower() + rest);
        if let Some(upper) = hint.upper() {
            whole.set_upper(upper + rest);
        }
        whole
    }
}
