//! The engine in this process as a [`Target`]: without network and serialization.

use std::time::Duration;

use bigbatch_engine::{
    Engine, Flow, Input, Request, RequestError, Response, Task, Tokenizer, Truncate,
};
use tokio::time::Instant;

use super::memory::{ArenaSample, MemorySample, process_rss_bytes};
use super::target::{
    BatchRef, Failure, FailureKind, Priority, Prompt, Reply, ReplyFuture, StageTimes, Target,
    TargetInfo, Terms, TokenCounter,
};

/// An engine under test.
pub struct InProcess {
    engine: Engine,
    task: Task,
    info: TargetInfo,
}

impl InProcess {
    /// Wraps `engine`, with the default task of its model's head. `memory_budget_bytes` and `version`
    /// are for the report, which takes everything else from the engine.
    pub fn new(engine: Engine, memory_budget_bytes: u64, version: &str) -> InProcess {
        let task = Task::default_for(&engine.model().config.head);
        let info = TargetInfo {
            name: "in-process".into(),
            version: version.into(),
            model: engine.model().name.clone(),
            dtype: engine.device().dtype.to_string(),
            device: engine.device().name.clone(),
            memory_budget_bytes: Some(memory_budget_bytes),
            max_batch_tokens: Some(engine.limits().max_batch_tokens),
            max_batch_sequences: Some(engine.limits().max_batch_sequences),
            tokenizer_threads: Some(engine.tokenizer_threads()),
            max_sequence_tokens: Some(engine.max_tokens()),
            longest_input_budget_bytes: Some(engine.memory_plan().longest_input_budget_bytes),
            model_shape: engine.model().shape(),
            ..TargetInfo::default()
        };
        InProcess { engine, task, info }
    }

    /// Returns the engine.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }
}

impl Target for InProcess {
    fn describe(&self) -> TargetInfo {
        self.info.clone()
    }

    fn send<'a>(&'a self, prompt: &'a Prompt, terms: Terms) -> ReplyFuture<'a> {
        Box::pin(async move {
            let input = Input::Text(prompt.text().into());
            let request = Request {
                deadline: terms.deadline.map(Instant::into_std),
                flow: flow(terms.priority),
                ..Request::new(input, self.task.clone(), Truncate::No)
            };
            let answer = async { self.engine.submit(request)?.await };
            answer.await.map(reply).map_err(failure)
        })
    }

    fn shares_process(&self) -> bool {
        true
    }

    fn memory(&self) -> MemorySample {
        let arena = self.engine.arena();
        let device = self.engine.device_memory().unwrap_or_default();
        let batches_in_flight = self.engine.batches_in_flight();
        let used_bytes = arena.used_bytes(batches_in_flight);
        MemorySample {
            rss_bytes: process_rss_bytes(),
            device_used_bytes: device.process_bytes,
            card_used_bytes: device.card_bytes,
            arena: Some(ArenaSample {
                capacity_bytes: arena.capacity_bytes,
                used_bytes,
                high_water_bytes: arena.high_water_bytes,
                largest_free_bytes: arena.capacity_bytes.saturating_sub(used_bytes),
                fragmentation_max: None,
            }),
            requests_in_flight: Some(self.engine.in_flight()),
            batches_in_flight: Some(batches_in_flight),
            batches: Some(self.engine.batches()),
        }
    }
}

/// Returns the flow of the requests of a priority. All of them are of one client.
fn flow(priority: Option<Priority>) -> Flow {
    let priority = match priority {
        Some(Priority::Batch) => bigbatch_engine::Priority::Batch,
        Some(Priority::Interactive) | None => bigbatch_engine::Priority::Interactive,
    };
    Flow { priority, ..Flow::default() }
}

fn reply(response: Response) -> Reply {
    let us = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    let Response { tokens, timings, batch, .. } = response;
    Reply {
        tokens: Some(tokens),
        stages: Some(StageTimes {
            tokenize_us: us(timings.tokenize),
            queue_us: us(timings.queue),
            copy_us: Some(us(timings.copy)),
            compute_us: us(timings.compute),
            total_us: us(timings.total),
        }),
        batch: Some(BatchRef { id: batch.id, sequences: batch.sequences, tokens: batch.tokens }),
    }
}

fn failure(error: RequestError) -> Failure {
    let kind = match &error {
        RequestError::Overloaded { .. }
        | RequestError::WaitTooLong { .. }
        | RequestError::TooMuchWork { .. } => FailureKind::Refused,
        RequestError::TooLong { .. } => FailureKind::TooLong,
        RequestError::DeadlinePassed => FailureKind::DeadlineMissed,
        _ => FailureKind::Server,
    };
    let retry_after = match error {
        RequestError::Overloaded { wait, .. } => wait,
        _ => None,
    };
    Failure { retry_after, ..Failure::new(kind, error.to_string()) }
}

impl TokenCounter for Tokenizer {
    fn offsets(&self, text: &str) -> Vec<(usize, usize)> {
        // A tokenizer that fails on plain prose yields no spans; the workload then reports that no prompt
        // of the length can be cut.
        self.byte_spans(text).unwrap_or_default()
    }

    fn count(&self, text: &str) -> usize {
        Tokenizer::count(self, text).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_says_when_to_come_back_as_a_server_would() {
        for wait in [None, Some(Duration::from_millis(250))] {
            let refused = failure(RequestError::Overloaded { limit: 4, wait });
            assert_eq!((refused.kind, refused.retry_after), (FailureKind::Refused, wait));
        }
    }
}
