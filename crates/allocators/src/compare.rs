//! Replays the same traffic through every strategy and fills in a [`MemoryExperiment`].
//!
//! Each strategy goes over the traffic several times. Times are taken on passes that do nothing else; memory
//! is read step by step on one more pass, because reading it disturbs the times. The strategies take turns in
//! a rotating order, so that a machine that slows down slows all of them. Buffers are written to, so that
//! their memory exists and work is pending when they are freed, but nothing is computed: the figures are the
//! memory manager's part alone, not the speed of a framework.

use bigbatch_engine::DeviceError;

use crate::allocator::Allocator;
use crate::buffers::{BatchBuffers, BufferPlan};
use crate::experiment::{MemoryExperiment, Strategy, TimelinePoint, Times};
use crate::replay::{self, AllocationTrace, BatchTime};
use crate::traffic::Traffic;

/// Most points of one line of the timeline.
const TIMELINE_POINTS: usize = 480;
/// Batches that the timeline shows, from the first.
const TIMELINE_BATCHES: usize = 12;

/// The model, device and budget of an experiment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExperimentSetup {
    /// Name of the model.
    pub model: String,
    /// Name of the device.
    pub device: String,
    /// Element type of activations.
    pub dtype: String,
    /// Limit on reserved bytes.
    pub budget_bytes: u64,
}

/// Makes a fresh allocator for one pass. An error is reported as the reason why the strategy was not run.
pub type AllocatorFactory<'a> = Box<dyn Fn() -> Result<Box<dyn Allocator + 'a>, DeviceError> + 'a>;

/// Replays `traffic` through every strategy, `repeats` times for its times and once for its memory.
///
/// # Errors
/// Fails if an allocator fails for another reason than lack of memory, which is counted instead.
pub fn compare(
    setup: ExperimentSetup,
    plan: &BufferPlan<'_>,
    traffic: &Traffic,
    strategies: &[(&str, AllocatorFactory<'_>)],
    repeats: usize,
) -> Result<MemoryExperiment, DeviceError> {
    let batches: Vec<BatchBuffers> =
        traffic.batches.iter().map(|lengths| plan.list(lengths)).collect();
    let traces: Vec<AllocationTrace<'_>> = batches.iter().map(AllocationTrace::new).collect();
    let shown = TIMELINE_BATCHES.min(traces.len());
    let buffers: usize = batches.iter().map(|batch| batch.buffers.len()).sum();
    let times = time_in_turns(strategies, &traces, repeats)?;
    let mut measured = Vec::with_capacity(strategies.len());
    for ((name, factory), times) in strategies.iter().zip(times) {
        let made =
            times.and_then(|times| Ok((times, factory().map_err(|error| error.to_string())?)));
        let mut strategy = Strategy::named(name);
        match made {
            Ok((times, mut allocator)) => {
                strategy.simulated = allocator.is_simulated();
                strategy.read_memory(&mut *allocator, &traces, shown, setup.budget_bytes)?;
                strategy.allocator_us = Times::of(&times, |batch| batch.allocator_us);
                strategy.batch_us = Times::of(&times, |batch| batch.batch_us);
            }
            Err(reason) => strategy.not_run = Some(reason),
        }
        measured.push(strategy);
    }
    Ok(MemoryExperiment {
        model: setup.model,
        device: setup.device,
        dtype: setup.dtype,
        traffic: traffic.summary(),
        repeats,
        budget_bytes: setup.budget_bytes,
        demand_bytes_max: batches.iter().map(|batch| batch.peak_bytes() as u64).max().unwrap_or(0),
        buffers_per_batch: buffers as f64 / batches.len().max(1) as f64,
        strategies: measured,
        demand: demand(&traces[..shown]),
        timeline_batches: first_steps(&traces[..shown]),
    })
}

/// The times of a strategy's passes, none for a simulated one, or the reason why it was not run.
type TimedPasses = Result<Vec<Vec<BatchTime>>, String>;

/// Times `repeats` passes of every strategy; pass n begins with strategy n.
fn time_in_turns(
    strategies: &[(&str, AllocatorFactory<'_>)],
    traces: &[AllocationTrace<'_>],
    repeats: usize,
) -> Result<Vec<TimedPasses>, DeviceError> {
    let mut times: Vec<TimedPasses> = strategies.iter().map(|_| Ok(Vec::new())).collect();
    for pass in 0..repeats {
        for turn in 0..strategies.len() {
            let index = (turn + pass) % strategies.len();
            let Ok(passes) = &mut times[index] else { continue };
            match (strategies[index].1)() {
                Ok(allocator) if allocator.is_simulated() => {}
                Ok(mut allocator) => passes.push(replay::time_batches(&mut *allocator, traces)?),
                Err(error) => times[index] = Err(error.to_string()),
            }
        }
    }
    Ok(times)
}

impl Strategy {
    fn named(name: &str) -> Strategy {
        Strategy {
            name: name.to_owned(),
            simulated: false,
            not_run: None,
            allocator_us: None,
            batch_us: None,
            system_calls_per_batch: None,
            reserved_bytes_max: 0,
            used_bytes_max: 0,
            reserved_bytes_idle: 0,
            fragmentation_max: None,
            fragmentation_idle_mean: None,
            batches_failed: 0,
            batches_over_budget: 0,
            timeline: Vec::new(),
        }
    }

    /// Replays the traffic once more and reads the allocator's memory at every step.
    fn read_memory(
        &mut self,
        allocator: &mut dyn Allocator,
        traces: &[AllocationTrace<'_>],
        shown: usize,
        budget_bytes: u64,
    ) -> Result<(), DeviceError> {
        let mut step = 0;
        let mut idle = Vec::new();
        let mut timeline = Vec::new();
        for (index, trace) in traces.iter().enumerate() {
            let mut over_budget = false;
            let fits = replay::read_usage(allocator, trace, &mut |usage| {
                over_budget |= usage.reserved_bytes > budget_bytes;
                self.reserved_bytes_max = self.reserved_bytes_max.max(usage.reserved_bytes);
                self.used_bytes_max = self.used_bytes_max.max(usage.used_bytes);
                if let Some(free) = usage.free {
                    let most = self.fragmentation_max.get_or_insert(0.0);
                    *most = most.max(free.fragmentation());
                }
                let (reserved_bytes, used_bytes) = (usage.reserved_bytes, usage.used_bytes);
                if index < shown {
                    timeline.push(TimelinePoint { step, reserved_bytes, used_bytes });
                }
                step += 1;
            })?;
            self.batches_failed += usize::from(!fits);
            self.batches_over_budget += usize::from(over_budget);
            let usage = allocator.usage()?;
            self.reserved_bytes_idle = usage.reserved_bytes;
            idle.extend(usage.free.map(|free| free.fragmentation()));
        }
        let calls = allocator.usage()?.system_calls;
        self.system_calls_per_batch = calls.map(|calls| calls as f64 / traces.len().max(1) as f64);
        self.fragmentation_idle_mean =
            (!idle.is_empty()).then(|| idle.iter().sum::<f64>() / idle.len() as f64);
        self.timeline = thin(timeline, |point| point.reserved_bytes.max(point.used_bytes));
        Ok(())
    }
}

impl Times {
    fn of(passes: &[Vec<BatchTime>], read: impl Fn(&BatchTime) -> f64) -> Option<Times> {
        let sorted = |values: &mut dyn Iterator<Item = f64>| {
            let mut values: Vec<f64> = values.collect();
            values.sort_by(f64::total_cmp);
            values
        };
        let all = sorted(&mut passes.iter().flatten().map(&read));
        let medians = sorted(&mut passes.iter().filter_map(|pass| {
            let values = sorted(&mut pass.iter().map(&read));
            quantile(&values, 0.5)
        }));
        Some(Times {
            median: quantile(&all, 0.5)?,
            p95: quantile(&all, 0.95)?,
            max: *all.last()?,
            median_by_pass: (*medians.first()?, *medians.last()?),
        })
    }
}

/// Returns the smallest value with at least the share `level` of all values at or below it: the nearest rank.
fn quantile(sorted: &[f64], level: f64) -> Option<f64> {
    // The product of a level such as 0.95 and a count may exceed the exact whole number by a rounding error.
    let rank = (level * sorted.len() as f64 - 1e-9).ceil() as usize;
    sorted.get(rank.max(1) - 1).copied()
}

/// Returns the step at which each batch begins.
fn first_steps(traces: &[AllocationTrace<'_>]) -> Vec<usize> {
    let mut next = 0;
    let first = |trace: &AllocationTrace<'_>| {
        let first = next;
        next += trace.steps();
        first
    };
    traces.iter().map(first).collect()
}

fn demand(traces: &[AllocationTrace<'_>]) -> Vec<(usize, u64)> {
    let steps = traces.iter().flat_map(AllocationTrace::demand).enumerate().collect();
    thin(steps, |&(_, bytes)| bytes)
}

/// Reduces a line to about [`TIMELINE_POINTS`]: of each run of neighbours it keeps the largest, because a
/// peak must not vanish, and the smallest, because memory that was returned must be visible.
fn thin<T: Copy>(points: Vec<T>, bytes: impl Fn(&T) -> u64) -> Vec<T> {
    let run = (2 * points.len()).div_ceil(TIMELINE_POINTS).max(2);
    if points.len() <= TIMELINE_POINTS {
        return points;
    }
    let extremes = |run: &[T]| {
        let most = (0..run.len()).max_by_key(|&index| bytes(&run[index])).unwrap_or(0);
        let least = (0..run.len()).min_by_key(|&index| bytes(&run[index])).unwrap_or(0);
        let mut kept = vec![run[most.min(least)]];
        if most != least {
            kept.push(run[most.max(least)]);
        }
        kept
    };
    points.chunks(run).flat_map(extremes).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_nearest_ranks() {
        let values: Vec<f64> = (1..=100).map(f64::from).collect();
        assert_eq!(quantile(&values, 0.95), Some(95.0));
        assert_eq!(quantile(&values[..21], 0.95), Some(20.0));
        assert_eq!(quantile(&values[..20], 0.95), Some(19.0));
        assert_eq!(quantile(&values[..1], 0.5), Some(1.0));
        assert_eq!(quantile(&[], 0.5), None);
    }
}
