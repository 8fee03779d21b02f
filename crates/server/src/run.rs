//! From inputs to answers, all or nothing.

use bigbatch_engine::engine::{Pending, Request, Response};
use bigbatch_engine::task::Task;
use bigbatch_engine::tokenize::{Input, Truncate};

use crate::App;
use crate::error::Refusal;
use crate::models::Served;

/// One request's inputs and what is to be done with each.
pub(crate) struct Job {
    pub(crate) inputs: Vec<Input>,
    pub(crate) task: Task,
    pub(crate) truncate: Truncate,
}

impl App {
    /// Runs a job on a model: one answer an input, in order. The first failure is the whole job's, and gives
    /// up what is still under way; dropping the future does too.
    pub(crate) async fn run(&self, served: &Served, job: Job) -> Result<Vec<Response>, Refusal> {
        let count = job.inputs.len();
        let limit = self.options.max_client_batch_size;
        if count == 0 {
            return Err(Refusal::Empty("`inputs` cannot be empty".into()));
        }
        if count > limit {
            return Err(Refusal::TooMany { count, limit });
        }
        let submit = |input: Input| {
            let request = Request { input, task: job.task.clone(), truncate: job.truncate };
            self.observe.submitted(&served.name);
            served.engine.submit(request)
        };
        let pending = job.inputs.into_iter().map(submit).collect::<Result<Vec<Pending>, _>>()?;
        let mut answers = Vec::with_capacity(count);
        for pending in pending {
            let answer = pending.await?;
            self.observe.answered(&served.name, &answer);
            answers.push(answer);
        }
        Ok(answers)
    }
}
