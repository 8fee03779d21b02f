//! A request on its way through the engine: as submitted, admitted, tokenized, and answered.

use std::time::{Duration, Instant};

use super::slot::{Slot, SlotHolder};
use crate::batch::{Flow, Rows};
use crate::error::RequestError;
use crate::model::Model;
use crate::task::{Answer, Task};
use crate::text::chunk::Chunks;
use crate::text::input::{Input, InputLength, Tokens, Truncate};
use crate::text::pieces::PIECE_BYTES;

/// One input, and what to compute for it.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// The text or the token ids to read.
    pub input: Input,
    /// What to compute.
    pub task: Task,
    /// What happens to an input that is too long.
    pub truncate: Truncate,
    /// When the answer is of no use any more. The request is not admitted if it is predicted to take longer, and dropped
    /// when the time has passed; `None` for no limit.
    pub deadline: Option<Instant>,
    /// Whose it is, and how urgent. Requests of one flow run in order of arrival, several flows in equal shares.
    pub flow: Flow,
}

impl Request {
    /// Returns an interactive request without a deadline, of the flow that all such requests share.
    pub fn new(input: Input, task: Task, truncate: Truncate) -> Request {
        Request { input, task, truncate, deadline: None, flow: Flow::default() }
    }
}

/// How long each stage of a request took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Timings {
    /// From admission until the request is tokenized, the wait for a tokenizer thread included.
    pub tokenize: Duration,
    /// From there until its batch has its turn on the device.
    pub queue: Duration,
    /// Copying its batch to the device.
    pub copy: Duration,
    /// Running its batch and copying the rows back.
    pub compute: Duration,
    /// From admission to the answer.
    pub total: Duration,
}

impl Timings {
    /// Returns the longer duration of each stage.
    fn max(self, other: Timings) -> Timings {
        Timings {
            tokenize: self.tokenize.max(other.tokenize),
            queue: self.queue.max(other.queue),
            copy: self.copy.max(other.copy),
            compute: self.compute.max(other.compute),
            total: self.total.max(other.total),
        }
    }
}

/// The batch that a request ran in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BatchInfo {
    /// Counts from 0 at the engine's start.
    pub id: u64,
    /// Sequences in the batch.
    pub sequences: usize,
    /// Tokens in the batch.
    pub tokens: usize,
}

/// The answer to one request, with its times and its batch.
#[derive(Debug, Clone, PartialEq)]
pub struct Response {
    /// Tokens read, special ones included, after truncation.
    pub tokens: usize,
    /// Tokens of the whole input, special ones included.
    pub input_tokens: usize,
    /// What the task asked for.
    pub answer: Answer,
    /// Stage times.
    pub timings: Timings,
    /// The batch it ran in.
    pub batch: BatchInfo,
}

impl Response {
    /// Merges the responses to a text's windows into the response to the text: [`Chunks::merge`]'s answer, the
    /// longest time of each stage over all windows, and the batch of the last window. `task` is the one asked
    /// of the text, not of its windows; `model` is the engine's.
    ///
    /// # Panics
    /// Unless there is one response per window, to a request of [`Chunks::inputs`] with [`Chunks::task`].
    pub fn merge(model: &Model, chunks: &Chunks, task: &Task, windows: Vec<Response>) -> Response {
        let timings = windows.iter().map(|window| window.timings);
        let timings = timings.fold(Timings::default(), Timings::max);
        let batch = windows.last().map(|window| window.batch).unwrap_or_default();
        let answers = windows.into_iter().map(|window| window.answer).collect();
        let answer = chunks.merge(model, task, answers);
        let tokens = chunks.tokens();
        Response { tokens, input_tokens: tokens, answer, timings, batch }
    }

    /// Returns whether the input was truncated.
    pub fn is_truncated(&self) -> bool {
        self.tokens < self.input_tokens
    }
}

pub(super) type Reply = oneshot::Sender<Result<Response, RequestError>>;

/// A request that waits to be tokenized.
pub(super) struct AdmittedRequest {
    pub(super) slot: Slot,
    pub(super) request: Request,
    pub(super) reply: Reply,
    pub(super) admitted: Instant,
}

/// A request that waits for a batch.
pub(super) struct TokenizedRequest {
    pub(super) slot: Slot,
    pub(super) task: Task,
    /// Kept where the answer quotes it; empty for ids.
    pub(super) text: String,
    pub(super) tokens: Tokens,
    pub(super) rows: Rows,
    pub(super) reply: Reply,
    pub(super) admitted: Instant,
    pub(super) tokenized: Instant,
}

impl SlotHolder for AdmittedRequest {
    fn slot(&self) -> &Slot {
        &self.slot
    }

    fn slot_mut(&mut self) -> &mut Slot {
        &mut self.slot
    }

    fn cost(&self) -> usize {
        match self.request.input.length() {
            InputLength::Bytes(size) | InputLength::Tokens(size) => size,
        }
    }

    fn expire(self) {
        drop(self.slot);
        let _ = self.reply.send(Err(RequestError::DeadlinePassed));
    }

    fn is_long(&self) -> bool {
        matches!(self.request.input.length(), InputLength::Bytes(bytes) if bytes > PIECE_BYTES)
    }
}

impl SlotHolder for TokenizedRequest {
    fn slot(&self) -> &Slot {
        &self.slot
    }

    fn slot_mut(&mut self) -> &mut Slot {
        &mut self.slot
    }

    fn cost(&self) -> usize {
        self.tokens.ids.len()
    }

    fn masks(&self) -> usize {
        self.rows.masks()
    }

    fn expire(self) {
        drop(self.slot);
        let _ = self.reply.send(Err(RequestError::DeadlinePassed));
    }
}
