//! The tail of latency: p99 / p50, spikes and their stages, and percentiles over time.
//!
//! A request is a spike if its latency exceeds the median by eight median absolute deviations and by half of the
//! median. Both are robust, so spikes do not hide themselves; the second spares a very steady server. The stage of a
//! spike is the one that exceeded its own median in the cell by most.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::records::MeasuredCell;
use super::stage::Stage;
use crate::figures::Figures;
use crate::load::RequestRecord;
use crate::stats::{Interval, PercentileFigure, lower_middle, nearest_rank};
use crate::system::BatchRef;

/// Median absolute deviations beyond the median that make a spike.
const SPIKE_DEVIATIONS: f64 = 8.0;
/// Share of the median beyond it that a spike has at least.
const SPIKE_SHARE: f64 = 0.5;
/// Most windows of a heat map, and fewest requests that a window has on average.
const WINDOWS_MAX: usize = 60;
const WINDOW_REQUESTS: usize = 20;
/// Rows of a heat map.
const HEAT_LEVELS: [f64; 8] = [0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 1.0];

/// The latency findings of each cell that ran.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct LatencyFindings {
    /// In the order run.
    pub cells: Vec<CellLatency>,
}

/// Latency of one cell, over its measured successes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CellLatency {
    /// The cell.
    pub cell: usize,
    /// p99 / p50; `None` without answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tail_ratio: Option<TailRatio>,
    /// Its spikes.
    pub spikes: Spikes,
    /// Its percentiles over time.
    pub heat: HeatMap,
}

/// The ratio p99 / p50.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct TailRatio {
    /// The ratio of the nearest-rank values.
    pub ratio: f64,
    /// Whether the sample supports only a level below 99 %; `ratio` is then that level's, a lower bound.
    pub at_least: bool,
    /// 95 % interval within the run, from the ends of both percentiles' intervals; at least as wide as needed.
    pub interval: Interval,
}

/// Requests far above the median latency of their cell.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Spikes {
    /// Latency beyond which a request is a spike, in milliseconds: the median plus a multiple of
    /// the median absolute deviation.
    pub threshold_ms: f64,
    /// Requests beyond the threshold.
    pub count: usize,
    /// The longest of them, at most [`SPIKES_MAX`] and one of each batch, longest first.
    pub longest: Vec<Spike>,
}

/// Most spikes that a cell lists.
pub const SPIKES_MAX: usize = 20;

/// One spike.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Spike {
    /// Intended start, in milliseconds since the start of the run.
    pub at_ms: f64,
    /// Milliseconds.
    pub latency_ms: f64,
    /// Tokens of the request.
    pub tokens: usize,
    /// The client that sent it.
    pub client: usize,
    /// Its number within the cell.
    pub ordinal: u64,
    /// The batch that carried it, if the target reports batches.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch: Option<BatchRef>,
    /// Spikes in the same batch, this one included.
    pub in_batch: usize,
    /// The stage that exceeded its median in the cell by most, if the target reports stages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stage: Option<Stage>,
    /// Time in that stage beyond the stage's median, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub excess_ms: Option<f64>,
}

/// Percentiles of latency over time.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct HeatMap {
    /// The levels of each row, ascending; 1 is the maximum.
    pub levels: Vec<f64>,
    /// One per window of time that has requests, in order.
    pub windows: Vec<HeatWindow>,
}

/// One window of time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HeatWindow {
    /// Start, in milliseconds since the start of the run.
    pub from_ms: f64,
    /// End.
    pub to_ms: f64,
    /// Requests whose intended start lies in it.
    pub requests: usize,
    /// Latency at each level, in milliseconds.
    pub latency_ms: Vec<f64>,
}

/// Returns one entry per cell that ran.
pub(crate) fn find(ran: &[MeasuredCell]) -> LatencyFindings {
    let cells = ran.iter().filter_map(|ran| {
        let answered: Vec<&RequestRecord> =
            ran.measured().filter(|record| record.succeeded()).collect();
        Some(CellLatency {
            cell: ran.cell.index,
            tail_ratio: tail_ratio(ran.cell.figures()?),
            spikes: spikes(&answered),
            heat: heat(&answered),
        })
    });
    LatencyFindings { cells: cells.collect() }
}

/// Returns p99 / p50 of a cell; `None` without answers.
pub(crate) fn tail_ratio(figures: &Figures) -> Option<TailRatio> {
    let (p50, p99) = (&figures.latency.p50, &figures.latency.p99);
    let median = p50.nearest_rank_ms.filter(|&ms| ms > 0.0)?;
    let (tail, at_least) = match p99.shown {
        PercentileFigure::Exactly { ms } => (ms, false),
        PercentileFigure::AtLeast { ms, .. } => (ms, true),
        PercentileFigure::NotReached | PercentileFigure::NoData => return None,
    };
    let over =
        |tail: Option<f64>, median: Option<f64>| Some(tail? / median.filter(|&ms| ms > 0.0)?);
    let interval = Interval {
        low: over(p99.interval_ms.low, p50.interval_ms.high),
        high: over(p99.interval_ms.high, p50.interval_ms.low),
    };
    Some(TailRatio { ratio: tail / median, at_least, interval })
}

fn spikes(answered: &[&RequestRecord]) -> Spikes {
    let latency = |record: &RequestRecord| record.latency_us();
    let Some(median) = lower_middle(answered.iter().map(|record| latency(record)), u64::cmp) else {
        return Spikes::default();
    };
    let deviations = answered.iter().map(|record| latency(record).abs_diff(median));
    let deviation = lower_middle(deviations, u64::cmp).unwrap_or(0);
    let beyond = (SPIKE_DEVIATIONS * deviation as f64).max(SPIKE_SHARE * median as f64);
    let threshold = median as f64 + beyond;
    let mut found: Vec<&RequestRecord> =
        answered.iter().copied().filter(|record| latency(record) as f64 > threshold).collect();
    found.sort_by_key(|record| (std::cmp::Reverse(latency(record)), record.ordinal));
    let mut in_batch: HashMap<u64, usize> = HashMap::new();
    for batch in found.iter().filter_map(|record| record.batch) {
        *in_batch.entry(batch.id).or_insert(0) += 1;
    }
    let medians = median_stages(answered);
    let mut seen = std::collections::HashSet::new();
    let longest = found
        .iter()
        .filter(|record| record.batch.is_none_or(|batch| seen.insert(batch.id)))
        .take(SPIKES_MAX)
        .map(|record| spike(record, medians, &in_batch))
        .collect();
    Spikes { threshold_ms: threshold / 1e3, count: found.len(), longest }
}

fn spike(
    record: &RequestRecord,
    medians: Option<[u64; 6]>,
    in_batch: &HashMap<u64, usize>,
) -> Spike {
    let excess = Stage::times_us(record).zip(medians).and_then(|(times, medians)| {
        let beyond = |n: usize| times[n].saturating_sub(medians[n]);
        (0..times.len()).max_by_key(|&n| beyond(n)).map(|n| (Stage::ALL[n], beyond(n)))
    });
    Spike {
        at_ms: record.intended_us as f64 / 1e3,
        latency_ms: record.latency_us() as f64 / 1e3,
        tokens: record.tokens,
        client: record.client,
        ordinal: record.ordinal,
        batch: record.batch,
        in_batch: record.batch.map_or(1, |batch| in_batch[&batch.id]),
        stage: excess.map(|(stage, _)| stage),
        excess_ms: excess.map(|(_, us)| us as f64 / 1e3),
    }
}

/// Returns the median of each stage; `None` if the target reports none.
fn median_stages(answered: &[&RequestRecord]) -> Option<[u64; 6]> {
    let reported: Vec<[u64; 6]> =
        answered.iter().filter_map(|record| Stage::times_us(record)).collect();
    let mut medians = [0; 6];
    for (n, median) in medians.iter_mut().enumerate() {
        *median = lower_middle(reported.iter().map(|times| times[n]), u64::cmp)?;
    }
    Some(medians)
}

fn heat(answered: &[&RequestRecord]) -> HeatMap {
    let starts = || answered.iter().map(|record| record.intended_us);
    let (Some(from), Some(to)) = (starts().min(), starts().max()) else {
        return HeatMap::default();
    };
    let count = (answered.len() / WINDOW_REQUESTS).clamp(1, WINDOWS_MAX);
    let width = ((to - from) / count as u64 + 1).max(1);
    let mut windows: Vec<Vec<u64>> = vec![Vec::new(); count];
    for record in answered {
        windows[((record.intended_us - from) / width) as usize].push(record.latency_us());
    }
    let filled = windows.into_iter().enumerate().filter(|(_, window)| !window.is_empty());
    let windows = filled.map(|(n, mut latencies)| {
        latencies.sort_unstable();
        let at = |level: f64| latencies[nearest_rank(level, latencies.len()) - 1] as f64 / 1e3;
        HeatWindow {
            from_ms: (from + n as u64 * width) as f64 / 1e3,
            to_ms: (from + (n as u64 + 1) * width) as f64 / 1e3,
            requests: latencies.len(),
            latency_ms: HEAT_LEVELS.into_iter().map(at).collect(),
        }
    });
    HeatMap { levels: HEAT_LEVELS.to_vec(), windows: windows.collect() }
}
