//! Batches to replay: made by the engine's own scheduler from a seeded crowd of clients, or taken
//! from the raw records of a validation.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

use bigbatch_engine::Limits;
use bigbatch_engine::schedule::{Waiting, next_batch};
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::load::records::read_requests;

/// Batches in a row at one concurrency before another is drawn.
const BATCHES_A_LEVEL: usize = 5;
/// The shortest sequence that clients send, in tokens.
const SHORTEST: usize = 16;

/// Batches by the lengths of their sequences.
#[derive(Debug, Clone, PartialEq)]
pub struct Traffic {
    /// Where it came from, in words.
    pub origin: String,
    /// Lengths in tokens, a list for each batch.
    pub batches: Vec<Vec<usize>>,
}

/// What a traffic is, for a report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrafficSummary {
    /// Where it came from, in words.
    pub origin: String,
    /// Batches.
    pub batches: usize,
    /// Sequences of all of them.
    pub sequences: usize,
    /// Shortest and longest sequence, in tokens.
    pub sequence_tokens: (usize, usize),
    /// Smallest and largest batch, in tokens.
    pub batch_tokens: (usize, usize),
}

impl Traffic {
    /// Closed-loop clients whose number changes every few batches between `concurrency`'s, sending
    /// texts of log-uniform lengths up to `longest` tokens; batches as the engine would cut them.
    pub fn simulated(
        seed: u64,
        limits: Limits,
        longest: usize,
        concurrency: &[usize],
        batches: usize,
    ) -> Traffic {
        let mut random = fastrand::Rng::with_seed(seed);
        let longest = longest.min(limits.max_batch_tokens).max(1);
        let shortest = SHORTEST.min(longest);
        let ratio = longest as f64 / shortest as f64;
        let mut length = {
            let mut random = fastrand::Rng::with_seed(seed ^ 1);
            move || ((shortest as f64 * ratio.powf(random.f64())) as usize).min(longest)
        };
        let mut made = Vec::with_capacity(batches);
        let mut waiting: Vec<Waiting> = Vec::new();
        while made.len() < batches {
            let clients = random.choice(concurrency.iter().copied()).unwrap_or(1).max(1);
            waiting.truncate(clients);
            for _ in 0..BATCHES_A_LEVEL.min(batches - made.len()) {
                waiting.resize_with(clients, || Waiting { tokens: length(), masks: 0 });
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

    /// The batches of a validation's raw records, in the order run, as far as the records tell which
    /// request travelled in which batch (`requests.jsonl.zst`). Batches beyond the limits are left out.
    ///
    /// # Errors
    /// [`Error::ReportUnreadable`].
    pub fn recorded(path: &Path, limits: Limits) -> Result<Traffic, Error> {
        // An engine counts its batches from its own start, which may lie between two cells.
        let mut batches: BTreeMap<(usize, u64), Vec<usize>> = BTreeMap::new();
        let unreadable = |fault: std::io::Error| Error::ReportUnreadable {
            path: path.to_owned(),
            message: fault.to_string(),
        };
        let records = File::open(path).and_then(read_requests).map_err(unreadable)?;
        for record in records {
            if let Some(batch) = record.batch {
                batches.entry((record.cell, batch.id)).or_default().push(record.tokens);
            }
        }
        let holds = |lengths: &Vec<usize>| {
            lengths.len() <= limits.max_batch_sequences
                && lengths.iter().sum::<usize>() <= limits.max_batch_tokens
        };
        let told = batches.len();
        let batches: Vec<_> = batches.into_values().filter(holds).collect();
        let left_out = told - batches.len();
        let mut origin = format!("recorded in {}", path.display());
        if left_out > 0 {
            origin += &format!(", {left_out} batches beyond this engine's limits left out");
        }
        Ok(Traffic { origin, batches })
    }

    /// What it is.
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
        let record = |cell: usize, id: u64, tokens: usize| crate::load::RequestRecord {
            cell,
            client: 0,
            ordinal: 0,
            phase: crate::load::Phase::Measured,
            tokens,
            intended_us: 0,
            sent_us: 0,
            ended_us: 1,
            failure: None,
            message: None,
            stages: None,
            batch: Some(crate::system::BatchRef { id, sequences: 1, tokens }),
        };
        let records = [record(0, 0, 5), record(0, 1, 6), record(1, 0, 7), record(1, 0, 8)];
        let path = std::env::temp_dir().join(format!("bigbatch-traffic-{}", std::process::id()));
        let mut file = File::create(&path).expect("writable");
        crate::load::records::write_requests(&records, &mut file).expect("written");
        let traffic = Traffic::recorded(&path, LIMITS).expect("readable");
        assert_eq!(traffic.batches, [vec![5], vec![6], vec![7, 8]]);
    }

    #[test]
    fn simulated_batches_are_seeded_varied_and_within_the_limits() {
        let traffic = Traffic::simulated(7, LIMITS, 600, &[1, 10, 50], 60);
        assert_eq!(traffic, Traffic::simulated(7, LIMITS, 600, &[1, 10, 50], 60));
        assert_ne!(traffic, Traffic::simulated(8, LIMITS, 600, &[1, 10, 50], 60));
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
