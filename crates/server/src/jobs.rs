//! Jobs: the inputs of one request and what to compute from them.
//!
//! A job is admitted whole or refused (`admission`). Its inputs are submitted to the engine as slots become free, and
//! awaited in order. The first failure fails the job, unless the request asks for the answers to the other inputs
//! (`partial`). Inputs that are too long are read in windows where the request asks for it. What a job's outputs look
//! like on the wire is the business of `routes`.

use std::collections::VecDeque;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use bigbatch_engine::{
    Answer, BatchInfo, Chunking, Chunks, Input, InputLength, LabelScore, Overlong, Permit, Request,
    RequestError, Reservation, Response, ResponseFuture, Task, Timings, Truncate, prompted,
};

use crate::admission::Grant;
use crate::app::App;
use crate::error::{FailedInput, Failure, Refusal};
use crate::footprint::Footprint;
use crate::memory::Charge;
use crate::models::ServedModel;
use crate::terms::Terms;

/// The inputs of one request and the task for each of them.
pub(crate) struct Job {
    pub(crate) inputs: Vec<Input>,
    pub(crate) task: Task,
    pub(crate) overlong: Overlong,
    /// Whether texts are read with the special tokens that the model expects around them.
    pub(crate) special_tokens: bool,
    /// Whether inputs may fail without failing the job.
    pub(crate) partial: bool,
    /// The memory that the request may hold.
    pub(crate) charge: Arc<Charge>,
    pub(crate) terms: Terms,
}

/// The answer to one input, and how the input was read.
pub(crate) struct Output {
    /// Index of the input in the request.
    pub(crate) index: usize,
    pub(crate) answer: Answer,
    /// Number of tokens read; the special tokens around windows count once.
    pub(crate) tokens: usize,
    /// Number of tokens given, more than those read if the input was truncated.
    pub(crate) input_tokens: usize,
    /// Number of windows; `None` if the input was read whole.
    pub(crate) chunks: Option<usize>,
    /// The longest stage over all windows.
    pub(crate) timings: Timings,
    /// The batch that carried the input, or its last window.
    pub(crate) batch: BatchInfo,
}

/// The error for windows of a model that leaves its prompt out of pooling.
pub(crate) const PROMPT_IN_WINDOWS: &str = "the model leaves its prompt out of pooling (include_prompt is false), \
    which `chunk` cannot; leave out `chunk` or the prompt";

/// Puts a CrossEncoder's prompt before the first text of each input.
fn prompt_classification(prompt: &str, inputs: Vec<Input>) -> Result<Vec<Input>, Refusal> {
    // Many pairs share their first text; so do the prompted ones.
    let mut latest: Option<(Arc<str>, Arc<str>)> = None;
    let mut prompted_first = |first: Arc<str>| match &latest {
        Some((before, after)) if Arc::ptr_eq(before, &first) => after.clone(),
        _ => {
            let after: Arc<str> = prompted(Some(prompt), first.as_ref().to_owned()).into();
            latest = Some((first, after.clone()));
            after
        }
    };
    let put = |input| match input {
        Input::Text(text) => Ok(Input::Text(prompted(Some(prompt), text))),
        Input::Pair(first, second) => Ok(Input::Pair(prompted_first(first), second)),
        Input::Ids(_) => Err(Refusal::Shape(
            "the model has a prompt, which cannot be put before token ids; send texts".into(),
        )),
        // Zero-shot classification has no prompts; the others have theirs, or are windows of a text that has one.
        Input::InContext { .. } | Input::Prompted(..) | Input::Bare(_) | Input::Tokens(..) => {
            Ok(input)
        }
    };
    inputs.into_iter().map(put).collect()
}

/// Returns an input that is read without special tokens; token ids are read as they are anyway.
fn without_special_tokens(input: Input, pools_prompts: bool) -> Result<Input, Refusal> {
    match input {
        Input::Text(text) => Ok(Input::Bare(text)),
        Input::Prompted(prompt, text) if pools_prompts => Ok(Input::Bare(prompt + &text)),
        Input::Prompted(..) => Err(Refusal::Invalid(
            "`add_special_tokens` is false, but this model leaves prompts out of pooling; leave out the field or the \
             prompt"
                .into(),
        )),
        Input::Pair(..) | Input::InContext { .. } => Err(Refusal::Invalid(
            "`add_special_tokens` is false, but pairs are read with special tokens only; leave it out".into(),
        )),
        Input::Bare(_) | Input::Ids(_) | Input::Tokens(..) => Ok(input),
    }
}

/// The outputs of a job, in the order of its inputs, and the inputs that failed, of which only a partial job has any.
#[derive(Default)]
pub(crate) struct Outputs {
    done: Vec<Output>,
    pub(crate) failed: Vec<FailedInput>,
}

impl From<Vec<Output>> for Outputs {
    fn from(done: Vec<Output>) -> Outputs {
        Outputs { done, failed: Vec::new() }
    }
}

impl Deref for Outputs {
    type Target = Vec<Output>;

    fn deref(&self) -> &Vec<Output> {
        &self.done
    }
}

impl DerefMut for Outputs {
    fn deref_mut(&mut self) -> &mut Vec<Output> {
        &mut self.done
    }
}

impl Outputs {
    /// Collects one result per input. Without any output the first failure is returned: the job has failed.
    fn collect(
        results: impl IntoIterator<Item = Result<Output, Refusal>>,
    ) -> Result<Outputs, Failure> {
        let mut outputs = Outputs::default();
        for (index, result) in results.into_iter().enumerate() {
            match result {
                Ok(output) => outputs.done.push(Output { index, ..output }),
                Err(refusal) => outputs.failed.push(FailedInput { index, refusal }),
            }
        }
        if outputs.done.is_empty() && !outputs.failed.is_empty() {
            return Err(outputs.failed.swap_remove(0).into());
        }
        Ok(outputs)
    }
}

impl Output {
    /// Returns whether the input was truncated.
    pub(crate) fn is_truncated(&self) -> bool {
        self.tokens < self.input_tokens
    }
}

/// Returns the number of tokens of all outputs.
pub(crate) fn count_tokens(outputs: &[Output]) -> usize {
    outputs.iter().map(|output| output.tokens).sum()
}

/// Takes the vectors out of embeddings' outputs.
pub(crate) fn take_vectors(outputs: &mut [Output]) -> Vec<Vec<f32>> {
    let vector = |output: &mut Output| match &mut output.answer {
        Answer::Embedding(vector) => Some(std::mem::take(vector)),
        _ => None,
    };
    outputs.iter_mut().filter_map(vector).collect()
}

/// Takes the labels out of classifications' outputs, likeliest first.
pub(crate) fn take_labels(outputs: &mut [Output]) -> Vec<Vec<LabelScore>> {
    let labels = |output: &mut Output| match &mut output.answer {
        Answer::Labels(labels) => Some(std::mem::take(labels)),
        _ => None,
    };
    outputs.iter_mut().filter_map(labels).collect()
}

/// Takes the rows out of an output with a row per token, and returns them with their width.
pub(crate) fn take_rows(output: &mut Output) -> Option<(Vec<f32>, usize)> {
    match &mut output.answer {
        Answer::Rows { rows, width } => Some((std::mem::take(rows), *width)),
        _ => None,
    }
}

impl From<Response> for Output {
    /// Converts the response to a request's first input.
    fn from(response: Response) -> Output {
        let Response { tokens, input_tokens, answer, timings, batch } = response;
        Output { index: 0, answer, tokens, input_tokens, chunks: None, timings, batch }
    }
}

impl App {
    /// Runs a job on a model and returns one output per input, in order. A failure of one input fails the job and
    /// cancels the inputs that are still under way, unless the job is partial; dropping the future cancels them too.
    pub(crate) async fn run_job(
        &self,
        served: &Arc<ServedModel>,
        mut job: Job,
    ) -> Result<Outputs, Failure> {
        self.check_task(served, &job.task)?;
        let has_context = |input: &Input| matches!(input, Input::InContext { .. });
        served.check_context(job.inputs.iter().all(has_context))?;
        if let Task::Classify { .. } = job.task
            && let Some(prompt) = served.prompt(None)?
        {
            job.inputs = prompt_classification(prompt, job.inputs)?;
        }
        if !job.special_tokens {
            let pools_prompts = served.engine.model().embedding.include_prompt;
            let bare = |input| without_special_tokens(input, pools_prompts);
            job.inputs = job.inputs.into_iter().map(bare).collect::<Result<_, Refusal>>()?;
        }
        self.check_footprint(served, &job)?;
        if let Overlong::Chunk(chunking) = job.overlong {
            Chunks::task(served.engine.model(), &job.task)?;
            chunking.room(&served.engine.model().tokenizer, served.engine.max_tokens())?;
        }
        let lengths = job.inputs.iter().map(Input::length);
        let admitted = self.admit(served, lengths, job.overlong, &job.task, &job.terms)?;
        match job.overlong {
            Overlong::Chunk(chunking) => self.run_in_chunks(served, admitted, job, chunking).await,
            Overlong::Truncate(truncate) => {
                let results = self.submit_all(served, admitted, job, truncate).await?;
                let output = |result: Result<Response, RequestError>| Ok(result?.into());
                Outputs::collect(results.into_iter().map(output))
            }
        }
    }

    /// Rejects a task that the model cannot do, or whose options exceed the server's limits.
    fn check_task(&self, served: &ServedModel, task: &Task) -> Result<(), Refusal> {
        task.check(served.engine.model())?;
        let (name, value, limit, flag) = match *task {
            Task::FillMask { top_k } => ("top_k", top_k, self.options.max_top_k, "--max-top-k"),
            Task::Embed { dimensions: Some(dimensions), .. } => {
                ("dimensions", dimensions, self.options.max_dimensions, "--max-dimensions")
            }
            _ => return Ok(()),
        };
        if value > limit {
            return Err(Refusal::Invalid(format!(
                "`{name}` is {value}; the limit is {limit} ({flag})"
            )));
        }
        Ok(())
    }

    /// Rejects a request whose answer could exceed `--answer-limit`, and charges what the job could hold to the
    /// memory of the host: once, before anything is computed.
    fn check_footprint(&self, served: &ServedModel, job: &Job) -> Result<(), Refusal> {
        let whole = matches!(job.overlong, Overlong::Truncate(_));
        let max_tokens = whole.then(|| served.engine.max_tokens());
        let model = served.engine.model();
        let of_input = |input| Footprint::of_input(model, &job.task, input, max_tokens);
        let footprint = job.inputs.iter().map(of_input).sum();
        self.charge_footprint(&job.charge, footprint)
    }

    /// As [`App::check_footprint`], for what a handler has counted itself.
    pub(crate) fn charge_footprint(
        &self,
        charge: &Charge,
        footprint: Footprint,
    ) -> Result<(), Refusal> {
        let (bytes, limit) = (footprint.answer_bytes, self.options.answer_bytes_max());
        if bytes > limit {
            return Err(Refusal::TooLong(format!(
                "the answer could take {bytes} bytes; the limit is {limit} (--answer-limit)"
            )));
        }
        charge.set(footprint.total_bytes())
    }

    /// Admits a request to a model before anything is tokenized, or refuses it.
    pub(crate) fn admit(
        &self,
        served: &ServedModel,
        inputs: impl IntoIterator<Item = InputLength>,
        overlong: Overlong,
        task: &Task,
        terms: &Terms,
    ) -> Result<Grant, Refusal> {
        served.admission.admit(&served.engine, inputs, overlong, task.layers(), terms)
    }

    async fn run_in_chunks(
        &self,
        served: &Arc<ServedModel>,
        admitted: Grant,
        mut job: Job,
        chunking: Chunking,
    ) -> Result<Outputs, Failure> {
        let pools_prompts = served.engine.model().embedding.include_prompt;
        let text = |input| match input {
            Input::Text(text) => Ok(text),
            Input::Prompted(prompt, text) if pools_prompts => Ok(prompt + &text),
            Input::Prompted(..) => Err(Refusal::Invalid(PROMPT_IN_WINDOWS.into())),
            _ => Err(Refusal::Invalid(
                "`chunk` works on single texts; leave it out for pairs and token ids".into(),
            )),
        };
        let texts = std::mem::take(&mut job.inputs)
            .into_iter()
            .map(text)
            .collect::<Result<Vec<String>, _>>()?;
        let reader = served.clone();
        let split = move |text: String| {
            let (engine, length) = (&reader.engine, InputLength::Bytes(text.len()));
            let chunks =
                Chunks::split(&engine.model().tokenizer, text, chunking, engine.max_tokens())?;
            engine.record_tokens(length, chunks.tokens());
            Ok(chunks)
        };
        let split = move || texts.into_iter().map(split).collect::<Vec<_>>();
        let chunks = self.tokenizer_pool.run(&job.charge, split).await?;
        let failed = |(index, chunks): (usize, &Result<Chunks, RequestError>)| {
            let refusal = chunks.as_ref().err()?.clone().into();
            Some(FailedInput { index, refusal })
        };
        if let Some(failed) = chunks.iter().enumerate().find_map(failed)
            && !job.partial
        {
            return Err(failed.into());
        }
        self.run_chunks(served, admitted, &chunks, job).await
    }

    /// Runs texts that are already cut into windows and returns one output per text. Texts that could not be cut
    /// are failed inputs. The job has no inputs but these.
    pub(crate) async fn run_chunks(
        &self,
        served: &ServedModel,
        admitted: Grant,
        chunks: &[Result<Chunks, RequestError>],
        job: Job,
    ) -> Result<Outputs, Failure> {
        let counts = chunks.iter().map(|chunks| chunks.as_ref().map_or(0, Chunks::count));
        let (count, limit) = (counts.clone().sum::<usize>(), self.options.max_chunks);
        if count > limit {
            return Err(Failure::from(Refusal::TooLong(format!(
                "`chunk` makes {count} windows; the limit is {limit} (--max-chunks)"
            ))));
        }
        let (task, each) = (&job.task, Chunks::task(served.engine.model(), &job.task)?);
        // Given back when the answers are merged.
        let charge = self.memory.charge();
        let of_windows = |chunks| Footprint::of_windows(served.engine.model(), &each, chunks);
        let windows: Footprint = chunks.iter().flatten().map(of_windows).sum();
        self.memory.check_fits(job.charge.bytes().saturating_add(windows.total_bytes()))?;
        charge.set(windows.total_bytes())?;
        let inputs = chunks.iter().flatten().flat_map(Chunks::inputs).collect();
        let windows = Job { inputs, task: each, charge: job.charge.clone(), ..job };
        let results = self.submit_all(served, admitted, windows, Truncate::No).await;
        let text_of = |window: usize| {
            let ends = counts.scan(0, |end, count| {
                *end += count;
                Some(*end)
            });
            ends.take_while(|&end| end <= window).count()
        };
        let results =
            results.map_err(|failure| Failure { index: failure.index.map(text_of), ..failure })?;
        let mut results = results.into_iter();
        Outputs::collect(chunks.iter().map(|chunks| {
            let chunks = chunks.as_ref().map_err(Clone::clone)?;
            let own: Vec<_> = results.by_ref().take(chunks.count()).collect();
            let own = own.into_iter().collect::<Result<Vec<Response>, _>>()?;
            let merged = Response::merge(served.engine.model(), chunks, task, own);
            Ok(Output { chunks: Some(chunks.count()), ..merged.into() })
        }))
    }

    /// Submits a job's inputs, as many at once as the engine has slots for this request, and returns a result per
    /// input, in order. A failure of one input fails all of them unless the job is partial.
    pub(crate) async fn submit_all(
        &self,
        served: &ServedModel,
        admitted: Grant,
        job: Job,
        truncate: Truncate,
    ) -> Result<Vec<Result<Response, RequestError>>, Failure> {
        let Job { inputs, task, partial, charge, terms, .. } = job;
        let mut inputs = inputs.into_iter();
        let stages = self.observe.model(&served.name);
        let submit = |input: Input, time: &mut Reservation, permit: Permit| {
            stages.record_submission();
            let (deadline, flow) = (terms.deadline(), terms.flow);
            let request = Request { input, task: task.clone(), truncate, deadline, flow };
            // An input that was cancelled may be on the device still.
            let permit = Arc::new((permit, charge.clone()));
            served.engine.submit_reserved(request, time, permit)
        };
        let mut feed = Some(admitted);
        let mut next = inputs.next();
        let mut in_flight = VecDeque::new();
        let mut results = Vec::new();
        loop {
            if next.is_none() {
                // Others may have its slot and its turn.
                feed = None;
            }
            tokio::select! {
                biased;
                Some(permit) = next_permit(&mut feed) => {
                    if let (Some(input), Some(admitted)) = (next, &mut feed) {
                        let pending = submit(input, &mut admitted.time, permit?);
                        in_flight.push_back(pending.map(IntoFuture::into_future));
                    }
                    next = inputs.next();
                }
                Some(result) = next_response(&mut in_flight) => {
                    in_flight.pop_front();
                    let result = result.and_then(|response| self.check_whole(response));
                    match &result {
                        Ok(response) => stages.record_response(response),
                        Err(error) if !is_of_input(error) => return Err(error.clone().into()),
                        Err(error) => {
                            stages.record_failure();
                            if !partial {
                                let (index, refusal) = (results.len(), error.clone().into());
                                return Err(FailedInput { index, refusal }.into());
                            }
                        }
                    }
                    results.push(result);
                }
                else => return Ok(results),
            }
        }
    }
}

impl App {
    /// Refuses an answer to a part of an input where the server reads inputs whole.
    fn check_whole(&self, response: Response) -> Result<Response, RequestError> {
        if !self.options.require_full_input || !response.is_truncated() {
            return Ok(response);
        }
        Err(RequestError::Invalid(format!(
            "the input has {} tokens, of which {} would be read; {FULL_INPUT}",
            response.input_tokens, response.tokens
        )))
    }
}

/// The end of a refusal of an input that would be read in part.
pub(crate) const FULL_INPUT: &str =
    "this server reads inputs whole (--require-full-input); send a shorter one, or use `chunk`";

/// Waits for a permit for the next input; `None` if there is no further input.
async fn next_permit(feed: &mut Option<Grant>) -> Option<Result<Permit, RequestError>> {
    match feed {
        Some(admitted) => Some(admitted.slots.next_permit().await),
        None => None,
    }
}

/// Waits for the oldest response; `None` if there is none.
async fn next_response(
    in_flight: &mut VecDeque<Result<ResponseFuture, RequestError>>,
) -> Option<Result<Response, RequestError>> {
    match in_flight.front_mut() {
        Some(Ok(oldest)) => Some(oldest.await),
        Some(Err(refused)) => Some(Err(refused.clone())),
        None => None,
    }
}

/// Returns whether an error is that of one input, so that other inputs of the request may be answered: those that began
/// before the deadline are.
fn is_of_input(error: &RequestError) -> bool {
    match error {
        RequestError::Empty
        | RequestError::TooLong { .. }
        | RequestError::Invalid(_)
        | RequestError::DeadlinePassed
        | RequestError::NotFinite => true,
        RequestError::Overloaded { .. }
        | RequestError::WaitTooLong { .. }
        | RequestError::TooMuchWork { .. }
        | RequestError::WrongTask { .. }
        | RequestError::Device(_)
        | RequestError::DeviceLost(_)
        | RequestError::Stopped => false,
    }
}
