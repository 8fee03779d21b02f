//! Intervals over repeated runs: the run is the unit.
//!
//! Differences between runs (placement, clocks, neighbours, the order of cells) show in the spread of
//! the runs' statistics and cannot be estimated from one run. The interval is Student's t on the
//! logarithm, since latencies and rates vary by factors; it bounds the geometric mean over runs. Two runs
//! are enough for an interval; a published figure needs five.

use serde::{Deserialize, Serialize};

use super::interval::Interval;
use super::student::critical;

/// Fewest runs of a published figure.
pub const RUNS_PUBLISHED: usize = 5;

/// The mean of a statistic over repeated runs, with its interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RunMean {
    /// Number of runs.
    pub runs: usize,
    /// Geometric mean, in the statistic's unit.
    pub mean: f64,
    /// 95 % interval of the mean.
    pub interval: Interval,
    /// Whether there are at least [`RUNS_PUBLISHED`] runs.
    pub publishable: bool,
}

/// Returns the geometric mean of the runs' statistics and its interval; `None` for fewer than two runs,
/// or if a statistic is not a positive finite number.
pub fn mean_over_runs(statistics: &[f64]) -> Option<RunMean> {
    let runs = statistics.len();
    let positive = |&value: &f64| value > 0.0 && value.is_finite();
    if runs < 2 || !statistics.iter().all(positive) {
        return None;
    }
    let logs: Vec<f64> = statistics.iter().map(|value| value.ln()).collect();
    let (mean, variance) = mean_and_variance(&logs);
    let half = critical(0.025, runs - 1) * (variance / runs as f64).sqrt();
    Some(RunMean {
        runs,
        mean: mean.exp(),
        interval: Interval { low: Some((mean - half).exp()), high: Some((mean + half).exp()) },
        publishable: runs >= RUNS_PUBLISHED,
    })
}

/// Returns the mean and the unbiased variance; the variance of fewer than two values is 0.
pub(crate) fn mean_and_variance(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (mean, if values.len() < 2 { 0.0 } else { squares / (n - 1.0) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_of_five_runs_is_that_of_the_textbook() {
        // Logarithms 1 to 5: mean 3, standard deviation sqrt(2.5), t = 2.7764.
        let runs: Vec<f64> = (1..=5).map(|log| f64::from(log).exp()).collect();
        let found = mean_over_runs(&runs).expect("an interval");
        let half = 2.776_445 * (2.5f64 / 5.0).sqrt();
        assert!((found.mean.ln() - 3.0).abs() < 1e-12);
        assert!((found.interval.low.expect("low").ln() - (3.0 - half)).abs() < 1e-5);
        assert!((found.interval.high.expect("high").ln() - (3.0 + half)).abs() < 1e-5);
        assert!(found.publishable);
    }

    #[test]
    fn one_run_has_no_interval_and_few_are_not_published() {
        assert_eq!(mean_over_runs(&[1.0]), None);
        assert_eq!(mean_over_runs(&[1.0, 0.0]), None);
        let two = mean_over_runs(&[1.0, 1.0]).expect("an interval");
        assert!(!two.publishable);
        assert_eq!(two.interval, Interval { low: Some(1.0), high: Some(1.0) });
    }
}
