//! Telemetry beside the load: memory before, during and after each cell, and the lateness of the
//! generator's timer.
//!
//! A sampler reads the target's memory at a fixed interval. The series is bounded: when it is full, every
//! two neighbours are merged and the interval doubles; the reading with more memory is kept, so that
//! peaks survive. The same timer shows how late this process wakes, which adds to measured latencies.
//! Lateness is judged in [`crate::figures`], memory in [`crate::analysis`].

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::load::Clock;
use crate::system::{MemoryPhase, MemoryPoint, MemorySample, Target};

/// Most points of one cell's series; even, so that it halves exactly.
const SERIES_MAX: usize = 256;

/// The telemetry of one cell.
#[derive(Debug, Clone, Default)]
pub(crate) struct Telemetry {
    pub(crate) memory: Vec<MemoryPoint>,
    /// Lateness of each tick of the timer, in microseconds.
    pub(crate) lateness_us: Vec<u64>,
}

/// Reads the target's memory now.
pub(crate) fn read_memory(target: &dyn Target, clock: Clock, moment: MemoryPhase) -> MemoryPoint {
    MemoryPoint { at_ms: clock.now_us() as f64 / 1e3, moment, sample: target.memory() }
}

/// Longest wait for the target to become idle.
const IDLE_WAIT: Duration = Duration::from_secs(10);
const IDLE_POLL: Duration = Duration::from_millis(5);

/// Reads the target's memory once it reports no requests or batches in flight, or after [`IDLE_WAIT`].
pub(crate) async fn read_when_idle(
    target: &dyn Target,
    clock: Clock,
    moment: MemoryPhase,
) -> MemoryPoint {
    let until = Instant::now() + IDLE_WAIT;
    loop {
        let MemorySample { requests_in_flight, batches_in_flight, .. } = target.memory();
        let idle = requests_in_flight.unwrap_or(0) + batches_in_flight.unwrap_or(0) == 0;
        if idle || Instant::now() >= until {
            let at_ms = clock.now_us() as f64 / 1e3;
            return MemoryPoint { at_ms, moment, sample: target.memory_now().await };
        }
        tokio::time::sleep(IDLE_POLL).await;
    }
}

/// A running sampler.
pub(crate) struct Sampler {
    stop: Arc<AtomicBool>,
    latest: watch::Receiver<MemorySample>,
    task: JoinHandle<Telemetry>,
}

impl Sampler {
    /// Starts to sample `target` at the interval `every`.
    pub(crate) fn start(target: Arc<dyn Target>, clock: Clock, every: Duration) -> Sampler {
        let stop = Arc::new(AtomicBool::new(false));
        let (tell, latest) = watch::channel(MemorySample::default());
        let task = tokio::spawn(sample(target, clock, every, Arc::clone(&stop), tell));
        Sampler { stop, latest, task }
    }

    /// Returns the latest reading; empty before the first.
    pub(crate) fn latest(&self) -> MemorySample {
        *self.latest.borrow()
    }

    /// Stops the sampler after its current tick and returns its telemetry.
    pub(crate) async fn stop(self) -> Telemetry {
        self.stop.store(true, Ordering::SeqCst);
        match self.task.await {
            Ok(observed) => observed,
            Err(fault) if fault.is_panic() => std::panic::resume_unwind(fault.into_panic()),
            Err(_) => Telemetry::default(),
        }
    }
}

async fn sample(
    target: Arc<dyn Target>,
    clock: Clock,
    every: Duration,
    stop: Arc<AtomicBool>,
    tell: watch::Sender<MemorySample>,
) -> Telemetry {
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut series = Series::new();
    let mut lateness_us = Vec::new();
    while !stop.load(Ordering::SeqCst) {
        let due = ticks.tick().await;
        lateness_us.push(Instant::now().saturating_duration_since(due).as_micros() as u64);
        let point = read_memory(&*target, clock, MemoryPhase::During);
        tell.send_replace(point.sample);
        series.push(point);
    }
    Telemetry { memory: series.points, lateness_us }
}

/// A bounded series of readings.
struct Series {
    points: Vec<MemoryPoint>,
    /// Readings merged into one point, now.
    stride: usize,
    /// Readings merged into the last point.
    held: usize,
}

impl Series {
    fn new() -> Series {
        Series { points: Vec::with_capacity(SERIES_MAX), stride: 1, held: 1 }
    }

    fn push(&mut self, point: MemoryPoint) {
        match self.points.last_mut() {
            Some(last) if self.held < self.stride => {
                *last = larger_reading(*last, point);
                self.held += 1;
            }
            _ => {
                if self.points.len() == SERIES_MAX {
                    self.points =
                        self.points.chunks(2).map(|two| larger_reading(two[0], two[1])).collect();
                    self.stride *= 2;
                }
                self.points.push(point);
                self.held = 1;
            }
        }
    }
}

/// Thins a series to at most `most` points: per stretch, the reading with the most memory.
pub(crate) fn thin(points: Vec<MemoryPoint>, most: usize) -> Vec<MemoryPoint> {
    let stretch = points.len().div_ceil(most.max(1)).max(1);
    points.chunks(stretch).filter_map(|part| part.iter().copied().reduce(larger_reading)).collect()
}

fn larger_reading(one: MemoryPoint, other: MemoryPoint) -> MemoryPoint {
    let weight = |point: &MemoryPoint| {
        let sample = &point.sample;
        let arena = sample.arena.map_or(0, |arena| arena.used_bytes);
        (sample.device_used_bytes, arena, sample.rss_bytes)
    };
    if weight(&other) > weight(&one) { other } else { one }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns an old reading from `memory` and a new one from `memory_now`.
    struct CachedTarget;

    impl Target for CachedTarget {
        fn describe(&self) -> crate::system::TargetInfo {
            crate::system::TargetInfo::default()
        }

        fn send<'a>(
            &'a self,
            _: &'a crate::system::Prompt,
            _: crate::system::Terms,
        ) -> crate::system::ReplyFuture<'a> {
            Box::pin(async { Ok(crate::system::Reply::default()) })
        }

        fn memory(&self) -> MemorySample {
            MemorySample { rss_bytes: Some(900), ..Default::default() }
        }

        fn memory_now(&self) -> crate::system::MemoryFuture<'_> {
            Box::pin(async { MemorySample { rss_bytes: Some(100), ..Default::default() } })
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_reading_begins_when_the_target_is_idle() {
        let point = read_when_idle(&CachedTarget, Clock::start(0), MemoryPhase::After).await;
        assert_eq!(point.sample.rss_bytes, Some(100), "900 was read under load");
    }

    #[test]
    fn a_thinned_series_keeps_its_peak() {
        let point = |at: usize| MemoryPoint {
            at_ms: at as f64,
            moment: MemoryPhase::During,
            sample: MemorySample {
                rss_bytes: Some(500 - at.abs_diff(77) as u64),
                ..Default::default()
            },
        };
        let short = thin((0..200).map(point).collect(), 16);
        assert!((10..=16).contains(&short.len()), "{}", short.len());
        assert!(short.iter().any(|point| point.at_ms == 77.0));
        assert_eq!(thin(vec![point(1)], 16).len(), 1);
        assert!(thin(Vec::new(), 16).is_empty());
    }

    #[test]
    fn a_long_series_stays_short_and_keeps_its_peak() {
        let mut series = Series::new();
        let point = |at: usize, bytes: u64| MemoryPoint {
            at_ms: at as f64,
            moment: MemoryPhase::During,
            sample: MemorySample { rss_bytes: Some(bytes), ..Default::default() },
        };
        for at in 0..5000 {
            series.push(point(at, if at == 3333 { 900 } else { 100 + (at % 7) as u64 }));
        }
        let peak = series.points.iter().max_by_key(|point| point.sample.rss_bytes).expect("points");
        assert!(series.points.len() <= SERIES_MAX, "{} points", series.points.len());
        assert_eq!((peak.at_ms, peak.sample.rss_bytes), (3333.0, Some(900)));
        assert!(series.points.is_sorted_by(|one, next| one.at_ms < next.at_ms));
        assert!(series.points.last().expect("points").at_ms > 4900.0, "covers the whole cell");
    }
}
