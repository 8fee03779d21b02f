//! Sending one request with its timeout, on the clock that all records of a run share.

use std::time::Duration;

use tokio::time::Instant;

use crate::system::{Failure, FailureKind, Priority, Prompt, Reply, Target, Terms};

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

/// When the requests of a cell are given up, and what they state to the target.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SendRules {
    /// The plan's timeout of every request.
    pub(crate) timeout: Duration,
    /// The deadline of the cell's requests, not above the timeout.
    pub(crate) deadline: Option<Duration>,
    pub(crate) priority: Option<Priority>,
}

impl SendRules {
    /// Creates rules without terms.
    pub(crate) fn timeout(timeout: Duration) -> SendRules {
        SendRules { timeout, deadline: None, priority: None }
    }

    /// Returns the time at which a request is given up. Like the latency, it runs from the intended start.
    pub(super) fn given_up_at(&self, intended: Instant) -> Instant {
        intended + self.deadline.unwrap_or(self.timeout)
    }

    /// Returns the failure of a request that was given up; `what` did not happen in time.
    pub(super) fn given_up(&self, what: &str) -> Failure {
        let (kind, within) = match self.deadline {
            Some(deadline) => (FailureKind::DeadlineMissed, deadline),
            None => (FailureKind::Timeout, self.timeout),
        };
        Failure::new(kind, format!("{what} within {} s", within.as_secs_f64()))
    }
}

/// The times and the outcome of one request, from which its record is made.
pub(crate) struct Attempt {
    pub(crate) sent: Instant,
    pub(crate) ended: Instant,
    pub(crate) outcome: Result<Reply, Failure>,
}

/// Sends one prompt now.
pub(crate) async fn send(
    target: &dyn Target,
    prompt: &Prompt,
    intended: Instant,
    rules: &SendRules,
) -> Attempt {
    let sent = Instant::now();
    let end = rules.given_up_at(intended);
    let terms = Terms { priority: rules.priority, deadline: rules.deadline.map(|_| end) };
    let answer = tokio::time::timeout_at(end, target.send(prompt, terms)).await;
    let ended = Instant::now();
    let outcome = match answer {
        // An answer that is ready when its overdue timer is first polled is late all the same.
        Ok(Ok(reply)) if ended <= end => check_tokens(reply, prompt),
        Ok(Err(failure)) => Err(failure),
        Ok(Ok(_)) | Err(_) => Err(rules.given_up("no answer")),
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
