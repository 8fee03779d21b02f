//! Finds where the steady part of a measured phase begins.
//!
//! The warm-up of a plan may be too short, so the phase after it is checked. The phase is cut into blocks; the
//! series of their median latencies, and in a closed loop of their answers, are truncated by MSER (White, "An
//! effective truncation heuristic for bias reduction in simulation output", 1997): the cut with the smallest
//! squared error of the mean of the rest. Four rules keep it from flattering a target:
//!
//! - blocks are medians, smoothed over five neighbours, so a spike is no reason to cut;
//! - a beginning goes only if it differs from the rest by more than a tenth and by more than blocks
//!   of the rest differ among themselves, from its first block on; a bad stretch in the middle stays
//!   in the figures;
//! - a cut in the second half means that nothing steady was found. Then nothing is cut, and the
//!   cell is "not steady";
//! - a failed request is never cut: where the beginning has one, the cell is "not steady" too, or a
//!   target that refuses what comes first would seem to answer everything.

use serde::{Deserialize, Serialize};

use crate::load::{Phase, RequestRecord};
use crate::stats::lower_middle;

/// Most blocks of a phase.
const BLOCKS_MAX: usize = 40;
/// Fewest blocks in which a beginning can be distinguished from the rest.
const BLOCKS_MIN: usize = 8;
/// Fewest requests of a block.
const BLOCK_REQUESTS: usize = 5;
/// What remains after a cut is never less than this many blocks.
const REST_MIN: usize = 5;
/// Smaller differences between the beginning and the rest are no reason to cut.
const MATERIAL: f64 = 0.1;
/// The same in standard deviations of a block of the rest.
const DEVIATIONS: f64 = 2.0;
/// The standard deviation of a normal distribution over its median absolute deviation.
const SIGMA_PER_MAD: f64 = 1.4826;

/// The steady part of a cell.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Steady {
    /// A steady part exists; figures are computed from it alone.
    Found {
        /// Requests of the measured phase before it, excluded from every figure.
        excluded_requests: usize,
        /// Their duration, in seconds.
        excluded_seconds: f64,
    },
    /// No steady part; figures are over the whole phase and hold for this run only.
    NotSteady {
        /// The series that did not settle.
        reason: String,
    },
    /// The load has no steady part to look for.
    NotSought {
        /// The property of the load that rules it out.
        reason: String,
    },
}

/// Finds the steady part of `records`, whose measured phase is `measured_us`. Earlier requests become
/// [`Phase::Settling`], and the start of the phase moves. In a closed loop the rate of answers must settle too.
pub(crate) fn settle(
    records: &mut [RequestRecord],
    measured_us: &mut (u64, u64),
    closed: bool,
) -> Steady {
    let measured: Vec<&RequestRecord> =
        records.iter().filter(|record| record.phase == Phase::Measured).collect();
    let blocks = (measured.len() / BLOCK_REQUESTS).min(BLOCKS_MAX);
    if blocks < BLOCKS_MIN {
        let least = BLOCKS_MIN * BLOCK_REQUESTS;
        return Steady::NotSought {
            reason: format!("a steady part needs at least {least} requests"),
        };
    }
    let mut from_us = measured_us.0;
    let latency = latencies(&measured, blocks);
    match beginning(&latency) {
        Transient::Cut(cut) => from_us = from_us.max(block_start(&measured, blocks, cut)),
        Transient::NeverEnds => return not_steady("latency", &latency),
        Transient::None => {}
    }
    if closed {
        let answers = answers(records, *measured_us, blocks);
        match beginning(&answers) {
            Transient::Cut(cut) => {
                let block_us = (measured_us.1 - measured_us.0) / blocks as u64;
                from_us = from_us.max(measured_us.0 + cut as u64 * block_us);
            }
            Transient::NeverEnds => return not_steady("throughput", &answers),
            Transient::None => {}
        }
    }
    let excluded =
        |record: &RequestRecord| record.phase == Phase::Measured && record.intended_us < from_us;
    let failed = records.iter().filter(|record| excluded(record) && !record.succeeded()).count();
    if failed > 0 {
        let reason = format!(
            "the beginning differs from the rest, but {failed} requests failed there, and failures are never excluded"
        );
        return Steady::NotSteady { reason };
    }
    let excluded_seconds = (from_us - measured_us.0) as f64 / 1e6;
    measured_us.0 = from_us;
    let mut excluded_requests = 0;
    for record in records.iter_mut().filter(|record| excluded(record)) {
        record.phase = Phase::Settling;
        excluded_requests += 1;
    }
    Steady::Found { excluded_requests, excluded_seconds }
}

fn not_steady(what: &str, series: &[f64]) -> Steady {
    let half = series.len() / 2;
    let change = median(series[half..].to_vec()) / median(series[..half].to_vec()) - 1.0;
    let percent = change * 100.0;
    let reason = format!(
        "{what} did not settle: its median changed by {percent:+.0} % from the first to the second half of the phase"
    );
    Steady::NotSteady { reason }
}

/// Returns the median latency of the answered requests of each block of equally many requests. A block without answers
/// takes the value before it, the first ones the first value.
fn latencies(measured: &[&RequestRecord], blocks: usize) -> Vec<f64> {
    let block = |block: usize| {
        let (from, to) = (
            block_offset(measured.len(), blocks, block),
            block_offset(measured.len(), blocks, block + 1),
        );
        let answered: Vec<f64> = measured[from..to]
            .iter()
            .filter(|record| record.succeeded())
            .map(|record| record.latency_us() as f64)
            .collect();
        (!answered.is_empty()).then(|| median(answered))
    };
    let medians: Vec<Option<f64>> = (0..blocks).map(block).collect();
    let mut last = medians.iter().copied().flatten().next().unwrap_or_default();
    let filled = |value: Option<f64>| {
        last = value.unwrap_or(last);
        last
    };
    medians.into_iter().map(filled).collect()
}

/// Counts the answers in each block of equal length.
fn answers(records: &[RequestRecord], (from, to): (u64, u64), blocks: usize) -> Vec<f64> {
    let mut counts = vec![0.0; blocks];
    for record in records.iter().filter(|record| record.succeeded()) {
        if record.ended_us > from && record.ended_us <= to {
            let block = (record.ended_us - from - 1) as u128 * blocks as u128;
            counts[(block / u128::from(to - from)) as usize] += 1.0;
        }
    }
    counts
}

fn block_offset(count: usize, blocks: usize, block: usize) -> usize {
    count * block / blocks
}

fn block_start(measured: &[&RequestRecord], blocks: usize, block: usize) -> u64 {
    measured[block_offset(measured.len(), blocks, block)].intended_us
}

/// The initial transient of a series.
#[derive(Debug, PartialEq)]
enum Transient {
    /// There is nothing to cut.
    None,
    /// The steady part begins with this block.
    Cut(usize),
    /// There is no steady part.
    NeverEnds,
}

fn beginning(series: &[f64]) -> Transient {
    let smooth = smoothed(series);
    let cut = mser(&smooth);
    let rest = median(smooth[cut..].to_vec());
    let spread = median(series[cut..].iter().map(|value| (value - rest).abs()));
    let least = (MATERIAL * rest.abs()).max(DEVIATIONS * SIGMA_PER_MAD * spread);
    let material = |value: f64| (value - rest).abs() > least;
    if cut == 0 || !material(smooth[0]) || !material(median(smooth[..cut].to_vec())) {
        Transient::None
    } else if cut > series.len() / 2 {
        Transient::NeverEnds
    } else {
        Transient::Cut(cut)
    }
}

/// Returns the cut with the smallest squared standard error of the mean of the rest.
fn mser(series: &[f64]) -> usize {
    let error = |cut: usize| {
        let rest = &series[cut..];
        let count = rest.len() as f64;
        let mean = rest.iter().sum::<f64>() / count;
        rest.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (count * count)
    };
    let cuts = 0..=series.len().saturating_sub(REST_MIN);
    let least = cuts.map(|cut| (error(cut), cut)).min_by(|one, other| one.0.total_cmp(&other.0));
    least.map_or(0, |(_, cut)| cut)
}

/// Replaces each value by its median with the two neighbours on either side.
fn smoothed(series: &[f64]) -> Vec<f64> {
    let window = |place: usize| {
        let last = (place + 2).min(series.len() - 1);
        median(series[place.saturating_sub(2)..=last].to_vec())
    };
    (0..series.len()).map(window).collect()
}

/// Returns the lower median of at least one value.
fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    lower_middle(values, f64::total_cmp).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One request each 10 ms, with the latency in milliseconds that `law` gives.
    fn records(count: u64, mut law: impl FnMut(u64) -> f64) -> Vec<RequestRecord> {
        let record = |n: u64| RequestRecord {
            cell: 0,
            client: 0,
            ordinal: n,
            phase: Phase::Measured,
            tokens: 8,
            intended_us: n * 10_000,
            sent_us: n * 10_000,
            ended_us: n * 10_000 + (law(n) * 1e3) as u64,
            failure: None,
            message: None,
            stages: None,
            batch: None,
        };
        (0..count).map(record).collect()
    }

    fn found(count: u64, law: impl FnMut(u64) -> f64) -> Steady {
        settle(&mut records(count, law), &mut (0, count * 10_000), false)
    }

    fn excluded(steady: &Steady) -> usize {
        match steady {
            Steady::Found { excluded_requests, .. } => *excluded_requests,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_slow_beginning_is_cut_off_and_what_is_left_is_marked() {
        let mut requests = records(1000, |n| if n < 200 { 60.0 } else { 20.0 });
        let mut span = (0, 10_000_000);
        let steady = settle(&mut requests, &mut span, false);
        assert_eq!(steady, Steady::Found { excluded_requests: 200, excluded_seconds: 2.0 });
        assert_eq!(span, (2_000_000, 10_000_000));
        let settling = |record: &&RequestRecord| record.phase == Phase::Settling;
        assert_eq!(requests.iter().filter(settling).count(), 200);
        assert!(requests[200..].iter().all(|record| record.phase == Phase::Measured));
    }

    #[test]
    fn a_beginning_that_decays_is_cut_too() {
        let mut random = fastrand::Rng::with_seed(3);
        let law = |n: u64| (20.0 + 60.0 * (-(n as f64) / 80.0).exp()) * (0.8 + 0.4 * random.f64());
        let cut = excluded(&found(1000, law));
        assert!((100..=400).contains(&cut), "{cut}");
    }

    #[test]
    fn latency_that_grows_to_the_end_is_not_steady() {
        let Steady::NotSteady { reason } = found(1000, |n| 20.0 + n as f64) else {
            panic!("it is steady");
        };
        assert!(reason.contains("latency did not settle"), "{reason}");
    }

    #[test]
    fn noise_is_hardly_ever_cut() {
        let mut cuts = 0;
        for seed in 0..400 {
            let mut random = fastrand::Rng::with_seed(seed);
            let law = |_| 20.0 - 10.0 * (1.0 - random.f64()).ln();
            cuts += usize::from(!matches!(
                found(1000, law),
                Steady::Found { excluded_requests: 0, .. }
            ));
        }
        assert!(cuts <= 20, "{cuts} of 400");
    }

    #[test]
    fn spikes_and_bad_stretches_stay_in_the_figures() {
        assert_eq!(excluded(&found(1000, |n| if n == 100 { 9000.0 } else { 20.0 })), 0);
        assert_eq!(excluded(&found(1000, |n| if n < 20 { 9000.0 } else { 20.0 })), 0, "one block");
        let stretch = |n| if (200..350).contains(&n) { 90.0 } else { 20.0 };
        assert_eq!(excluded(&found(1000, stretch)), 0);
    }

    #[test]
    fn failures_are_never_cut() {
        // Refused at once, then answered at an even pace: nothing differs but the failures.
        let refused = |requests: &mut [RequestRecord]| {
            requests.iter_mut().for_each(|r| r.failure = Some(crate::system::FailureKind::Refused));
        };
        let mut requests = records(2000, |_| 20.0);
        refused(&mut requests[..400]);
        assert_eq!(excluded(&settle(&mut requests.clone(), &mut (0, 20_000_000), false)), 0);
        // In a closed loop their answers are missing from the throughput, which would cut them.
        let before = requests.clone();
        let mut span = (0, 20_000_000);
        let steady = settle(&mut requests, &mut span, true);
        assert!(matches!(&steady, Steady::NotSteady { reason } if reason.contains("400 requests")));
        assert_eq!((requests, span), (before, (0, 20_000_000)));
        // A slow beginning in which one failed is kept with it.
        let mut requests = records(1000, |n| if n < 200 { 60.0 } else { 20.0 });
        refused(&mut requests[100..101]);
        let steady = settle(&mut requests, &mut (0, 10_000_000), false);
        assert!(matches!(steady, Steady::NotSteady { .. }), "{steady:?}");
        assert!(requests.iter().all(|record| record.phase == Phase::Measured));
    }

    #[test]
    fn throughput_of_a_closed_loop_must_settle_too() {
        // Answers come in twice as fast from the third second on, with the same latency.
        let mut requests = records(1000, |_| 5.0);
        for record in &mut requests {
            let at = record.intended_us;
            let moved = if at < 3_000_000 { at } else { 3_000_000 + (at - 3_000_000) / 2 };
            (record.intended_us, record.ended_us) = (moved, moved + 5000);
        }
        let span = (0, 6_500_000);
        let open = settle(&mut requests.clone(), &mut span.clone(), false);
        assert_eq!(excluded(&open), 0);
        let closed = settle(&mut requests, &mut span.clone(), true);
        assert!((280..=330).contains(&excluded(&closed)), "{closed:?}");
    }

    #[test]
    fn a_handful_of_requests_tells_nothing() {
        assert!(matches!(found(39, |_| 20.0), Steady::NotSought { .. }));
        assert!(matches!(found(40, |_| 20.0), Steady::Found { excluded_requests: 0, .. }));
    }
}
