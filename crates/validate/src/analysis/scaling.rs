//! How throughput grows with concurrency, what a batch costs, and what limits the target.
//!
//! - Efficiency at C is the throughput there over C times the throughput at C = 1. A server that
//!   gains by batching may exceed 1.
//! - The time of a batch is modelled as `a + b tokens + c sum S^2 + d sequences`, no term negative:
//!   a launch cost, work per token, attention over pairs of tokens, work per sequence.
//! - The model is only worth what it predicts: each cell is left out in turn, the model fitted to
//!   the others, the cell's closed loop simulated with it, and the error printed.
//! - The bottleneck of a cell is what was busy, not where requests waited: a long queue before a
//!   busy device says that the device is the limit, before an idle one that handing over is.

use serde::{Deserialize, Serialize};

use super::batch_time::{Batch, Outside, batches, closed_loop};
use super::records::Ran;
use super::stage::Stage;
use crate::figures::estimate::{Place, places, speedup};
use crate::load::RequestRecord;
use crate::stats::trend::median;
use crate::system::TargetInfo;

/// A device that is busy for at least this share of the time is the limit.
const BUSY: f64 = 0.85;
/// Fewest successes, as a share, of a cell that is predicted.
const SUCCESS_MIN: f64 = 0.99;

/// What scaling comes to.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Scaling {
    /// Cells of the matrix, ascending by length.
    pub lengths: Vec<LengthScaling>,
    /// What limits each cell that ran, where the target tells its stages.
    pub bottlenecks: Vec<Bottleneck>,
    /// What a batch costs, where the target tells its batches.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch_time: Option<BatchTimeModel>,
    /// What the model predicts of cells that it was not fitted to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held_out: Option<HeldOut>,
}

/// Throughput of one length at each concurrency.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LengthScaling {
    /// Tokens of each request.
    pub tokens: usize,
    /// Ascending by concurrency; of several runs the geometric mean, without the repeat that shows drift.
    pub points: Vec<ScalingPoint>,
}

/// Throughput at one concurrency.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScalingPoint {
    /// The cells it comes from.
    pub cells: Vec<usize>,
    /// Closed-loop clients.
    pub concurrency: usize,
    /// Answers per second.
    pub requests_per_second: f64,
    /// Their tokens per second.
    pub tokens_per_second: f64,
    /// Throughput over that at C = 1, where that was run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub speedup: Option<f64>,
    /// The speedup over C.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub efficiency: Option<f64>,
}

/// What limits a cell.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Bottleneck {
    /// The cell.
    pub cell: usize,
    /// The stage that limits it.
    pub stage: Stage,
    /// Share of the mean latency spent in each stage, 0 to 1, in the order of [`Stage::ALL`].
    pub shares: Vec<(Stage, f64)>,
    /// Share of the measured phase in which a batch was on the device, 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_busy: Option<f64>,
    /// Why this stage, in one sentence with its figures.
    pub evidence: String,
}

/// `base_ms + per_token_us tokens + per_token_pair_ns sum S^2 + per_sequence_us sequences`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct BatchTimeModel {
    /// Milliseconds of any batch.
    pub base_ms: f64,
    /// Microseconds for each token.
    pub per_token_us: f64,
    /// Nanoseconds for each pair of tokens of one sequence.
    pub per_token_pair_ns: f64,
    /// Microseconds for each sequence.
    pub per_sequence_us: f64,
    /// Batches it was fitted to.
    pub batches: usize,
    /// Share of the variance of batch times that it explains, 0 to 1.
    pub r2: f64,
    /// Median of the errors over the batches it was fitted to, in percent of the batch's time.
    pub error_percent_median: f64,
}

/// What the model said of cells that it had not seen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HeldOut {
    /// One for each cell that was left out: closed loops of one length with next to no failures.
    pub cells: Vec<HeldOutCell>,
    /// Median of the errors of throughput, in percent of what was measured.
    pub error_percent_median: f64,
    /// The largest of them.
    pub error_percent_max: f64,
    /// Median of the errors of median latency.
    pub latency_error_percent_median: f64,
    /// The largest of them.
    pub latency_error_percent_max: f64,
}

/// One cell, predicted and measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HeldOutCell {
    /// The cell.
    pub cell: usize,
    /// Answers per second.
    pub requests_per_second: Predicted,
    /// Median latency in milliseconds.
    pub latency_ms_p50: Predicted,
}

/// A prediction beside its measurement.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Predicted {
    /// What the model says.
    pub predicted: f64,
    /// What was measured.
    pub measured: f64,
    /// The difference without its sign, in percent of what was measured.
    pub error_percent: f64,
}

/// What scaling comes to, over the cells that ran.
pub(crate) fn find(ran: &[Ran], target: &TargetInfo) -> Scaling {
    let seen: Vec<Vec<Batch>> = ran.iter().map(batches).collect();
    let all: Vec<Batch> = seen.iter().flatten().copied().collect();
    Scaling {
        lengths: lengths(ran),
        bottlenecks: ran
            .iter()
            .zip(&seen)
            .filter_map(|(ran, seen)| bottleneck(ran, seen))
            .collect(),
        batch_time: BatchTimeModel::fit(&all),
        held_out: held_out(ran, &seen, target),
    }
}

/// The length and the clients of a closed loop of one fixed length.
fn place(ran: &Ran) -> Option<(usize, usize)> {
    Some((ran.cell.spec.tokens()?, ran.cell.spec.concurrency()?))
}

fn lengths(ran: &[Ran]) -> Vec<LengthScaling> {
    let places = places(ran.iter().map(|ran| ran.cell));
    let of_length = |same: &[Place<'_>]| LengthScaling {
        tokens: same[0].tokens,
        points: same.iter().filter_map(|place| point(&places, place)).collect(),
    };
    places.chunk_by(|one, next| one.tokens == next.tokens).map(of_length).collect()
}

/// None where a run of several answered nothing, so that they have no mean.
fn point(places: &[Place<'_>], place: &Place<'_>) -> Option<ScalingPoint> {
    let requests_per_second = place.requests_per_second().value?;
    let speedup = speedup(places, place, requests_per_second);
    Some(ScalingPoint {
        cells: place.cells.iter().map(|(cell, _)| cell.index).collect(),
        concurrency: place.concurrency,
        requests_per_second,
        tokens_per_second: place.tokens_per_second().value?,
        speedup,
        efficiency: speedup.map(|speedup| speedup / place.concurrency as f64),
    })
}

fn bottleneck(ran: &Ran, seen: &[Batch]) -> Option<Bottleneck> {
    let answered = || ran.measured().filter(|record| record.succeeded());
    let told: Vec<[u64; 6]> = answered().filter_map(Stage::times_us).collect();
    let sum = |n: usize| told.iter().map(|times| times[n]).sum::<u64>() as f64;
    let all: f64 = (0..Stage::ALL.len()).map(sum).sum();
    if all == 0.0 {
        return None;
    }
    let shares: Vec<(Stage, f64)> =
        Stage::ALL.into_iter().enumerate().map(|(n, stage)| (stage, sum(n) / all)).collect();
    let device_busy = device_busy(ran, seen);
    let (stage, evidence) = limit(&shares, device_busy);
    Some(Bottleneck { cell: ran.cell.index, stage, shares, device_busy, evidence })
}

/// Share of the measured phase in which a batch was on the device.
fn device_busy(ran: &Ran, seen: &[Batch]) -> Option<f64> {
    let from = ran.measured().map(|record| record.intended_us).min()?;
    let length = ran.cell.figures()?.measured_seconds * 1e6;
    if seen.is_empty() || length <= 0.0 {
        return None;
    }
    let to = from + length as u64;
    let (mut busy, mut until) = (0, from);
    // In the order in which they end; what overlaps counts once.
    for batch in seen {
        let end = batch.to_us.min(to);
        busy += end.saturating_sub(batch.from_us.max(until));
        until = until.max(end);
    }
    Some((busy as f64 / length).min(1.0))
}

/// The stage that limits, and why.
fn limit(shares: &[(Stage, f64)], device_busy: Option<f64>) -> (Stage, String) {
    let share = |wanted: Stage| {
        shares.iter().find(|(stage, _)| *stage == wanted).map_or(0.0, |&(_, share)| share)
    };
    let percent = |share: f64| format!("{:.0} %", 100.0 * share);
    if let Some(busy) = device_busy.filter(|&busy| busy >= BUSY) {
        let stage =
            if share(Stage::Copy) > share(Stage::Compute) { Stage::Copy } else { Stage::Compute };
        let evidence = format!(
            "a batch was on the device for {} of the time, most of it in {}; {} of the latency is \
             waiting for it",
            percent(busy),
            stage.label(),
            percent(share(Stage::Queue))
        );
        return (stage, evidence);
    }
    let longest = shares.iter().max_by(|one, other| one.1.total_cmp(&other.1));
    let (stage, largest) = longest.copied().unwrap_or((Stage::Compute, 0.0));
    let idle = device_busy.map_or_else(String::new, |busy| {
        format!(", while a batch was on the device for only {} of the time", percent(busy))
    });
    let evidence =
        format!("{} of the latency is spent in {}{idle}", percent(largest), stage.label());
    (stage, evidence)
}

fn held_out(ran: &[Ran], seen: &[Vec<Batch>], target: &TargetInfo) -> Option<HeldOut> {
    let mut cells = Vec::new();
    for (ran_here, _) in ran.iter().zip(seen).filter(|(_, seen)| !seen.is_empty()) {
        let others: Vec<usize> =
            (0..ran.len()).filter(|&n| ran[n].cell.spec != ran_here.cell.spec).collect();
        cells.extend(predict(ran_here, &others, ran, seen, target));
    }
    let errors = |of: fn(&HeldOutCell) -> Predicted| {
        let mut errors: Vec<f64> = cells.iter().map(|cell| of(cell).error_percent).collect();
        errors.sort_by(f64::total_cmp);
        Some((median(&errors), *errors.last()?))
    };
    if cells.is_empty() {
        return None;
    }
    let (error_percent_median, error_percent_max) = errors(|cell| cell.requests_per_second)?;
    let (latency_error_percent_median, latency_error_percent_max) =
        errors(|cell| cell.latency_ms_p50)?;
    Some(HeldOut {
        cells,
        error_percent_median,
        error_percent_max,
        latency_error_percent_median,
        latency_error_percent_max,
    })
}

/// What the other cells say of this one.
fn predict(
    ran_here: &Ran,
    others: &[usize],
    ran: &[Ran],
    seen: &[Vec<Batch>],
    target: &TargetInfo,
) -> Option<HeldOutCell> {
    let (tokens, concurrency) = place(ran_here)?;
    let figures = ran_here.cell.figures()?;
    // The loop that is simulated has no failures and no pauses after them.
    figures.success_rate().filter(|&rate| rate >= SUCCESS_MIN)?;
    let fitted: Vec<Batch> = others.iter().flat_map(|&n| &seen[n]).copied().collect();
    let model = BatchTimeModel::fit(&fitted)?;
    let records = others.iter().flat_map(|&n| ran[n].measured());
    let outside = Outside::fit(records.filter(|record: &&RequestRecord| record.succeeded()))?;
    // A target that does not tell how much it packs has shown how much it did.
    let shown = fitted.iter().map(|batch| batch.tokens).max()?;
    let batch_tokens = target.max_batch_tokens.unwrap_or(shown);
    let (rate, p50) = closed_loop(&model, outside, tokens, concurrency, batch_tokens / tokens)?;
    let compare = |predicted: f64, measured: f64| Predicted {
        predicted,
        measured,
        error_percent: 100.0 * (predicted / measured - 1.0).abs(),
    };
    let measured_rate = Some(figures.requests_per_second).filter(|&rate| rate > 0.0)?;
    let measured_p50 = figures.latency.p50.nearest_rank_ms.filter(|&ms| ms > 0.0)?;
    Some(HeldOutCell {
        cell: ran_here.cell.index,
        requests_per_second: compare(rate, measured_rate),
        latency_ms_p50: compare(p50, measured_p50),
    })
}
