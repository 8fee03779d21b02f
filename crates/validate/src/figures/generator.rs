//! The delay of the load generator, and whether it is too large to be ignored.
//!
//! A late generator makes a target look slow (its lag is part of every latency) or idle. Its lag, the lateness of its
//! timer and the processor time of its process are therefore measured over every cell, and a cell in which they are too
//! large has a remark. Whether the generator or the target limited such a cell is decided in
//! [`crate::analysis::scaling`], by the stages of the target. An engine in the same process shares the processor time; there the lag alone decides.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

use crate::stats::nearest_rank;

/// A lag whose p99 is beyond this share of the median latency is too much.
pub const LAG_SHARE_MAX: f64 = 0.1;
/// Resolution of the async runtime's timer, in milliseconds; lateness up to it is normal.
const TIMER_STEP_MS: f64 = 1.0;
/// Lags below this are never too much, however fast the target is.
const LAG_MS_MIN: f64 = 0.05;
/// The generator's processors are saturated beyond this share.
const CPU_SHARE_MAX: f64 = 0.9;
/// Threads that drive the load.
pub(crate) const LOAD_THREADS: usize = 2;

/// The delay of the generator, and the processors it used.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Generator {
    /// 99th percentile of the time from intended start to sending, in milliseconds.
    pub lag_ms_p99: f64,
    /// Longest such time.
    pub lag_ms_max: f64,
    /// 99th percentile of the lateness of a timer in the generator's process while the cell ran, in
    /// milliseconds: how long an answer may have waited for this process to notice it.
    pub timer_late_ms_p99: f64,
    /// Longest such lateness.
    pub timer_late_ms_max: f64,
    /// Processors that the generator's process kept busy on average over the cell; none where it
    /// cannot be read, or where the clock is not the machine's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_cores: Option<f64>,
    /// Whether the target runs in the same process, so that the processor time is that of both.
    pub cpu_shared_with_target: bool,
    /// Why the generator may have been the bottleneck: the delay that is too large; none if none is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bottleneck: Option<String>,
}

/// Readings of the generator over a cell.
#[derive(Debug, Clone, Default)]
pub(crate) struct GeneratorReadings {
    /// How late each tick of its timer came, in microseconds.
    pub(crate) lateness_us: Vec<u64>,
    pub(crate) cpu_cores: Option<f64>,
    pub(crate) shared_with_target: bool,
}

impl Generator {
    /// Judges the readings and the lags of the measured requests by the median latency.
    pub(crate) fn judge(
        lags_us: Vec<u64>,
        latency_ms_p50: Option<f64>,
        seen: GeneratorReadings,
    ) -> Generator {
        let (lag_ms_p99, lag_ms_max) = p99_and_max(lags_us);
        let (timer_late_ms_p99, timer_late_ms_max) = p99_and_max(seen.lateness_us);
        let mut generator = Generator {
            lag_ms_p99,
            lag_ms_max,
            timer_late_ms_p99,
            timer_late_ms_max,
            cpu_cores: seen.cpu_cores,
            cpu_shared_with_target: seen.shared_with_target,
            bottleneck: None,
        };
        generator.bottleneck = generator.fault(latency_ms_p50);
        generator
    }

    fn fault(&self, latency_ms_p50: Option<f64>) -> Option<String> {
        let too_late = |late_ms: f64| {
            let most = latency_ms_p50.map(|ms| (ms * LAG_SHARE_MAX).max(LAG_MS_MIN));
            most.is_some_and(|most| late_ms > most)
        };
        let beside = || {
            let percent = LAG_SHARE_MAX * 100.0;
            format!("more than {percent} % of the median latency")
        };
        if too_late(self.lag_ms_p99) {
            let lag = self.lag_ms_p99;
            return Some(format!(
                "the generator sent requests late (p99 {lag:.2} ms, {}); give it more processors, or raise in_flight_max \
                 if it was reached",
                beside()
            ));
        }
        if too_late(self.timer_late_ms_p99 - TIMER_STEP_MS) {
            let late = self.timer_late_ms_p99;
            return Some(format!(
                "the generator's timer woke late (p99 {late:.2} ms, {}), so it may have read answers late; give it more \
                 processors",
                beside()
            ));
        }
        let cores = self.cpu_cores.filter(|_| !self.cpu_shared_with_target)?;
        let available = std::thread::available_parallelism().map_or(1, usize::from);
        let usable = available.min(LOAD_THREADS) as f64;
        (cores > CPU_SHARE_MAX * usable).then(|| {
            format!(
                "the generator used {cores:.2} of its {usable} processors; run it on another machine"
            )
        })
    }
}

fn p99_and_max(mut values_us: Vec<u64>) -> (f64, f64) {
    values_us.sort_unstable();
    let ms = |rank: usize| values_us.get(rank.wrapping_sub(1)).map_or(0.0, |&us| us as f64 / 1e3);
    (ms(nearest_rank(0.99, values_us.len())), ms(values_us.len()))
}

/// Measures the processor time of this process since a start.
pub(crate) struct CpuMeter {
    started: Instant,
    clock: tokio::time::Instant,
    used: Option<Duration>,
}

impl CpuMeter {
    pub(crate) fn start() -> CpuMeter {
        CpuMeter { started: Instant::now(), clock: tokio::time::Instant::now(), used: cpu_time() }
    }

    /// Returns the processors that were busy on average since the start.
    pub(crate) fn cores(&self) -> Option<f64> {
        let used = cpu_time()?.checked_sub(self.used?)?;
        let wall = self.started.elapsed().as_secs_f64();
        // Under a simulated clock no second lasts a second, and the quotient would mean nothing.
        let simulated = (self.clock.elapsed().as_secs_f64() - wall).abs() > 0.1 * wall;
        (wall > 0.0 && !simulated).then(|| used.as_secs_f64() / wall)
    }
}

/// Returns the processor time that this process has used, in user and kernel mode.
fn cpu_time() -> Option<Duration> {
    Duration::try_from(clock_gettime(ClockId::ProcessCPUTime)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(lag_us: u64, timer_us: u64, cores: f64, shared: bool) -> Option<String> {
        let seen = GeneratorReadings {
            lateness_us: vec![timer_us; 200],
            cpu_cores: Some(cores),
            shared_with_target: shared,
        };
        Generator::judge(vec![lag_us; 200], Some(20.0), seen).bottleneck
    }

    #[test]
    fn lag_counts_beside_the_latency() {
        assert_eq!(judged(1_900, 0, 0.1, false), None);
        let reason = judged(2_100, 0, 0.1, true).expect("late");
        assert!(reason.contains("p99 2.10 ms, more than 10 % of the median latency"), "{reason}");
    }

    #[test]
    fn a_process_that_wakes_late_is_named() {
        assert_eq!(judged(0, 2_900, 0.1, false), None, "a step of the timer is nobody's fault");
        assert!(judged(0, 3_100, 0.1, false).is_some_and(|reason| reason.contains("woke late")));
    }

    #[test]
    fn processor_time_counts_unless_the_target_shares_it() {
        let all = std::thread::available_parallelism().map_or(1, usize::from).min(LOAD_THREADS);
        assert_eq!(judged(0, 0, 0.8 * all as f64, false), None);
        assert!(judged(0, 0, 0.95 * all as f64, false).is_some());
        assert_eq!(judged(0, 0, 0.95 * all as f64, true), None);
    }
}
