//! The effective sample size of the requests of one run, whose batches depend on their neighbours.
//!
//! The requests are clusters in order of time: batches, or runs of consecutive answers if the target
//! reports no batches. Around a quantile `q` of level `p` each cluster has a residual: how many
//! of its requests lie at or below `q`, less `p` times its size. The long-run variance of these
//! residuals is that of the share below `q`, so
//!
//! ```text
//! effective trials = p (1 - p) / var(share below q)
//! ```
//!
//! is the number of independent values whose binomial would be as wide, and the ranks of
//! [`quantile_ranks`](super::interval::quantile_ranks) for that many trials bound the quantile. This
//! is Woodruff's (1952) interval with Korn and Graubard's (1998) effective sample size.
//!
//! The long-run variance sums autocovariances as far as the data carry them: in pairs of lags while
//! the pairs are positive, made monotone (Geyer's (1992) initial monotone sequence), with a
//! correction for the mean that was subtracted. That lag is the length of the blocks: beyond it
//! batches count as independent. On simulated queues with known answers these intervals cover 1 to 5
//! points better than those from sums over moving blocks of twice the length at which Politis and
//! White's (2004) rule sees the dependence end, which are too narrow.
//!
//! Few runs of batches lie beyond a high quantile, so a sample that happens to hold no bad stretch
//! looks independent. The variance is therefore also taken at a level with 1.75 times as much beyond
//! it, and the smaller number of trials counts. 1.75 is the factor for which the simulated intervals of
//! p95 and p99 cover 95 % best over independent, autoregressive and M/M/1 batches.
//!
//! All of this is within one run. Variance from run to run is the subject of [`super::repeats`].

use super::sample::nearest_rank;

/// The latency of a request that was never answered.
pub(super) const NEVER: u64 = u64::MAX;
/// Factor on the share beyond the quantile, for the second level at which the variance is taken.
const BEYOND: f64 = 1.75;
/// Most clusters of a series; longer series sum neighbours.
const CLUSTERS_MAX: usize = 4096;
/// Lower bound of the long-run variance, as a share of the plain variance. Without it, clusters that
/// alternate would count as arbitrarily many.
const VARIANCE_SHARE_MIN: f64 = 0.5;
/// Fewest clusters for which dependence between them is estimated.
const CLUSTERS_MIN: usize = 10;

/// Latencies of one run in clusters (batches), in order of time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Clusters {
    /// Microseconds, cluster after cluster; [`NEVER`] for a failure.
    pub(super) values: Vec<u64>,
    /// End of each cluster in `values`.
    ends: Vec<usize>,
}

impl Clusters {
    /// Creates an empty series.
    pub fn new() -> Clusters {
        Clusters::default()
    }

    /// Groups consecutive latencies (microseconds, `None` for a failure) into clusters of `size`; the
    /// last may be smaller.
    pub fn from_consecutive(
        latencies_us: impl IntoIterator<Item = Option<u64>>,
        size: usize,
    ) -> Clusters {
        let mut clusters = Clusters::new();
        for (index, latency_us) in latencies_us.into_iter().enumerate() {
            if index.is_multiple_of(size.max(1)) {
                clusters.begin();
            }
            clusters.push(latency_us);
        }
        clusters
    }

    /// Begins the next cluster.
    pub fn begin(&mut self) {
        self.ends.push(self.values.len());
    }

    /// Adds a request to the last cluster: its latency in microseconds, or `None` for a failure.
    pub fn push(&mut self, latency_us: Option<u64>) {
        if self.ends.is_empty() {
            self.begin();
        }
        self.values.push(latency_us.unwrap_or(NEVER));
        if let Some(end) = self.ends.last_mut() {
            *end = self.values.len();
        }
    }

    /// Returns the number of clusters.
    pub fn count(&self) -> usize {
        self.ends.len()
    }

    /// Returns the effective number of independent values for the quantile `level`; `sorted` has all
    /// values in ascending order.
    pub(super) fn effective_trials(&self, level: f64, sorted: &[u64]) -> f64 {
        let beyond = (1.0 - level) * BEYOND;
        let own = self.effective_at(level, sorted);
        // The second level matters only for high quantiles, beyond which events are rare.
        if beyond < 0.5 { own.min(self.effective_at(1.0 - beyond, sorted)) } else { own }
    }

    fn effective_at(&self, level: f64, sorted: &[u64]) -> f64 {
        let (count, clusters) = (sorted.len() as f64, self.count() as f64);
        let Some(&quantile) = sorted.get(nearest_rank(level, sorted.len()) - 1) else {
            return 0.0;
        };
        // A rank on a failure: the share that varies is the share of answered requests.
        let quantile = quantile.min(NEVER - 1);
        let below = sorted.partition_point(|&value| value <= quantile) as f64 / count;
        let residuals = self.residuals(quantile, below);
        let variance = long_run_variance(&residuals) * residuals.len() as f64 / (count * count);
        let trials = below * (1.0 - below) / variance;
        if trials.is_finite() { trials.min(count) } else { clusters }
    }

    /// Returns for each cluster the number of values at or below `quantile`, minus `below` times its size.
    fn residuals(&self, quantile: u64, below: f64) -> Vec<f64> {
        let merged = self.count().div_ceil(CLUSTERS_MAX).max(1);
        let mut from = 0;
        let residual = |ends: &[usize]| {
            let to = ends[ends.len() - 1];
            let cluster = &self.values[from..to];
            from = to;
            let under = cluster.iter().filter(|&&value| value <= quantile).count();
            under as f64 - below * cluster.len() as f64
        };
        self.ends.chunks(merged).map(residual).collect()
    }
}

/// Returns the variance of a sum of the ordered `values`, per value. Their mean is zero.
fn long_run_variance(values: &[f64]) -> f64 {
    let n = values.len();
    let covariance = |lag: usize| {
        values.iter().zip(&values[lag..]).map(|(one, later)| one * later).sum::<f64>() / n as f64
    };
    if n == 0 {
        return 0.0;
    }
    let plain = covariance(0);
    if n < CLUSTERS_MIN || plain == 0.0 {
        return plain;
    }
    let (mut sum, mut smallest, mut lag) = (-plain, f64::INFINITY, 0);
    while lag + 1 < n / 2 {
        let pair = covariance(lag) + covariance(lag + 1);
        if pair <= 0.0 {
            break;
        }
        smallest = pair.min(smallest);
        sum += 2.0 * smallest;
        lag += 2;
    }
    // Each autocovariance around the sample's own mean is too small by the variance of that mean.
    let lost = ((2 * lag) as f64 / n as f64).min(0.6);
    sum.max(VARIANCE_SHARE_MIN * plain) / (1.0 - lost)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two latencies by the sign of an autoregression of order one.
    fn signs(correlation: f64, count: usize, size: usize) -> Clusters {
        let mut rng = fastrand::Rng::with_seed(5);
        let mut at = 1.0;
        let mut clusters = Clusters::new();
        for _ in 0..count {
            // A two-state chain: it stays with (1 + correlation) / 2.
            if rng.f64() > (1.0 + correlation) / 2.0 {
                at = -at;
            }
            clusters.begin();
            (0..size).for_each(|_| clusters.push(Some(if at > 0.0 { 20 } else { 10 })));
        }
        clusters
    }

    fn effective(clusters: &Clusters) -> f64 {
        let mut sorted = clusters.values.clone();
        sorted.sort_unstable();
        // The level between the two values.
        let below = sorted.partition_point(|&value| value <= 10) as f64 / sorted.len() as f64;
        clusters.effective_at(below - 1e-6, &sorted)
    }

    #[test]
    fn batches_that_share_their_fate_count_once() {
        let trials = effective(&signs(0.0, 2000, 8));
        assert!((1700.0..=2200.0).contains(&trials), "{trials}");
    }

    #[test]
    fn the_dependence_of_a_known_chain_is_found() {
        // The autocorrelation of the chain is correlation^lag, so the variance is inflated by
        // (1 + correlation) / (1 - correlation), also where clusters are merged.
        for (correlation, count) in [(0.5, 3000), (0.8, 3000), (0.8, 20_000)] {
            let expected = count as f64 * (1.0 - correlation) / (1.0 + correlation);
            let trials = effective(&signs(correlation, count, 4));
            assert!((0.7..=1.3).contains(&(trials / expected)), "{correlation}: {trials}");
        }
    }

    #[test]
    fn independent_requests_count_one_by_one() {
        let mut rng = fastrand::Rng::with_seed(9);
        let clusters = Clusters::from_consecutive((0..8000).map(|_| Some(rng.u64(0..1000))), 8);
        assert_eq!(clusters.count(), 1000);
        let mut sorted = clusters.values.clone();
        sorted.sort_unstable();
        let trials = clusters.effective_trials(0.5, &sorted);
        assert!(trials > 6000.0, "{trials}");
    }

    #[test]
    fn nothing_breaks_on_constant_or_empty_samples() {
        assert_eq!(Clusters::new().effective_trials(0.5, &[]), 0.0);
        let same = Clusters::from_consecutive(vec![Some(7); 60], 3);
        assert_eq!(same.effective_trials(0.95, &same.values), 20.0);
        let failed = Clusters::from_consecutive(vec![None; 60], 3);
        assert_eq!(failed.effective_trials(0.5, &failed.values), 20.0);
    }
}
