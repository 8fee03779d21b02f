//! How long a batch takes: predicted from its size by a model that is fitted to the batches before it.
//!
//! `t = a + b tokens + c sum of squared lengths + d sequences`: launches, products, attention, and what each sequence takes
//! besides. [`CostFit`] keeps sums over all batches, not the batches, so its memory is bounded. It minimises the squared relative
//! error with coefficients that are not negative: a short batch counts as much as a long one, and a stall counts for little. It
//! starts from a guess by floating-point operations, which keeps its say in what no batch has shown yet.

use std::collections::VecDeque;

use super::size::{BatchSize, TERMS};
use crate::model::{Config, LayerKind, forward_flops};

/// What each batch of the guess weighs, in batches. It may be wrong by an order of magnitude.
const GUESS_WEIGHT: f64 = 2e-4;
/// What is left of a batch's weight after each one that follows.
const KEPT: f64 = 0.998;
/// Upper limit on what the record of an earlier fit weighs, in batches.
const RECORD_WEIGHT: f64 = 20.0;
/// A prediction that is wrong by more than this factor is no error of its batch.
const FAR: f64 = 4.0;
/// So many predictions in a row that are wrong by more, and in the same direction, are the model's: it begins anew.
const FAR_MAX: i32 = 5;
/// Recent batches whose errors are kept.
const ERRORS: usize = 256;

/// The time of a batch as a function of its size.
#[derive(Debug, Clone, Copy, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct CostModel {
    /// Seconds that every batch takes.
    pub batch_seconds: f64,
    /// Seconds per token.
    pub token_seconds: f64,
    /// Seconds per squared token of a sequence's length.
    pub square_seconds: f64,
    /// Seconds per sequence.
    pub sequence_seconds: f64,
}

impl CostModel {
    /// Returns the model by which a forward pass of this configuration takes as long as its floating-point operations at this rate.
    pub fn from_flops(config: &Config, flops_per_second: f64) -> CostModel {
        let full = config.layers.iter().filter(|kind| **kind == LayerKind::Full).count();
        let square = 4.0 * (full * config.hidden_size) as f64;
        // Beyond the window, so that windowed attention is linear.
        let length = 2 * config.window + 1;
        let all = forward_flops(config, [length]);
        let linear = all / length as f64 - square * length as f64;
        CostModel {
            token_seconds: linear / flops_per_second,
            square_seconds: square / flops_per_second,
            ..CostModel::default()
        }
    }

    /// Returns the model with the least squared relative error over batches, each with its seconds and its weight. Which
    /// of the batches ran first does not matter, unlike in [`CostFit`]. `None` if no batch has both.
    pub fn fit(batches: &[(BatchSize, f64, f64)]) -> Option<CostModel> {
        let usable = |&&(_, seconds, weight): &&(BatchSize, f64, f64)| {
            seconds.is_finite() && seconds > 0.0 && weight > 0.0
        };
        let fit = |scale: &dyn Fn(BatchSize, f64) -> f64| {
            let mut sums = Sums::default();
            for &(size, seconds, weight) in batches.iter().filter(usable) {
                sums.add(size, seconds, scale(size, seconds), weight);
            }
            CostModel::from_scaled(sums.solve())
        };
        // Relative to the measured times first. Those that are short by chance would pull the model down, so the errors
        // of the second fit are relative to what the first one predicts.
        let first = fit(&|_, seconds| seconds);
        let predicted = |size| Some(first.predict(size)).filter(|seconds| *seconds > 0.0);
        batches
            .iter()
            .any(|batch| usable(&batch))
            .then(|| fit(&|size, seconds| predicted(size).unwrap_or(seconds)))
    }

    /// Returns the seconds of a batch.
    pub fn predict(&self, size: BatchSize) -> f64 {
        self.batch_seconds + self.without_batch(size)
    }

    /// Returns the seconds that one more sequence of so many tokens adds to a batch.
    pub fn of_sequence(&self, tokens: usize) -> f64 {
        self.without_batch(BatchSize::of([tokens]))
    }

    /// Returns the nanoseconds that one more sequence of so many tokens adds to a batch, rounded up to at least one: a measure of
    /// work whose sums return to zero.
    pub fn nanoseconds(&self, tokens: usize) -> u64 {
        self.nanoseconds_at_depth(tokens, 1.0)
    }

    /// As [`CostModel::nanoseconds`], for a batch whose encoder stops after such a share of its layers.
    pub fn nanoseconds_at_depth(&self, tokens: usize, share: f64) -> u64 {
        let size = BatchSize::of([tokens]).at_depth(share);
        (self.without_batch(size) * 1e9).ceil().max(1.0) as u64
    }

    fn without_batch(&self, size: BatchSize) -> f64 {
        self.token_seconds * size.tokens as f64
            + self.square_seconds * size.squares
            + self.sequence_seconds * size.sequences as f64
    }

    fn from_scaled(scaled: [f64; TERMS]) -> CostModel {
        let [batch_seconds, thousand_tokens, million_squares, sequence_seconds] = scaled;
        CostModel {
            batch_seconds,
            token_seconds: thousand_tokens * 1e-3,
            square_seconds: million_squares * 1e-6,
            sequence_seconds,
        }
    }
}

/// Sums over batches, of factors and times divided by the batch's time: the normal equations of the least relative
/// error.
#[derive(Debug, Clone, Copy, Default, PartialEq, serde::Serialize, serde::Deserialize)]
struct Sums {
    products: [[f64; TERMS]; TERMS],
    factors: [f64; TERMS],
}

impl Sums {
    /// Adds a batch. `scale` is the time that its error is relative to.
    fn add(&mut self, size: BatchSize, seconds: f64, scale: f64, weight: f64) {
        let row = size.factors().map(|factor| factor / scale);
        for (i, products) in self.products.iter_mut().enumerate() {
            self.factors[i] += weight * row[i] * seconds / scale;
            for (j, product) in products.iter_mut().enumerate() {
                *product += weight * row[i] * row[j];
            }
        }
    }

    fn plus(mut self, other: &Sums, kept: f64) -> Sums {
        for i in 0..TERMS {
            self.factors[i] = self.factors[i] * kept + other.factors[i];
            for j in 0..TERMS {
                self.products[i][j] = self.products[i][j] * kept + other.products[i][j];
            }
        }
        self
    }

    /// Returns the coefficients, none negative, with the least error.
    fn solve(&self) -> [f64; TERMS] {
        let candidates = (1..1 << TERMS).filter_map(|terms| self.solve_with(terms));
        let best = candidates.min_by(|a, b| a.0.total_cmp(&b.0));
        best.map_or([0.0; TERMS], |(_, coefficients)| coefficients)
    }

    /// Solves for the terms of this bit set; the others are zero. Returns the error, up to a constant, and the coefficients;
    /// `None` if one is negative or the sums don't determine them.
    fn solve_with(&self, terms: usize) -> Option<(f64, [f64; TERMS])> {
        let used: Vec<usize> = (0..TERMS).filter(|term| terms >> term & 1 == 1).collect();
        let mut rows: Vec<Vec<f64>> = used
            .iter()
            .map(|&i| used.iter().map(|&j| self.products[i][j]).chain([self.factors[i]]).collect())
            .collect();
        let n = rows.len();
        for column in 0..n {
            // The matrix is positive definite where the terms can be told apart: no pivoting.
            let pivot = rows[column][column];
            if pivot <= 1e-9 * self.products[used[column]][used[column]] {
                return None;
            }
            let pivot_row = rows[column].clone();
            for (index, row) in rows.iter_mut().enumerate().filter(|(index, _)| *index != column) {
                debug_assert_ne!(index, column);
                let factor = row[column] / pivot;
                row.iter_mut().zip(&pivot_row).for_each(|(value, of)| *value -= factor * of);
            }
        }
        let mut coefficients = [0.0; TERMS];
        for (row, &term) in used.iter().enumerate() {
            let value = rows[row][n] / rows[row][row];
            if !value.is_finite() || value < 0.0 {
                return None;
            }
            coefficients[term] = value;
        }
        // |A x - b|^2 = x'A'A x - 2 x'A'b + a constant, and A'A x = A'b in the terms used.
        let error = -coefficients.iter().zip(&self.factors).map(|(x, b)| x * b).sum::<f64>();
        Some((error, coefficients))
    }
}

/// A [`CostModel`], and what it was fitted to.
#[derive(Debug, Clone, PartialEq)]
pub struct CostFit {
    guess: Sums,
    batches: Sums,
    count: u64,
    model: CostModel,
    /// How many of the latest predictions were far too long; negative if they were far too short.
    far: i32,
    /// Relative errors of the latest predictions, each made before its batch ran.
    errors: VecDeque<f32>,
}

/// What a [`CostFit`] leaves to the next one of the same model on the same device.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct CostRecord {
    batches: Sums,
    count: u64,
}

impl CostFit {
    /// Returns a fit to no batch, whose model is the guess.
    pub fn new(guess: CostModel) -> CostFit {
        let mut sums = Sums::default();
        for lengths in [[16, 0], [512, 0], [4096, 0], [32_768, 0], [256, 256]] {
            let size = BatchSize::of(lengths.into_iter().filter(|&tokens| tokens > 0));
            let seconds = guess.predict(size).max(f64::MIN_POSITIVE);
            sums.add(size, seconds, seconds, GUESS_WEIGHT);
        }
        let batches = Sums::default();
        CostFit { guess: sums, batches, count: 0, model: guess, far: 0, errors: VecDeque::new() }
    }

    /// Records that a batch took so long.
    pub fn record(&mut self, size: BatchSize, seconds: f64) {
        if !(seconds.is_finite() && seconds > 0.0) || size.tokens == 0 {
            return;
        }
        if self.count > 0 {
            if self.errors.len() == ERRORS {
                self.errors.pop_front();
            }
            self.errors.push_back((self.model.predict(size) / seconds - 1.0) as f32);
        }
        self.watch_distance(self.model.predict(size) / seconds);
        // Relative to the larger of both, a time that is far too short or too long counts like one batch.
        let scale = seconds.max(self.model.predict(size));
        let mut batch = Sums::default();
        batch.add(size, seconds, scale, 1.0);
        self.batches = self.batches.plus(&batch, KEPT);
        self.count += 1;
        self.fit();
    }

    /// Forgets all batches if their model has been far off for some time: what it was fitted to was another device, or a
    /// damaged record.
    fn watch_distance(&mut self, ratio: f64) {
        self.far = match ratio {
            _ if self.count == 0 => 0,
            ratio if ratio > FAR => self.far.max(0) + 1,
            ratio if ratio < 1.0 / FAR => self.far.min(0) - 1,
            _ => 0,
        };
        if self.far.abs() >= FAR_MAX {
            (self.batches, self.far) = (Sums::default(), 0);
            self.fit();
        }
    }

    fn fit(&mut self) {
        self.model = CostModel::from_scaled(self.guess.plus(&self.batches, 1.0).solve());
    }

    /// Returns the model.
    pub fn model(&self) -> CostModel {
        self.model
    }

    /// Returns the number of batches that were recorded.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Returns the median of the latest predictions' absolute relative errors; `None` before the second batch.
    pub fn error_ratio(&self) -> Option<f64> {
        let mut errors: Vec<f32> = self.errors.iter().map(|error| error.abs()).collect();
        let middle = errors.len() / 2;
        if errors.is_empty() {
            return None;
        }
        let (_, median, _) = errors.select_nth_unstable_by(middle, f32::total_cmp);
        Some(f64::from(*median))
    }

    /// Returns what the next fit can start from.
    pub fn export(&self) -> CostRecord {
        CostRecord { batches: self.batches, count: self.count }
    }

    /// Starts from an earlier fit. Returns false and changes nothing if that cannot be one.
    pub fn import(&mut self, record: CostRecord) -> bool {
        let mut sums = record.batches.factors.iter().chain(record.batches.products.as_flattened());
        let whole = record.count > 0 && sums.all(|value| value.is_finite() && *value >= 0.0);
        if whole {
            // It counts like a few batches, so that a device that has become slower is seen soon.
            let weight = (record.count as f64).min(1.0 / (1.0 - KEPT));
            let kept = (RECORD_WEIGHT / weight).min(1.0);
            self.batches = record.batches.plus(&Sums::default(), kept);
            self.count = record.count;
            self.fit();
        }
        whole
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRUE: CostModel = CostModel {
        batch_seconds: 0.9e-3,
        token_seconds: 0.6e-6,
        square_seconds: 5e-11,
        sequence_seconds: 2e-6,
    };

    /// A guess that is ten times too slow, and has no constant parts.
    fn guess() -> CostFit {
        CostFit::new(CostModel {
            token_seconds: 6e-6,
            square_seconds: 1e-10,
            ..CostModel::default()
        })
    }

    fn close(a: f64, b: f64, ratio: f64) -> bool {
        (a / b - 1.0).abs() <= ratio
    }

    fn random_size(random: &mut fastrand::Rng) -> BatchSize {
        let count = 1 << random.usize(..6);
        BatchSize::of((0..count).map(|_| 8 << random.usize(..9)))
    }

    #[test]
    fn the_fit_finds_the_times_of_batches() {
        let (mut fit, mut random) = (guess(), fastrand::Rng::with_seed(1));
        for _ in 0..300 {
            let size = random_size(&mut random);
            fit.record(size, TRUE.predict(size) * (0.97 + 0.06 * random.f64()));
        }
        let model = fit.model();
        for tokens in [1, 64, 1024, 8192, 32_768] {
            let size = BatchSize::of([tokens]);
            assert!(close(model.predict(size), TRUE.predict(size), 0.05), "{tokens} {model:?}");
        }
        let error = fit.error_ratio().expect("batches have run");
        assert!(error < 0.03, "{error}");
    }

    #[test]
    fn a_fit_to_all_batches_at_once_does_not_depend_on_their_order() {
        let random = &mut fastrand::Rng::with_seed(6);
        let mut batches: Vec<(BatchSize, f64, f64)> = (0..2000)
            .map(|_| {
                let size = random_size(random);
                (size, TRUE.predict(size) * (0.5 + random.f64()), 1.0)
            })
            .collect();
        batches.push((BatchSize::of([512]), 10.0, 0.0));
        batches.push((BatchSize::of([512]), f64::NAN, 1.0));
        let model = CostModel::fit(&batches).expect("batches have run");
        batches.reverse();
        let reversed = CostModel::fit(&batches).expect("batches have run");
        for tokens in [1, 64, 1024] {
            let size = BatchSize::of([tokens]);
            assert!(close(model.predict(size), TRUE.predict(size), 0.05), "{tokens} {model:?}");
            assert!(close(reversed.predict(size), model.predict(size), 1e-6), "{reversed:?}");
        }
        assert_eq!(CostModel::fit(&batches[..2]), None);
    }

    #[test]
    fn one_batch_sets_the_scale_and_the_guess_the_rest() {
        let mut fit = guess();
        assert_eq!(fit.error_ratio(), None);
        let size = BatchSize::of([1024]);
        (0..3).for_each(|_| fit.record(size, 2e-3));
        assert!(close(fit.model().predict(size), 2e-3, 0.05), "{:?}", fit.model());
        let long = fit.model().predict(BatchSize::of([32_768]));
        assert!((0.02..1.0).contains(&long), "{long}");
    }

    #[test]
    fn a_device_that_slows_down_is_followed() {
        let (mut fit, mut random) = (guess(), fastrand::Rng::with_seed(2));
        for slower in [1.0, 2.0] {
            for _ in 0..3000 {
                let size = random_size(&mut random);
                fit.record(size, slower * TRUE.predict(size));
            }
        }
        let size = BatchSize::of([4096]);
        assert!(close(fit.model().predict(size), 2.0 * TRUE.predict(size), 0.05));
    }

    #[test]
    fn stalls_and_times_that_are_far_too_short_move_little() {
        for wrong in [10.0, 1e-6] {
            let (mut fit, mut random) = (guess(), fastrand::Rng::with_seed(3));
            for batch in 0..500 {
                let size = random_size(&mut random);
                let seconds = TRUE.predict(size);
                let seconds = match wrong {
                    _ if batch % 50 != 49 => seconds,
                    stall if stall > 1.0 => seconds + stall,
                    short => short,
                };
                fit.record(size, seconds);
            }
            let (size, model) = (BatchSize::of([1024]), fit.model());
            assert!(close(model.predict(size), TRUE.predict(size), 0.06), "{wrong} s: {model:?}");
        }
    }

    #[test]
    fn a_record_of_another_device_is_forgotten() {
        for wrong in [1e-3, 1e3, 1e300] {
            let mut fit = guess();
            let mut random = fastrand::Rng::with_seed(5);
            for _ in 0..100 {
                let size = random_size(&mut random);
                fit.record(size, TRUE.predict(size));
            }
            let mut record = fit.export();
            record.batches.factors.iter_mut().for_each(|factor| *factor *= wrong);
            let mut fit = guess();
            assert!(fit.import(record));
            let size = BatchSize::of([1024]);
            assert!(!close(fit.model().predict(size), TRUE.predict(size), 0.9));
            for _ in 0..40 {
                let size = random_size(&mut random);
                fit.record(size, TRUE.predict(size));
            }
            let model = fit.model();
            assert!(close(model.predict(size), TRUE.predict(size), 0.1), "{wrong}: {model:?}");
        }
    }

    #[test]
    fn coefficients_are_never_negative() {
        let mut random = fastrand::Rng::with_seed(4);
        for _ in 0..200 {
            let mut fit = guess();
            for _ in 0..20 {
                fit.record(random_size(&mut random), random.f64() * 1e-2);
            }
            let CostModel { batch_seconds, token_seconds, square_seconds, sequence_seconds } =
                fit.model();
            let all = [batch_seconds, token_seconds, square_seconds, sequence_seconds];
            assert!(all.iter().all(|value| value.is_finite() && *value >= 0.0), "{all:?}");
        }
    }

    #[test]
    fn a_record_continues_the_fit_and_a_damaged_one_is_refused() {
        let (mut fit, mut random) = (guess(), fastrand::Rng::with_seed(5));
        for _ in 0..50 {
            let size = random_size(&mut random);
            fit.record(size, TRUE.predict(size));
        }
        let text = serde_json::to_string(&fit.export()).expect("is JSON");
        let mut next = guess();
        assert!(next.import(serde_json::from_str(&text).expect("is a record")));
        let size = BatchSize::of([1024]);
        assert!(close(next.model().predict(size), fit.model().predict(size), 0.02));
        let mut damaged = fit.export();
        damaged.batches.factors[1] = -1.0;
        let before = next.clone();
        assert!(!next.import(damaged));
        assert_eq!(next, before);
    }
}
