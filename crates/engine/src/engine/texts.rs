//! Any number of texts: a bounded number in flight, answers in the order of the texts.
//!
//! [`Engine::answer_all`] runs the same task on all texts of an iterator, which it reads until the queue is full and
//! then no faster than they are answered; [`Engine::classify_all`] and its siblings are short forms of it with default
//! options. A text that is read in windows becomes several requests, whose answers are merged. [`Engine::submit`] takes
//! a single request.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;

use super::{Engine, Pending, Permit, Request, Response};
use crate::error::RequestError;
use crate::model::{Model, prompted};
use crate::task::{Answer, Task, TokenScore};
use crate::text::chunk::{Chunks, Overlong};
use crate::text::entities::{Entity, LabelScore};
use crate::text::input::{Input, Truncate};

/// Bytes of the texts in flight, and of what their keys hold, beyond which no further text is read. Batches need far
/// less.
const MAX_TEXT_BYTES: usize = 4 << 20;

/// A task on each of many texts, and how the texts are read.
#[derive(Debug, Clone, PartialEq)]
pub struct TextTask {
    /// What to compute for each text.
    pub task: Task,
    /// What happens to a text that is too long.
    pub overlong: Overlong,
    /// What is read before each text: the query of a reranker, or the context of a text to tag.
    pub context: Option<Arc<str>>,
}

impl From<Task> for TextTask {
    /// Reads each text by itself and rejects those that are too long.
    fn from(task: Task) -> TextTask {
        TextTask { task, overlong: Overlong::Truncate(Truncate::No), context: None }
    }
}

impl TextTask {
    /// Rejects what no text could be answered with, so that the error is not repeated per text.
    fn check(&self, engine: &Engine) -> Result<(), RequestError> {
        let model = engine.model();
        self.task.check(model)?;
        let prompt = self.prompt(model)?;
        let invalid = |reason: &str| Err(RequestError::Invalid(reason.into()));
        if self.context.as_deref() == Some("") {
            return invalid("the query or context before each text is empty");
        }
        if self.context.is_none() && model.is_grounded() {
            return invalid("the model judges a text by its context, which is missing (--pair)");
        }
        let Overlong::Chunk(chunking) = self.overlong else { return Ok(()) };
        if self.context.is_some() {
            return invalid("windows are for single texts; read pairs whole or truncated");
        }
        if prompt.is_some() && !model.embedding.include_prompt {
            return invalid(
                "the model leaves its prompt out of pooling (include_prompt is false), which is not computed in \
                 windows; read the texts whole or truncated",
            );
        }
        Chunks::task(model, &self.task)?;
        chunking.room(&model.tokenizer, engine.max_tokens()).map(drop)
    }

    /// Returns the model's default prompt if the task reads it. The offsets of the other tasks' answers are those of
    /// the text, which is read as it is.
    fn prompt<'a>(&self, model: &'a Model) -> Result<Option<&'a str>, RequestError> {
        match self.task {
            Task::Classify { .. } | Task::Embed { .. } => model.prompts.get(None),
            _ => Ok(None),
        }
    }

    /// Returns the input for a text that is read whole.
    fn input(&self, prompt: Option<&str>, text: String) -> Input {
        match (&self.context, &self.task) {
            (Some(query), Task::Classify { .. }) => {
                Input::Pair(prompted(prompt, query.to_string()).into(), text)
            }
            (Some(context), _) => Input::InContext { context: context.clone(), text },
            (None, Task::Embed { .. }) => Input::prompted(prompt, text),
            (None, Task::Classify { .. }) => Input::Text(prompted(prompt, text)),
            (None, _) => Input::Text(text),
        }
    }
}

/// The answer to one of many texts.
#[derive(Debug, Clone, PartialEq)]
pub struct TextAnswer {
    /// What the task asked for.
    pub answer: Answer,
    /// Tokens read, special ones included, after truncation.
    pub tokens: usize,
    /// Whether the text was truncated.
    pub truncated: bool,
    /// Number of windows, if the texts are read in windows.
    pub chunks: Option<usize>,
}

/// A text that was submitted.
enum Submitted {
    Whole(Pending),
    Windows(Box<Windows>),
}

/// A text in windows: the responses to the first ones, and those to wait for.
struct Windows {
    chunks: Chunks,
    done: Vec<Response>,
    pending: VecDeque<Pending>,
}

impl Submitted {
    fn requests(&self) -> usize {
        match self {
            Submitted::Whole(_) => 1,
            Submitted::Windows(windows) => windows.pending.len(),
        }
    }

    /// Blocks until the text is answered.
    fn wait(self, engine: &Engine, task: &Task) -> Result<TextAnswer, RequestError> {
        let (response, chunks) = match self {
            Submitted::Whole(pending) => (pending.wait()?, None),
            Submitted::Windows(windows) => {
                let Windows { chunks, mut done, pending } = *windows;
                for pending in pending {
                    done.push(pending.wait()?);
                }
                let count = chunks.count();
                (Response::merge(engine.model(), &chunks, task, done), Some(count))
            }
        };
        let truncated = response.is_truncated();
        let Response { answer, tokens, .. } = response;
        Ok(TextAnswer { answer, tokens, truncated, chunks })
    }
}

/// A place in the order of the answers.
enum Entry<K, E> {
    Text { key: K, bytes: usize, submitted: Result<Submitted, RequestError> },
    ReadError { error: E, bytes: usize },
}

impl<K, E> Entry<K, E> {
    /// Requests in flight; at least 1, so that texts that were rejected are bounded too.
    fn requests(&self) -> usize {
        match self {
            Entry::Text { submitted: Ok(submitted), .. } => submitted.requests().max(1),
            _ => 1,
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Entry::Text { bytes, .. } | Entry::ReadError { bytes, .. } => *bytes,
        }
    }
}

/// The answers of [`Engine::answer_all`], in the order of the texts. Dropping it cancels what is in flight.
pub struct TextAnswers<'a, K, E, I> {
    engine: &'a Engine,
    task: TextTask,
    texts: I,
    exhausted: bool,
    entries: VecDeque<Entry<K, E>>,
    /// Sums over `entries`.
    requests: usize,
    bytes: usize,
    /// Upper limit on `requests`, and on the windows in flight of the text that is being submitted.
    requests_max: usize,
    permit: Permit,
    /// Bytes that a key or an error holds.
    held_bytes: fn(Result<&K, &E>) -> usize,
}

impl<K, E, I> TextAnswers<'_, K, E, I> {
    /// Counts what keys and errors hold, in bytes, against the 4 MiB of the texts in flight.
    pub fn with_held_bytes(mut self, held_bytes: fn(Result<&K, &E>) -> usize) -> Self {
        self.held_bytes = held_bytes;
        self
    }
}

impl<K, E, I: Iterator<Item = Result<(K, String), E>>> TextAnswers<'_, K, E, I> {
    /// Submits texts until enough are in flight.
    fn fill(&mut self) {
        while !self.exhausted && self.requests < self.requests_max && self.bytes < MAX_TEXT_BYTES {
            let entry = match self.texts.next() {
                None => {
                    self.exhausted = true;
                    return;
                }
                Some(Err(error)) => {
                    Entry::ReadError { bytes: (self.held_bytes)(Err(&error)), error }
                }
                Some(Ok((key, text))) => {
                    let bytes = text.len() + (self.held_bytes)(Ok(&key));
                    Entry::Text { key, bytes, submitted: self.submit(text) }
                }
            };
            self.requests += entry.requests();
            self.bytes += entry.bytes();
            self.entries.push_back(entry);
        }
    }

    /// Submits a text. Blocks on its own first windows if it has more of them than may be in flight.
    fn submit(&self, text: String) -> Result<Submitted, RequestError> {
        let model = self.engine.model();
        let prompt = self.task.prompt(model)?;
        let submit = |input, task: &Task, truncate| {
            let request = Request::new(input, task.clone(), truncate);
            self.engine.submit_permitted(request, self.permit.clone())
        };
        let chunking = match self.task.overlong {
            Overlong::Truncate(truncate) => {
                let input = self.task.input(prompt, text);
                return Ok(Submitted::Whole(submit(input, &self.task.task, truncate)?));
            }
            Overlong::Chunk(chunking) => chunking,
        };
        let (text, limit) = (prompted(prompt, text), self.engine.max_tokens());
        let chunks = Chunks::split(&model.tokenizer, text, chunking, limit)?;
        let task = Chunks::task(model, &self.task.task)?;
        let (mut done, mut pending) = (Vec::new(), VecDeque::<Pending>::new());
        for input in chunks.inputs() {
            if pending.len() == self.requests_max
                && let Some(first) = pending.pop_front()
            {
                done.push(first.wait()?);
            }
            pending.push_back(submit(input, &task, Truncate::No)?);
        }
        Ok(Submitted::Windows(Box::new(Windows { chunks, done, pending })))
    }
}

impl<K, E, I> Iterator for TextAnswers<'_, K, E, I>
where
    I: Iterator<Item = Result<(K, String), E>>,
{
    type Item = Result<(K, Result<TextAnswer, RequestError>), E>;

    /// Submits further texts until enough are in flight or the iterator ends, then blocks until the oldest is
    /// answered. An iterator that waits for its texts delays the answers to those that it gave before.
    fn next(&mut self) -> Option<Self::Item> {
        self.fill();
        let entry = self.entries.pop_front()?;
        self.requests -= entry.requests();
        self.bytes -= entry.bytes();
        Some(match entry {
            Entry::ReadError { error, .. } => Err(error),
            Entry::Text { key, submitted, .. } => {
                let answer = submitted.and_then(|text| text.wait(self.engine, &self.task.task));
                Ok((key, answer))
            }
        })
    }
}

impl Engine {
    /// Answers any number of texts in their order. Each comes with a key that its answer has too; an error of the
    /// iterator is passed on in its place.
    ///
    /// The queue is kept full while the caller takes answers: texts are read before each answer until half of
    /// [`Engine::max_concurrent_requests`] are in flight, beside those of other callers, or the texts in flight have
    /// 4 MiB. The windows of the text that was read last come on top, at most as many again. The first answer comes
    /// when the queue is full or the iterator has ended, so an iterator must not wait for the answer to a text that
    /// it gave: see [`Engine::submit`] for texts that arrive one at a time.
    ///
    /// # Errors
    /// What would reject every text: [`RequestError::WrongTask`], and [`RequestError::Invalid`] for options that
    /// the model does not have or that contradict one another. Errors of single texts come with their answers.
    pub fn answer_all<K, E, I>(
        &self,
        task: TextTask,
        texts: I,
    ) -> Result<TextAnswers<'_, K, E, I::IntoIter>, RequestError>
    where
        I: IntoIterator<Item = Result<(K, String), E>>,
    {
        task.check(self)?;
        Ok(TextAnswers {
            engine: self,
            task,
            texts: texts.into_iter(),
            exhausted: false,
            entries: VecDeque::new(),
            requests: 0,
            bytes: 0,
            requests_max: (self.max_concurrent_requests() / 2).max(1),
            permit: Arc::new(()),
            held_bytes: |_| 0,
        })
    }

    /// Classifies any number of texts and returns the labels of each, highest score first, in the order of the
    /// texts. As with [`Engine::answer_all`], memory is bounded and texts are read as they are needed:
    ///
    /// ```
    /// use std::path::Path;
    ///
    /// use bigbatch_engine::{Checkpoint, Engine, EngineOptions, Model, RopeOverride};
    ///
    /// let checkpoint = Checkpoint::directory(Path::new("tests/goldens/seqcls-mean-softmax-legacy"));
    /// let model = Model::load(&checkpoint, RopeOverride::Checkpoint)?;
    /// let engine = Engine::start(model, &EngineOptions::default())?;
    /// let texts = (1..=1000).map(|n| format!("Where is parcel {n}?"));
    /// let mut best = Vec::new();
    /// for labels in engine.classify_all(texts)? {
    ///     best.push(labels?[0].label.clone());
    /// }
    /// assert_eq!(best.len(), 1000);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`Engine::answer_all`].
    pub fn classify_all<T: Into<String>>(
        &self,
        texts: impl IntoIterator<Item = T>,
    ) -> Result<impl Iterator<Item = Result<Vec<LabelScore>, RequestError>>, RequestError> {
        self.answers(Task::Classify { raw_scores: false }, texts, |answer| match answer {
            Answer::Labels(labels) => labels,
            other => unreachable!("{other:?} of a classification"),
        })
    }

    /// Tags any number of texts and returns the entities of each, as [`Engine::classify_all`] does labels.
    ///
    /// # Errors
    /// As [`Engine::answer_all`].
    pub fn tag_all<T: Into<String>>(
        &self,
        texts: impl IntoIterator<Item = T>,
    ) -> Result<impl Iterator<Item = Result<Vec<Entity>, RequestError>>, RequestError> {
        self.answers(Task::Tag, texts, |answer| match answer {
            Answer::Tags { entities, .. } => entities,
            other => unreachable!("{other:?} of tags"),
        })
    }

    /// Embeds any number of texts and returns a vector of unit length per text, as [`Engine::classify_all`] does
    /// labels.
    ///
    /// # Errors
    /// As [`Engine::answer_all`].
    pub fn embed_all<T: Into<String>>(
        &self,
        texts: impl IntoIterator<Item = T>,
    ) -> Result<impl Iterator<Item = Result<Vec<f32>, RequestError>>, RequestError> {
        let task = Task::Embed { pooling: None, normalize: true, dimensions: None, layer: None };
        self.answers(task, texts, |answer| match answer {
            Answer::Embedding(vector) => vector,
            other => unreachable!("{other:?} of an embedding"),
        })
    }

    /// Predicts the masked tokens of any number of texts and returns `top_k` candidates per mask of each, as
    /// [`Engine::classify_all`] does labels.
    ///
    /// # Errors
    /// As [`Engine::answer_all`].
    pub fn fill_mask_all<T: Into<String>>(
        &self,
        top_k: usize,
        texts: impl IntoIterator<Item = T>,
    ) -> Result<impl Iterator<Item = Result<Vec<Vec<TokenScore>>, RequestError>>, RequestError>
    {
        self.answers(Task::FillMask { top_k }, texts, |answer| match answer {
            Answer::Masks(masks) => masks,
            other => unreachable!("{other:?} of masked tokens"),
        })
    }

    /// Answers texts that have no keys and cannot fail to be read.
    fn answers<T: Into<String>, A>(
        &self,
        task: Task,
        texts: impl IntoIterator<Item = T>,
        unwrap: fn(Answer) -> A,
    ) -> Result<impl Iterator<Item = Result<A, RequestError>>, RequestError> {
        let texts = texts.into_iter().map(|text| Ok::<_, Infallible>(((), text.into())));
        let answers = self.answer_all(task.into(), texts)?;
        Ok(answers.map(move |Ok(((), answer))| answer.map(|answer| unwrap(answer.answer))))
    }
}
