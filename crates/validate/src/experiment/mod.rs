//! Cleanup strategies compared: the buffers that real traffic asks for, replayed through several
//! ways of finding memory for them.
//!
//! A runtime that works operation by operation allocates every result and frees it after its last
//! use. Which buffers those are, how large, and how long they live, is read off the engine's own list
//! of operations for each batch ([`bigbatch_engine::modernbert::buffers`]). The same sequence of births and
//! deaths then goes through each [`Allocator`]: the planned arena, the driver's pools, allocation per
//! operation, a cache as eager frameworks have it. Buffers are written to, so that memory is really
//! there and work is under way when it is freed, but nothing is computed.
//!
//! Each strategy goes over the traffic several times. Times are taken on passes that do nothing
//! else; what it holds is read step by step on one more pass, because reading disturbs the times.
//! The strategies take turns in a rotating order, so that a machine that slows down slows them all.
//!
//! What this shows is the memory manager's part alone. It says nothing of how fast a framework
//! computes.

mod replay;
mod traffic;

use std::collections::VecDeque;

use bigbatch_engine::DeviceError;
use bigbatch_engine::backend::allocators::Allocator;
use bigbatch_engine::modernbert::buffers::{BatchBuffers, BufferPlan};
use serde::{Deserialize, Serialize};

pub use traffic::{Traffic, TrafficSummary};

use replay::Script;

/// Most points of one line of the timeline.
const TIMELINE_POINTS: usize = 480;
/// Batches that the timeline shows, from the first.
const TIMELINE_BATCHES: usize = 12;

/// What came of one experiment. Bytes are of buffers only: weights and the context are beside them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MemoryExperiment {
    /// The model whose operations ask.
    pub model: String,
    /// The device.
    pub device: String,
    /// Element type of activations.
    pub dtype: String,
    /// The batches.
    pub traffic: TrafficSummary,
    /// Timed passes over the traffic.
    pub repeats: usize,
    /// What a strategy may reserve: the memory budget less what is beside the buffers.
    pub budget_bytes: u64,
    /// The most that is live at once in any batch.
    pub demand_bytes_max: u64,
    /// Mean number of buffers of a batch.
    pub buffers_per_batch: f64,
    /// One for each strategy, in the order given.
    pub strategies: Vec<Strategy>,
    /// What was live at each of the timeline's steps: (step, bytes). One step an operation.
    pub demand: Vec<(usize, u64)>,
    /// First step of each batch of the timeline.
    pub timeline_batches: Vec<usize>,
}

/// What one strategy made of the traffic.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Strategy {
    /// Its name.
    pub name: String,
    /// Whether it only kept books; then it has no times.
    pub simulated: bool,
    /// Why it was not run, where it was not; then all figures are zero or absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_run: Option<String>,
    /// Time of a batch inside the allocator, in microseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allocator_us: Option<Times>,
    /// Time of a batch from its first buffer until all its work is done, writing included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch_us: Option<Times>,
    /// Calls to the driver or system a batch that took or gave back memory, where they are seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system_calls_per_batch: Option<f64>,
    /// The most it had reserved.
    pub reserved_bytes_max: u64,
    /// The most it had handed out.
    pub used_bytes_max: u64,
    /// What it had reserved between batches, at the end.
    pub reserved_bytes_idle: u64,
    /// Largest `1 - largest free / free` at any step, where it tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fragmentation_max: Option<f64>,
    /// The same between batches, when all is free: mean.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fragmentation_idle_mean: Option<f64>,
    /// Batches that found no memory.
    pub batches_failed: usize,
    /// Batches during which it had more reserved than the budget.
    pub batches_over_budget: usize,
    /// What it held at the timeline's steps.
    pub timeline: Vec<Held>,
}

/// Times of batches, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Times {
    /// Median over batches and passes.
    pub median: f64,
    /// 95th percentile over batches and passes.
    pub p95: f64,
    /// Longest.
    pub max: f64,
    /// Least and greatest median of a pass.
    pub median_by_pass: (f64, f64),
}

/// What a strategy held at a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// The step, one an operation, from the first batch on.
    pub step: usize,
    /// Taken from the device or system, in bytes.
    pub reserved_bytes: u64,
    /// Handed out.
    pub used_bytes: u64,
}

/// What the experiment is about, for its head lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// The model's name.
    pub model: String,
    /// The device's.
    pub device: String,
    /// Element type of activations.
    pub dtype: String,
    /// What a strategy may reserve.
    pub budget_bytes: u64,
}

/// Makes one allocator, fresh, for one pass; an error is why it cannot run here.
pub type Maker<'a> = Box<dyn Fn() -> Result<Box<dyn Allocator + 'a>, DeviceError> + 'a>;

/// Replays `traffic` through every strategy, `repeats` times timed and once for the books.
///
/// # Errors
/// A fault of the device. Finding no memory is none: it is counted.
pub fn compare(
    subject: Subject,
    plan: &BufferPlan,
    traffic: &Traffic,
    makers: &[(&str, Maker<'_>)],
    repeats: usize,
) -> Result<MemoryExperiment, DeviceError> {
    let batches: Vec<BatchBuffers> =
        traffic.batches.iter().map(|lengths| plan.of(lengths)).collect();
    let scripts: Vec<Script<'_>> = batches.iter().map(Script::new).collect();
    let shown = shown(&scripts);
    let buffers: usize = batches.iter().map(|batch| batch.buffers.len()).sum();
    let mut experiment = MemoryExperiment {
        model: subject.model,
        device: subject.device,
        dtype: subject.dtype,
        traffic: traffic.summary(),
        repeats,
        budget_bytes: subject.budget_bytes,
        demand_bytes_max: batches.iter().map(|batch| batch.peak_bytes() as u64).max().unwrap_or(0),
        buffers_per_batch: buffers as f64 / batches.len().max(1) as f64,
        strategies: Vec::new(),
        demand: demand(&scripts[..shown]),
        timeline_batches: first_steps(&scripts[..shown]),
    };
    let mut timed: Vec<Vec<Vec<replay::Timed>>> = makers.iter().map(|_| Vec::new()).collect();
    let mut not_run: Vec<Option<String>> = vec![None; makers.len()];
    for pass in 0..repeats {
        for turn in 0..makers.len() {
            let index = (turn + pass) % makers.len();
            if not_run[index].is_some() {
                continue;
            }
            match (makers[index].1)() {
                Ok(allocator) if allocator.is_simulated() => {}
                Ok(mut allocator) => timed[index].push(replay::timed(&mut *allocator, &scripts)?),
                Err(error) => not_run[index] = Some(error.to_string()),
            }
        }
    }
    for (((name, make), timed), not_run) in makers.iter().zip(&timed).zip(not_run) {
        let mut strategy = Strategy::named(name);
        match (not_run, make()) {
            (None, Ok(mut allocator)) => {
                strategy.simulated = allocator.is_simulated();
                strategy.account(&mut *allocator, &scripts, shown, subject.budget_bytes)?;
                strategy.allocator_us = Times::of(timed, |batch| batch.allocator_us);
                strategy.batch_us = Times::of(timed, |batch| batch.batch_us);
            }
            (Some(reason), _) => strategy.not_run = Some(reason),
            (None, Err(error)) => strategy.not_run = Some(error.to_string()),
        }
        experiment.strategies.push(strategy);
    }
    Ok(experiment)
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

    fn account(
        &mut self,
        allocator: &mut dyn Allocator,
        scripts: &[Script<'_>],
        shown: usize,
        budget_bytes: u64,
    ) -> Result<(), DeviceError> {
        let mut step = 0;
        let mut idle = Vec::new();
        let mut held = Vec::new();
        for (index, script) in scripts.iter().enumerate() {
            let mut over = false;
            let fits = replay::accounted(allocator, script, &mut |usage| {
                over |= usage.reserved_bytes > budget_bytes;
                self.reserved_bytes_max = self.reserved_bytes_max.max(usage.reserved_bytes);
                self.used_bytes_max = self.used_bytes_max.max(usage.used_bytes);
                if let Some(fragmentation) = replay::fragmentation(&usage) {
                    let most = self.fragmentation_max.get_or_insert(0.0);
                    *most = most.max(fragmentation);
                }
                let (reserved_bytes, used_bytes) = (usage.reserved_bytes, usage.used_bytes);
                if index < shown {
                    held.push(Held { step, reserved_bytes, used_bytes });
                }
                step += 1;
            })?;
            self.batches_failed += usize::from(!fits);
            self.batches_over_budget += usize::from(over);
            let usage = allocator.usage()?;
            self.reserved_bytes_idle = usage.reserved_bytes;
            idle.extend(replay::fragmentation(&usage));
        }
        let calls = allocator.usage()?.system_calls;
        self.system_calls_per_batch = calls.map(|calls| calls as f64 / scripts.len().max(1) as f64);
        self.fragmentation_idle_mean =
            (!idle.is_empty()).then(|| idle.iter().sum::<f64>() / idle.len() as f64);
        self.timeline = thinned(held, |held| held.reserved_bytes.max(held.used_bytes));
        Ok(())
    }
}

impl Times {
    fn of(passes: &[Vec<replay::Timed>], read: impl Fn(&replay::Timed) -> f64) -> Option<Times> {
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

/// Nearest rank.
fn quantile(sorted: &[f64], level: f64) -> Option<f64> {
    sorted.get(crate::stats::nearest_rank(level, sorted.len()).checked_sub(1)?).copied()
}

/// How many batches the timeline shows.
fn shown(scripts: &[Script<'_>]) -> usize {
    TIMELINE_BATCHES.min(scripts.len())
}

fn first_steps(scripts: &[Script<'_>]) -> Vec<usize> {
    let mut next = 0;
    let first = |script: &Script<'_>| {
        let first = next;
        next += script.steps();
        first
    };
    scripts.iter().map(first).collect()
}

fn demand(scripts: &[Script<'_>]) -> Vec<(usize, u64)> {
    let steps = scripts.iter().flat_map(Script::demand).enumerate().collect();
    thinned(steps, |&(_, bytes)| bytes)
}

/// At most [`TIMELINE_POINTS`] points: of each run of neighbours the one with the most, because a
/// peak must not vanish, and with it the least, because memory given back must be seen.
fn thinned<T: Copy>(points: Vec<T>, of: impl Fn(&T) -> u64) -> Vec<T> {
    let run = (2 * points.len()).div_ceil(TIMELINE_POINTS).max(2);
    if points.len() <= TIMELINE_POINTS {
        return points;
    }
    let extremes = |run: &[T]| {
        let most = (0..run.len()).max_by_key(|&index| of(&run[index])).unwrap_or(0);
        let least = (0..run.len()).min_by_key(|&index| of(&run[index])).unwrap_or(0);
        let mut both = VecDeque::from([run[most.min(least)]]);
        if most != least {
            both.push_back(run[most.max(least)]);
        }
        both
    };
    points.chunks(run).flat_map(extremes).collect()
}
