//! Jobs: the inputs of one request and what to compute from them.
//!
//! All inputs are submitted to the engine before the first is awaited, and the first failure fails the job. Inputs
//! that are too long are read in windows where the request asks for it. What a job's outputs look like on the
//! wire is the business of `routes`.

use std::sync::Arc;

use bigbatch_engine::{
    Answer, BatchInfo, Chunking, Chunks, Input, LabelScore, Overlong, Pending, Request,
    RequestError, Response, Task, Timings, Truncate,
};

use crate::app::App;
use crate::error::Refusal;
use crate::models::ServedModel;

/// The inputs of one request and the task for each of them.
pub(crate) struct Job {
    pub(crate) inputs: Vec<Input>,
    pub(crate) task: Task,
    pub(crate) overlong: Overlong,
}

/// The answer to one input, and how the input was read.
pub(crate) struct Output {
    pub(crate) answer: Answer,
    /// Number of tokens read; the special tokens around windows count once.
    pub(crate) tokens: usize,
    pub(crate) truncated: bool,
    /// Number of windows; `None` if the input was read whole.
    pub(crate) chunks: Option<usize>,
    /// The longest stage over all windows.
    pub(crate) timings: Timings,
    /// The batch that carried the input, or its last window.
    pub(crate) batch: BatchInfo,
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
    fn from(response: Response) -> Output {
        let Response { tokens, truncated, answer, timings, batch } = response;
        Output { answer, tokens, truncated, chunks: None, timings, batch }
    }
}

impl App {
    /// Runs a job on a model and returns one output per input, in order. The first failure fails the job and
    /// cancels the inputs that are still under way; dropping the future cancels them too.
    pub(crate) async fn run_job(
        &self,
        served: &Arc<ServedModel>,
        job: Job,
    ) -> Result<Vec<Output>, Refusal> {
        self.check_count(job.inputs.len(), "inputs")?;
        self.check_task(served, &job.task)?;
        self.check_admission(served, job.inputs.len())?;
        self.check_answer(served, &job)?;
        match job.overlong {
            Overlong::Chunk(chunking) => {
                self.run_in_chunks(served, job.inputs, job.task, chunking).await
            }
            Overlong::Truncate(truncate) => {
                let responses = self.submit_all(served, job.inputs, &job.task, truncate).await?;
                Ok(responses.into_iter().map(Output::from).collect())
            }
        }
    }

    /// Rejects an empty request and one with more inputs than the limit.
    pub(crate) fn check_count(&self, count: usize, field: &str) -> Result<(), Refusal> {
        let limit = self.options.max_client_batch_size;
        match count {
            0 => Err(Refusal::Empty(format!("`{field}` cannot be empty"))),
            _ if count > limit => {
                Err(Refusal::TooMany { count, limit, flag: "--max-client-batch-size" })
            }
            _ => Ok(()),
        }
    }

    /// Rejects a request with more inputs than the engine ever admits: a retry would not help.
    pub(crate) fn check_admission(
        &self,
        served: &ServedModel,
        count: usize,
    ) -> Result<(), Refusal> {
        let limit = served.engine.max_concurrent_requests();
        if count > limit {
            return Err(Refusal::TooMany { count, limit, flag: "--max-concurrent-requests" });
        }
        Ok(())
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

    /// Rejects a request whose answer has a row per token and could exceed `--answer-limit`: the rows and their
    /// JSON are held in memory whole. Texts are not tokenized yet, so their bytes bound their tokens.
    fn check_answer(&self, served: &ServedModel, job: &Job) -> Result<(), Refusal> {
        let model = served.engine.model();
        let width = match job.task {
            Task::EmbedAll => model.config.hidden_size,
            Task::TokenScores { .. } => model.labels.len(),
            _ => return Ok(()),
        };
        let frame = model.tokenizer.frame_tokens();
        let tokens = |input: &Input| match input {
            Input::Text(text) => text.len() + frame,
            Input::Pair(first, second) | Input::InContext { context: first, text: second } => {
                first.len() + second.len() + 2 * frame
            }
            Input::Ids(ids) => ids.len(),
            Input::Tokens(_, tokens) => tokens.ids.len(),
        };
        let most = served.engine.max_tokens();
        let rows: usize = job.inputs.iter().map(|input| tokens(input).min(most)).sum();
        let (bytes, limit) = (rows * width * size_of::<f32>(), self.options.answer_limit_bytes);
        if bytes > limit {
            return Err(Refusal::TooLong(format!(
                "the answer could have {rows} rows of {width} numbers, {bytes} bytes; \
                 the limit is {limit} (--answer-limit)"
            )));
        }
        Ok(())
    }

    async fn run_in_chunks(
        &self,
        served: &Arc<ServedModel>,
        inputs: Vec<Input>,
        task: Task,
        chunking: Chunking,
    ) -> Result<Vec<Output>, Refusal> {
        // Before tokenizing, which is the expensive part.
        Chunks::task(&task)?;
        let text = |input| match input {
            Input::Text(text) => Ok(text),
            _ => Err(Refusal::Invalid(
                "`chunk` works on single texts; leave it out for pairs and token ids".into(),
            )),
        };
        let texts = inputs.into_iter().map(text).collect::<Result<Vec<String>, _>>()?;
        let reader = served.clone();
        let split = move |text| {
            let engine = &reader.engine;
            Chunks::split(&engine.model().tokenizer, text, chunking, engine.max_tokens())
        };
        let split = move || texts.into_iter().map(split).collect::<Result<Vec<Chunks>, _>>();
        let chunks = self.tokenizer_pool.run(split).await??;
        self.run_chunks(served, &chunks, &task).await
    }

    /// Runs texts that are already cut into windows and returns one output per text.
    pub(crate) async fn run_chunks(
        &self,
        served: &ServedModel,
        chunks: &[Chunks],
        task: &Task,
    ) -> Result<Vec<Output>, Refusal> {
        let count = chunks.iter().map(Chunks::count).sum::<usize>();
        let capacity = served.engine.max_concurrent_requests();
        for (limit, flag) in
            [(self.options.max_chunks, "--max-chunks"), (capacity, "--max-concurrent-requests")]
        {
            if count > limit {
                return Err(Refusal::TooLong(format!(
                    "`chunk` makes {count} windows; the limit is {limit} ({flag})"
                )));
            }
        }
        let each = Chunks::task(task)?;
        let inputs = chunks.iter().flat_map(Chunks::inputs);
        let mut responses = self.submit_all(served, inputs, &each, Truncate::No).await?.into_iter();
        let output = |chunks: &Chunks| {
            let own = responses.by_ref().take(chunks.count()).collect();
            Output {
                chunks: Some(chunks.count()),
                ..Response::merge(served.engine.model(), chunks, task, own).into()
            }
        };
        Ok(chunks.iter().map(output).collect())
    }

    /// Submits all inputs, then awaits all responses.
    pub(crate) async fn submit_all(
        &self,
        served: &ServedModel,
        inputs: impl IntoIterator<Item = Input>,
        task: &Task,
        truncate: Truncate,
    ) -> Result<Vec<Response>, RequestError> {
        let stages = self.observe.model(&served.name);
        let submit = |input: Input| {
            stages.record_submission();
            served.engine.submit(Request { input, task: task.clone(), truncate })
        };
        let pending = inputs.into_iter().map(submit).collect::<Result<Vec<Pending>, _>>()?;
        let mut responses = Vec::with_capacity(pending.len());
        for pending in pending {
            let response = pending.await?;
            stages.record_response(&response);
            responses.push(response);
        }
        Ok(responses)
    }
}
