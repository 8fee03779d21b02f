//! The errors of this crate, each of which prints as one line: what failed, where, and what to do.

use std::path::PathBuf;
use std::time::Duration;

/// The error for a model that cannot be loaded or an engine that cannot be started. The caller can fix each.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A file could not be read.
    #[error("cannot read {path}: {source}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The operating system's error.
        source: std::io::Error,
    },
    /// A file could not be written.
    #[error("cannot write {path}: {source}", path = path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The operating system's error.
        source: std::io::Error,
    },
    /// SOURCE is of a known form, but what it names cannot be loaded.
    #[error("no model at '{given}': {reason}")]
    Source {
        /// SOURCE as the user gave it.
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
    /// `config.json` or a file beside it asks for something that this engine does not compute.
    #[error("{file}: {reason}")]
    Config {
        /// The file's name.
        file: String,
        /// The key, its value, and what is accepted.
        reason: String,
    },
    /// The weights are damaged, incomplete, or of the wrong shape.
    #[error("weights of {model}: {reason}")]
    Weights {
        /// The checkpoint's name.
        model: String,
        /// The tensor and what is wrong with it.
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
    /// The value of an option is out of range or impossible here.
    #[error("{option}: {reason}")]
    Option {
        /// The option, as the command line spells it.
        option: &'static str,
        /// The value and what is possible.
        reason: String,
    },
    /// The memory budget does not hold the model and the smallest batch that is accepted.
    #[error(
        "--memory-budget {budget} is too small for {model}: at least {needed} are needed ({detail})",
        budget = crate::units::bytes(*budget_bytes), needed = crate::units::bytes_at_least(*needed_bytes)
    )]
    Budget {
        /// The checkpoint's name.
        model: String,
        /// The budget, in bytes.
        budget_bytes: u64,
        /// The smallest budget that is expected to work, in bytes.
        needed_bytes: u64,
        /// What the bytes are for.
        detail: String,
    },
    /// The operating system gives less memory than start-up needs.
    #[error(
        "the system has no {asked} for {purpose}: lower --memory-budget, or raise the limit on this process (ulimit -v) \
         or the machine's memory",
        asked = crate::units::bytes(*asked_bytes)
    )]
    HostMemory {
        /// What the memory was for.
        purpose: &'static str,
        /// Bytes asked for.
        asked_bytes: u64,
    },
    /// The device failed while the model was put on it.
    #[error(transparent)]
    Device(#[from] DeviceError),
}

/// The error of a device, at start-up or while it runs a batch.
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
        /// The driver's error.
        reason: String,
    },
    /// The device has less memory left than was asked for.
    #[error(
        "{device}: no room for {asked} ({purpose}): {free} are free; lower --memory-budget or free the device",
        asked = crate::units::bytes(*asked_bytes), free = crate::units::bytes(*free_bytes)
    )]
    OutOfMemory {
        /// `cuda:0`.
        device: String,
        /// What the memory was for.
        purpose: &'static str,
        /// Bytes asked for.
        asked_bytes: u64,
        /// Bytes that are free on the device.
        free_bytes: u64,
    },
    /// The batch was given up between two launches, because nobody waits for its rows any more.
    #[error("{device}: the batch was given up after {launched} of {launches} launches")]
    GivenUp {
        /// `cpu, 2 threads`.
        device: String,
        /// Launches that were done.
        launched: usize,
        /// Launches of the whole batch.
        launches: usize,
    },
    /// A fault that the process cannot recover from: every later call on the device returns the same error, in
    /// any context. The process has to exit (exit code 3) and be started again.
    #[error(
        "{device}: {call} failed: {reason}; the device's context is lost, this process must restart"
    )]
    Poisoned {
        /// `cuda:0`.
        device: String,
        /// The operation that reported the fault, not always the one that caused it.
        call: &'static str,
        /// The driver's error.
        reason: String,
    },
}

impl DeviceError {
    /// Whether every later call in this process will fail too.
    pub fn is_fatal(&self) -> bool {
        matches!(self, DeviceError::Poisoned { .. })
    }
}

/// The error of one request. The engine and the other requests are not affected, unless the device is lost.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// The text is empty.
    #[error("the text is empty")]
    Empty,
    /// The text has more tokens than the model or the engine accepts.
    #[error(
        "the text has {}{tokens} tokens, the limit is {limit}; ask for truncation to cut it",
        if *at_least { "at least " } else { "" }
    )]
    TooLong {
        /// Tokens of the text, special ones included.
        tokens: usize,
        /// Whether the rest of a long text was not counted, because it is too long already.
        at_least: bool,
        /// Upper limit on tokens.
        limit: usize,
    },
    /// Every slot of the queue is taken; the request was not admitted.
    #[error("the queue is full ({limit} requests are waiting); try again later")]
    Overloaded {
        /// Slots of the queue.
        limit: usize,
        /// Predicted time until the requests in the queue are answered; `None` while the engine's speed is not
        /// known.
        wait: Option<Duration>,
    },
    /// The request could not be answered in time; it was not admitted.
    #[error(
        "the answer is predicted to take {:.1} s, try again later; the limit is {:.1} s",
        wait.as_secs_f64(),
        limit.as_secs_f64()
    )]
    WaitTooLong {
        /// Predicted time until the request and those before it are answered.
        wait: Duration,
        /// Upper limit on it.
        limit: Duration,
    },
    /// The inputs after a request's first, and those of other requests, could not be answered in time; the request was
    /// not admitted. A smaller one may be.
    #[error(
        "the inputs after the first are predicted to take {:.1} s with those of other requests; \
         send fewer inputs per request; the limit is {:.1} s",
        wait.as_secs_f64(),
        limit.as_secs_f64()
    )]
    TooMuchWork {
        /// Predicted time until all such inputs are answered.
        wait: Duration,
        /// Upper limit on it.
        limit: Duration,
    },
    /// The deadline of the request passed before it was answered.
    #[error("the deadline of the request has passed; give it more time, or try again later")]
    DeadlinePassed,
    /// The model has no head for this task.
    #[error("this model does {has}, not {asked}")]
    WrongTask {
        /// What the task needs.
        asked: &'static str,
        /// What the model's head computes.
        has: &'static str,
    },
    /// A value of the request does not fit the model; the message names it and its range.
    #[error("{0}")]
    Invalid(String),
    /// The device failed while it ran this request's batch; later batches may succeed.
    #[error("{0}")]
    Device(String),
    /// The device is lost; every request fails until the process is started again.
    #[error("{0}")]
    DeviceLost(String),
    /// The model's numbers overflowed: its weights hold infinities, NaN or values beyond its type.
    #[error("the model's output is not finite")]
    NotFinite,
    /// The engine is shutting down, or its device thread has ended.
    #[error("the engine is stopped")]
    Stopped,
}
