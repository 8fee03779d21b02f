//! The schedule of an open loop: the intended start of every request.
//!
//! It depends only on the load and a seed, not on the target: a target that stalls cannot slow it down,
//! and the same seed gives the same starts. Arrivals are a process of unit rate whose time is stretched by
//! the load's rate: the n-th arrival comes when the integral of the rate reaches the n-th sum of gaps (Çınlar,
//! "Introduction to Stochastic Processes", 1975, chapter 4). That holds for a constant rate and for a ramp alike.
//!
//! A schedule begins with the warm-up, at the load's first rate, and continues beyond its measured part for
//! as long as arrivals are taken from it; only a replay ends, with its file.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::plan::{Arrival, Load};
use crate::workload::{Trace, normal};

/// Intended starts as offsets from the start of the cell, in order.
#[derive(Debug, Clone)]
pub(crate) struct Schedule {
    gaps: Gaps,
    rate: Rate,
    warm_up_seconds: f64,
    /// Length of the measured part; `None` if it ends by counts.
    seconds: Option<f64>,
    /// Sum of the gaps so far.
    reached: f64,
    trace: Option<TraceCursor>,
}

/// A moment of a schedule, as an offset or as an instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tick<T> {
    /// The intended start of a request.
    Start(T),
    /// The end of the measured part. Sent even if the next start is far away, so that a slow rate does not
    /// prolong the load.
    MeasuredEnd(T),
}

impl<T: Copy> Tick<T> {
    /// Returns the moment.
    pub(crate) fn at(self) -> T {
        match self {
            Tick::Start(at) | Tick::MeasuredEnd(at) => at,
        }
    }
}

impl Tick<Duration> {
    /// Returns the tick at its offset from `start`.
    pub(crate) fn after(self, start: Instant) -> Tick<Instant> {
        match self {
            Tick::Start(offset) => Tick::Start(start + offset),
            Tick::MeasuredEnd(offset) => Tick::MeasuredEnd(start + offset),
        }
    }
}

/// The rate over the measured part, in arrivals per second.
#[derive(Debug, Clone, Copy)]
struct Rate {
    from: f64,
    to: f64,
    /// Time over which the rate changes linearly; without effect if both are equal.
    seconds: f64,
}

/// The next line of a replay's trace.
#[derive(Debug, Clone)]
struct TraceCursor {
    trace: Arc<Trace>,
    speed: f64,
    next: usize,
}

impl Schedule {
    /// Creates the schedule of an open load; `None` for a closed loop, or for a replay without `trace`.
    pub(crate) fn new(
        load: &Load,
        trace: Option<Arc<Trace>>,
        warm_up: Duration,
        seed: u64,
    ) -> Option<Schedule> {
        let (from, to, seconds, arrival) = match *load {
            Load::Closed { .. } => return None,
            Load::Open { rate_per_second, arrival, seconds } => {
                (rate_per_second, rate_per_second, seconds, arrival)
            }
            Load::Ramp { from_per_second, to_per_second, seconds, arrival, .. } => {
                (from_per_second, to_per_second, Some(seconds), arrival)
            }
            Load::Replay { speed, .. } => {
                let rate = trace.as_ref()?.rate_per_second() * speed;
                (rate, rate, None, Arrival::Constant)
            }
        };
        let replayed = match *load {
            Load::Replay { speed, .. } => Some(TraceCursor { trace: trace?, speed, next: 0 }),
            _ => None,
        };
        Some(Schedule {
            gaps: Gaps { arrival, random: fastrand::Rng::with_seed(seed) },
            rate: Rate { from, to, seconds: seconds.unwrap_or(1.0) },
            warm_up_seconds: warm_up.as_secs_f64(),
            seconds,
            reached: 0.0,
            trace: replayed,
        })
    }

    /// Returns the start of the measured part, as an offset from the start of the cell.
    pub(crate) fn measured_from(&self) -> Duration {
        Duration::from_secs_f64(self.warm_up_seconds)
    }

    /// Returns the end of the measured part, as an offset from the start of the cell, if it ends at a time.
    pub(crate) fn measured_to(&self) -> Option<Duration> {
        Some(Duration::from_secs_f64(self.warm_up_seconds + self.seconds?))
    }

    /// Returns the intended starts, with the end of the measured part in its place among them.
    pub(crate) fn ticks(self) -> impl Iterator<Item = Tick<Duration>> {
        let mut end = self.measured_to();
        let mut starts = self.peekable();
        std::iter::from_fn(move || {
            let next = starts.peek().copied();
            match end.take_if(|end| next.is_none_or(|next| next >= *end)) {
                Some(end) => Some(Tick::MeasuredEnd(end)),
                None => starts.next().map(Tick::Start),
            }
        })
    }

    /// Returns true if the schedule is a replay, which ends with its file.
    pub(crate) fn is_replay(&self) -> bool {
        self.trace.is_some()
    }

    /// Returns the mean number of arrivals of the measured part; `None` if it ends by counts.
    pub(crate) fn measured_arrivals(&self) -> Option<usize> {
        match &self.trace {
            Some(replayed) => Some(replayed.trace.lines().len()),
            None => Some(((self.rate.from + self.rate.to) / 2.0 * self.seconds?) as usize),
        }
    }

    /// Returns the number of arrivals in the warm-up.
    pub(crate) fn warm_up_arrivals(&self) -> usize {
        let end = self.measured_from();
        self.clone().take_while(|&offset| offset < end).count()
    }

    /// Returns the seconds from the start at which the integral of the rate reaches `arrivals`.
    fn seconds_at(&self, arrivals: f64) -> f64 {
        let Rate { from, to, seconds } = self.rate;
        let warm_up = self.warm_up_seconds * from;
        if arrivals <= warm_up || from == to {
            return arrivals / from;
        }
        let ramp = arrivals - warm_up;
        let whole = (from + to) / 2.0 * seconds;
        let since = if ramp >= whole {
            seconds + (ramp - whole) / to
        } else {
            // Solves from t + (to - from) t² / 2 seconds = ramp for t, in the form that stays exact for
            // small differences.
            let slope = (to - from) / seconds;
            2.0 * ramp / (from + (from * from + 2.0 * slope * ramp).sqrt())
        };
        self.warm_up_seconds + since
    }
}

impl Iterator for Schedule {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let warm = self.trace.is_none() || self.reached < self.warm_up_seconds * self.rate.from;
        if warm {
            self.reached += self.gaps.next();
            let seconds = self.seconds_at(self.reached);
            if self.trace.is_none() || seconds < self.warm_up_seconds {
                return Some(Duration::from_secs_f64(seconds));
            }
        }
        let replayed = self.trace.as_mut()?;
        let at = replayed.trace.lines().get(replayed.next)?.seconds / replayed.speed;
        replayed.next += 1;
        Some(Duration::from_secs_f64(self.warm_up_seconds + at))
    }
}

/// Draws gaps between arrivals, of mean 1.
#[derive(Debug, Clone)]
struct Gaps {
    arrival: Arrival,
    random: fastrand::Rng,
}

impl Gaps {
    fn next(&mut self) -> f64 {
        match self.arrival {
            Arrival::Constant => 1.0,
            Arrival::Poisson => self.exponential(),
            Arrival::Gamma { cv } => {
                let shape = 1.0 / (cv * cv);
                self.gamma(shape) / shape
            }
        }
    }

    fn exponential(&mut self) -> f64 {
        -(1.0 - self.random.f64()).ln()
    }

    fn normal(&mut self) -> f64 {
        normal(&mut self.random)
    }

    /// Draws a gamma variate of scale 1 by Marsaglia and Tsang (2000), "A simple method for generating
    /// gamma variables"; below a shape of 1 with their boost from the shape above it.
    fn gamma(&mut self, shape: f64) -> f64 {
        if shape < 1.0 {
            let power = (1.0 - self.random.f64()).powf(1.0 / shape);
            return self.gamma(shape + 1.0) * power;
        }
        let d = shape - 1.0 / 3.0;
        let c = 1.0 / (9.0 * d).sqrt();
        loop {
            let x = self.normal();
            let v = (1.0 + c * x).powi(3);
            if v > 0.0 {
                let u = 1.0 - self.random.f64();
                if u.ln() < 0.5 * x * x + d - d * v + d * v.ln() {
                    return d * v;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const WARM_UP: Duration = Duration::from_secs(2);

    fn open(rate_per_second: f64, arrival: Arrival) -> Load {
        Load::Open { rate_per_second, arrival, seconds: None }
    }

    fn schedule(load: &Load, seed: u64) -> Schedule {
        Schedule::new(load, None, WARM_UP, seed).expect("an open load")
    }

    /// Mean and coefficient of variation of the gaps of `count` arrivals.
    fn gaps(load: &Load, count: usize) -> (f64, f64) {
        let starts: Vec<f64> =
            schedule(load, 11).take(count).map(|offset| offset.as_secs_f64()).collect();
        let gaps: Vec<f64> = starts.windows(2).map(|two| two[1] - two[0]).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        (mean, variance.sqrt() / mean)
    }

    #[test]
    fn gaps_have_the_stated_mean_and_coefficient_of_variation() {
        for (arrival, cv, within) in [
            (Arrival::Constant, 0.0, 1e-6),
            (Arrival::Poisson, 1.0, 0.02),
            (Arrival::Gamma { cv: 3.0 }, 3.0, 0.1),
            (Arrival::Gamma { cv: 0.4 }, 0.4, 0.02),
        ] {
            let (mean, found) = gaps(&open(50.0, arrival), 100_000);
            assert!((found - cv).abs() <= within, "{arrival:?}: cv {found}");
            assert!((mean - 0.02).abs() <= 0.02 * 0.03, "{arrival:?}: mean {mean}");
        }
    }

    #[test]
    fn a_ramp_has_its_rate_everywhere() {
        let load = Load::Ramp {
            from_per_second: 10.0,
            to_per_second: 110.0,
            seconds: 50.0,
            arrival: Arrival::Constant,
            latency_seconds_p95_max: None,
            failure_rate_max: 0.01,
        };
        let schedule = schedule(&load, 1);
        assert_eq!(schedule.measured_to(), Some(Duration::from_secs(52)));
        let between = |from: f64, to: f64| {
            let starts = schedule.clone().map(|offset| offset.as_secs_f64());
            starts.take_while(|&at| at < to).filter(|&at| at >= from).count() as i64
        };
        // (seconds, arrivals that the integral of the rate gives)
        for (from, to, expected) in [
            (0.0, 2.0, 20),
            (2.0, 12.0, 200),
            (2.0, 52.0, 3000),
            (42.0, 52.0, 1000),
            (52.0, 53.0, 110),
        ] {
            let found = between(from, to);
            assert!((found - expected).abs() <= 1, "{from} to {to}: {found}, not {expected}");
        }
    }

    #[test]
    fn a_replay_warms_up_at_its_mean_rate_and_then_is_the_file() {
        let text = "seconds,tokens\n100,10\n100.5,20\n102,30\n104,40\n";
        let trace = Arc::new(Trace::parse(text, "t.csv").expect("valid"));
        let load = Load::Replay { file: "t.csv".into(), speed: 2.0 };
        let schedule = Schedule::new(&load, Some(trace), WARM_UP, 1).expect("open");
        // Three gaps in four seconds at double speed: 1.5 per second.
        assert_eq!(schedule.warm_up_arrivals(), 2);
        let starts: Vec<f64> = schedule.map(|offset| offset.as_secs_f64()).skip(2).collect();
        assert_eq!(starts, [2.0, 2.25, 3.0, 4.0]);
    }

    #[test]
    fn a_closed_loop_has_no_schedule() {
        assert!(Schedule::new(&Load::Closed { concurrency: 3 }, None, WARM_UP, 1).is_none());
    }

    #[test]
    fn the_measured_part_ends_at_its_time_however_slow_the_rate() {
        let slow =
            Load::Open { rate_per_second: 0.1, arrival: Arrival::Constant, seconds: Some(5.0) };
        let ticks: Vec<_> = schedule(&slow, 1).ticks().take(2).collect();
        let seconds = Duration::from_secs;
        assert_eq!(ticks, [Tick::MeasuredEnd(seconds(7)), Tick::Start(seconds(10))]);
        let by_counts: Vec<_> =
            schedule(&open(1.0, Arrival::Constant), 1).ticks().take(99).collect();
        assert!(by_counts.iter().all(|tick| matches!(tick, Tick::Start(_))), "it has no end");
    }

    fn any_arrival() -> impl Strategy<Value = Arrival> {
        prop_oneof![
            Just(Arrival::Constant),
            Just(Arrival::Poisson),
            (0.05f64..20.0).prop_map(|cv| Arrival::Gamma { cv }),
        ]
    }

    fn any_load() -> impl Strategy<Value = Load> {
        let ramp = (any_arrival(), 0.01f64..1e4, 0.01f64..1e4, 1.0f64..1e4);
        prop_oneof![
            (any_arrival(), 0.01f64..1e5).prop_map(|(arrival, rate)| open(rate, arrival)),
            ramp.prop_map(|(arrival, from, to, seconds)| Load::Ramp {
                from_per_second: from,
                to_per_second: to,
                seconds,
                arrival,
                latency_seconds_p95_max: None,
                failure_rate_max: 0.01,
            }),
        ]
    }

    proptest! {
        #[test]
        fn starts_never_go_back_and_repeat_with_their_seed(load in any_load(), seed: u64) {
            let one: Vec<Duration> = schedule(&load, seed).take(500).collect();
            let same: Vec<Duration> = schedule(&load, seed).take(500).collect();
            prop_assert_eq!(one.len(), 500);
            prop_assert!(one.is_sorted());
            prop_assert_eq!(one, same);
        }

        #[test]
        fn the_integral_of_the_rate_counts_the_arrivals(load in any_load(), at in 0.0f64..1e4) {
            // Constant gaps put arrival n exactly where the integral is n.
            let schedule = schedule(&load, 1);
            let seconds = schedule.seconds_at(at);
            let Rate { from, to, seconds: length } = schedule.rate;
            let since = (seconds - 2.0).max(0.0);
            let within = since.min(length);
            let ramp = from * within + (to - from) * within * within / (2.0 * length);
            let integral = from * seconds.min(2.0) + ramp + to * (since - within);
            prop_assert!((integral - at).abs() <= 1e-6 * at.max(1.0), "{integral} {at}");
        }
    }
}
