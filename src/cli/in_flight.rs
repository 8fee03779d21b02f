//! Texts on their way through the engine, answered in the order in which they came.
//!
//! A text read in windows is several requests. Enough of them are handed over to keep the engine busy, and
//! never more than it admits.

use std::collections::VecDeque;

use bigbatch_engine::{
    Chunks, Engine, Input, Overlong, Pending, Request, RequestError, Response, Task, Truncate,
    prompted,
};

/// Requests handed to the engine before the oldest text is waited for, and windows of one text: together at
/// most what it admits.
const ENOUGH: usize = 256;

/// One text's answer.
pub(crate) struct Read {
    pub(crate) response: Response,
    /// Windows it was read in, where that was asked for.
    pub(crate) chunks: Option<usize>,
}

/// The texts.
pub(crate) struct InFlight<'a> {
    engine: &'a Engine,
    task: Task,
    overlong: Overlong,
    query: Option<String>,
    texts: VecDeque<OnItsWay>,
}

struct OnItsWay {
    chunks: Option<Chunks>,
    done: Vec<Response>,
    pending: VecDeque<Pending>,
}

impl<'a> InFlight<'a> {
    /// None yet. With a query each text is read together with it.
    pub(crate) fn new(
        engine: &'a Engine,
        task: Task,
        overlong: Overlong,
        query: Option<String>,
    ) -> InFlight<'a> {
        InFlight { engine, task, overlong, query, texts: VecDeque::new() }
    }

    /// Whether the oldest should be waited for before another text is submitted.
    pub(crate) fn is_full(&self) -> bool {
        self.texts.iter().map(|text| text.pending.len()).sum::<usize>() >= ENOUGH
    }

    /// Hands a text over. One of very many windows waits here for its own first ones.
    pub(crate) fn submit(&mut self, text: String) -> Result<(), RequestError> {
        let text = match self.task {
            Task::Embed { .. } => prompted(self.engine.model().prompts.get(None)?, text),
            _ => text,
        };
        let mut on_its_way = OnItsWay { chunks: None, done: Vec::new(), pending: VecDeque::new() };
        let submit = |input, task: &Task, truncate| {
            self.engine.submit(Request { input, task: task.clone(), truncate })
        };
        match self.overlong {
            Overlong::Truncate(truncate) => {
                let input = match &self.query {
                    Some(query) => Input::Pair(query.clone(), text),
                    None => Input::Text(text),
                };
                on_its_way.pending.push_back(submit(input, &self.task, truncate)?);
            }
            Overlong::Chunk(chunking) => {
                self.task.check(self.engine.model())?;
                let (tokenizer, limit) = (&self.engine.model().tokenizer, self.engine.max_tokens());
                let chunks = Chunks::split(tokenizer, text, chunking, limit)?;
                let task = Chunks::task(&self.task)?;
                for input in chunks.inputs() {
                    if on_its_way.pending.len() == ENOUGH
                        && let Some(first) = on_its_way.pending.pop_front()
                    {
                        on_its_way.done.push(first.wait()?);
                    }
                    on_its_way.pending.push_back(submit(input, &task, Truncate::No)?);
                }
                on_its_way.chunks = Some(chunks);
            }
        }
        self.texts.push_back(on_its_way);
        Ok(())
    }

    /// Waits for the oldest text; `None` when there is none.
    pub(crate) fn oldest(&mut self) -> Option<Result<Read, RequestError>> {
        let OnItsWay { chunks, mut done, pending } = self.texts.pop_front()?;
        for pending in pending {
            match pending.wait() {
                Ok(response) => done.push(response),
                Err(error) => return Some(Err(error)),
            }
        }
        let Some(chunks) = chunks else {
            return Some(Ok(Read { response: done.pop()?, chunks: None }));
        };
        let response = Response::merge(&chunks, &self.task, done);
        Some(Ok(Read { response, chunks: Some(chunks.count()) }))
    }
}
