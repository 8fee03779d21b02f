//! Feeds texts to the engine and returns their answers in the order of submission.
//!
//! A text that is read in windows becomes several requests, whose answers are merged. The pipeline holds
//! enough requests to keep the engine busy, and fewer than the engine admits. Parsing of options and printing
//! of answers are in `predict`.

use std::collections::VecDeque;

use bigbatch_engine::{
    Answer, Chunks, Engine, Input, Overlong, Pending, Request, RequestError, Response, Task,
    Truncate, prompted,
};

/// Maximum requests in flight before the pipeline waits for the oldest text, and maximum windows in flight of
/// the text being submitted. The two add up to the 512 requests that the engine admits by default.
const MAX_IN_FLIGHT: usize = 256;

/// The answer to one text.
pub(crate) struct TextAnswer {
    pub(crate) answer: Answer,
    /// Tokens of the text, special tokens included.
    pub(crate) tokens: usize,
    /// Whether the text was cut to the model's length.
    pub(crate) truncated: bool,
    /// Number of windows, with `--chunk` only.
    pub(crate) chunks: Option<usize>,
}

/// A bounded queue of texts between the command line and the engine.
pub(crate) struct Pipeline<'a> {
    engine: &'a Engine,
    task: Task,
    overlong: Overlong,
    /// What is read before each text.
    first_text: Option<String>,
    texts: VecDeque<PendingText>,
}

/// A submitted text: its windows if it is read in windows, the responses so far, and those to wait for.
#[derive(Default)]
struct PendingText {
    chunks: Option<Chunks>,
    done: Vec<Response>,
    pending: VecDeque<Pending>,
}

impl<'a> Pipeline<'a> {
    /// Creates an empty pipeline. With a first text, each text is read in a pair with it.
    pub(crate) fn new(
        engine: &'a Engine,
        task: Task,
        overlong: Overlong,
        first_text: Option<String>,
    ) -> Pipeline<'a> {
        Pipeline { engine, task, overlong, first_text, texts: VecDeque::new() }
    }

    /// Returns whether to call [`Pipeline::pop_oldest`] before submitting another text.
    pub(crate) fn is_full(&self) -> bool {
        self.texts.iter().map(|text| text.pending.len()).sum::<usize>() >= MAX_IN_FLIGHT
    }

    /// Submits a text. Blocks on the text's own first windows if it has more than [`MAX_IN_FLIGHT`].
    ///
    /// # Errors
    /// What the engine rejects: a text that is empty or too long, a task that the model has no head for.
    pub(crate) fn submit(&mut self, text: String) -> Result<(), RequestError> {
        let model = self.engine.model();
        let prompt = model.prompts.get(None)?;
        let mut pending_text = PendingText::default();
        let submit = |input, task: &Task, truncate| {
            self.engine.submit(Request { input, task: task.clone(), truncate })
        };
        match self.overlong {
            Overlong::Truncate(truncate) => {
                let input = match (self.first_text.clone(), &self.task) {
                    (Some(query), Task::Classify { .. }) => {
                        Input::Pair(prompted(prompt, query).into(), text)
                    }
                    (Some(context), _) => Input::InContext { context: context.into(), text },
                    (None, Task::Embed { .. }) => Input::prompted(prompt, text),
                    (None, Task::Classify { .. }) => Input::Text(prompted(prompt, text)),
                    (None, _) => Input::Text(text),
                };
                pending_text.pending.push_back(submit(input, &self.task, truncate)?);
            }
            Overlong::Chunk(chunking) => {
                self.task.check(model)?;
                if prompt.is_some() && !model.embedding.include_prompt {
                    return Err(RequestError::Invalid(
                        "the model leaves its prompt out of pooling (include_prompt is false), which --chunk cannot; \
                         leave out --chunk"
                            .into(),
                    ));
                }
                let (tokenizer, limit) = (&model.tokenizer, self.engine.max_tokens());
                let prompt = prompt.filter(|_| self.task != Task::Tag);
                let text = prompted(prompt, text);
                let chunks = Chunks::split(tokenizer, text, chunking, limit)?;
                let task = Chunks::task(&self.task)?;
                for input in chunks.inputs() {
                    if pending_text.pending.len() == MAX_IN_FLIGHT
                        && let Some(first) = pending_text.pending.pop_front()
                    {
                        pending_text.done.push(first.wait()?);
                    }
                    pending_text.pending.push_back(submit(input, &task, Truncate::No)?);
                }
                pending_text.chunks = Some(chunks);
            }
        }
        self.texts.push_back(pending_text);
        Ok(())
    }

    /// Blocks until the oldest text is answered and returns its answer; `None` if the pipeline is empty.
    pub(crate) fn pop_oldest(&mut self) -> Option<Result<TextAnswer, RequestError>> {
        let PendingText { chunks, mut done, pending } = self.texts.pop_front()?;
        for pending in pending {
            match pending.wait() {
                Ok(response) => done.push(response),
                Err(error) => return Some(Err(error)),
            }
        }
        let (response, chunks) = match chunks {
            None => (done.pop()?, None),
            Some(chunks) => (
                Response::merge(self.engine.model(), &chunks, &self.task, done),
                Some(chunks.count()),
            ),
        };
        let Response { answer, tokens, truncated, .. } = response;
        Some(Ok(TextAnswer { answer, tokens, truncated, chunks }))
    }
}
