//! The header `Server-Timing`: how long each phase of a request took, in milliseconds.

use std::time::{Duration, Instant};

use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;

const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");

/// When a request was received, in its extensions: deadlines count from then.
#[derive(Debug, Clone, Copy)]
pub(super) struct ReceivedAt(pub(super) Instant);

/// The phases of a request that was answered. What they leave of the total is the wait for memory and threads.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Phases {
    /// Until the body was read and decoded.
    pub(super) parse: Duration,
    /// Until all inputs were checked and tokenized.
    pub(super) tokenize: Duration,
    /// From there to the last row, without `forward`.
    pub(super) queue: Duration,
    /// The longest forward pass, copies included.
    pub(super) forward: Duration,
    /// From rows to results.
    pub(super) post: Duration,
    /// From results to JSON.
    pub(super) serialize: Duration,
}

impl Phases {
    /// Fits the longest phases of requests that ran side by side into the time that all of them took. What they leave is
    /// the wait.
    pub(super) fn fitted_into(self, elapsed: Duration) -> Phases {
        let tokenize = self.tokenize.min(elapsed);
        let forward = self.forward.min(elapsed - tokenize);
        Phases { tokenize, forward, queue: elapsed - tokenize - forward, ..self }
    }
}

/// Notes when a request is received, and adds the header to its answer, also to a refusal.
pub(super) async fn add_timing(mut request: Request, next: Next) -> Response {
    let received = Instant::now();
    request.extensions_mut().insert(ReceivedAt(received));
    let mut response = next.run(request).await;
    let total = received.elapsed();
    // A refusal has no phases: where its time went is not known.
    let phases = response.extensions_mut().remove::<Phases>().unwrap_or_default();
    if let Ok(value) = HeaderValue::from_str(&header(&phases, total)) {
        response.headers_mut().insert(SERVER_TIMING, value);
    }
    response
}

fn header(phases: &Phases, total: Duration) -> String {
    let Phases { parse, tokenize, queue, forward, post, serialize } = *phases;
    let named = [
        ("parse", parse),
        ("tokenize", tokenize),
        ("queue", queue),
        ("forward", forward),
        ("post", post),
        ("serialize", serialize),
        ("total", total),
    ];
    let entry =
        |(name, time): (&str, Duration)| format!("{name};dur={:.3}", time.as_secs_f64() * 1e3);
    named.map(entry).join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_that_overlap_fill_no_more_than_their_time() {
        let ms = Duration::from_millis;
        let phases = Phases { tokenize: ms(3), forward: ms(9), ..Phases::default() };
        for (elapsed, expected) in
            [(20, [3, 8, 9]), (12, [3, 0, 9]), (10, [3, 0, 7]), (2, [2, 0, 0])]
        {
            let Phases { tokenize, queue, forward, .. } = phases.fitted_into(ms(elapsed));
            assert_eq!([tokenize, queue, forward], expected.map(ms), "{elapsed}");
        }
    }

    #[test]
    fn phases_are_milliseconds() {
        let forward = Duration::from_micros(1500);
        let header = header(&Phases { forward, ..Phases::default() }, Duration::from_secs(2));
        assert!(header.starts_with("parse;dur=0.000, tokenize;dur=0.000, queue;dur=0.000, "));
        assert!(header.ends_with(
            "forward;dur=1.500, post;dur=0.000, serialize;dur=0.000, total;dur=2000.000"
        ));
    }
}
