//! Batches to replay: cut by the engine's own scheduler from the queue of simulated clients, or taken from
//! the records of a validation.

use std::collections::BTreeMap;

use bigbatch_engine::Limits;
use bigbatch_engine::schedule::{QueuedRequest, next_batch};
use serde::{Deserialize, Serialize};

/// Batches in a row at one concurrency before the next one is drawn.
const BATCHES_PER_LEVEL: usize = 5;
/// The shortest sequence that simulated clients send.
const SHORTEST_TOKENS: usize = 16;

/// Batches to replay.
#[derive(Debug, Clone, PartialEq)]
pub struct Traffic {
    /// Where the batches come from, in words.
    pub origin: String,
    /// Lengths of each batch's sequences, in tokens.
    pub batches: Vec<Vec<usize>>,
}

/// One sequence of a recorded run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordedSequence {
    /// Index of the cell it was sent in.
    pub cell: usize,
    /// The engine's number of the batch it ran in.
    pub batch: u64,
    /// Length in tokens.
    pub tokens: usize,
}

/// Size of a traffic, for reports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrafficSummary {
    /// Where the batches come from, in words.
    pub origin: String,
    /// Number of batches.
    pub batches: usize,
    /// Number of sequences of all batches.
    pub sequences: usize,
    /// Shortest and longest sequence, in tokens.
    pub sequence_tokens: (usize, usize),
    /// Smallest and largest batch, in tokens.
    pub batch_tokens: (usize, usize),
}

impl Traffic {
    /// Simulates closed-loop clients that send texts of log-uniform lengths up to `longest` tokens, and cuts
    /// their queue into batches as the engine would. Every few batches the number of clients is drawn anew
    /// from `concurrency`. Equal seeds give equal traffic.
    pub fn simulate(
        seed: u64,
        limits: Limits,
        longest: usize,
        concurrency: &[usize],
        batches: usize,
    ) -> Traffic {
        let mut random = fastrand::Rng::with_seed(seed);
        let longest = longest.min(limits.max_batch_tokens).max(1);
        let shortest = SHORTEST_TOKENS.min(longest);
        let ratio = longest as f64 / shortest as f64;
        let mut length = {
            let mut random = fastrand::Rng::with_seed(seed ^ 1);
            move || ((shortest as f64 * ratio.powf(random.f64())) as usize).min(longest)
        };
        let mut made = Vec::with_capacity(batches);
        let mut waiting: Vec<QueuedRequest> = Vec::new();
        while made.len() < batches {
            let clients = random.choice(concurrency.iter().copied()).unwrap_or(1).max(1);
            waiting.truncate(clients);
            for _ in 0..BATCHES_PER_LEVEL.min(batches - made.len()) {
                waiting.resize_with(clients, || QueuedRequest {
                    tokens: length(),
                    ..QueuedRequest::default()
                });
                let chosen = next_batch(&waiting, limits);
                made.push(chosen.iter().map(|&index| waiting[index].tokens).collect());
                for index in chosen.into_iter().rev() {
                    waiting.remove(index);
                }
            }
        }
        let levels: Vec<String> = concurrency.iter().map(usize::to_string).collect();
        let origin = format!(
            "simulated clients (seed {seed}), {} at a time, {shortest} to {longest} tokens",
            levels.join(", ")
        );
        Traffic { origin, batches: made }
    }

    /// Groups the sequences of a run's records into the batches they ran in, in the order run, and drops
    /// batches beyond `limits`. `source` names the records in [`Traffic::origin`].
    pub fn from_records(
        source: &str,
        records: impl IntoIterator<Item = RecordedSequence>,
        limits: Limits,
    ) -> Traffic {
        // An engine counts its batches from its own start, which may lie between two cells.
        let mut batches: BTreeMap<(usize, u64), Vec<usize>> = BTreeMap::new();
        for RecordedSequence { cell, batch, tokens } in records {
            batches.entry((cell, batch)).or_default().push(tokens);
        }
        let holds = |lengths: &Vec<usize>| {
            lengths.len() <= limits.max_batch_sequences
                && lengths.iter().sum::<usize>() <= limits.max_batch_tokens
        };
        let recorded = batches.len();
        let batches: Vec<_> = batches.into_values().filter(holds).collect();
        let excluded = recorded - batches.len();
        let mut origin = format!("recorded in {source}");
        if excluded > 0 {
            origin += &format!(", {excluded} batches beyond this engine's limits excluded");
        }
        Traffic { origin, batches }
    }

    /// Counts batches, sequences and tokens.
    pub fn summary(&self) -> TrafficSummary {
        let range = |values: &mut dyn Iterator<Item = usize>| {
            values.fold((usize::MAX, 0), |(least, most), value| (least.min(value), most.max(value)))
        };
        TrafficSummary {
            origin: self.origin.clone(),
            batches: self.batches.len(),
            sequences: self.batches.iter().map(Vec::len).sum(),
            sequence_tokens: range(&mut self.batches.iter().flatten().copied()),
            batch_tokens: range(&mut self.batches.iter().map(|lengths| lengths.iter().sum())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { max_batch_tokens: 1000, max_batch_sequences: 8, max_masks: 4 };

    #[test]
    fn batches_of_two_cells_are_two_though_an_engine_counted_both_from_0() {
        let record = |(cell, batch, tokens)| RecordedSequence { cell, batch, tokens };
        let records = [(0, 0, 5), (0, 1, 6), (1, 0, 7), (1, 0, 8)].map(record);
        let traffic = Traffic::from_records("the test", records, LIMITS);
        assert_eq!(traffic.batches, [vec![5], vec![6], vec![7, 8]]);
        assert_eq!(traffic.origin, "recorded in the test");
    }

    #[test]
    fn recorded_batches_beyond_the_limits_are_excluded_and_counted() {
        let record = |(batch, tokens)| RecordedSequence { cell: 0, batch, tokens };
        let many = (0..9).map(|_| record((2, 1)));
        let records = [(0, 1001), (1, 1000)].map(record).into_iter().chain(many);
        let traffic = Traffic::from_records("the test", records, LIMITS);
        assert_eq!(traffic.batches, [vec![1000]]);
        let origin = "recorded in the test, 2 batches beyond this engine's limits excluded";
        assert_eq!(traffic.origin, origin);
    }

    #[test]
    fn simulated_batches_are_seeded_varied_and_within_the_limits() {
        let traffic = Traffic::simulate(7, LIMITS, 600, &[1, 10, 50], 60);
        assert_eq!(traffic, Traffic::simulate(7, LIMITS, 600, &[1, 10, 50], 60));
        assert_ne!(traffic, Traffic::simulate(8, LIMITS, 600, &[1, 10, 50], 60));
        assert_eq!(traffic.batches.len(), 60);
        for lengths in &traffic.batches {
            assert!((1..=8).contains(&lengths.len()), "{lengths:?}");
            assert!(lengths.iter().sum::<usize>() <= 1000, "{lengths:?}");
            assert!(lengths.iter().all(|length| (16..=600).contains(length)), "{lengths:?}");
        }
        let summary = traffic.summary();
        assert!(summary.sequence_tokens.0 < 40 && summary.sequence_tokens.1 > 400, "{summary:?}");
        assert!(traffic.batches.iter().any(|lengths| lengths.len() == 1));
        assert!(traffic.batches.iter().any(|lengths| lengths.len() == 8));
    }
}
