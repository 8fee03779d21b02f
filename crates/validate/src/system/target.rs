//! The contract between the harness and a system under test: prompts, replies, failures, and what the
//! system reports of itself.

use crate::format::labelled;
use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::memory::MemorySample;

/// The future of [`Target::send`].
pub type ReplyFuture<'a> = Pin<Box<dyn Future<Output = Result<Reply, Failure>> + Send + 'a>>;

/// The future of [`Target::memory_now`].
pub type MemoryFuture<'a> = Pin<Box<dyn Future<Output = MemorySample> + Send + 'a>>;

/// Counts tokens as the target does. Implemented for the engine's tokenizer.
pub trait TokenCounter: Sync {
    /// Returns the byte spans of the tokens of `text` in order, without special tokens. Spans may overlap
    /// or be empty, but their starts and ends never decrease.
    fn offsets(&self, text: &str) -> Vec<(usize, usize)>;

    /// Returns the number of tokens of `text`, special tokens included.
    fn count(&self, text: &str) -> usize;
}

labelled! {
    /// How urgent a request is.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    pub enum Priority {
        /// Somebody waits for the answer.
        Interactive = "interactive",
        /// Runs where interactive requests leave room.
        Batch = "batch",
    }
}

/// The terms that a request states to the target.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Terms {
    /// How urgent it is; `None` states nothing.
    pub priority: Option<Priority>,
    /// When its answer is of no use any more; `None` states nothing.
    pub deadline: Option<Instant>,
}

/// A system under test.
///
/// [`Target::send`] must resolve when the whole answer has arrived (the last byte, the device's output
/// read back), so that the harness times finished work. The harness cancels a request by dropping its
/// future; the target should then free the request's slot.
pub trait Target: Send + Sync {
    /// Describes the target for the report. Called once, before the load.
    fn describe(&self) -> TargetInfo;

    /// Sends one prompt on these terms and waits for its answer. A target that knows no terms ignores them.
    fn send<'a>(&'a self, prompt: &'a Prompt, terms: Terms) -> ReplyFuture<'a>;

    /// Returns the memory in use now. Called about ten times per second under load, so it must be cheap
    /// and must not block: a target behind a network returns its latest reading.
    fn memory(&self) -> MemorySample;

    /// Takes a reading that begins with this call. It is used for idle memory, for which a reading that
    /// began under load is wrong. The default suits targets whose [`memory`](Target::memory) reads anew.
    fn memory_now(&self) -> MemoryFuture<'_> {
        let sample = self.memory();
        Box::pin(async move { sample })
    }

    /// Returns why the target's memory is not or not always known although a source of it was given, in one
    /// sentence. Asked after the load, for the report.
    fn memory_fault(&self) -> Option<String> {
        None
    }

    /// Returns true if the target runs in the harness's process, and so shares its processor time.
    fn shares_process(&self) -> bool {
        false
    }
}

/// A target's description of itself. Strings are untrusted; escape them before printing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetInfo {
    /// `in-process`, or the URL without credentials.
    pub name: String,
    /// Version of the target's software.
    pub version: String,
    /// The model, as the user named it.
    pub model: String,
    /// Data type of the arithmetic, such as `f32` or `bf16`.
    pub dtype: String,
    /// Name of the device, from its driver.
    pub device: String,
    /// Memory budget, in bytes.
    pub memory_budget_bytes: Option<u64>,
    /// Most tokens per batch.
    pub max_batch_tokens: Option<usize>,
    /// Most sequences per batch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_batch_sequences: Option<usize>,
    /// Threads that tokenize.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokenizer_threads: Option<usize>,
    /// Longest sequence in tokens, special tokens included; cells that exceed it are "not run".
    pub max_sequence_tokens: Option<usize>,
    /// The smallest memory budget with which it still takes a sequence of that length.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub longest_input_budget_bytes: Option<u64>,
    /// The sizes of the model that memory and speed depend on, such as `22 layers of 768, 8192 tokens`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub model_shape: String,
    /// Further facts for the report, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub details: BTreeMap<String, String>,
}

impl TargetInfo {
    /// The key of [`details`](TargetInfo::details) that says why memory is not known.
    pub const MEMORY_FAULT: &'static str = "memory_readings";
}

/// One text of a known token count. It is a window of shared prose, so cloning is cheap.
#[derive(Clone)]
pub struct Prompt {
    source: Arc<str>,
    range: Range<usize>,
    tokens: usize,
}

impl Prompt {
    /// Creates the window `range` (bytes) of `source`; `None` if its ends are outside `source` or inside
    /// a character. `tokens` includes special tokens.
    pub fn new(source: Arc<str>, range: Range<usize>, tokens: usize) -> Option<Prompt> {
        source.get(range.clone())?;
        Some(Prompt { source, range, tokens })
    }

    /// Returns the text to send.
    pub fn text(&self) -> &str {
        &self.source[self.range.clone()]
    }

    /// Returns the text's tokens, special tokens included.
    pub fn tokens(&self) -> usize {
        self.tokens
    }

    /// Returns the window's byte range in its source.
    pub fn range(&self) -> Range<usize> {
        self.range.clone()
    }
}

impl fmt::Debug for Prompt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Prompt({} tokens, bytes {:?})", self.tokens, self.range)
    }
}

/// The answer to one prompt, without its content.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Reply {
    /// Tokens that the target counted, special tokens included. A count that differs from the prompt's
    /// makes the request a [`FailureKind::WrongTokenCount`].
    pub tokens: Option<usize>,
    /// Time per stage inside the target, if reported.
    pub stages: Option<StageTimes>,
    /// The batch that carried the request, if reported.
    pub batch: Option<BatchRef>,
}

/// Time of one request in each stage of the target, in microseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StageTimes {
    /// Tokenization.
    pub tokenize_us: u64,
    /// Waiting for a batch.
    pub queue_us: u64,
    /// Copying the batch to the device, if reported separately.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copy_us: Option<u64>,
    /// Forward pass of the batch, reading back included.
    pub compute_us: u64,
    /// From acceptance to answer, by the target's clock.
    pub total_us: u64,
}

impl StageTimes {
    /// Returns the time of copying and computing together.
    pub fn device_us(&self) -> u64 {
        self.copy_us.unwrap_or(0) + self.compute_us
    }
}

/// The batch that carried a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchRef {
    /// Unique between the target's start and its end.
    pub id: u64,
    /// Sequences in the batch.
    pub sequences: usize,
    /// Tokens in the batch.
    pub tokens: usize,
}

/// The failure of one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The kind, by which reports count failures.
    pub kind: FailureKind,
    /// The cause in one line; kept in the raw record.
    pub message: String,
    /// The wait that the target requested before another attempt.
    pub retry_after: Option<Duration>,
}

impl Failure {
    /// Creates a failure without a requested wait.
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Failure {
        Failure { kind, message: message.into(), retry_after: None }
    }
}

labelled! {
    /// The kinds of failure that reports count separately.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    pub enum FailureKind {
        /// No answer within the plan's request timeout.
        Timeout = "timeout",
        /// No answer within the deadline of the request's class.
        DeadlineMissed = "deadline missed",
        /// The target is busy: queue full, 429, 503.
        Refused = "refused",
        /// The text is too long for the target.
        TooLong = "too long",
        /// The target ran out of memory on this request.
        OutOfMemory = "out of memory",
        /// The connection could not be made, or broke.
        Transport = "transport",
        /// Any other error status of the target.
        Server = "server error",
        /// The answer is not HTTP, not JSON, or of an unexpected shape.
        BadReply = "bad reply",
        /// The target's token count differs from the prompt's.
        WrongTokenCount = "wrong token count",
        /// The load generator could not send: no file descriptor or no local port was left. Not the target's failure.
        Generator = "load generator",
    }
}
