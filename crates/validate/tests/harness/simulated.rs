//! A simulated target and a simulated tokenizer, shared by the tests.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bigbatch_validate::system::{
    ArenaSample, BatchRef, Failure, FailureKind, MemorySample, Prompt, Reply, ReplyFuture,
    StageTimes, Target, TargetInfo, Terms, TokenCounter,
};
use bigbatch_validate::workload::Corpus;

/// Counts like a byte-pair tokenizer: pieces of up to four characters, where the first piece of a word
/// includes the blank before it, so that a word may have another count at the start of a text. Adds two
/// special tokens.
pub(crate) struct PieceCounter;

impl TokenCounter for PieceCounter {
    fn offsets(&self, text: &str) -> Vec<(usize, usize)> {
        let mut spans = Vec::new();
        let mut start = 0;
        let mut length = 0;
        for (at, character) in text.char_indices() {
            let full = length == 4 || (character.is_whitespace() && length > 0);
            if full {
                spans.push((start, at));
                (start, length) = (at, 0);
            }
            length += 1;
        }
        if length > 0 {
            spans.push((start, text.len()));
        }
        spans
    }

    fn count(&self, text: &str) -> usize {
        self.offsets(text).len() + 2
    }
}

/// Returns a corpus of 4000 words.
pub(crate) fn corpus() -> Corpus {
    let words: Vec<String> =
        (0..4000u64).map(|i| "whaling".repeat(2)[..1 + (i * i % 13) as usize].to_owned()).collect();
    Corpus::from_text("words of the test", &words.join(" ")).expect("enough words")
}

type Law = Box<dyn Fn(u64) -> (Duration, Result<Reply, Failure>) + Send + Sync>;

/// A target that answers request number n (from 0, in order of arrival) with the delay and the outcome of
/// its law.
pub(crate) struct SimulatedTarget {
    law: Law,
    arrived: AtomicU64,
    pub(crate) info: TargetInfo,
}

impl SimulatedTarget {
    pub(crate) fn new(
        law: impl Fn(u64) -> (Duration, Result<Reply, Failure>) + Send + Sync + 'static,
    ) -> SimulatedTarget {
        let info = TargetInfo {
            name: "simulated".into(),
            version: "1".into(),
            model: "none".into(),
            dtype: "f32".into(),
            device: "a clock".into(),
            memory_budget_bytes: Some(1 << 30),
            max_batch_tokens: Some(4096),
            max_batch_sequences: Some(512),
            tokenizer_threads: Some(4),
            max_sequence_tokens: Some(8192),
            longest_input_budget_bytes: Some(700 << 20),
            model_shape: "2 layers of 8, 8192 tokens".into(),
            details: BTreeMap::new(),
        };
        SimulatedTarget { law: Box::new(law), arrived: AtomicU64::new(0), info }
    }
}

/// A success in a batch of one.
pub(crate) fn alone(n: u64) -> Result<Reply, Failure> {
    batched(n, 1)
}

/// A success in batch `id` of `sequences`.
pub(crate) fn batched(id: u64, sequences: usize) -> Result<Reply, Failure> {
    Ok(Reply {
        tokens: None,
        stages: Some(StageTimes {
            tokenize_us: 200,
            queue_us: 300,
            copy_us: None,
            compute_us: 5_000,
            total_us: 5_500,
        }),
        batch: Some(BatchRef { id, sequences, tokens: sequences * 64 }),
    })
}

/// A failure of `kind`.
pub(crate) fn failed(kind: FailureKind) -> Result<Reply, Failure> {
    Err(Failure::new(kind, "the simulation said so"))
}

impl Target for SimulatedTarget {
    fn describe(&self) -> TargetInfo {
        self.info.clone()
    }

    fn send<'a>(&'a self, _: &'a Prompt, _: Terms) -> ReplyFuture<'a> {
        let (delay, outcome) = (self.law)(self.arrived.fetch_add(1, Ordering::SeqCst));
        Box::pin(async move {
            tokio::time::sleep(delay).await;
            outcome
        })
    }

    fn memory(&self) -> MemorySample {
        MemorySample {
            rss_bytes: Some(300 << 20),
            device_used_bytes: None,
            arena: Some(ArenaSample {
                capacity_bytes: 512 << 20,
                used_bytes: 100 << 20,
                high_water_bytes: 200 << 20,
                largest_free_bytes: 412 << 20,
                fragmentation_max: None,
            }),
            ..MemorySample::default()
        }
    }
}
