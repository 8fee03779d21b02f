//! 95 % intervals of shares and quantiles that assume no shape of the distribution.

use serde::{Deserialize, Serialize};

/// Two-sided 95 % point of the normal distribution.
pub(crate) const Z: f64 = 1.959_963_984_540_054;
/// Probability outside each end of an interval.
const TAIL: f64 = 0.025;

/// An interval. An end that the sample is too small for is `None`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// Lower end, in the figure's unit.
    pub low: Option<f64>,
    /// Upper end, in the figure's unit.
    pub high: Option<f64>,
}

/// Returns Wilson's interval of a share (0 to 1) of `trials`; `None` without trials.
///
/// Wilson (1927), "Probable inference, the law of succession, and statistical inference".
pub fn wilson(share: f64, trials: usize) -> Option<Interval> {
    if trials == 0 {
        return None;
    }
    let n = trials as f64;
    let centre = share + Z * Z / (2.0 * n);
    let half = Z * (share * (1.0 - share) / n + Z * Z / (4.0 * n * n)).sqrt();
    let scale = 1.0 + Z * Z / n;
    let low = ((centre - half) / scale).max(0.0);
    let high = ((centre + half) / scale).min(1.0);
    Some(Interval { low: Some(low), high: Some(high) })
}

/// The ranks in a sorted sample that bound a quantile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RankInterval {
    /// Rank of the lower end, from 1; `None` if the sample is too small.
    pub low: Option<usize>,
    /// Rank of the upper end, from 1; `None` if the sample is too small.
    pub high: Option<usize>,
}

/// Returns the distribution-free interval of the quantile `level` (0 to 1) of `trials` independent values.
///
/// The number of values at or below the true quantile is binomial, so the ranks between which it
/// lies with 97.5 % on each side bound the quantile of any distribution. See David and
/// Nagaraja, "Order Statistics", 3rd edition, section 7.1.
pub fn quantile_ranks(level: f64, trials: usize) -> RankInterval {
    let n = trials;
    let mut below = 0.0;
    let mut low = None;
    let mut high = None;
    let odds = (level / (1.0 - level)).ln();
    let mut ln_mass = n as f64 * (1.0 - level).ln();
    for successes in 0..n {
        below += ln_mass.exp();
        // `below` is now P(at most `successes` values lie below the quantile).
        if below <= TAIL {
            low = Some(successes + 1);
        }
        if below >= 1.0 - TAIL && high.is_none() {
            high = Some(successes + 1);
        }
        ln_mass += odds + ((n - successes) as f64 / (successes + 1) as f64).ln();
    }
    RankInterval { low, high }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wilson_matches_published_values() {
        // Newcombe (1998), table I: 81 of 263 and 0 of 20.
        let one = wilson(81.0 / 263.0, 263).expect("trials");
        assert!((one.low.expect("low") - 0.2553).abs() < 5e-5, "{one:?}");
        assert!((one.high.expect("high") - 0.3662).abs() < 5e-5, "{one:?}");
        let none = wilson(0.0, 20).expect("trials");
        assert_eq!(none.low, Some(0.0));
        assert!((none.high.expect("high") - 0.1611).abs() < 5e-5, "{none:?}");
        assert_eq!(wilson(0.5, 0), None);
    }

    #[test]
    fn quantile_ranks_match_exact_binomial_tables() {
        // Median of 10: ranks 2 and 9 cover 97.9 %; of 100: 40 and 61 cover 96.5 %.
        assert_eq!(quantile_ranks(0.5, 10), RankInterval { low: Some(2), high: Some(9) });
        assert_eq!(quantile_ranks(0.5, 100), RankInterval { low: Some(40), high: Some(61) });
        // An upper end of the p95 needs 0.95^n <= 0.025, so 72 values.
        assert_eq!(quantile_ranks(0.95, 71).high, None);
        assert_eq!(quantile_ranks(0.95, 72).high, Some(72));
        assert_eq!(quantile_ranks(0.95, 0), RankInterval { low: None, high: None });
    }

    #[test]
    fn large_samples_do_not_lose_the_tail() {
        let ranks = quantile_ranks(0.99, 200_000);
        let spread = Z * (200_000.0f64 * 0.99 * 0.01).sqrt();
        let low = ranks.low.expect("low") as f64;
        let high = ranks.high.expect("high") as f64;
        assert!((low - (198_000.0 - spread)).abs() < 3.0, "{low}");
        assert!((high - (198_000.0 + spread)).abs() < 3.0, "{high}");
    }

    #[test]
    fn the_interval_of_a_p95_covers_it() {
        let mut rng = fastrand::Rng::with_seed(7);
        let (runs, n) = (4000, 120);
        let ranks = quantile_ranks(0.95, n);
        let (low, high) = (ranks.low.expect("low"), ranks.high.expect("high"));
        let mut covered = 0;
        for _ in 0..runs {
            let mut sample: Vec<f64> = (0..n).map(|_| rng.f64()).collect();
            sample.sort_by(f64::total_cmp);
            covered += usize::from(sample[low - 1] <= 0.95 && 0.95 < sample[high - 1]);
        }
        let share = covered as f64 / runs as f64;
        assert!((0.945..=0.985).contains(&share), "{share}");
    }
}
