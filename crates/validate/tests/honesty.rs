//! Whether the harness's figures are true: simulated runs whose answers are known, many times over.
//!
//! Each test states what share of the runs may be wrong and counts. Where a method must not be fooled,
//! a method that is fooled stands beside it, so that a simulation too tame to show anything fails.

use bigbatch_validate::stats::interval::quantile_ranks;
use bigbatch_validate::stats::{
    Clusters, Interval, Latencies, Percentile, TrialUnit, Trials, nearest_rank,
};
use fastrand::Rng;

/// Simulated cells of each kind.
const CELLS: u64 = 2000;
/// The levels, and their quantiles of the standard normal distribution.
const LEVELS: [(f64, f64); 3] =
    [(0.5, 0.0), (0.95, 1.644_853_626_951_472_2), (0.99, 2.326_347_874_040_840_8)];

fn normal(rng: &mut Rng) -> f64 {
    (-2.0 * (1.0 - rng.f64()).ln()).sqrt() * (std::f64::consts::TAU * rng.f64()).cos()
}

fn exponential(rng: &mut Rng) -> f64 {
    -(1.0 - rng.f64()).ln()
}

/// The next value of a normal autoregression of variance 1.
fn step(last: f64, coefficient: f64, rng: &mut Rng) -> f64 {
    coefficient * last + (1.0 - coefficient * coefficient).sqrt() * normal(rng)
}

/// How the batches of a simulated cell follow one another.
#[derive(Clone, Copy, Debug)]
enum Law {
    /// Independent, log-normal, 1 to 16 requests each.
    Independent,
    /// The logarithm is an autoregression with this coefficient; eight requests each.
    Autoregressive(f64),
    /// As before, but half of the variance differs within a batch.
    Mixed(f64),
    /// The sojourn times of an M/M/1 queue of batches at this utilisation, which are exponential.
    Queue(f64),
}

impl Law {
    /// The true quantiles in microseconds, in the order of [`LEVELS`].
    fn truth(self) -> [f64; 3] {
        LEVELS.map(|(level, z)| match self {
            Law::Queue(utilisation) => -(1.0 - level).ln() / (1.0 - utilisation) * 1e4,
            _ => (0.5 * z).exp() * 1e4,
        })
    }

    fn cell(self, batches: usize, rng: &mut Rng) -> Clusters {
        let mut clusters = Clusters::new();
        let mut state = match self {
            // The waiting time in a steady state: none, or exponential.
            Law::Queue(utilisation) if rng.f64() < utilisation => {
                exponential(rng) / (1.0 - utilisation)
            }
            Law::Queue(_) => 0.0,
            _ => normal(rng),
        };
        for _ in 0..batches {
            clusters.begin();
            let mut push = |time: f64| clusters.push(Some((time * 1e4) as u64));
            match self {
                Law::Independent => {
                    let time = (0.5 * normal(rng)).exp();
                    (0..rng.usize(1..=16)).for_each(|_| push(time));
                }
                Law::Autoregressive(coefficient) => {
                    state = step(state, coefficient, rng);
                    let time = (0.5 * state).exp();
                    (0..8).for_each(|_| push(time));
                }
                Law::Mixed(coefficient) => {
                    state = step(state, coefficient, rng);
                    (0..8).for_each(|_| push((0.3 * state + 0.4 * normal(rng)).exp()));
                }
                Law::Queue(utilisation) => {
                    let service = exponential(rng);
                    (0..8).for_each(|_| push(state + service));
                    state = (state + service - exponential(rng) / utilisation).max(0.0);
                }
            }
        }
        clusters
    }
}

fn covers(interval: Interval, truth: f64) -> bool {
    interval.low.is_none_or(|low| low * 1e3 <= truth + 1.0)
        && interval.high.is_none_or(|high| high * 1e3 >= truth - 1.0)
}

/// Shares of simulated cells whose intervals hold the truth, by level; and of naive ones, that take
/// batches as independent.
fn coverage(law: Law, batches: usize) -> ([f64; 3], [f64; 3]) {
    let truth = law.truth();
    let (mut covered, mut naive) = ([0.0; 3], [0.0; 3]);
    for seed in 0..CELLS {
        let clusters = law.cell(batches, &mut Rng::with_seed(seed));
        let trials = Trials { count: clusters.count(), unit: TrialUnit::Batches };
        let latencies = Latencies::new(clusters);
        let spread = latencies.spread(trials);
        let points = latencies.distribution(usize::MAX);
        for (n, percentile) in [spread.p50, spread.p95, spread.p99].into_iter().enumerate() {
            let shallow = by_batches(&percentile, batches, &points);
            covered[n] += f64::from(u8::from(covers(percentile.interval_ms, truth[n])));
            naive[n] += f64::from(u8::from(covers(shallow, truth[n])));
        }
    }
    (covered.map(|count| count / CELLS as f64), naive.map(|count| count / CELLS as f64))
}

/// The interval of a percentile that takes every batch as independent of the others.
fn by_batches(percentile: &Percentile, batches: usize, points: &[(f64, f64)]) -> Interval {
    let ranks = quantile_ranks(percentile.level, batches);
    let end = |rank: Option<usize>| {
        let share = rank? as f64 / batches as f64;
        Some(points[nearest_rank(share, points.len()) - 1].0)
    };
    Interval { low: end(ranks.low), high: end(ranks.high) }
}

fn check_coverage(law: Law, batches: usize) -> [f64; 3] {
    let ([p50, p95, p99], naive) = coverage(law, batches);
    println!("{law:?}, {batches} batches: {p50:.4} {p95:.4} {p99:.4}, naive {naive:.4?}");
    assert!((0.92..=0.98).contains(&p50), "{law:?}, {batches} batches: p50 {p50}");
    assert!((0.92..=0.98).contains(&p95), "{law:?}, {batches} batches: p95 {p95}");
    assert!(p99 >= 0.90, "{law:?}, {batches} batches: p99 {p99}");
    naive
}

#[test]
fn intervals_of_independent_batches_cover() {
    for batches in [100, 400, 1500] {
        check_coverage(Law::Independent, batches);
    }
}

#[test]
fn intervals_of_batches_that_depend_on_their_neighbours_cover() {
    for (law, batches) in [
        (Law::Autoregressive(0.5), 400),
        (Law::Autoregressive(0.8), 400),
        (Law::Autoregressive(0.8), 1500),
        (Law::Mixed(0.7), 400),
    ] {
        check_coverage(law, batches);
    }
}

#[test]
fn intervals_of_a_queue_cover_and_naive_ones_do_not() {
    for (utilisation, batches) in [(0.5, 400), (0.7, 1500)] {
        let naive = check_coverage(Law::Queue(utilisation), batches);
        assert!(naive[0] < 0.8 && naive[1] < 0.7, "the queue is too tame: {naive:?}");
    }
}
