//! Load: how requests are sent, and what is written down about each.
//!
//! This module holds what every kind of load shares: the raw [`RequestRecord`], sending one request
//! with its timeout, and the way a cell is told to stop. In a closed loop a request is meant to start
//! when its client is free; in an open loop its schedule says when. Everything else, from the phases
//! of a cell to what is written down, is the same for both.

pub(crate) mod cell;
mod closed;
mod histogram;
mod open;
mod phases;
pub mod records;
mod schedule;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

pub(crate) use open::Pacing;
pub use phases::LoadProgress;
pub(crate) use schedule::Schedule;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::system::{BatchRef, Failure, FailureKind, Prompt, Reply, StageTimes, Target};

/// Which part of a cell a request belongs to, by its intended start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Before the measured phase; the same load goes on into it without a gap.
    WarmUp,
    /// Of the measured phase, but before the part of it that was found to be steady.
    Settling,
    /// Counts.
    Measured,
    /// Load that only keeps the target busy until the last measured request has its answer.
    CoolDown,
}

/// Everything known about one request. Times are microseconds since the start of the run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestRecord {
    /// Index of the cell in the order run.
    pub cell: usize,
    /// Which client sent it; 0 in an open loop, where nobody waits.
    pub client: usize,
    /// Number of the request within its cell, in order of intended start.
    pub ordinal: u64,
    /// The phase it was started in.
    pub phase: Phase,
    /// Tokens of the prompt.
    pub tokens: usize,
    /// When it was meant to be sent.
    pub intended_us: u64,
    /// When it was sent.
    pub sent_us: u64,
    /// When its answer was complete, or it had failed.
    pub ended_us: u64,
    /// How it failed; absent for a success.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<FailureKind>,
    /// What the failure said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Time in the target's stages, where it tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stages: Option<StageTimes>,
    /// The batch that carried it, where the target tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch: Option<BatchRef>,
}

impl RequestRecord {
    /// From the intended start to the last byte, in microseconds.
    pub fn latency_us(&self) -> u64 {
        self.ended_us - self.intended_us
    }

    /// How late the generator sent it, in microseconds.
    pub fn lag_us(&self) -> u64 {
        self.sent_us - self.intended_us
    }

    /// Whether it was answered.
    pub fn succeeded(&self) -> bool {
        self.failure.is_none()
    }
}

/// Tells a run to stop, from a signal handler say. Clones share one flag.
#[derive(Debug, Clone, Default)]
pub struct Cancel {
    inner: Arc<CancelInner>,
}

#[derive(Debug, Default)]
struct CancelInner {
    raised: AtomicBool,
    wake: Notify,
}

impl Cancel {
    /// A flag that is not raised.
    pub fn new() -> Cancel {
        Cancel::default()
    }

    /// Stops the run: the cell under way and those after it become "not run: interrupted".
    pub fn cancel(&self) {
        self.inner.raised.store(true, Ordering::SeqCst);
        self.inner.wake.notify_waiters();
    }

    /// Whether [`Cancel::cancel`] was called.
    pub fn is_cancelled(&self) -> bool {
        self.inner.raised.load(Ordering::SeqCst)
    }

    pub(crate) async fn cancelled(&self) {
        let wake = self.inner.wake.notified();
        tokio::pin!(wake);
        // Registered before the flag is read, so that a call in between is not missed.
        wake.as_mut().enable();
        if !self.is_cancelled() {
            wake.await;
        }
    }
}

/// The clock that all records of a run share.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    start: Instant,
    /// Where an earlier sitting of the run ended.
    offset_us: u64,
}

impl Clock {
    /// A clock that goes on from `offset_us`.
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

/// How one request ended, before it becomes a record.
pub(crate) struct Attempt {
    pub(crate) sent: Instant,
    pub(crate) ended: Instant,
    pub(crate) outcome: Result<Reply, Failure>,
}

/// Sends one prompt now. The timeout runs from the intended start, as the latency does.
pub(crate) async fn send(
    target: &dyn Target,
    prompt: &Prompt,
    intended: Instant,
    timeout: Duration,
) -> Attempt {
    let sent = Instant::now();
    let answer = tokio::time::timeout_at(intended + timeout, target.send(prompt)).await;
    let ended = Instant::now();
    let outcome = match answer {
        Ok(Ok(reply)) => check_tokens(reply, prompt),
        Ok(Err(failure)) => Err(failure),
        Err(_) => {
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
