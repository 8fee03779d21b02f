//! The rate of a ramp at which a target no longer keeps up.
//!
//! The ramp is cut into blocks of equal time. A block is broken if more of its requests failed than
//! the load allows, or if its p95 of latency is beyond the load's limit; where the plan sets no
//! limit it is three times the p95 of the ramp's first tenth. A p95 that falls on a failure is beyond any limit. The
//! breaking point is the first broken block that is followed by another, so that a single bad moment does not count.
//! Blocks without requests, such as those of a ramp that was cut short, are skipped.

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

/// The blocks of a ramp and its breaking point.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ramp {
    /// In order of time.
    pub blocks: Vec<RampBlock>,
    /// The p95 of latency beyond which a block is broken; none if there is no standard for it.
    pub latency_ms_p95_max: Option<f64>,
    /// The share of failed requests beyond which a block is broken.
    pub failure_rate_max: f64,
    /// The breaking point; `None` if the target kept up to the end or to the cell's time limit.
    pub broke: Option<Breakpoint>,
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

/// The first rate that the target did not keep.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Breakpoint {
    /// Scheduled rate in the middle of the first broken block.
    pub rate_per_second: f64,
    /// The limit that it is beyond.
    #[serde(rename = "what")]
    pub cause: BreakCause,
}

/// The limit that a broken block exceeds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BreakCause {
    /// Too many requests failed.
    Failures,
    /// Answers came too late.
    Latency,
}

/// Computes a ramp from its records, in order of intended start; `None` if `load` is no ramp.
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
            Some(BreakCause::Failures)
        } else {
            block.latency_ms_p95.is_none_or(late).then_some(BreakCause::Latency)
        }
    };
    let loaded: Vec<&RampBlock> = blocks.iter().filter(|block| block.requests > 0).collect();
    let broke = loaded.iter().enumerate().find_map(|(index, block)| {
        let cause = broken(block)?;
        let lasts = loaded.get(index + 1).is_none_or(|next| broken(next).is_some());
        lasts.then_some(Breakpoint { rate_per_second: block.rate_per_second, cause })
    });
    Some(Ramp { blocks, latency_ms_p95_max, failure_rate_max, broke })
}

/// Returns the nearest-rank p95 with a failure as a latency that never ends.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Arrival;
    use crate::system::FailureKind;

    /// Twenty requests in each of the first `blocks` seconds of a ramp of twenty, one a block; of each block
    /// `failed` say how many failed and how long the others took, in milliseconds.
    fn of(blocks: u64, failure_rate_max: f64, law: impl Fn(u64) -> (u64, u64)) -> Ramp {
        let load = Load::Ramp {
            from_per_second: 10.0,
            to_per_second: 30.0,
            seconds: 20.0,
            arrival: Arrival::Constant,
            latency_seconds_p95_max: Some(0.1),
            failure_rate_max,
        };
        let record = |n: u64| {
            let (failed, ms) = law(n / 20);
            RequestRecord {
                cell: 0,
                client: 0,
                ordinal: n,
                phase: Phase::Measured,
                tokens: 8,
                intended_us: n * 50_000,
                sent_us: n * 50_000,
                ended_us: n * 50_000 + ms * 1000,
                failure: (n % 20 < failed).then_some(FailureKind::Refused),
                message: None,
                stages: None,
                batch: None,
            }
        };
        let records: Vec<RequestRecord> = (0..blocks * 20).map(record).collect();
        ramp(&load, &records, 0).expect("a ramp")
    }

    #[test]
    fn a_break_in_the_last_block_that_has_requests_counts() {
        let late_from = |from: u64| move |block: u64| (0, if block >= from { 500 } else { 10 });
        assert_eq!(of(20, 0.01, late_from(99)).broke, None);
        for blocks in [20, 12] {
            let broke = of(blocks, 0.01, late_from(blocks - 1)).broke.expect("it broke");
            assert_eq!(broke.cause, BreakCause::Latency, "{blocks}");
        }
        // One bad moment is not the end, whether or not the ramp was cut after it.
        assert_eq!(of(12, 0.01, |block| (0, if block == 5 { 500 } else { 10 })).broke, None);
    }

    #[test]
    fn a_p95_that_is_never_reached_is_late() {
        // A tenth fails, which this load allows.
        let broke = of(20, 0.5, |block| (if block >= 10 { 2 } else { 0 }, 10)).broke;
        assert_eq!(broke.map(|broke| broke.cause), Some(BreakCause::Latency));
        assert_eq!(of(20, 0.5, |_| (1, 10)).broke, None, "a twentieth leaves the p95");
    }
}
