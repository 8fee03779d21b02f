//! How throughput grows with concurrency, and what limits the target.
//!
//! - Efficiency at C is the throughput there over C times the throughput at C = 1. It may exceed 1 on a server that
//!   gains by batching.
//! - The bottleneck of a cell is the stage that was busy, not the one in which requests waited: a long queue before a
//!   busy device shows that the device is the limit.
//! - A late generator limits a cell only if the device was idle and no stage of the target took longer than what the
//!   generator can have added to the latency: the time before sending and after the target's answer. Else its delay is
//!   part of the latencies, and the target is the limit all the same.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::records::MeasuredCell;
use super::stage::{Stage, device_span_us};
use crate::figures::Cell;
use crate::figures::estimate::{MatrixPosition, matrix_positions, speedup};

/// A device that is busy for at least this share of the time is the limit.
const BUSY: f64 = 0.85;

/// The scaling findings of a run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Scaling {
    /// Cells of the matrix, ascending by length.
    pub lengths: Vec<LengthScaling>,
    /// The bottleneck of each cell that ran, if the target reports its stages.
    pub bottlenecks: Vec<Bottleneck>,
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

/// The stage that limits a cell.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Bottleneck {
    /// The cell.
    pub cell: usize,
    /// The stage.
    pub stage: Stage,
    /// Share of the mean latency spent in each stage, 0 to 1, in the order of [`Stage::ALL`].
    pub shares: Vec<(Stage, f64)>,
    /// Share of the measured phase in which a batch was on the device, 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_busy: Option<f64>,
    /// The figures that show it, in one clause.
    pub evidence: String,
}

/// The effect of a late load generator on a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GeneratorEffect {
    /// It limited the cell: the target can do more.
    Limited,
    /// It is part of the latencies; this stage of the target limited the cell.
    Delayed(Stage),
    /// The target reports no stages, so that its part in the latencies is not known.
    Unknown,
}

impl Scaling {
    /// Returns the effect of the generator's delay on a cell; `None` if the delay is small.
    pub fn generator_effect(&self, cell: &Cell) -> Option<GeneratorEffect> {
        cell.figures()?.generator.bottleneck.as_ref()?;
        let found = self.bottlenecks.iter().find(|found| found.cell == cell.index);
        Some(match found.map(|found| found.stage) {
            None => GeneratorEffect::Unknown,
            Some(Stage::Generator | Stage::Reply) => GeneratorEffect::Limited,
            Some(stage) => GeneratorEffect::Delayed(stage),
        })
    }
}

/// Computes the findings over the cells that ran.
pub(crate) fn find(ran: &[MeasuredCell]) -> Scaling {
    Scaling { lengths: lengths(ran), bottlenecks: ran.iter().filter_map(bottleneck).collect() }
}

fn lengths(ran: &[MeasuredCell]) -> Vec<LengthScaling> {
    let places = matrix_positions(ran.iter().map(|ran| ran.cell));
    let of_length = |same: &[MatrixPosition<'_>]| LengthScaling {
        tokens: same[0].tokens,
        points: same.iter().filter_map(|place| point(&places, place)).collect(),
    };
    places.chunk_by(|one, next| one.tokens == next.tokens).map(of_length).collect()
}

/// Returns the throughput at a position; `None` if one of several runs answered nothing.
fn point(places: &[MatrixPosition<'_>], place: &MatrixPosition<'_>) -> Option<ScalingPoint> {
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

fn bottleneck(ran: &MeasuredCell) -> Option<Bottleneck> {
    let answered = || ran.measured().filter(|record| record.succeeded());
    let reported: Vec<[u64; 6]> = answered().filter_map(Stage::times_us).collect();
    let sum = |n: usize| reported.iter().map(|times| times[n]).sum::<u64>() as f64;
    let all: f64 = (0..Stage::ALL.len()).map(sum).sum();
    if all == 0.0 {
        return None;
    }
    let shares: Vec<(Stage, f64)> =
        Stage::ALL.into_iter().enumerate().map(|(n, stage)| (stage, sum(n) / all)).collect();
    let device_busy = device_busy(ran);
    let fault = ran.cell.figures().and_then(|figures| figures.generator.bottleneck.as_deref());
    let (stage, evidence) = limit(&shares, device_busy, fault);
    Some(Bottleneck { cell: ran.cell.index, stage, shares, device_busy, evidence })
}

/// Returns the share of the measured phase in which a batch was on the device.
fn device_busy(ran: &MeasuredCell) -> Option<f64> {
    let from = ran.measured().map(|record| record.intended_us).min()?;
    let length = ran.cell.figures()?.measured_seconds * 1e6;
    let spans = batch_spans_us(ran);
    if spans.is_empty() || length <= 0.0 {
        return None;
    }
    let to = from + length as u64;
    let (mut busy, mut until) = (0, from);
    // Spans are in the order of their ends; an overlap counts once.
    for (started, ended) in spans {
        let end = ended.min(to);
        busy += end.saturating_sub(started.max(until));
        until = until.max(end);
    }
    Some((busy as f64 / length).min(1.0))
}

/// Returns when each batch of a cell and of those beside it, of any phase, was on the device, in the order of their
/// ends.
fn batch_spans_us(ran: &MeasuredCell) -> Vec<(u64, u64)> {
    let mut by_id: HashMap<u64, (u64, u64)> = HashMap::new();
    for record in ran.of_group.iter().filter(|record| record.succeeded()) {
        let (Some(batch), Some((from, to))) = (record.batch, device_span_us(record)) else {
            continue;
        };
        // The starts that requests of one batch report differ by the resolution of the clocks; the latest is the
        // most exact.
        let seen = by_id.entry(batch.id).or_insert((from, to));
        *seen = (seen.0.max(from), seen.1.max(to));
    }
    let mut spans: Vec<(u64, u64)> = by_id.into_values().filter(|(from, to)| to > from).collect();
    spans.sort_by_key(|&(from, to)| (to, from));
    spans
}

/// Returns the stage that limits, and the figures that show it. `fault` says why the generator's delay is too large.
fn limit(
    shares: &[(Stage, f64)],
    device_busy: Option<f64>,
    fault: Option<&str>,
) -> (Stage, String) {
    let share = |wanted: Stage| {
        shares.iter().find(|(stage, _)| *stage == wanted).map_or(0.0, |&(_, share)| share)
    };
    let percent = |share: f64| format!("{:.0} %", 100.0 * share);
    if let Some(busy) = device_busy.filter(|&busy| busy >= BUSY) {
        let stage =
            if share(Stage::Copy) > share(Stage::Compute) { Stage::Copy } else { Stage::Compute };
        let evidence = format!(
            "a batch was on the device for {} of the time, mostly in {}; requests spent {} of their \
             latency in the queue",
            percent(busy),
            stage.label(),
            percent(share(Stage::Queue))
        );
        return (stage, evidence);
    }
    let longest = shares.iter().max_by(|one, other| one.1.total_cmp(&other.1));
    let (stage, largest) = longest.copied().unwrap_or((Stage::Compute, 0.0));
    let outside = share(Stage::Generator) + share(Stage::Reply);
    let of_target = |(stage, _): &&(Stage, f64)| !matches!(stage, Stage::Generator | Stage::Reply);
    let most_of_target =
        shares.iter().filter(of_target).map(|&(_, share)| share).fold(0.0, f64::max);
    if let Some(fault) = fault.filter(|_| outside >= most_of_target) {
        let evidence =
            format!("{} of the latency is outside the target, and {fault}", percent(outside));
        return (Stage::Generator, evidence);
    }
    let on_device = matches!(stage, Stage::Copy | Stage::Compute);
    let idle = device_busy.filter(|_| !on_device).map_or_else(String::new, |busy| {
        format!(", while a batch was on the device for only {} of the time", percent(busy))
    });
    let evidence =
        format!("{} of the latency is spent in {}{idle}", percent(largest), stage.label());
    (stage, evidence)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Shares in the order of [`Stage::ALL`]: generator, tokenize, queue, copy, compute, reply.
    fn limiting(shares: [f64; 6], device_busy: f64, fault: Option<&str>) -> Stage {
        let shares: Vec<(Stage, f64)> = Stage::ALL.into_iter().zip(shares).collect();
        limit(&shares, Some(device_busy), fault).0
    }

    #[test]
    fn a_late_generator_does_not_limit_a_busy_device() {
        let shares = [0.4, 0.0, 0.1, 0.0, 0.3, 0.2];
        assert_eq!(limiting(shares, 0.98, Some("late")), Stage::Compute);
        assert_eq!(limiting(shares, 0.5, Some("late")), Stage::Generator);
    }

    #[test]
    fn a_late_generator_limits_only_what_it_can_have_delayed() {
        let tokenizing = [0.0, 0.7, 0.0, 0.0, 0.25, 0.05];
        assert_eq!(limiting(tokenizing, 0.26, Some("late")), Stage::Tokenize);
        let idle = [0.3, 0.1, 0.1, 0.0, 0.2, 0.3];
        assert_eq!(limiting(idle, 0.2, Some("late")), Stage::Generator);
        assert_eq!(limiting([0.1, 0.1, 0.1, 0.0, 0.2, 0.5], 0.2, None), Stage::Reply);
    }
}
