//! Sending one request with its timeout, on the clock that all records of a run share.

use std::time::Duration;

use tokio::time::Instant;

use crate::system::{Failure, FailureKind, Prompt, Reply, Target};

/// The clock that all records of a run share.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    start: Instant,
    /// End of the run's earlier sittings.
    offset_us: u64,
}

impl Clock {
    /// Starts a clock at `offset_us`.
    pub(crate) fn start(offset_us: u64) -> Clock {
        Clock { start: Instant::now(), offset_us }
    }

    pub(crate) fn at(&self, instant: Instant) -> u64 {
        self.offset_us + instant.saturating_duration_since(self.start).as_micros() as u64
    }

    pub(crate) fn now_us(&self) -> u64 {
        self.at(Instant::now())
    }
}

/// The times and the outcome of one request, from which its record is made.
pub(crate) struct Attempt {
    pub(crate) sent: Instant,
    pub(crate) ended: Instant,
    pub(crate) outcome: Result<Reply, Failure>,
}

/// Sends one prompt now. The timeout, like the latency, starts at the intended start.
pub(crate) async fn send(
    target: &dyn Target,
    prompt: &Prompt,
    intended: Instant,
    timeout: Duration,
) -> Attempt {
    let sent = Instant::now();
    let deadline = intended + timeout;
    let answer = tokio::time::timeout_at(deadline, target.send(prompt)).await;
    let ended = Instant::now();
    let outcome = match answer {
        // An answer that is ready when its overdue timer is first polled is late all the same.
        Ok(Ok(reply)) if ended <= deadline => check_tokens(reply, prompt),
        Ok(Err(failure)) => Err(failure),
        Ok(Ok(_)) | Err(_) => {
            let message = format!("no answer within {} s", timeout.as_secs_f64());
            Err(Failure::new(FailureKind::Timeout, message))
        }
    };
    Attempt { sent, ended, outcome }
}

fn check_tokens(reply: Reply, prompt: &Prompt) -> Result<Reply, Failure> {
    match reply.tokens {
        Some(counted) if counted != prompt.tokens() => Err(Failure::new(
            FailureKind::WrongTokenCount,
            format!("the target counted {counted} tokens, the prompt has {}", prompt.tokens()),
        )),
        _ => Ok(reply),
    }
}
