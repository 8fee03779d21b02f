//! The stages of a target as the capacity model knows them for texts of one length, learned from cells.

use std::collections::BTreeMap;

use bigbatch_engine::{BatchSize, CostModel};

use super::observed::ObservedCell;
use crate::system::TargetInfo;

/// Turns of a size from which its time is taken as it was, instead of the cost model's.
const TURNS_MIN: usize = 8;
/// Upper limit on the weight of a size in the fit, in turns.
const WEIGHT_MAX: usize = 20;

/// The limits of the target, as far as it reports them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct TargetLimits {
    pub(super) batch_tokens: Option<usize>,
    pub(super) batch_sequences: Option<usize>,
    pub(super) tokenizer_threads: Option<usize>,
}

impl TargetLimits {
    pub(super) fn of(target: &TargetInfo) -> TargetLimits {
        TargetLimits {
            batch_tokens: target.max_batch_tokens,
            batch_sequences: target.max_batch_sequences,
            tokenizer_threads: target.tokenizer_threads,
        }
    }
}

/// The stages for one length.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct StageModel {
    pub(super) tokens: usize,
    /// Seconds of a turn as a function of the batch, over all lengths.
    pub(super) costs: CostModel,
    /// Seconds of the turns that were seen at this length, by their sequences.
    turns: BTreeMap<usize, Vec<f64>>,
    /// Seconds of encoding, by how many others were being tokenized.
    encodings: BTreeMap<usize, Vec<f64>>,
    /// Seconds of the rest of a request, as a function of its tokens and of the sequences that are answered with it.
    rest: CostModel,
    /// Upper limit on the sequences of a batch.
    pub(super) batch_max: usize,
    pub(super) threads: usize,
}

impl StageModel {
    /// Learns from cells. `None` if none of them has this length or a stage was not seen.
    pub(super) fn learn(
        cells: &[&ObservedCell],
        tokens: usize,
        limits: TargetLimits,
    ) -> Option<StageModel> {
        let mut turns: BTreeMap<usize, Vec<f64>> = BTreeMap::new();
        let mut encodings: BTreeMap<usize, Vec<f64>> = BTreeMap::new();
        for cell in cells.iter().filter(|cell| cell.tokens == tokens) {
            for turn in &cell.turns {
                turns.entry(turn.sequences).or_default().push(turn.seconds);
            }
            for encoding in &cell.encodings {
                encodings.entry(encoding.others).or_default().push(encoding.seconds);
            }
        }
        let by_tokens = limits.batch_tokens.map(|most| (most / tokens.max(1)).max(1));
        let largest = turns.last_key_value().map(|(&sequences, _)| sequences)?;
        let reported = by_tokens.into_iter().chain(limits.batch_sequences).min();
        if encodings.is_empty() {
            return None;
        }
        Some(StageModel {
            tokens,
            costs: fit_turns(cells)?,
            turns,
            encodings,
            rest: fit_rest(cells)?,
            batch_max: reported.unwrap_or(largest),
            threads: limits.tokenizer_threads.unwrap_or(usize::MAX),
        })
    }

    /// Draws the seconds of a turn with so many sequences.
    pub(super) fn turn(&self, sequences: usize, random: &mut fastrand::Rng) -> f64 {
        match self.turns.get(&sequences).filter(|seen| seen.len() >= TURNS_MIN) {
            Some(seen) => seen[random.usize(..seen.len())],
            None => self.costs.predict(size(self.tokens, sequences)),
        }
    }

    /// Draws the seconds of encoding a text while so many others are being tokenized.
    pub(super) fn encoding(&self, others: usize, random: &mut fastrand::Rng) -> f64 {
        let nearest = self.encodings.iter().min_by_key(|(seen, _)| seen.abs_diff(others));
        nearest.map_or(0.0, |(_, seconds)| seconds[random.usize(..seconds.len())])
    }

    /// Returns the seconds of the rest of a request that is answered with so many others.
    pub(super) fn rest(&self, sequences: usize) -> f64 {
        self.rest.predict(rest_size(self.tokens, sequences))
    }
}

fn size(tokens: usize, sequences: usize) -> BatchSize {
    BatchSize {
        tokens: tokens * sequences,
        squares: sequences as f64 * (tokens as f64).powi(2),
        sequences,
    }
}

fn rest_size(tokens: usize, sequences: usize) -> BatchSize {
    BatchSize { tokens, squares: 0.0, sequences }
}

fn fit_turns(cells: &[&ObservedCell]) -> Option<CostModel> {
    let all = cells.iter().flat_map(|cell| {
        cell.turns.iter().map(|turn| ((cell.tokens, turn.sequences), turn.seconds))
    });
    fit(all, size)
}

fn fit_rest(cells: &[&ObservedCell]) -> Option<CostModel> {
    let all = cells.iter().flat_map(|cell| {
        cell.rests.iter().map(|rest| ((cell.tokens, rest.sequences), rest.seconds.max(1e-6)))
    });
    fit(all, rest_size)
}

/// Fits a cost model to the mean of each size, so that a cell with many short batches counts no more than one with few
/// long ones.
fn fit(
    all: impl Iterator<Item = ((usize, usize), f64)>,
    size: fn(usize, usize) -> BatchSize,
) -> Option<CostModel> {
    let mut by_size: BTreeMap<(usize, usize), (f64, usize)> = BTreeMap::new();
    for (key, seconds) in all {
        let (sum, count) = by_size.entry(key).or_default();
        *sum += seconds;
        *count += 1;
    }
    let means: Vec<(BatchSize, f64, f64)> = by_size
        .into_iter()
        .map(|((tokens, sequences), (sum, count))| {
            (size(tokens, sequences), sum / count as f64, count.min(WEIGHT_MAX) as f64)
        })
        .collect();
    CostModel::fit(&means)
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::observed::{Encoding, Rest, Turn};
    use super::*;

    /// Stages for texts of 100 tokens whose times do not vary, in milliseconds.
    #[derive(Debug, Clone, Copy)]
    pub(in super::super) struct Stages {
        /// What a batch takes, and each sequence in it.
        pub(in super::super) batch: f64,
        pub(in super::super) sequence: f64,
        pub(in super::super) encoding: f64,
        pub(in super::super) rest: f64,
        pub(in super::super) batch_max: usize,
        pub(in super::super) threads: usize,
    }

    impl Stages {
        pub(in super::super) fn observe(self) -> ObservedCell {
            let turn = |sequences| Turn {
                sequences,
                seconds: (self.batch + self.sequence * sequences as f64) * 1e-3,
            };
            let rest = |sequences| Rest { sequences, seconds: self.rest * 1e-3 };
            ObservedCell {
                tokens: 100,
                turns: (1..=self.batch_max).map(turn).collect(),
                encodings: vec![Encoding { others: 0, seconds: self.encoding * 1e-3 }],
                rests: (1..=self.batch_max).map(rest).collect(),
            }
        }

        pub(in super::super) fn learn(self) -> StageModel {
            let limits = TargetLimits {
                batch_tokens: Some(100 * self.batch_max),
                batch_sequences: None,
                tokenizer_threads: Some(self.threads),
            };
            StageModel::learn(&[&self.observe()], 100, limits).expect("all stages are observed")
        }
    }

    const STAGES: Stages =
        Stages { batch: 2.0, sequence: 1.0, encoding: 1.0, rest: 0.5, batch_max: 8, threads: 4 };
    const NO_LIMITS: TargetLimits =
        TargetLimits { batch_tokens: None, batch_sequences: None, tokenizer_threads: None };

    #[test]
    fn a_size_that_was_seen_often_takes_what_it_took_and_others_the_line() {
        let mut cell = STAGES.observe();
        cell.turns.retain(|turn| turn.sequences != 3);
        let random = &mut fastrand::Rng::with_seed(1);
        for (times, expected_ms) in [(0, 5.0), (TURNS_MIN, 5.2)] {
            let mut cell = cell.clone();
            cell.turns.extend(vec![Turn { sequences: 3, seconds: 5.2e-3 }; times]);
            let model = StageModel::learn(&[&cell], 100, NO_LIMITS).expect("observed");
            let ms = model.turn(3, random) * 1e3;
            assert!((ms - expected_ms).abs() < 1e-3, "{times} times: {ms} ms");
            let ms = model.turn(20, random) * 1e3;
            assert!((ms / 22.0 - 1.0).abs() < 0.05, "beyond those seen: {ms} ms");
        }
    }

    #[test]
    fn a_batch_holds_what_the_target_reports_else_the_most_that_was_seen() {
        let cell = STAGES.observe();
        let batch_max = |batch_tokens, batch_sequences| {
            let limits = TargetLimits { batch_tokens, batch_sequences, ..NO_LIMITS };
            StageModel::learn(&[&cell], 100, limits).map(|model| model.batch_max)
        };
        assert_eq!(batch_max(None, None), Some(8));
        assert_eq!(batch_max(Some(399), None), Some(3));
        assert_eq!(batch_max(Some(399), Some(2)), Some(2));
        assert_eq!(batch_max(Some(4000), Some(512)), Some(40));
        assert_eq!(batch_max(Some(99), None), Some(1));
    }

    #[test]
    fn encoding_depends_on_how_many_are_encoded_and_on_the_length() {
        let mut cell = STAGES.observe();
        cell.encodings.push(Encoding { others: 3, seconds: 4e-3 });
        let model = StageModel::learn(&[&cell], 100, NO_LIMITS).expect("observed");
        let random = &mut fastrand::Rng::with_seed(1);
        let of = [0, 1, 2, 3, 9].map(|others| model.encoding(others, random));
        assert_eq!(of, [1e-3, 1e-3, 4e-3, 4e-3, 4e-3]);
        assert_eq!(StageModel::learn(&[&cell], 200, NO_LIMITS), None, "no cell of this length");
    }
}
