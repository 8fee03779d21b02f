//! One pass of an allocator over the births and deaths of the traffic's buffers.

use std::time::{Duration, Instant};

use bigbatch_engine::DeviceError;
use bigbatch_engine::backend::allocators::{Allocator, Usage};
use bigbatch_engine::modernbert::buffers::{BatchBuffers, Buffer};

use crate::system::fragmentation as of_free;

/// A batch's buffers by the steps at which they are made and freed.
pub(super) struct Script<'a> {
    buffers: &'a [Buffer],
    /// Slots of the buffers made at each step.
    made: Vec<std::ops::Range<usize>>,
    /// Slots of those freed after each step.
    freed: Vec<Vec<usize>>,
}

/// How long one batch took.
#[derive(Debug, Clone, Copy)]
pub(super) struct Timed {
    pub(super) allocator_us: f64,
    pub(super) batch_us: f64,
}

impl<'a> Script<'a> {
    pub(super) fn new(batch: &'a BatchBuffers) -> Script<'a> {
        let mut made = Vec::with_capacity(batch.steps);
        let mut freed = vec![Vec::new(); batch.steps];
        let mut next = 0;
        for step in 0..batch.steps {
            let first = next;
            while batch.buffers.get(next).is_some_and(|buffer| buffer.born == step) {
                freed[batch.buffers[next].dies].push(next);
                next += 1;
            }
            made.push(first..next);
        }
        Script { buffers: &batch.buffers, made, freed }
    }

    pub(super) fn steps(&self) -> usize {
        self.made.len()
    }

    /// Bytes live at each step.
    pub(super) fn demand(&self) -> Vec<u64> {
        let bytes = |slot: usize| self.buffers[slot].bytes as u64;
        let mut live = 0;
        let step = |(made, freed): (&std::ops::Range<usize>, &Vec<usize>)| {
            live += made.clone().map(bytes).sum::<u64>();
            let at = live;
            live -= freed.iter().map(|&slot| bytes(slot)).sum::<u64>();
            at
        };
        self.made.iter().zip(&self.freed).map(step).collect()
    }
}

/// Times every batch. A batch that finds no memory ends early, and has the time until then.
pub(super) fn timed(
    allocator: &mut dyn Allocator,
    scripts: &[Script<'_>],
) -> Result<Vec<Timed>, DeviceError> {
    let clock = clock_cost();
    scripts.iter().map(|script| timed_batch(allocator, script, clock)).collect()
}

fn timed_batch(
    allocator: &mut dyn Allocator,
    script: &Script<'_>,
    clock: Duration,
) -> Result<Timed, DeviceError> {
    let start = Instant::now();
    let mut inside = Duration::ZERO;
    'steps: for (made, freed) in script.made.iter().zip(&script.freed) {
        let from = Instant::now();
        for slot in made.clone() {
            if !allocated(allocator, slot, &script.buffers[slot])? {
                free_all(allocator, script)?;
                break 'steps;
            }
        }
        inside += from.elapsed().saturating_sub(clock);
        for slot in made.clone() {
            allocator.touch(slot)?;
        }
        let from = Instant::now();
        for &slot in freed {
            allocator.free(slot)?;
        }
        inside += from.elapsed().saturating_sub(clock);
    }
    allocator.finish()?;
    let us = |time: Duration| time.as_secs_f64() * 1e6;
    Ok(Timed { allocator_us: us(inside), batch_us: us(start.elapsed()) })
}

/// What reading the clock twice takes: the least of many.
fn clock_cost() -> Duration {
    (0..1000).map(|_| Instant::now().elapsed()).min().unwrap_or_default()
}

/// Goes through a batch and reads what is held at each step, when its buffers are made and none is
/// freed yet. False if the batch found no memory.
pub(super) fn accounted(
    allocator: &mut dyn Allocator,
    script: &Script<'_>,
    read: &mut dyn FnMut(Usage),
) -> Result<bool, DeviceError> {
    for (made, freed) in script.made.iter().zip(&script.freed) {
        for slot in made.clone() {
            if !allocated(allocator, slot, &script.buffers[slot])? {
                free_all(allocator, script)?;
                allocator.finish()?;
                return Ok(false);
            }
            allocator.touch(slot)?;
        }
        read(allocator.usage()?);
        for &slot in freed {
            allocator.free(slot)?;
        }
    }
    allocator.finish()?;
    Ok(true)
}

fn allocated(
    allocator: &mut dyn Allocator,
    slot: usize,
    buffer: &Buffer,
) -> Result<bool, DeviceError> {
    match allocator.allocate(slot, buffer) {
        Ok(()) => Ok(true),
        Err(DeviceError::OutOfMemory { .. }) => Ok(false),
        Err(fault) => Err(fault),
    }
}

fn free_all(allocator: &mut dyn Allocator, script: &Script<'_>) -> Result<(), DeviceError> {
    (0..script.buffers.len()).try_for_each(|slot| allocator.free(slot))
}

/// `1 - largest free / free`, where the allocator tells.
pub(super) fn fragmentation(usage: &Usage) -> Option<f64> {
    usage.free.map(|free| of_free(free.bytes, free.largest_bytes))
}
