//! The trend of a short series: a slope that is robust to outliers, a test of "no trend", and a test that
//! the slope lies within a tolerance.
//!
//! The slope is the median of the slopes between all pairs (Theil 1950), its interval comes from the
//! ranks of those slopes (Sen 1968), and the test counts rising and falling pairs (Mann 1945, Kendall
//! 1975) with the correction for ties. All take the values as independent around the trend: a series
//! that wanders like a random walk shows trends that are not there.

use super::interval::Z;
use super::sample::mean_of_middles;
use super::student::normal_two_sided;

/// The trend of a series: its slope, the slope's interval, and a test of "no trend".
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Trend {
    /// Slope per step from one value to the next.
    pub slope: f64,
    /// Lower end of the slope's 95 % interval.
    pub low: f64,
    /// Upper end of the slope's 95 % interval.
    pub high: f64,
    /// Two-sided p of "no trend".
    pub p: f64,
}

impl Trend {
    /// Fits the trend of values at equal steps; `None` for fewer than four values.
    pub fn fit(values: &[f64]) -> Option<Trend> {
        let n = values.len();
        if n < 4 {
            return None;
        }
        let mut slopes = Vec::with_capacity(n * (n - 1) / 2);
        let mut score: f64 = 0.0;
        for (from, &first) in values.iter().enumerate() {
            for (step, &later) in values[from + 1..].iter().enumerate() {
                slopes.push((later - first) / (step + 1) as f64);
                score += match later.total_cmp(&first) {
                    std::cmp::Ordering::Less => -1.0,
                    std::cmp::Ordering::Equal => 0.0,
                    std::cmp::Ordering::Greater => 1.0,
                };
            }
        }
        slopes.sort_by(f64::total_cmp);
        let deviation = score_variance(values).sqrt();
        let pairs = slopes.len() as f64;
        let low = ((pairs - Z * deviation) / 2.0).floor().max(1.0) as usize;
        let high = ((pairs + Z * deviation) / 2.0).ceil() as usize + 1;
        // Continuity correction: the score moves in steps.
        let z = if deviation > 0.0 { (score.abs() - 1.0).max(0.0) / deviation } else { 0.0 };
        Some(Trend {
            slope: mean_of_middles(&slopes),
            low: slopes[low - 1],
            high: slopes[high.min(slopes.len()) - 1],
            p: normal_two_sided(z),
        })
    }

    /// Returns true if the test rejects "no trend" at 5 % and the whole interval lies above zero.
    pub fn rises(&self) -> bool {
        self.p <= 0.05 && self.low > 0.0
    }

    /// Returns true if the whole interval lies below `tolerance`: the upper of Schuirmann's (1987) two
    /// one-sided tests, at 2.5 %. The lower one is omitted: a falling slope is within any tolerance.
    pub fn stays_below(&self, tolerance: f64) -> bool {
        self.high < tolerance
    }
}

/// Returns the variance of Mann and Kendall's score under "no trend", corrected for ties.
fn score_variance(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let term = |n: usize| (n * (n - 1) * (2 * n + 5)) as f64;
    let ties: f64 = sorted.chunk_by(|one, next| one == next).map(|tied| term(tied.len())).sum();
    (term(values.len()) - ties) / 18.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_its_slope_and_no_doubt() {
        let line: Vec<f64> = (0..10).map(|step| 100.0 + 3.0 * f64::from(step)).collect();
        let trend = Trend::fit(&line).expect("a trend");
        assert_eq!((trend.slope, trend.low, trend.high), (3.0, 3.0, 3.0));
        assert!(trend.rises() && trend.stays_below(3.1) && !trend.stays_below(3.0));
    }

    #[test]
    fn the_test_matches_a_worked_example() {
        // Of the 21 pairs 19 rise and 2 fall.
        let trend = Trend::fit(&[1.0, 2.0, 4.0, 3.0, 5.0, 7.0, 6.0]).expect("a trend");
        // S = 17, var = 7 * 6 * 19 / 18 = 44.333, z = 16 / 6.658.
        assert!((trend.p - normal_two_sided(16.0 / 44.333_f64.sqrt())).abs() < 1e-5);
    }

    #[test]
    fn one_early_step_is_no_trend() {
        let mut values = vec![120.0; 13];
        values[0] = 100.0;
        let trend = Trend::fit(&values).expect("a trend");
        assert!(!trend.rises() && trend.stays_below(0.1), "{trend:?}");
        let flat = Trend::fit(&[5.0; 9]).expect("a trend");
        assert_eq!((flat.slope, flat.low, flat.high), (0.0, 0.0, 0.0));
        assert_eq!(Trend::fit(&[1.0, 2.0, 3.0]), None);
    }

    #[test]
    fn one_outlier_does_not_move_the_slope() {
        let mut values: Vec<f64> = (0..12).map(f64::from).collect();
        values[5] = 500.0;
        assert!((Trend::fit(&values).expect("a trend").slope - 1.0).abs() < 0.01);
    }
}
