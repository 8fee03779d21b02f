//! Compares latency after an axis with latency before it: a ratio with its interval, from two samples of
//! requests sent one after another.
//!
//! The estimator is the median of all pairwise differences (Hodges and Lehmann 1963); its interval comes
//! from the distribution of Mann and Whitney's statistic (normal approximation). The only assumption is
//! that one distribution is the other, shifted; on logarithms a shift is a ratio. A single slow request,
//! such as the first after a start, has little influence; the slowest is reported beside the ratio.

use crate::analysis::edge::{EdgeAxis, Recovery, RecoveryVerdict};
use crate::stats::{interval::Z, mean_of_middles};

/// Compares latencies in milliseconds as one round of zero seconds. `failed` requests of the second sample
/// have no latency.
pub(super) fn compare(
    axis: EdgeAxis,
    before_ms: &[f64],
    after_ms: &[f64],
    failed: usize,
    ratio_normal_max: f64,
) -> Recovery {
    let shift = log_shift(before_ms, after_ms);
    let verdict = match shift {
        _ if failed > 0 => RecoveryVerdict::No,
        Some((_, least, _)) if least.exp() > ratio_normal_max => RecoveryVerdict::No,
        Some((_, _, most)) if most.exp() <= ratio_normal_max => RecoveryVerdict::Yes,
        _ => RecoveryVerdict::Inconclusive,
    };
    Recovery {
        axis,
        requests: after_ms.len() + failed,
        failed,
        before_ms_p50: median(before_ms).unwrap_or(0.0),
        after_ms_p50: median(after_ms),
        after_ms_max: after_ms.iter().copied().max_by(f64::total_cmp),
        ratio: shift.map(|(middle, ..)| middle.exp()),
        ratio_interval: shift.map(|(_, least, most)| (least.exp(), most.exp())),
        ratio_normal_max,
        verdict,
        rounds: 1,
        seconds: 0.0,
    }
}

/// Returns the shift of the logarithms from `before` to `after`, and its 95 % interval: (shift, low, high).
fn log_shift(before: &[f64], after: &[f64]) -> Option<(f64, f64, f64)> {
    let (n, m) = (before.len() as f64, after.len() as f64);
    // A latency below the clock's resolution counts as 1 µs, since zero has no logarithm.
    let log = |ms: &f64| ms.max(1e-3).ln();
    let pairs = after.iter().flat_map(|a| before.iter().map(move |b| log(a) - log(b)));
    let mut pairs: Vec<f64> = pairs.collect();
    pairs.sort_by(f64::total_cmp);
    let outside = n * m / 2.0 - Z * (n * m * (n + m + 1.0) / 12.0).sqrt();
    if outside < 1.0 {
        return None;
    }
    let outside = outside.floor() as usize;
    Some((mean_of_middles(&pairs), pairs[outside - 1], pairs[pairs.len() - outside]))
}

fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    (!sorted.is_empty()).then(|| mean_of_middles(&sorted))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn latencies(random: &mut fastrand::Rng, factor: f64) -> Vec<f64> {
        (0..30).map(|_| factor * (10.0 + 2.0 * random.f64())).collect()
    }

    fn verdict(factor: f64, failed: usize) -> RecoveryVerdict {
        let mut random = fastrand::Rng::with_seed(1);
        let (before, after) = (latencies(&mut random, 1.0), latencies(&mut random, factor));
        compare(EdgeAxis::Tokens, &before, &after, failed, 1.25).verdict
    }

    #[test]
    fn normal_slow_and_unclear_are_distinguished() {
        assert_eq!(verdict(1.0, 0), RecoveryVerdict::Yes);
        assert_eq!(
            verdict(1.1, 0),
            RecoveryVerdict::Yes,
            "slower, but shown to be within the margin"
        );
        assert_eq!(verdict(1.25, 0), RecoveryVerdict::Inconclusive);
        assert_eq!(verdict(1.5, 0), RecoveryVerdict::No);
        assert_eq!(verdict(1.0, 1), RecoveryVerdict::No, "a request failed");
        let few = compare(EdgeAxis::Tokens, &[10.0, 11.0], &[10.0, 11.0], 0, 1.25);
        assert_eq!((few.verdict, few.ratio_interval), (RecoveryVerdict::Inconclusive, None));
    }

    #[test]
    fn intervals_cover_the_true_ratio_as_often_as_they_say() {
        // One generator: streams of neighbouring seeds resemble each other.
        let mut random = fastrand::Rng::with_seed(1);
        let covered = (0..1000).filter(|_| {
            let (before, after) = (latencies(&mut random, 1.0), latencies(&mut random, 1.1));
            let (_, least, most) = log_shift(&before, &after).expect("enough");
            (least..=most).contains(&1.1f64.ln())
        });
        let covered = covered.count();
        assert!((930..=970).contains(&covered), "{covered} of 1000");
    }
}
