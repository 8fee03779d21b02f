//! What a batch costs, fitted to the batches seen, and what a closed loop would do with it.
//!
//! The fit is least squares of relative errors with no term negative: a batch of one short text
//! counts as much as a full one, and no term makes up for another by being less than nothing. With
//! four terms the active-set search of Lawson and Hanson (1974) is a look at all sixteen sets of terms.
//!
//! The prediction simulates the closed loop: clients send, a batch takes what waits in order of
//! arrival up to a number of tokens, lasts what the model says, and each of its clients sends again
//! after what the request needs outside the batch. It knows nothing of the cell it predicts beyond
//! its length and its clients.

use std::collections::{BinaryHeap, HashMap, VecDeque};

use super::records::Ran;
use super::scaling::BatchTimeModel;
use super::stage::device_span_us;
use crate::load::RequestRecord;

/// Terms of the model.
const TERMS: usize = 4;
/// How often a prediction's loop goes round: first to settle, then to count.
const ROUNDS_SETTLE: usize = 10;
const ROUNDS_COUNTED: usize = 30;

/// A batch that was seen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Batch {
    pub(crate) from_us: u64,
    pub(crate) to_us: u64,
    pub(crate) sequences: usize,
    pub(crate) tokens: usize,
    /// Sum of the squares of its sequences' lengths.
    pub(crate) pairs: f64,
    /// How long it kept the device to itself.
    pub(crate) service_ms: f64,
}

/// The batches of a cell in the order in which they ended, whatever phase their requests belong to.
///
/// Sequences that left no record (of clients that were hung up on) are taken to be as long as the
/// others of their batch. A batch that was handed over while the one before it ran is charged from
/// that one's end.
pub(crate) fn batches(ran: &Ran) -> Vec<Batch> {
    let mut by_id: HashMap<u64, (Batch, f64, usize)> = HashMap::new();
    for record in ran.records.iter().filter(|record| record.succeeded()) {
        let (Some(batch), Some((from_us, to_us))) = (record.batch, device_span_us(record)) else {
            continue;
        };
        let (sequences, tokens) = (batch.sequences, batch.tokens);
        let empty = Batch { from_us, to_us, sequences, tokens, pairs: 0.0, service_ms: 0.0 };
        let (seen, pairs, requests) = by_id.entry(batch.id).or_insert((empty, 0.0, 0));
        // What its requests needed before it differs by the resolution of the clocks; the latest
        // start is the one that no wait before it has blurred.
        seen.from_us = seen.from_us.max(from_us);
        seen.to_us = seen.to_us.max(to_us);
        *pairs += (record.tokens as f64).powi(2);
        *requests += 1;
    }
    let whole = by_id.into_values().map(|(mut batch, pairs, requests)| {
        let unseen_tokens_squared = pairs / requests as f64;
        let unseen = batch.sequences.saturating_sub(requests) as f64;
        batch.pairs = pairs + unseen * unseen_tokens_squared;
        batch
    });
    let mut batches: Vec<Batch> = whole.collect();
    batches.sort_by_key(|batch| (batch.to_us, batch.from_us));
    let mut free_from = 0;
    for batch in &mut batches {
        batch.service_ms = batch.to_us.saturating_sub(batch.from_us.max(free_from)) as f64 / 1e3;
        free_from = batch.to_us;
    }
    batches.retain(|batch| batch.service_ms > 0.0);
    batches
}

impl BatchTimeModel {
    /// Fits the model; `None` with fewer than eight batches.
    pub(crate) fn fit(batches: &[Batch]) -> Option<BatchTimeModel> {
        if batches.len() < 2 * TERMS {
            return None;
        }
        let rows: Vec<[f64; TERMS]> = batches.iter().map(terms).collect();
        let times: Vec<f64> = batches.iter().map(|batch| batch.service_ms).collect();
        // Relative to the measured times at first. Those that happen to be short would pull the fit
        // down, so the second time relative to what the first fit says.
        let first = least_squares(&rows, &times, &times)?;
        let scale: Vec<f64> =
            rows.iter().zip(&times).map(|(row, &time)| positive(dot(row, &first), time)).collect();
        let [base_ms, tokens, pairs, sequences] = least_squares(&rows, &times, &scale)?;
        let mut model = BatchTimeModel {
            base_ms,
            per_token_us: tokens * 1e3,
            per_token_pair_ns: pairs * 1e6,
            per_sequence_us: sequences * 1e3,
            batches: batches.len(),
            r2: 0.0,
            error_percent_median: 0.0,
        };
        model.judge(batches);
        Some(model)
    }

    fn judge(&mut self, batches: &[Batch]) {
        let mean = batches.iter().map(|batch| batch.service_ms).sum::<f64>() / batches.len() as f64;
        let miss = |batch: &Batch| {
            batch.service_ms
                - self.batch_ms(batch.sequences as f64, batch.tokens as f64, batch.pairs)
        };
        let unexplained: f64 = batches.iter().map(|batch| miss(batch).powi(2)).sum();
        let all: f64 = batches.iter().map(|batch| (batch.service_ms - mean).powi(2)).sum();
        let mut errors: Vec<f64> =
            batches.iter().map(|batch| 100.0 * miss(batch).abs() / batch.service_ms).collect();
        errors.sort_by(f64::total_cmp);
        self.r2 = if all > 0.0 { (1.0 - unexplained / all).max(0.0) } else { 1.0 };
        self.error_percent_median = crate::stats::trend::median(&errors);
    }

    /// What a batch takes, in milliseconds; means of batches may be fractions. `pairs` is the sum of the
    /// squares of its lengths.
    pub fn batch_ms(&self, sequences: f64, tokens: f64, pairs: f64) -> f64 {
        self.base_ms
            + self.per_token_us * tokens / 1e3
            + self.per_token_pair_ns * pairs / 1e6
            + self.per_sequence_us * sequences / 1e3
    }
}

fn terms(batch: &Batch) -> [f64; TERMS] {
    [1.0, batch.tokens as f64, batch.pairs, batch.sequences as f64]
}

fn dot(row: &[f64; TERMS], factors: &[f64; TERMS]) -> f64 {
    row.iter().zip(factors).map(|(term, factor)| term * factor).sum()
}

fn positive(value: f64, otherwise: f64) -> f64 {
    if value > 0.0 { value } else { otherwise }
}

/// Factors, none negative, that minimise the sum of `((time - row * factors) / scale)^2`. `None` if
/// there are none, which takes times that are not positive.
fn least_squares(rows: &[[f64; TERMS]], times: &[f64], scale: &[f64]) -> Option<[f64; TERMS]> {
    // Normal equations over columns of length one, so that tokens and their squares weigh alike.
    let scaled = |n: usize, k: usize| rows[n][k] / scale[n];
    let length = |k: usize| {
        (0..rows.len()).map(|n| scaled(n, k).powi(2)).sum::<f64>().sqrt().max(f64::MIN_POSITIVE)
    };
    let lengths: [f64; TERMS] = std::array::from_fn(length);
    let mut normal = [[0.0; TERMS]; TERMS];
    let mut right = [0.0; TERMS];
    for n in 0..rows.len() {
        let row: [f64; TERMS] = std::array::from_fn(|k| scaled(n, k) / lengths[k]);
        for i in 0..TERMS {
            right[i] += row[i] * times[n] / scale[n];
            for j in 0..TERMS {
                normal[i][j] += row[i] * row[j];
            }
        }
    }
    let mut best: Option<(f64, [f64; TERMS])> = None;
    for set in 1usize..1 << TERMS {
        let Some(found) = solve(&normal, &right, set) else { continue };
        if found.iter().any(|&factor| factor < 0.0) {
            continue;
        }
        // The residual sum of squares, less that of the times themselves.
        let fits: f64 = found.iter().zip(&right).map(|(factor, side)| factor * side).sum();
        if best.is_none_or(|(before, _)| fits > before * (1.0 + 1e-12)) {
            best = Some((fits, found));
        }
    }
    best.map(|(_, found)| std::array::from_fn(|k| found[k] / lengths[k]))
}

/// Solves the normal equations of the columns in `set`; `None` if they are not independent.
fn solve(normal: &[[f64; TERMS]; TERMS], right: &[f64; TERMS], set: usize) -> Option<[f64; TERMS]> {
    let columns: Vec<usize> = (0..TERMS).filter(|k| set >> k & 1 == 1).collect();
    let size = columns.len();
    // Cholesky's factor, row by row.
    let mut factor = [[0.0; TERMS]; TERMS];
    for i in 0..size {
        for j in 0..=i {
            let sum: f64 = (0..j).map(|k| factor[i][k] * factor[j][k]).sum();
            let rest = normal[columns[i]][columns[j]] - sum;
            if i == j {
                // Columns have length one: what remains is how much of this one the others lack.
                if rest < 1e-10 {
                    return None;
                }
                factor[i][i] = rest.sqrt();
            } else {
                factor[i][j] = rest / factor[j][j];
            }
        }
    }
    let mut solution = [0.0; TERMS];
    for i in 0..size {
        let sum: f64 = (0..i).map(|k| factor[i][k] * solution[k]).sum();
        solution[i] = (right[columns[i]] - sum) / factor[i][i];
    }
    for i in (0..size).rev() {
        let sum: f64 = (i + 1..size).map(|k| factor[k][i] * solution[k]).sum();
        solution[i] = (solution[i] - sum) / factor[i][i];
    }
    let mut all = [0.0; TERMS];
    for (value, column) in solution.into_iter().zip(columns) {
        all[column] = value;
    }
    Some(all)
}

/// What a request needs outside its batch and its queue, by its length: `fixed_ms + per_token_us`
/// tokens, fitted as the batches are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Outside {
    fixed_ms: f64,
    per_token_us: f64,
}

impl Outside {
    /// From requests of which the stages are told; `None` without any.
    pub(crate) fn fit<'a>(records: impl Iterator<Item = &'a RequestRecord>) -> Option<Outside> {
        let outside = |record: &RequestRecord| {
            let stages = record.stages?;
            let inside = stages.queue_us + stages.device_us();
            let ms = record.latency_us().saturating_sub(inside).max(1) as f64 / 1e3;
            Some(([1.0, record.tokens as f64, 0.0, 0.0], ms))
        };
        let (rows, times): (Vec<[f64; TERMS]>, Vec<f64>) = records.filter_map(outside).unzip();
        // A mean in milliseconds is wanted, so all errors weigh alike.
        let [fixed_ms, per_token, ..] = least_squares(&rows, &times, &vec![1.0; rows.len()])?;
        Some(Outside { fixed_ms, per_token_us: per_token * 1e3 })
    }

    fn ms(&self, tokens: usize) -> f64 {
        self.fixed_ms + self.per_token_us * tokens as f64 / 1e3
    }
}

/// Answers per second and median latency in milliseconds of `clients` that send texts of `tokens` to
/// a server whose batches hold at most `sequences_max` of them.
pub(crate) fn closed_loop(
    model: &BatchTimeModel,
    outside: Outside,
    tokens: usize,
    clients: usize,
    sequences_max: usize,
) -> Option<(f64, f64)> {
    let think_ms = outside.ms(tokens);
    // Whole nanoseconds, so that moments have an order.
    let ns = |ms: f64| (ms * 1e6).round() as u64;
    // Requests on their way to the queue: (arrival, client's sending), the earliest first.
    let mut coming: BinaryHeap<std::cmp::Reverse<u64>> =
        (0..clients).map(|_| std::cmp::Reverse(ns(think_ms))).collect();
    let mut waiting: VecDeque<u64> = VecDeque::new();
    let (mut now, mut answered) = (0, 0);
    let settle = ROUNDS_SETTLE * clients;
    let (mut counted_from, mut latencies) = (0, Vec::new());
    while answered < settle + ROUNDS_COUNTED * clients {
        if waiting.is_empty() {
            now = now.max(coming.peek()?.0);
        }
        while coming.peek().is_some_and(|next| next.0 <= now) {
            waiting.extend(coming.pop().map(|next| next.0));
        }
        let size = waiting.len().min(sequences_max.max(1));
        let pairs = size as f64 * (tokens as f64).powi(2);
        now += ns(model.batch_ms(size as f64, (size * tokens) as f64, pairs)).max(1);
        for arrived in waiting.drain(..size) {
            if answered >= settle {
                latencies.push((now - arrived) as f64 / 1e6 + think_ms);
            } else {
                counted_from = now;
            }
            answered += 1;
            coming.push(std::cmp::Reverse(now + ns(think_ms)));
        }
    }
    latencies.sort_by(f64::total_cmp);
    let seconds = (now - counted_from) as f64 / 1e9;
    Some((latencies.len() as f64 / seconds, *latencies.get(latencies.len() / 2)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(sequences: usize, length: usize, service_ms: f64) -> Batch {
        let pairs = sequences as f64 * (length as f64).powi(2);
        Batch { from_us: 0, to_us: 0, sequences, tokens: sequences * length, pairs, service_ms }
    }

    /// Batches of a known cost, with noise.
    fn seen(noise: f64) -> Vec<Batch> {
        let mut rng = fastrand::Rng::with_seed(1);
        let mut all = Vec::new();
        for length in [64, 256, 1024, 4096] {
            for _ in 0..200 {
                let mut one = batch(rng.usize(1..=16), length, 0.0);
                let exact = 0.8 + 1.5e-3 * one.tokens as f64 + 4e-7 * one.pairs;
                one.service_ms = exact * (1.0 + noise * (rng.f64() - 0.5));
                all.push(one);
            }
        }
        all
    }

    #[test]
    fn a_known_cost_is_found() {
        let exact = BatchTimeModel::fit(&seen(0.0)).expect("a model");
        assert!((exact.base_ms - 0.8).abs() < 1e-4, "{exact:?}");
        assert!((exact.per_token_us - 1.5).abs() < 1e-4, "{exact:?}");
        assert!((exact.per_token_pair_ns - 0.4).abs() < 1e-4, "{exact:?}");
        assert!(exact.per_sequence_us.abs() < 1e-2 && exact.r2 > 0.999_999, "{exact:?}");
        let noisy = BatchTimeModel::fit(&seen(0.2)).expect("a model");
        assert!((noisy.per_token_us / 1.5 - 1.0).abs() < 0.05, "{noisy:?}");
        assert!((noisy.per_token_pair_ns / 0.4 - 1.0).abs() < 0.05, "{noisy:?}");
        assert!((2.0..10.0).contains(&noisy.error_percent_median), "{noisy:?}");
    }

    #[test]
    fn terms_that_cannot_be_told_apart_do_no_harm() {
        // One length: tokens, pairs and sequences are all multiples of each other.
        let same: Vec<Batch> =
            (0..40).map(|n| batch(n % 8 + 1, 128, 2.0 + (n % 8 + 1) as f64)).collect();
        let model = BatchTimeModel::fit(&same).expect("a model");
        let predicted = model.batch_ms(12.0, 12.0 * 128.0, 12.0 * 128.0 * 128.0);
        assert!((predicted - 14.0).abs() < 1e-3, "{model:?}");
        assert_eq!(BatchTimeModel::fit(&same[..7]), None);
    }

    #[test]
    fn a_loop_of_known_rate_is_predicted() {
        let model = BatchTimeModel {
            base_ms: 2.0,
            per_token_us: 10.0,
            per_token_pair_ns: 0.0,
            per_sequence_us: 0.0,
            batches: 8,
            r2: 1.0,
            error_percent_median: 0.0,
        };
        let outside = Outside { fixed_ms: 1.0, per_token_us: 0.0 };
        // Alone: 1 ms outside and 3 ms in a batch of 100 tokens.
        let (rate, p50) = closed_loop(&model, outside, 100, 1, 8).expect("a prediction");
        assert!((rate - 250.0).abs() < 1e-6 && (p50 - 4.0).abs() < 1e-6, "{rate} {p50}");
        // Saturated: full batches of 8 in 10 ms; 80 clients wait for ten of them.
        let (rate, p50) = closed_loop(&model, outside, 100, 80, 8).expect("a prediction");
        assert!((rate - 800.0).abs() < 1.0 && (p50 - 100.0).abs() < 1.0, "{rate} {p50}");
    }
}
