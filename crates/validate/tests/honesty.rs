//! The coverage of the harness's intervals and verdicts, over thousands of simulated runs with known truth.
//!
//! Each test states the share of runs that may be wrong, and counts. Where a method must withstand a
//! dependence, a naive method that fails stands beside it, so that a simulation too weak to tell them apart
//! fails the test.

#[expect(dead_code, reason = "the harness's tests use the rest of it")]
#[path = "harness/simulated.rs"]
mod simulated;

use std::sync::Arc;
use std::time::Duration;

use bigbatch_validate::analysis::memory::{LeakVerdict, MemoryQuantity, judge_plateaus};
use bigbatch_validate::figures::Figures;
use bigbatch_validate::plan::{Arrival, Lengths, Load, Scenario};
use bigbatch_validate::results::compare::{CostRatio, compare_runs};
use bigbatch_validate::stats::interval::quantile_ranks;
use bigbatch_validate::stats::{
    Clusters, Interval, Latencies, Percentile, TrialUnit, Trials, nearest_rank,
};
use bigbatch_validate::{Plan, RunOptions, Silent, run_async};
use fastrand::Rng;
use simulated::{PieceCounter, SimulatedTarget, alone, corpus};

/// SimulatedTarget cells of each kind.
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

/// The process of the batches of a simulated cell.
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

/// Of an idle target after each of its cells, in bytes.
fn plateaus(cells: usize, mut reading: impl FnMut(usize) -> f64) -> Vec<(f64, u64)> {
    (0..=cells).map(|n| (n as f64 * 1e4, reading(n) as u64)).collect()
}

/// Shares of simulated runs that are called clean and a leak.
fn verdicts(quantity: MemoryQuantity, run: impl Fn(&mut Rng) -> Vec<(f64, u64)>) -> (f64, f64) {
    let (mut clean, mut leaks) = (0, 0);
    for seed in 0..CELLS {
        let plateaus = run(&mut Rng::with_seed(seed));
        let whole = plateaus[0].1;
        match judge_plateaus(quantity, plateaus, whole).verdict {
            LeakVerdict::Clean => clean += 1,
            LeakVerdict::Leak => leaks += 1,
            LeakVerdict::Inconclusive => {}
        }
    }
    (f64::from(clean) / CELLS as f64, f64::from(leaks) / CELLS as f64)
}

const GIB: f64 = (1u64 << 30) as f64;

/// Device memory of 4 GiB in whole MiB, as a driver tells it, that grows by `percent` a cell.
fn device(cells: usize, percent: f64, noise_mib: f64, rng: &mut Rng) -> Vec<(f64, u64)> {
    const MIB: f64 = (1u64 << 20) as f64;
    plateaus(cells, |n| {
        let bytes = 4.0 * GIB * (1.0 + percent / 100.0 * n as f64) + noise_mib * MIB * normal(rng);
        (bytes / MIB).round() * MIB
    })
}

/// Resident memory of 1 GiB that grows by `percent` a cell, with noise of 1 %.
fn resident(cells: usize, percent: f64, rng: &mut Rng) -> Vec<(f64, u64)> {
    plateaus(cells, |n| GIB * (1.0 + percent / 100.0 * n as f64 + 0.01 * normal(rng)))
}

#[test]
fn a_planted_leak_is_caught() {
    // The plan's matrix has twelve cells; eight plateaus are the fewest that count.
    for (cells, noise_mib) in [(12, 0.0), (12, 4.0), (7, 2.0)] {
        let run = |rng: &mut Rng| device(cells, 0.1, noise_mib, rng);
        let (clean, leaks) = verdicts(MemoryQuantity::Device, run);
        assert!(leaks >= 0.95 && clean <= 0.05, "{cells} cells, {noise_mib}: {clean} {leaks}");
    }
    let (clean, leaks) = verdicts(MemoryQuantity::Rss, |rng| resident(12, 1.0, rng));
    assert!(leaks >= 0.95 && clean <= 0.05, "{clean} {leaks}");
}

#[test]
fn a_clean_run_stays_clean() {
    for noise_mib in [0.0, 2.0, 4.0] {
        let (clean, leaks) =
            verdicts(MemoryQuantity::Device, |rng| device(12, 0.0, noise_mib, rng));
        assert!(leaks <= 0.05 && clean >= 0.90, "{noise_mib}: {clean} {leaks}");
    }
    let (clean, leaks) = verdicts(MemoryQuantity::Rss, |rng| resident(12, 0.0, rng));
    assert!(leaks <= 0.05 && clean >= 0.95, "{clean} {leaks}");
    // What the first cell sets up stays, and is no leak.
    let (clean, leaks) = verdicts(MemoryQuantity::Rss, |rng| {
        plateaus(12, |n| GIB * (if n == 0 { 1.0 } else { 1.3 } + 0.005 * normal(rng)))
    });
    assert!(leaks <= 0.05 && clean >= 0.95, "a first step: {clean} {leaks}");
    // An allocator whose size wanders.
    let (clean, leaks) = verdicts(MemoryQuantity::Rss, |rng| {
        let mut share = 1.0;
        plateaus(12, |_| {
            share += 0.002 * normal(rng);
            GIB * share
        })
    });
    assert!(leaks <= 0.05 && clean >= 0.95, "a walk: {clean} {leaks}");
}

#[test]
fn noise_that_hides_everything_is_no_leak() {
    let (clean, leaks) = verdicts(MemoryQuantity::Device, |rng| device(12, 0.0, 60.0, rng));
    assert!(leaks <= 0.05 && clean <= 0.9, "{clean} {leaks}");
}

/// Costs of `runs` runs that differ by 1 % around `mean`.
fn costs(runs: usize, mean: f64, rng: &mut Rng) -> Vec<f64> {
    (0..runs).map(|_| mean * (0.01 * normal(rng)).exp()).collect()
}

/// Shares of comparisons whose lower bound lies beyond the margin, and whose interval holds the truth.
fn compared(runs: usize, ratio: f64, margin: f64) -> (f64, f64) {
    let (mut alarms, mut covered) = (0, 0);
    for seed in 0..CELLS {
        let mut rng = Rng::with_seed(seed);
        let before = costs(runs, 50.0, &mut rng);
        let after = costs(runs, 50.0 * ratio, &mut rng);
        let CostRatio { interval, p, .. } = compare_runs(&before, &after, margin);
        alarms += usize::from(p.is_some_and(|p| p <= 0.025));
        covered += usize::from(interval.low <= Some(ratio) && Some(ratio) <= interval.high);
    }
    (alarms as f64 / CELLS as f64, covered as f64 / CELLS as f64)
}

#[test]
fn a_planted_regression_is_caught_and_nothing_else() {
    // 5 % beyond a margin of 2 %, five runs each that vary by 1 %.
    let (alarms, covered) = compared(5, 1.02 * 1.05, 0.02);
    assert!(alarms >= 0.95 && (0.93..=0.98).contains(&covered), "{alarms} {covered}");
    // At the margin itself, and without a change.
    let (alarms, _) = compared(5, 1.02, 0.02);
    assert!(alarms <= 0.05, "{alarms}");
    let (alarms, _) = compared(5, 1.0, 0.02);
    assert!(alarms <= 0.005, "{alarms}");
    let (alarms, _) = compared(5, 1.0, 0.0);
    assert!(alarms <= 0.05, "{alarms}");
}

#[test]
fn the_smallest_change_that_is_told_is_the_one_that_is_seen() {
    let mut told = 0.0;
    for seed in 0..CELLS {
        let mut rng = Rng::with_seed(seed);
        let (before, after) = (costs(5, 1.0, &mut rng), costs(5, 1.0, &mut rng));
        told +=
            compare_runs(&before, &after, 0.02).detectable_ratio.expect("two runs") / CELLS as f64;
    }
    let (alarms, _) = compared(5, told, 0.02);
    assert!((0.7..=0.9).contains(&alarms), "{told}: {alarms}");
}

/// Runs that go through the whole harness; each is a cell of a thousand requests.
const WHOLE_RUNS: u64 = 100;

/// A thousand requests at a hundred a second, at most `in_flight_max` of them at once, of which
/// number n takes what `law` says.
async fn open_loop(
    arrival: Arrival,
    in_flight_max: usize,
    seed: u64,
    law: impl Fn(u64) -> Duration + Send + Sync + 'static,
) -> Figures {
    let load = Load::Open { rate_per_second: 100.0, arrival, seconds: None };
    let mut plan = Plan::matrix("planted", &[], &[]);
    plan.scenarios = vec![Scenario::new("planted", Lengths::Fixed(64), load)];
    (plan.seed, plan.repeat_first) = (seed, false);
    (plan.cell.warmup_seconds, plan.cell.batches_min) = (1.0, 0);
    (plan.cell.requests_min, plan.cell.in_flight_max) = (1000, in_flight_max);
    let target = Arc::new(SimulatedTarget::new(move |n| (law(n), alone(n))));
    let options = RunOptions { corpus: corpus(), ..RunOptions::default() };
    let report = run_async(&plan, target, &PieceCounter, &options, &Silent).await;
    let report = report.expect("the run is set up");
    report.results.cells[0].figures().expect("it was run").clone()
}

#[tokio::test(start_paused = true)]
async fn a_planted_coordinated_omission_does_not_hide_a_stall() {
    let (mut naive, mut honest) = (0, 0);
    for seed in 0..WHOLE_RUNS {
        // A generator that waits for each answer before it sends again; a target that takes 5 ms and
        // stalls once for two seconds.
        let stalled = Rng::with_seed(seed).u64(400..800);
        let law = move |n| Duration::from_millis(if n == stalled { 2000 } else { 5 });
        let figures = open_loop(Arrival::Constant, 1, seed, law).await;
        let p99 = |spread: bigbatch_validate::stats::Spread| spread.p99.nearest_rank_ms;
        naive += usize::from(p99(figures.latency_over_all_from_sending) < Some(10.0));
        honest += usize::from(p99(figures.latency_over_all) > Some(1000.0));
    }
    assert_eq!(naive, WHOLE_RUNS as usize, "one slow request of a thousand looks fine");
    assert!(honest as f64 >= 0.95 * WHOLE_RUNS as f64, "{honest}");
}

#[tokio::test(start_paused = true)]
async fn a_planted_lag_of_the_generator_is_told_and_none_is_made_up() {
    // Five requests are under way on average. A generator that manages six at once is late at times.
    let mut told = [0, 0];
    for seed in 0..WHOLE_RUNS {
        for (told, in_flight_max) in told.iter_mut().zip([6, 1000]) {
            let law = move |n| {
                let mut rng = Rng::with_seed(seed << 32 | n);
                Duration::from_secs_f64(0.05 * exponential(&mut rng))
            };
            let figures = open_loop(Arrival::Poisson, in_flight_max, seed, law).await;
            *told += usize::from(figures.generator.bottleneck.is_some());
        }
    }
    let runs = WHOLE_RUNS as f64;
    assert!(told[0] as f64 >= 0.95 * runs && told[1] as f64 <= 0.05 * runs, "{told:?}");
}
