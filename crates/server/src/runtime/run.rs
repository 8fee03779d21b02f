//! Runs the requests of one exchange: admits all of them, tokenizes each text once per tokenizer, and runs all on their
//! engines at the same time.
//!
//! What the surfaces ask for is a [`SurfaceRequest`], and what they make of the rows is theirs.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bigbatch_engine::{
    Answer, Chunks, Input, InputLength, RequestError, Response, Task, Tokens, Truncate,
};
use tokio::task::JoinSet;
use tokio::time::timeout_at;

use super::item::{InputUsage, ItemError};
use super::reading::{InputRefusal, Pass, ReadInput, Reading, TextCache, read};
use super::surface::SurfaceRequest;
use super::timing::Phases;
use crate::admission::Grant;
use crate::app::App;
use crate::error::Refusal;
use crate::footprint::{self, Footprint};
use crate::jobs::Job;
use crate::memory::Charge;
use crate::models::ServedModel;
use crate::terms::Terms;

/// What became of one input.
pub(super) struct InputOutcome {
    /// Tokens of the input as far as they are known.
    pub(super) tokens: usize,
    pub(super) result: Result<InputRows, ItemError>,
}

/// The answers to one input.
pub(super) struct InputRows {
    pub(super) usage: InputUsage,
    /// One, or one per window.
    pub(super) answers: Vec<Answer>,
    pub(super) source: Source,
}

/// What was read, for answers that point into it.
pub(super) enum Source {
    Whole(Arc<str>, Tokens),
    Windows(Chunks),
}

/// The outcome of one request, and its times.
pub(super) struct RequestRows {
    pub(super) outcomes: Vec<InputOutcome>,
    /// The longest wait of an input.
    pub(super) queue: Duration,
    /// The longest forward pass.
    pub(super) forward: Duration,
    /// For the rows of windows, until the answer is written.
    pub(super) charge: Option<Arc<Charge>>,
}

/// Runs requests that share a charge. Returns a result per request, and the times of all together.
pub(super) async fn run_all(
    app: &Arc<App>,
    requests: &mut [SurfaceRequest],
    charge: &Arc<Charge>,
    terms: impl Fn(&SurfaceRequest) -> Terms,
) -> (Vec<Result<RequestRows, Refusal>>, Phases) {
    let started = Instant::now();
    let mut results = charge_each(app, requests, charge);
    let mut running = JoinSet::new();
    let mut indices = HashMap::new();
    let cache = Arc::new(TextCache::default());
    for (index, request) in requests.iter_mut().enumerate() {
        if results[index].is_err() {
            continue;
        }
        let terms = terms(request);
        let lengths = request.inputs.iter().flatten().map(Input::length);
        let overlong = request.reading.overlong();
        let grant = match app.admit(&request.served, lengths, overlong, &request.task, &terms) {
            Ok(grant) => grant,
            // None of its inputs would be answered in time.
            Err(Refusal::DeadlineTooShort { .. }) => continue,
            Err(refusal) => {
                results[index] = Err(refusal);
                continue;
            }
        };
        let job = RequestJob {
            app: app.clone(),
            served: request.served.clone(),
            task: request.task.clone(),
            reading: request.reading,
            quotes: request.quotes_text(),
            inputs: std::mem::take(&mut request.inputs),
            charge: charge.clone(),
            terms,
        };
        let deadline = terms.deadline();
        let job = job.run(grant, cache.clone());
        let bounded = async move {
            match deadline {
                Some(deadline) => timeout_at(deadline.into(), job).await.ok(),
                None => Some(job.await),
            }
        };
        indices.insert(running.spawn(bounded).id(), index);
    }
    let mut phases = Phases::default();
    while let Some(done) = running.join_next_with_id().await {
        let (id, result) = match done {
            Ok((id, Some((tokenized, result)))) => {
                phases.tokenize = phases.tokenize.max(tokenized);
                (id, result)
            }
            // Its deadline has passed, as its rows say already.
            Ok((_, None)) => continue,
            // It panicked, which the log has. The others go on.
            Err(error) => (error.id(), Err(super::no_rows())),
        };
        if let Ok(rows) = &result {
            phases.forward = phases.forward.max(rows.forward);
        }
        if let Some(&index) = indices.get(&id) {
            results[index] = result;
        }
    }
    (results, phases.fitted_into(started.elapsed()))
}

/// Charges what each request could hold, in their order, and refuses those for which there is no memory. Those that are
/// charged have rows of inputs that were not answered in time, until they are run.
fn charge_each(
    app: &App,
    requests: &[SurfaceRequest],
    charge: &Charge,
) -> Vec<Result<RequestRows, Refusal>> {
    let mut held = Footprint::default();
    let mut one = |request: &SurfaceRequest| {
        let sum = [held, footprint(request)].into_iter().sum();
        app.charge_footprint(charge, sum)?;
        held = sum;
        Ok(RequestRows::without_time(&request.inputs))
    };
    requests.iter().map(&mut one).collect()
}

impl RequestRows {
    fn new(outcomes: Vec<InputOutcome>) -> RequestRows {
        RequestRows { outcomes, queue: Duration::ZERO, forward: Duration::ZERO, charge: None }
    }

    /// Returns the outcome of a request whose inputs could not be answered in time.
    fn without_time(inputs: &[Result<Input, ItemError>]) -> RequestRows {
        let outcome = |input: &Result<Input, ItemError>| {
            let error = input.as_ref().err().copied().unwrap_or(ItemError::DeadlineExceeded);
            InputOutcome { tokens: 0, result: Err(error) }
        };
        RequestRows::new(inputs.iter().map(outcome).collect())
    }
}

/// Returns what a request could hold: its texts, their tokens and its answer.
fn footprint(request: &SurfaceRequest) -> Footprint {
    let model = request.served.engine.model();
    let of_input = |input: &Input| {
        let max_tokens = Some(request.reading.max_tokens);
        let mut footprint = Footprint::of_input(model, &request.task, input, max_tokens);
        // The whole text is tokenized, whatever is read of it.
        if let InputLength::Bytes(bytes) = input.length() {
            footprint.inputs_bytes += footprint::of_tokenizing(bytes);
        }
        footprint
    };
    request.inputs.iter().flatten().map(of_input).sum()
}

/// One request on its way to its engine.
struct RequestJob {
    app: Arc<App>,
    served: Arc<ServedModel>,
    task: Task,
    reading: Reading,
    /// Whether its answers point into the text.
    quotes: bool,
    inputs: Vec<Result<Input, ItemError>>,
    charge: Arc<Charge>,
    terms: Terms,
}

impl RequestJob {
    /// Returns the time to tokenize all inputs, and the outcome.
    async fn run(
        mut self,
        grant: Grant,
        cache: Arc<TextCache>,
    ) -> (Duration, Result<RequestRows, Refusal>) {
        let started = Instant::now();
        let inputs = std::mem::take(&mut self.inputs);
        let (served, reading) = (self.served.clone(), self.reading);
        let one = move |input: Result<Input, ItemError>| {
            let input = input.map_err(|error| InputRefusal { error, tokens: 0 })?;
            read(&served.engine, input, reading, &cache)
        };
        let work = move || inputs.into_iter().map(one).collect::<Vec<_>>();
        let read = self.app.tokenizer_pool.run(&self.charge, work).await;
        let tokenized = started.elapsed();
        let rows = match read {
            Ok(read) => self.run_read(read, grant).await,
            Err(refusal) => Err(refusal),
        };
        (tokenized, rows)
    }

    async fn run_read(
        self,
        read: Vec<Result<ReadInput, InputRefusal>>,
        grant: Grant,
    ) -> Result<RequestRows, Refusal> {
        let charge = self.charge_windows(&read)?;
        let mut inputs = Vec::new();
        let mut sources = Vec::new();
        for read in read {
            sources.push(read.map(|ReadInput { usage, pass }| {
                let (count, source) = self.passes(pass, &mut inputs);
                (usage, count, source)
            }));
        }
        let job = Job {
            inputs,
            task: self.task,
            overlong: self.reading.overlong(),
            special_tokens: true,
            partial: true,
            charge: self.charge,
            terms: self.terms,
        };
        let results = self.app.submit_all(&self.served, grant, job, Truncate::No).await;
        let mut results = results.map_err(|failure| failure.refusal)?.into_iter();
        let mut rows = RequestRows::new(Vec::new());
        rows.charge = Some(charge);
        for source in sources {
            let outcome = match source {
                Ok((usage, count, source)) => {
                    let own = results.by_ref().take(count).collect();
                    let result = rows.answered(own, usage, source)?;
                    InputOutcome { tokens: usage.tokens, result }
                }
                Err(InputRefusal { error, tokens }) => InputOutcome { tokens, result: Err(error) },
            };
            rows.outcomes.push(outcome);
        }
        Ok(rows)
    }

    /// Charges what windows share, which is held once per window, until the answers are there.
    fn charge_windows(
        &self,
        read: &[Result<ReadInput, InputRefusal>],
    ) -> Result<Arc<Charge>, Refusal> {
        let windows = |read: &Result<ReadInput, InputRefusal>| match read {
            Ok(ReadInput { pass: Pass::Windows(chunks), .. }) => {
                Footprint::of_windows(self.served.engine.model(), &self.task, chunks)
            }
            _ => Footprint::default(),
        };
        let bytes = read.iter().map(windows).sum::<Footprint>().total_bytes();
        self.app.memory.check_fits(self.charge.bytes().saturating_add(bytes))?;
        let charge = self.app.memory.charge();
        charge.set(bytes)?;
        Ok(charge)
    }

    /// Adds the engine's inputs of one input. Returns their number, and what was read.
    fn passes(&self, pass: Pass, inputs: &mut Vec<Input>) -> (usize, Source) {
        match pass {
            Pass::Whole(text, tokens) => {
                let kept = if self.quotes { tokens.clone() } else { Tokens::default() };
                let quoted = if self.quotes { text.as_ref().to_owned() } else { String::new() };
                inputs.push(Input::Tokens(quoted, tokens));
                (1, Source::Whole(text, kept))
            }
            Pass::Windows(chunks) => {
                inputs.extend(chunks.inputs());
                (chunks.count(), Source::Windows(chunks))
            }
        }
    }
}

impl RequestRows {
    /// Joins the responses to one input, and keeps the longest times.
    fn answered(
        &mut self,
        responses: Vec<Result<Response, RequestError>>,
        usage: InputUsage,
        source: Source,
    ) -> Result<Result<InputRows, ItemError>, Refusal> {
        let mut answers = Vec::with_capacity(responses.len());
        for response in responses {
            match response {
                Ok(Response { answer, timings, .. }) => {
                    self.queue = self.queue.max(timings.queue);
                    self.forward = self.forward.max(timings.copy + timings.compute);
                    answers.push(answer);
                }
                Err(error) => match ItemError::of(&error) {
                    Some(error) => return Ok(Err(error)),
                    None => return Err(error.into()),
                },
            }
        }
        Ok(Ok(InputRows { usage, answers, source }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_input_that_has_no_answer_in_any_time_is_not_late() {
        let inputs = [Ok(Input::Text("a".into())), Err(ItemError::InvalidInput)];
        let outcomes = RequestRows::without_time(&inputs).outcomes;
        let errors: Vec<_> = outcomes.into_iter().filter_map(|one| one.result.err()).collect();
        assert_eq!(errors, [ItemError::DeadlineExceeded, ItemError::InvalidInput]);
    }
}
