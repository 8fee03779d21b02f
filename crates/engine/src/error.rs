//! Everything that can go wrong, typed, with one line for a person: what, where, what to do.

use std::path::PathBuf;
use std::time::Duration;

/// Why a model could not be loaded or an engine not be started. All of these are the caller's to mend.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A file could not be read.
    #[error("cannot read {path}: {source}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A file could not be written.
    #[error("cannot write {path}: {source}", path = path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// SOURCE names nothing that can be loaded.
    #[error("no model at '{given}': {reason}")]
    Source {
        /// What was asked for.
        given: String,
        /// What was tried and what to do.
        reason: String,
    },
    /// SOURCE has the form of no source that the engine knows.
    #[error(
        "no model at '{given}': there is no such directory, and it is not a Hub id (OWNER/NAME)"
    )]
    UnknownSource {
        /// What was asked for.
        given: String,
    },
    /// `config.json` or a file beside it says something this engine does not do.
    #[error("{file}: {reason}")]
    Config {
        /// The file's name.
        file: String,
        /// Which key, what it says, what is accepted.
        reason: String,
    },
    /// The weights are damaged, incomplete, or of the wrong shape.
    #[error("weights of {model}: {reason}")]
    Weights {
        /// The checkpoint's name.
        model: String,
        /// Which tensor and what is wrong with it.
        reason: String,
    },
    /// The tokenizer is missing or does not fit the model.
    #[error("tokenizer of {model}: {reason}")]
    Tokenizer {
        /// The checkpoint's name.
        model: String,
        /// What is wrong with it.
        reason: String,
    },
    /// An option's value cannot be honoured.
    #[error("{option}: {reason}")]
    Option {
        /// The option, as the command line spells it.
        option: &'static str,
        /// What was asked and what is possible.
        reason: String,
    },
    /// The memory budget does not hold the model and one token per row.
    #[error(
        "--memory-budget {budget} is too small for {model}: at least {needed} are needed ({detail})",
        budget = crate::units::bytes(*budget_bytes), needed = crate::units::bytes_at_least(*needed_bytes)
    )]
    Budget {
        /// The checkpoint's name.
        model: String,
        /// The budget given.
        budget_bytes: u64,
        /// The smallest budget that works.
        needed_bytes: u64,
        /// What takes the space.
        detail: String,
    },
    /// The device refused.
    #[error(transparent)]
    Device(#[from] DeviceError),
}

/// What a device said while it worked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum DeviceError {
    /// The device cannot be used at all.
    #[error("device {device} is not available: {reason}")]
    Unavailable {
        /// `cpu`, `cuda:0`.
        device: String,
        /// Why, and what to do.
        reason: String,
    },
    /// A launch or a copy failed.
    #[error("{device}: {call} failed: {reason}")]
    Call {
        /// `cpu`, `cuda:0`.
        device: String,
        /// The operation.
        call: &'static str,
        /// What the driver said.
        reason: String,
    },
    /// The device has not this much memory left.
    #[error(
        "{device}: no room for {asked} ({purpose}): {free} are free; lower --memory-budget or free the device",
        asked = crate::units::bytes(*asked_bytes), free = crate::units::bytes(*free_bytes)
    )]
    OutOfMemory {
        /// `cuda:0`.
        device: String,
        /// What it was for.
        purpose: &'static str,
        /// Bytes asked for.
        asked_bytes: u64,
        /// Bytes that the device has left.
        free_bytes: u64,
    },
    /// A fault that the process cannot recover from: every later call on the device answers the same,
    /// whatever context it makes. The process has to end (exit code 3) and be started again.
    #[error(
        "{device}: {call} failed: {reason}; the device's context is lost, this process must restart"
    )]
    Poisoned {
        /// `cuda:0`.
        device: String,
        /// The operation that reported it, not always the one that caused it.
        call: &'static str,
        /// What the driver said.
        reason: String,
    },
}

impl DeviceError {
    /// Whether no later call in this process can succeed.
    pub fn is_fatal(&self) -> bool {
        matches!(self, DeviceError::Poisoned { .. })
    }
}

/// Why one request got no answer. The engine and the other requests go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// The text is empty.
    #[error("the text is empty")]
    Empty,
    /// More tokens than the model or the engine takes.
    #[error("the text has {tokens} tokens, the limit is {limit}; ask for truncation to cut it")]
    TooLong {
        /// Tokens of the text, special ones included.
        tokens: usize,
        /// The most that is accepted.
        limit: usize,
    },
    /// The queue is full; nothing was kept.
    #[error("the queue is full ({limit} requests are waiting); try again later")]
    Overloaded {
        /// The queue's bound.
        limit: usize,
        /// How long the full queue will take, by the latest batches; `None` before any batch has run.
        wait: Option<Duration>,
    },
    /// The model has no head for this task.
    #[error("this model does {has}, not {asked}")]
    WrongTask {
        /// What was asked.
        asked: &'static str,
        /// What the model does.
        has: &'static str,
    },
    /// The request's own values do not fit the model.
    #[error("{0}")]
    Invalid(String),
    /// The device failed while it ran this request's batch.
    #[error("{0}")]
    Device(String),
    /// The device is lost until the process is started again.
    #[error("{0}")]
    DeviceLost(String),
    /// The model's numbers overflowed: its weights hold infinities, NaN or values beyond its type.
    #[error("the model's output is not finite")]
    NotFinite,
    /// The engine is shutting down or its thread is gone.
    #[error("the engine is stopped")]
    Stopped,
}
