//! Percentiles of latency, each with the figure that its sample supports and its 95 % interval.

use serde::{Deserialize, Serialize};

use crate::format::time;

use super::blocks::{Clusters, NEVER};
use super::interval::{Interval, quantile_ranks};
use super::sample::{Trials, nearest_rank};

/// Fewest trials beyond a percentile for it to be shown: 5 beyond a p95 takes 100 trials, 4 beyond a p99
/// takes 400.
const P95_BEYOND: f64 = 5.0;
const P99_BEYOND: f64 = 4.0;

/// The figure of a percentile that its sample supports.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum PercentileFigure {
    /// The sample supports the percentile itself.
    Exactly {
        /// Milliseconds.
        ms: f64,
    },
    /// The sample is too small; the value of a lower level, which it supports, is a lower bound.
    AtLeast {
        /// Milliseconds.
        ms: f64,
        /// The supported level, 0 to 1, to which `ms` belongs.
        level: f64,
    },
    /// The rank falls on a failed request.
    NotReached,
    /// The sample is empty.
    NoData,
}

impl PercentileFigure {
    /// Returns the percentile in milliseconds if the sample supports it.
    pub fn exactly(self) -> Option<f64> {
        match self {
            PercentileFigure::Exactly { ms } => Some(ms),
            PercentileFigure::AtLeast { .. }
            | PercentileFigure::NotReached
            | PercentileFigure::NoData => None,
        }
    }
}

/// One percentile.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Percentile {
    /// The level: 0.95 for a p95.
    pub level: f64,
    /// The nearest-rank value in milliseconds, even if the sample is too small to support it; `None` if
    /// the rank falls on a failure.
    pub nearest_rank_ms: Option<f64>,
    /// The figure that reports print.
    pub shown: PercentileFigure,
    /// The 95 % interval within this run, in milliseconds.
    pub interval_ms: Interval,
    /// Effective sample size of the interval: below the number of batches if batches depend on their
    /// neighbours.
    pub effective_trials: f64,
}

impl Percentile {
    /// Prints the figure: a time, a lower bound, or why there is none.
    pub(crate) fn label(&self) -> String {
        match self.shown {
            PercentileFigure::Exactly { ms } => time(ms),
            PercentileFigure::AtLeast { ms, .. } => format!("≥ {}", time(ms)),
            PercentileFigure::NotReached => "not reached".into(),
            PercentileFigure::NoData => "–".into(),
        }
    }
}

/// Mean, percentiles and maximum of a sample.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// Number of requests.
    pub count: usize,
    /// The size of the sample in independent units.
    pub trials: Trials,
    /// Mean of the answered requests, in milliseconds.
    pub mean_ms: Option<f64>,
    /// Median.
    pub p50: Percentile,
    /// 95th percentile.
    pub p95: Percentile,
    /// 99th percentile.
    pub p99: Percentile,
    /// Longest latency of an answered request, in milliseconds.
    pub max_ms: Option<f64>,
}

/// Latencies in ascending order; those of failed requests are last.
#[derive(Debug, Clone)]
pub struct Latencies {
    clusters: Clusters,
    sorted: Vec<u64>,
    answered: usize,
}

impl Latencies {
    /// Sorts the requests of one run, given in the order of their batches.
    pub fn new(clusters: Clusters) -> Latencies {
        let mut sorted = clusters.values.clone();
        sorted.sort_unstable();
        let answered = sorted.partition_point(|&us| us < NEVER);
        Latencies { clusters, sorted, answered }
    }

    /// Returns the number of requests, failed ones included.
    pub fn count(&self) -> usize {
        self.sorted.len()
    }

    fn answered_us(&self) -> &[u64] {
        &self.sorted[..self.answered]
    }

    /// Summarises the latencies; `trials` is the size of the sample.
    pub fn spread(&self, trials: Trials) -> Spread {
        let answered = self.answered_us();
        let sum: u64 = answered.iter().sum();
        Spread {
            count: self.count(),
            trials,
            mean_ms: (self.answered > 0).then(|| sum as f64 / self.answered as f64 / 1e3),
            p50: self.percentile(0.5, 0.0, trials),
            p95: self.percentile(0.95, P95_BEYOND, trials),
            p99: self.percentile(0.99, P99_BEYOND, trials),
            max_ms: answered.last().map(|&us| us as f64 / 1e3),
        }
    }

    /// Returns at most `most` points of the distribution function for a chart, the last one always:
    /// (milliseconds, share of all requests at or below). It ends below 1 if requests failed.
    pub fn distribution(&self, most: usize) -> Vec<(f64, f64)> {
        let answered = self.answered_us();
        let steps = answered.len().min(most);
        let point = |step: usize| {
            let rank = answered.len() * step / steps;
            (answered[rank - 1] as f64 / 1e3, rank as f64 / self.count() as f64)
        };
        (1..=steps).map(point).collect()
    }

    /// Returns the value at a rank from 1, in milliseconds; `None` beyond the answered requests.
    fn at_rank(&self, rank: usize) -> Option<f64> {
        self.answered_us().get(rank.checked_sub(1)?).map(|&us| us as f64 / 1e3)
    }

    fn percentile(&self, level: f64, beyond: f64, trials: Trials) -> Percentile {
        let nearest_rank_ms = self.at_rank(nearest_rank(level, self.count()));
        let effective_trials = self.clusters.effective_trials(level, &self.sorted);
        let whole = effective_trials as usize;
        let ranks = quantile_ranks(level, whole);
        let end = |rank: Option<usize>| {
            let share = rank? as f64 / whole as f64;
            self.at_rank(nearest_rank(share, self.count()))
        };
        Percentile {
            level,
            nearest_rank_ms,
            shown: self.shown(level, beyond, trials),
            interval_ms: Interval { low: end(ranks.low), high: end(ranks.high) },
            effective_trials,
        }
    }

    /// Returns the figure that `trials` support. A percentile grows with its level, so the value of a
    /// lower, supported level is a lower bound.
    fn shown(&self, level: f64, beyond: f64, trials: Trials) -> PercentileFigure {
        if self.count() == 0 {
            return PercentileFigure::NoData;
        }
        let supported = (1.0 - beyond / trials.count.max(1) as f64).max(0.5);
        let enough = supported >= level - 1e-9;
        let used = if enough { level } else { supported };
        match self.at_rank(nearest_rank(used, self.count())) {
            None => PercentileFigure::NotReached,
            Some(ms) if enough => PercentileFigure::Exactly { ms },
            Some(ms) => PercentileFigure::AtLeast { ms, level: supported },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::TrialUnit;

    fn batches(count: usize) -> Trials {
        Trials { count, unit: TrialUnit::Batches }
    }

    /// The milliseconds of `ms` in random order, each a batch of its own, and failures.
    fn shuffled(ms: std::ops::RangeInclusive<u64>, failures: usize) -> Latencies {
        let mut all: Vec<Option<u64>> = ms.map(|ms| Some(ms * 1000)).collect();
        all.extend(vec![None; failures]);
        fastrand::Rng::with_seed(3).shuffle(&mut all);
        Latencies::new(Clusters::from_consecutive(all, 1))
    }

    fn thousand() -> Latencies {
        shuffled(1..=1000, 0)
    }

    #[test]
    fn percentiles_of_one_to_a_thousand() {
        let spread = thousand().spread(batches(1000));
        assert_eq!(spread.mean_ms, Some(500.5));
        assert_eq!(spread.p50.shown, PercentileFigure::Exactly { ms: 500.0 });
        assert_eq!(spread.p95.shown, PercentileFigure::Exactly { ms: 950.0 });
        assert_eq!(spread.p99.shown, PercentileFigure::Exactly { ms: 990.0 });
        assert_eq!(spread.max_ms, Some(1000.0));
        let interval = spread.p95.interval_ms;
        assert!(interval.low < Some(950.0) && interval.high > Some(950.0), "{interval:?}");
    }

    #[test]
    fn few_batches_give_a_bound_from_the_level_they_support() {
        let spread = thousand().spread(batches(50));
        assert_eq!(spread.p95.shown, PercentileFigure::AtLeast { ms: 900.0, level: 0.9 });
        assert_eq!(spread.p95.nearest_rank_ms, Some(950.0));
        assert_eq!(
            thousand().spread(batches(100)).p95.shown,
            PercentileFigure::Exactly { ms: 950.0 }
        );
        assert!(matches!(
            thousand().spread(batches(399)).p99.shown,
            PercentileFigure::AtLeast { .. }
        ));
        assert_eq!(
            thousand().spread(batches(400)).p99.shown,
            PercentileFigure::Exactly { ms: 990.0 }
        );
    }

    #[test]
    fn the_interval_knows_of_batches() {
        // The same latencies, alone and in batches of twenty that share theirs.
        let together = (0..1000).map(|n| Some((n / 20 * 37 % 50 + 1) * 1000));
        let together = Latencies::new(Clusters::from_consecutive(together, 20));
        let spread = together.spread(batches(50));
        assert!((25.0..=60.0).contains(&spread.p50.effective_trials), "{:?}", spread.p50);
        assert_eq!(spread.p95.interval_ms.high, None, "50 batches cannot bound a p95 from above");
        let alone = thousand().spread(batches(1000)).p50;
        assert!((700.0..=1000.0).contains(&alone.effective_trials), "{alone:?}");
    }

    #[test]
    fn failures_count_as_never_answered() {
        let all = shuffled(1..=940, 60);
        let spread = all.spread(batches(1000));
        assert_eq!(spread.count, 1000);
        assert_eq!(spread.p50.shown, PercentileFigure::Exactly { ms: 500.0 });
        assert_eq!(spread.p95.shown, PercentileFigure::NotReached);
        assert_eq!(spread.max_ms, Some(940.0));
        assert_eq!(
            Latencies::new(Clusters::new()).spread(batches(0)).p50.shown,
            PercentileFigure::NoData
        );
    }

    #[test]
    fn the_distribution_ends_at_the_success_rate() {
        let all = shuffled(1..=900, 100);
        let points = all.distribution(50);
        assert_eq!(points.len(), 50);
        assert_eq!(points.last(), Some(&(900.0, 0.9)));
        assert!(points.is_sorted_by(|one, next| one.0 <= next.0 && one.1 < next.1));
        let failed = Clusters::from_consecutive(vec![None; 3], 1);
        assert!(Latencies::new(failed).distribution(50).is_empty());
    }
}
