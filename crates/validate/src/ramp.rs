//! What a ramp shows: at which rate a target stops to keep up.
//!
//! The ramp is cut into blocks of equal time. A block is broken if more of its requests failed than
//! the load allows, or if its p95 of latency is beyond the load's limit; where the plan sets no
//! limit it is three times the p95 of the ramp's first tenth. The target broke at the first block
//! that is broken and followed by a broken one, so that one bad moment is not taken for the end.

use serde::{Deserialize, Serialize};

use crate::load::{Phase, RequestRecord};
use crate::plan::Load;
use crate::stats::nearest_rank;

/// Blocks of a ramp.
const BLOCKS: usize = 20;
/// Blocks that set the standard where the plan sets no limit: a tenth of the ramp.
const FIRST: usize = BLOCKS / 10;
/// The limit of latency as a multiple of that standard.
const TIMES: f64 = 3.0;

/// What was measured along a ramp.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ramp {
    /// In order of time.
    pub blocks: Vec<RampBlock>,
    /// The p95 of latency beyond which a block is broken; none if there is no standard for it.
    pub latency_ms_p95_max: Option<f64>,
    /// The share of failed requests beyond which a block is broken.
    pub failure_rate_max: f64,
    /// Where the target broke; none if it kept up to the end.
    pub broke: Option<Broke>,
}

/// One block of a ramp.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RampBlock {
    /// The scheduled rate in its middle.
    pub rate_per_second: f64,
    /// Requests meant to start in it.
    pub requests: usize,
    /// Those that failed.
    pub failures: usize,
    /// 95th percentile of latency over all of them, in milliseconds; none if it falls on a failure
    /// or there are none.
    pub latency_ms_p95: Option<f64>,
}

/// The first rate that was too much.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Broke {
    /// Scheduled rate in the middle of the first broken block.
    pub rate_per_second: f64,
    /// What broke.
    pub what: Broken,
}

/// What broke first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Broken {
    /// Too many requests failed.
    Failures,
    /// Answers came too late.
    Latency,
}

/// Reads a ramp from its records, in order of intended start; none if `load` is no ramp.
pub(crate) fn ramp(load: &Load, records: &[RequestRecord], from_us: u64) -> Option<Ramp> {
    let &Load::Ramp {
        from_per_second,
        to_per_second,
        seconds,
        latency_seconds_p95_max,
        failure_rate_max,
        ..
    } = load
    else {
        return None;
    };
    let mut of_block: Vec<Vec<&RequestRecord>> = vec![Vec::new(); BLOCKS];
    for record in records.iter().filter(|record| record.phase == Phase::Measured) {
        let since = record.intended_us.saturating_sub(from_us) as f64 / 1e6;
        let block = (since / seconds * BLOCKS as f64) as usize;
        of_block[block.min(BLOCKS - 1)].push(record);
    }
    let first: Vec<&RequestRecord> = of_block[..FIRST].concat();
    let latency_ms_p95_max = latency_seconds_p95_max
        .map(|seconds| seconds * 1e3)
        .or(p95_ms(&first).map(|ms| TIMES * ms));
    let block = |(index, requests): (usize, Vec<&RequestRecord>)| {
        let middle = (index as f64 + 0.5) / BLOCKS as f64;
        RampBlock {
            rate_per_second: from_per_second + (to_per_second - from_per_second) * middle,
            requests: requests.len(),
            failures: requests.iter().filter(|record| !record.succeeded()).count(),
            latency_ms_p95: p95_ms(&requests),
        }
    };
    let blocks: Vec<RampBlock> = of_block.into_iter().enumerate().map(block).collect();
    let broken = |block: &RampBlock| {
        let late = |ms: f64| latency_ms_p95_max.is_some_and(|most| ms > most);
        if block.failures as f64 > failure_rate_max * block.requests as f64 {
            Some(Broken::Failures)
        } else {
            block.latency_ms_p95.is_some_and(late).then_some(Broken::Latency)
        }
    };
    let broke = blocks.iter().enumerate().find_map(|(index, block)| {
        let what = broken(block)?;
        let lasts = blocks.get(index + 1).is_none_or(|next| broken(next).is_some());
        lasts.then_some(Broke { rate_per_second: block.rate_per_second, what })
    });
    Some(Ramp { blocks, latency_ms_p95_max, failure_rate_max, broke })
}

/// Nearest-rank p95 with a failure as a latency that never ends.
fn p95_ms(records: &[&RequestRecord]) -> Option<f64> {
    let mut answered: Vec<u64> = records
        .iter()
        .filter(|record| record.succeeded())
        .map(|record| record.latency_us())
        .collect();
    answered.sort_unstable();
    let rank = nearest_rank(0.95, records.len());
    answered.get(rank - 1).map(|&us| us as f64 / 1e3)
}
