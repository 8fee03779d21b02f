//! The capacity model: what a closed loop of so many clients gets from the stages of the target, and whether that can
//! be believed.
//!
//! `model` learns the stages from cells: the device's turns by the cost model of the engine, the tokenizer threads,
//! and the rest of a request. `closed_loop` lets clients send to them on a virtual clock. Each position of the matrix
//! is predicted from the others. Only if every throughput and every median latency is within [`TOLERANCE`] of what was
//! measured does the model answer for loads that were not run, and only between the lowest and the highest concurrency
//! that were.

mod closed_loop;
mod model;
mod observed;

use bigbatch_engine::CostModel;
use serde::{Deserialize, Serialize};

use self::closed_loop::{Outcome, simulate};
use self::model::{StageModel, TargetLimits};
use self::observed::ObservedCell;
use super::records::MeasuredCell;
use crate::figures::estimate::{MatrixPosition, matrix_positions};
use crate::system::TargetInfo;

/// Upper limit on the relative error of each prediction of a model that is published.
pub const TOLERANCE: f64 = 0.1;
/// Share of the throughput at the highest concurrency from which a length is saturated.
const SATURATED: f64 = 0.95;
/// Concurrencies that are predicted, besides those that were run.
const CONCURRENCIES: [usize; 12] = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000];

/// The capacity model's check, and its answers if it passed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Capacity {
    /// Each position of the matrix, predicted from the others.
    pub cells: Vec<HeldOutCell>,
    /// The model that was learned from all of them; only if each was predicted within [`TOLERANCE`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<CapacityModel>,
}

/// A position of the matrix, predicted from the others.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct HeldOutCell {
    /// Tokens of each request.
    pub tokens: usize,
    /// Closed-loop clients.
    pub concurrency: usize,
    /// Answers per second.
    pub requests_per_second: Prediction,
    /// Median latency in milliseconds.
    pub latency_ms_p50: Prediction,
}

/// A predicted and a measured figure.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Prediction {
    /// From the other cells; `None` if they don't show what it takes, such as another cell of the same length.
    pub predicted: Option<f64>,
    /// In this cell.
    pub measured: f64,
}

/// A capacity model that predicted each cell of its run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CapacityModel {
    /// Seconds of a batch on the device, with what is done between two.
    pub device: CostModel,
    /// Ascending.
    pub lengths: Vec<LengthCapacity>,
}

/// What the target does with texts of one length.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LengthCapacity {
    /// Tokens of each request.
    pub tokens: usize,
    /// Where more clients bring no more throughput; absent if that is beyond the highest concurrency that was run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub saturation: Option<CapacityPoint>,
    /// Ascending by concurrency.
    pub points: Vec<CapacityPoint>,
}

/// A predicted load.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct CapacityPoint {
    /// Closed-loop clients.
    pub concurrency: usize,
    /// Answers per second.
    pub requests_per_second: f64,
    /// Median latency in milliseconds.
    pub latency_ms_p50: f64,
}

impl Prediction {
    /// Returns predicted over measured - 1; `None` without a prediction.
    pub fn error(&self) -> Option<f64> {
        Some(self.predicted? / self.measured - 1.0)
    }

    fn is_close(&self) -> bool {
        self.error().is_some_and(|error| error.abs() <= TOLERANCE)
    }
}

impl HeldOutCell {
    /// Returns the larger of its two errors without its sign; infinite without a prediction.
    pub fn worst_error(&self) -> f64 {
        let error = |figure: &Prediction| figure.error().map_or(f64::INFINITY, f64::abs);
        error(&self.requests_per_second).max(error(&self.latency_ms_p50))
    }
}

impl Capacity {
    /// Returns the cell that was predicted worst.
    pub fn worst(&self) -> Option<&HeldOutCell> {
        self.cells.iter().max_by(|one, other| one.worst_error().total_cmp(&other.worst_error()))
    }
}

/// A position of the matrix with what its records show.
struct Position {
    tokens: usize,
    concurrency: usize,
    measured: (f64, f64),
    observed: Vec<ObservedCell>,
}

/// Computes the check, and the model if it passes. `None` if the target reports no batches, or fewer than two positions
/// of the matrix were answered.
pub(crate) fn find(ran: &[MeasuredCell], target: &TargetInfo) -> Option<Capacity> {
    let limits = TargetLimits::of(target);
    let places = matrix_positions(ran.iter().map(|ran| ran.cell));
    let positions: Vec<Position> =
        places.iter().filter_map(|place| position(ran, place, limits)).collect();
    let is_reported =
        positions.iter().flat_map(|one| &one.observed).any(|cell| !cell.turns.is_empty());
    if positions.len() < 2 || !is_reported {
        return None;
    }
    let cells: Vec<HeldOutCell> =
        (0..positions.len()).map(|index| held_out(&positions, index, limits)).collect();
    let passed = cells
        .iter()
        .all(|cell| cell.requests_per_second.is_close() && cell.latency_ms_p50.is_close());
    let model = passed.then(|| learn_all(&positions, limits)).flatten();
    Some(Capacity { cells, model })
}

fn position(
    ran: &[MeasuredCell],
    place: &MatrixPosition<'_>,
    limits: TargetLimits,
) -> Option<Position> {
    let requests_per_second = place.requests_per_second().value?;
    let latency_ms = place.percentile(|figures| &figures.latency.p50).value?;
    let of = |index| ran.iter().find(|ran| ran.cell.index == index);
    let observed = place.cells.iter().filter_map(|(cell, _)| of(cell.index));
    Some(Position {
        tokens: place.tokens,
        concurrency: place.concurrency,
        measured: (requests_per_second, latency_ms),
        observed: observed
            .map(|ran| ObservedCell::new(ran, place.tokens, limits.tokenizer_threads))
            .collect(),
    })
}

/// Predicts a position from the others.
fn held_out(positions: &[Position], index: usize, limits: TargetLimits) -> HeldOutCell {
    let Position { tokens, concurrency, measured, .. } = positions[index];
    let others = positions.iter().enumerate().filter(|(other, _)| *other != index);
    let cells: Vec<&ObservedCell> = others.flat_map(|(_, other)| &other.observed).collect();
    let model = StageModel::learn(&cells, tokens, limits);
    let point = model.map(|model| point(&model, concurrency));
    HeldOutCell {
        tokens,
        concurrency,
        requests_per_second: Prediction {
            predicted: point.map(|point| point.requests_per_second),
            measured: measured.0,
        },
        latency_ms_p50: Prediction {
            predicted: point.map(|point| point.latency_ms_p50),
            measured: measured.1,
        },
    }
}

fn point(model: &StageModel, concurrency: usize) -> CapacityPoint {
    let Outcome { requests_per_second, latency_seconds_p50 } = simulate(model, concurrency);
    CapacityPoint { concurrency, requests_per_second, latency_ms_p50: latency_seconds_p50 * 1e3 }
}

fn learn_all(positions: &[Position], limits: TargetLimits) -> Option<CapacityModel> {
    let cells: Vec<&ObservedCell> = positions.iter().flat_map(|one| &one.observed).collect();
    let by_length = positions.chunk_by(|one, next| one.tokens == next.tokens);
    let models: Option<Vec<(StageModel, Vec<usize>)>> = by_length
        .map(|same| {
            let run: Vec<usize> = same.iter().map(|one| one.concurrency).collect();
            Some((StageModel::learn(&cells, same.first()?.tokens, limits)?, run))
        })
        .collect();
    let models = models?;
    Some(CapacityModel {
        device: models.first()?.0.costs,
        lengths: models.iter().map(|(model, run)| length_capacity(model, run)).collect(),
    })
}

/// Predicts concurrencies between the lowest and the highest of those that were run, which ascend.
fn length_capacity(model: &StageModel, run: &[usize]) -> LengthCapacity {
    let (lowest, highest) = (run.first().copied(), run.last().copied());
    let between = |at: &usize| lowest <= Some(*at) && Some(*at) <= highest;
    let mut all: Vec<usize> =
        CONCURRENCIES.into_iter().filter(between).chain(run.iter().copied()).collect();
    all.sort_unstable();
    all.dedup();
    let points: Vec<CapacityPoint> =
        all.into_iter().map(|concurrency| point(model, concurrency)).collect();
    let last = points.last().map_or(0.0, |point| point.requests_per_second);
    let saturated = |point: &&CapacityPoint| point.requests_per_second >= SATURATED * last;
    let saturation =
        points.iter().find(saturated).filter(|first| Some(first.concurrency) < highest);
    LengthCapacity { tokens: model.tokens, saturation: saturation.copied(), points }
}

#[cfg(test)]
mod tests {
    use super::model::tests::Stages;
    use super::observed::Turn;
    use super::*;

    const STAGES: Stages =
        Stages { batch: 2.0, sequence: 1.0, encoding: 1.0, rest: 0.0, batch_max: 8, threads: 9 };

    #[test]
    fn answers_stay_between_the_concurrencies_that_were_run() {
        let concurrencies = |found: &LengthCapacity| -> Vec<usize> {
            found.points.iter().map(|point| point.concurrency).collect()
        };
        let found = length_capacity(&STAGES.learn(), &[4, 40]);
        assert_eq!(concurrencies(&found), [4, 5, 10, 20, 40]);
        // From two full batches on, one of which waits, the device is never idle: 800 per second.
        let saturation = found.saturation.expect("below 40");
        assert_eq!(saturation.concurrency, 20);
        assert!((saturation.requests_per_second / 800.0 - 1.0).abs() < 0.05, "{saturation:?}");
        let found = length_capacity(&STAGES.learn(), &[1, 3]);
        assert_eq!((concurrencies(&found), found.saturation), (vec![1, 2, 3], None));
    }

    #[test]
    fn a_position_is_predicted_without_its_own_times() {
        let mut own = STAGES.observe();
        own.turns = vec![Turn { sequences: 4, seconds: 60e-3 }; 20];
        let position = |concurrency, observed| Position {
            tokens: 100,
            concurrency,
            measured: (1.0, 1.0),
            observed: vec![observed],
        };
        let positions = [position(1, STAGES.observe()), position(4, own)];
        let limits = TargetLimits {
            batch_tokens: Some(800),
            batch_sequences: None,
            tokenizer_threads: Some(9),
        };
        let found = held_out(&positions, 1, limits);
        // Four are encoded together in 1 ms and run together in 6 ms.
        let ms = found.latency_ms_p50.predicted.expect("its length was run");
        assert!((ms - 7.0).abs() < 0.05, "{found:?}");
    }

    #[test]
    fn a_cell_is_as_wrong_as_the_worse_of_its_figures() {
        let figure = |predicted, measured| Prediction { predicted, measured };
        let cell = |rate, latency| HeldOutCell {
            tokens: 64,
            concurrency: 1,
            requests_per_second: rate,
            latency_ms_p50: latency,
        };
        let wrong = cell(figure(Some(105.0), 100.0), figure(Some(8.0), 10.0));
        assert!((wrong.worst_error() - 0.2).abs() < 1e-9);
        assert!(wrong.requests_per_second.is_close() && !wrong.latency_ms_p50.is_close());
        let unknown = cell(figure(None, 100.0), figure(None, 10.0));
        assert!(!unknown.requests_per_second.is_close());
        let capacity = Capacity { cells: vec![wrong, unknown, wrong], model: None };
        assert_eq!(capacity.worst(), Some(&unknown));
    }
}
