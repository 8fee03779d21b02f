//! The contract between the harness and a system under test: what is sent, what comes back, how it fails.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::memory::MemorySample;

/// The future a target answers with.
pub type ReplyFuture<'a> = Pin<Box<dyn Future<Output = Result<Reply, Failure>> + Send + 'a>>;

/// The future of a reading of memory.
pub type MemoryFuture<'a> = Pin<Box<dyn Future<Output = MemorySample> + Send + 'a>>;

/// Counts tokens as the target does. Implemented for the engine's tokenizer; the harness needs no
/// more of it than this.
pub trait TokenCounter: Sync {
    /// Byte spans of the tokens of `text` in order, without special tokens. Spans may overlap or be
    /// empty, but their starts and ends never decrease.
    fn offsets(&self, text: &str) -> Vec<(usize, usize)>;

    /// Number of tokens of `text`, special tokens included.
    fn count(&self, text: &str) -> usize;
}

/// A system under test.
///
/// `send` must resolve once the whole answer has arrived (the last byte, the device's output read
/// back), so that the harness's clock measures finished work. Dropping the future is how the
/// harness hangs up: the target should then free the request's place.
pub trait Target: Send + Sync {
    /// What this is, as the report will print it. Called once, before the load.
    fn describe(&self) -> TargetInfo;

    /// Sends one prompt and waits for its answer.
    fn send<'a>(&'a self, prompt: &'a Prompt) -> ReplyFuture<'a>;

    /// Memory right now. Called about ten times a second during the load, so it must be cheap and
    /// must not block: a target that has to ask over a network answers with its latest reading.
    fn memory(&self) -> MemorySample;

    /// A reading that begins with this call: what an idle target holds must not be told by a reading that
    /// began under load. A target whose [`memory`](Target::memory) is that already has nothing to add.
    fn memory_now(&self) -> MemoryFuture<'_> {
        let sample = self.memory();
        Box::pin(async move { sample })
    }

    /// Whether it runs in the harness's own process, and so shares its processor time.
    fn shares_process(&self) -> bool {
        false
    }
}

/// What a target says of itself. Every string is untrusted and escaped where it is printed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetInfo {
    /// `in-process`, or the URL without credentials.
    pub name: String,
    /// Version of the software that answers.
    pub version: String,
    /// The model, as its user named it.
    pub model: String,
    /// Arithmetic, `f32` or `bf16` say.
    pub dtype: String,
    /// The device, in the words its driver uses.
    pub device: String,
    /// The memory budget it was started with, in bytes.
    pub memory_budget_bytes: Option<u64>,
    /// Most tokens it packs into one batch.
    pub max_batch_tokens: Option<usize>,
    /// Longest sequence it takes, special tokens included; longer cells are "not run".
    pub max_sequence_tokens: Option<usize>,
    /// Anything else worth printing, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub details: BTreeMap<String, String>,
}

/// One text to send, of a known token count. It is a window into shared prose, so cloning is cheap.
#[derive(Clone)]
pub struct Prompt {
    source: Arc<str>,
    range: Range<usize>,
    tokens: usize,
}

impl Prompt {
    /// The window `range` (bytes) of `source`, which must lie on character boundaries inside it,
    /// or `None` is returned. `tokens` counts special tokens.
    pub fn new(source: Arc<str>, range: Range<usize>, tokens: usize) -> Option<Prompt> {
        source.get(range.clone())?;
        Some(Prompt { source, range, tokens })
    }

    /// The text to send.
    pub fn text(&self) -> &str {
        &self.source[self.range.clone()]
    }

    /// The tokens it has, special tokens included.
    pub fn tokens(&self) -> usize {
        self.tokens
    }

    /// Where the window lies in its source, in bytes.
    pub fn range(&self) -> Range<usize> {
        self.range.clone()
    }
}

impl fmt::Debug for Prompt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Prompt({} tokens, bytes {:?})", self.tokens, self.range)
    }
}

/// A complete answer.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Reply {
    /// Tokens the target counted, special ones included; where told it is checked against the
    /// prompt, and a difference is a [`FailureKind::WrongTokenCount`].
    pub tokens: Option<usize>,
    /// Where the time went inside the target, where it tells.
    pub stages: Option<StageTimes>,
    /// The batch that carried the request, where the target tells.
    pub batch: Option<BatchRef>,
}

/// Time a request spent in each stage of the target, in microseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StageTimes {
    /// Text to token ids.
    pub tokenize_us: u64,
    /// Waiting for a batch.
    pub queue_us: u64,
    /// Handing its batch to the device, where that is told apart from the rest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copy_us: Option<u64>,
    /// In the forward pass of its batch, the reading back included.
    pub compute_us: u64,
    /// From acceptance to answer, as the target saw it.
    pub total_us: u64,
}

impl StageTimes {
    /// On the device, or being handed to it.
    pub fn device_us(&self) -> u64 {
        self.copy_us.unwrap_or(0) + self.compute_us
    }
}

/// The batch a request travelled in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchRef {
    /// Unique within the target's life.
    pub id: u64,
    /// Sequences in the batch.
    pub sequences: usize,
    /// Tokens in the batch.
    pub tokens: usize,
}

/// A request that got no usable answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Which kind, for counting.
    pub kind: FailureKind,
    /// One line for a person; kept in the raw record.
    pub message: String,
    /// When the target asked to be tried again, where it said so.
    pub retry_after: Option<Duration>,
}

impl Failure {
    /// A failure of `kind` with its message.
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Failure {
        Failure { kind, message: message.into(), retry_after: None }
    }
}

/// The kinds of failure that the report counts apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// No answer within the plan's request timeout.
    Timeout,
    /// Refused because the target is busy (queue full, 429, 503).
    Refused,
    /// The target finds the text too long.
    TooLong,
    /// The target ran out of memory on this request.
    OutOfMemory,
    /// The connection failed.
    Transport,
    /// Any other error that the target reported.
    Server,
    /// An answer came that cannot be read.
    BadReply,
    /// The target counted other tokens than the prompt has.
    WrongTokenCount,
}

impl FailureKind {
    /// The kind in words, for tables.
    pub fn label(self) -> &'static str {
        match self {
            FailureKind::Timeout => "timeout",
            FailureKind::Refused => "refused",
            FailureKind::TooLong => "too long",
            FailureKind::OutOfMemory => "out of memory",
            FailureKind::Transport => "transport",
            FailureKind::Server => "server error",
            FailureKind::BadReply => "bad reply",
            FailureKind::WrongTokenCount => "wrong token count",
        }
    }
}
