//! The difference of two means over repeated runs, or of their logarithms: the ratio of geometric means.

use super::interval::Interval;
use super::repeats::mean_and_variance;
use super::student::{critical, upper_tail};

/// Probability outside each end of an interval.
const TAIL: f64 = 0.025;

/// The difference of two means, by Welch (1947).
pub(crate) struct Welch {
    difference: f64,
    pub(crate) error: f64,
    pub(crate) degrees: usize,
}

impl Welch {
    /// Second less first; both have at least two values.
    pub(crate) fn of(first: &[f64], second: &[f64]) -> Welch {
        let of = |values: &[f64]| {
            let (mean, variance) = mean_and_variance(values);
            (mean, variance / values.len() as f64)
        };
        let ((first_mean, first_square), (second_mean, second_square)) = (of(first), of(second));
        let square = first_square + second_square;
        let part = |square: f64, runs: usize| square * square / (runs - 1) as f64;
        let parts = part(first_square, first.len()) + part(second_square, second.len());
        let degrees = square * square / parts;
        // Without any spread every number of degrees gives the same; a fraction is rounded down.
        let fewest = first.len().min(second.len()) - 1;
        let degrees = if degrees.is_finite() { (degrees as usize).max(fewest) } else { fewest };
        Welch { difference: second_mean - first_mean, error: square.sqrt(), degrees }
    }

    /// Compares the logarithms of the second with those of the first; `None` unless both have at least two values, all of
    /// them positive and finite.
    pub(crate) fn of_logarithms(first: &[f64], second: &[f64]) -> Option<Welch> {
        let positive = |&value: &f64| value > 0.0 && value.is_finite();
        let usable = |values: &[f64]| values.len() >= 2 && values.iter().all(positive);
        let logs = |values: &[f64]| values.iter().map(|value| value.ln()).collect::<Vec<f64>>();
        (usable(first) && usable(second)).then(|| Welch::of(&logs(first), &logs(second)))
    }

    /// Returns the ratio of the geometric means with its 95 % interval, for a difference of logarithms.
    pub(crate) fn ratio(&self) -> (f64, Interval) {
        let half = critical(TAIL, self.degrees) * self.error;
        let end = |end: f64| Some((self.difference + end).exp());
        (self.difference.exp(), Interval { low: end(-half), high: end(half) })
    }

    /// Returns the one-sided p of "the difference is at most `tolerated`".
    pub(crate) fn p(&self, tolerated: f64) -> f64 {
        let beyond = self.difference - tolerated;
        if self.error > 0.0 {
            upper_tail(beyond / self.error, self.degrees)
        } else {
            f64::from(u8::from(beyond <= 0.0))
        }
    }
}
