//! Runs the requests of one exchange: admits all of them, tokenizes each text once per tokenizer, and runs all on their
//! engines at the same time.
//!
//! What the surfaces ask for is a [`SurfaceRequest`], and what they make of the rows is theirs.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bigbatch_engine::{Answer, Chunks, Input, RequestError, Response, Task, Tokens, Truncate};
use tokio::task::JoinSet;

use super::item::{InputUsage, ItemError};
use super::reading::{Pass, ReadInput, Reading, TextCache, Unread, read};
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

/// Bytes of text per thread that tokenizes: less is not worth another one.
const BYTES_PER_THREAD: usize = 64 << 10;

/// What became of one input.
pub(super) struct Outcome {
    /// Tokens of the input as far as they are known.
    pub(super) tokens: usize,
    pub(super) result: Result<Answered, ItemError>,
}

/// The answers to one input.
pub(super) struct Answered {
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
pub(super) struct Ran {
    pub(super) outcomes: Vec<Outcome>,
    /// The longest wait of an input.
    pub(super) queue: Duration,
    /// The longest forward pass.
    pub(super) forward: Duration,
}

/// Runs requests that share a charge. Returns a result per request, and the times of all together.
///
/// # Errors
/// [`Refusal::NeedsMemory`] and [`Refusal::Overloaded`] if the host's memory does not hold all of them.
pub(super) async fn run_all(
    app: &Arc<App>,
    requests: &mut [SurfaceRequest],
    charge: &Arc<Charge>,
    terms: impl Fn(&SurfaceRequest) -> Terms,
) -> Result<(Vec<Result<Ran, Refusal>>, Phases), Refusal> {
    let started = Instant::now();
    app.charge_footprint(charge, requests.iter().map(footprint).sum())?;
    let mut running = JoinSet::new();
    let cache = Arc::new(TextCache::default());
    let mut results = Vec::new();
    for (index, request) in requests.iter_mut().enumerate() {
        results.push(Ok(Ran::without_time(request.inputs.len())));
        let terms = terms(request);
        let lengths = request.inputs.iter().flatten().map(Input::length);
        let grant = match app.admit(
            &request.served,
            lengths,
            request.reading.overlong(),
            &request.task,
            &terms,
        ) {
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
        running.spawn(job.run(index, grant, cache.clone()));
    }
    let mut phases = Phases::default();
    while let Some(done) = running.join_next().await {
        let Ok((index, tokenized, ran)) = done else {
            return Err(Refusal::Unavailable("the server is stopping".into()));
        };
        phases.tokenize = phases.tokenize.max(tokenized);
        if let Ok(ran) = &ran {
            phases.forward = phases.forward.max(ran.forward);
        }
        results[index] = ran;
    }
    phases.queue = started.elapsed().saturating_sub(phases.tokenize + phases.forward);
    Ok((results, phases))
}

impl Ran {
    /// Returns the outcome of a request whose inputs could not be answered in time.
    fn without_time(inputs: usize) -> Ran {
        let outcome = || Outcome { tokens: 0, result: Err(ItemError::DeadlineExceeded) };
        let outcomes = (0..inputs).map(|_| outcome()).collect();
        Ran { outcomes, queue: Duration::ZERO, forward: Duration::ZERO }
    }
}

/// Returns what a request could hold: its texts, their tokens and its answer.
fn footprint(request: &SurfaceRequest) -> Footprint {
    let model = request.served.engine.model();
    let windows = matches!(request.reading.overlong(), bigbatch_engine::Overlong::Chunk(_));
    let max_tokens = (!windows).then_some(request.reading.max_tokens);
    let of_input = |input: &Input| {
        let mut footprint = Footprint::of_input(model, &request.task, input, max_tokens);
        // The whole text is tokenized, whatever is read of it.
        let bytes = match input.length() {
            bigbatch_engine::InputLength::Bytes(bytes) => bytes,
            bigbatch_engine::InputLength::Tokens(_) => 0,
        };
        footprint.inputs_bytes += footprint::of_tokenizing(bytes);
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
    /// Returns `index`, the time to tokenize all inputs, and the outcome.
    async fn run(
        mut self,
        index: usize,
        grant: Grant,
        cache: Arc<TextCache>,
    ) -> (usize, Duration, Result<Ran, Refusal>) {
        let started = Instant::now();
        let inputs = std::mem::take(&mut self.inputs);
        let read = self.read_all(inputs, &cache).await;
        let tokenized = started.elapsed();
        let ran = match read {
            Ok(read) => self.run_read(read, grant).await,
            Err(refusal) => Err(refusal),
        };
        (index, tokenized, ran)
    }

    /// Reads all inputs, on several threads if they are many.
    async fn read_all(
        &self,
        inputs: Vec<Result<Input, ItemError>>,
        cache: &Arc<TextCache>,
    ) -> Result<Vec<Result<ReadInput, Unread>>, Refusal> {
        let bytes = |input: &Result<Input, ItemError>| match input.as_ref().map(Input::length) {
            Ok(bigbatch_engine::InputLength::Bytes(bytes)) => bytes,
            _ => 0,
        };
        let total: usize = inputs.iter().map(bytes).sum();
        let threads = self.served.engine.tokenizer_threads();
        let parts = total.div_ceil(BYTES_PER_THREAD).clamp(1, threads.max(1));
        let per_part = inputs.len().div_ceil(parts).max(1);
        let mut running = JoinSet::new();
        let mut inputs = inputs.into_iter();
        let mut part = 0;
        while inputs.len() > 0 {
            let own: Vec<_> = inputs.by_ref().take(per_part).collect();
            let (app, served, cache) = (self.app.clone(), self.served.clone(), cache.clone());
            let (charge, reading) = (self.charge.clone(), self.reading);
            running.spawn(async move {
                let one = move |input: Result<Input, ItemError>| {
                    let input = input.map_err(|error| Unread { error, tokens: 0 })?;
                    read(&served.engine, input, reading, &cache)
                };
                let work = move || own.into_iter().map(one).collect::<Vec<_>>();
                (part, app.tokenizer_pool.run(&charge, work).await)
            });
            part += 1;
        }
        let mut parts = Vec::new();
        while let Some(done) = running.join_next().await {
            let Ok((part, read)) = done else {
                return Err(Refusal::Unavailable("the server is stopping".into()));
            };
            parts.push((part, read?));
        }
        parts.sort_by_key(|(part, _)| *part);
        Ok(parts.into_iter().flat_map(|(_, read)| read).collect())
    }

    async fn run_read(
        self,
        read: Vec<Result<ReadInput, Unread>>,
        grant: Grant,
    ) -> Result<Ran, Refusal> {
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
        let mut ran = Ran::without_time(0);
        for source in sources {
            let outcome = match source {
                Ok((usage, count, source)) => {
                    let own = results.by_ref().take(count).collect();
                    let result = ran.answered(own, usage, source)?;
                    Outcome { tokens: usage.tokens, result }
                }
                Err(Unread { error, tokens }) => Outcome { tokens, result: Err(error) },
            };
            ran.outcomes.push(outcome);
        }
        drop(charge);
        Ok(ran)
    }

    /// Charges what windows share, which is held once per window, until the answers are there.
    fn charge_windows(&self, read: &[Result<ReadInput, Unread>]) -> Result<Arc<Charge>, Refusal> {
        let windows = |read: &Result<ReadInput, Unread>| match read {
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

impl Ran {
    /// Joins the responses to one input, and keeps the longest times.
    fn answered(
        &mut self,
        responses: Vec<Result<Response, RequestError>>,
        usage: InputUsage,
        source: Source,
    ) -> Result<Result<Answered, ItemError>, Refusal> {
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
        Ok(Ok(Answered { usage, answers, source }))
    }
}
