//! One pass of an allocator over the allocations and frees of the traffic's buffers.

use std::ops::Range;
use std::time::{Duration, Instant};

use bigbatch_engine::DeviceError;

use crate::allocator::{Allocator, Usage};
use crate::buffers::{BatchBuffers, Buffer};

/// A batch's buffers by the steps at which they are allocated and freed.
pub(crate) struct AllocationTrace<'a> {
    buffers: &'a [Buffer],
    /// Slots allocated at each step.
    allocated: Vec<Range<usize>>,
    /// Slots freed after each step.
    freed: Vec<Vec<usize>>,
}

/// Time of one batch, inside the allocator and in all.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BatchTime {
    pub(crate) allocator_us: f64,
    pub(crate) batch_us: f64,
}

impl<'a> AllocationTrace<'a> {
    pub(crate) fn new(batch: &'a BatchBuffers) -> AllocationTrace<'a> {
        let mut allocated = Vec::with_capacity(batch.steps);
        let mut freed = vec![Vec::new(); batch.steps];
        let mut next = 0;
        for step in 0..batch.steps {
            let first = next;
            while batch.buffers.get(next).is_some_and(|buffer| buffer.first_step == step) {
                freed[batch.buffers[next].last_step].push(next);
                next += 1;
            }
            allocated.push(first..next);
        }
        AllocationTrace { buffers: &batch.buffers, allocated, freed }
    }

    pub(super) fn steps(&self) -> usize {
        self.allocated.len()
    }

    /// Returns the live bytes at each step.
    pub(super) fn demand(&self) -> Vec<u64> {
        let bytes = |slot: usize| self.buffers[slot].bytes as u64;
        let mut live = 0;
        let step = |(allocated, freed): (&Range<usize>, &Vec<usize>)| {
            live += allocated.clone().map(bytes).sum::<u64>();
            let peak = live;
            live -= freed.iter().map(|&slot| bytes(slot)).sum::<u64>();
            peak
        };
        self.allocated.iter().zip(&self.freed).map(step).collect()
    }
}

/// Times every batch. A batch for which no memory is found ends early and counts with the time until then.
pub(crate) fn time_batches(
    allocator: &mut dyn Allocator,
    traces: &[AllocationTrace<'_>],
) -> Result<Vec<BatchTime>, DeviceError> {
    let clock = clock_cost();
    traces.iter().map(|trace| time_batch(allocator, trace, clock)).collect()
}

fn time_batch(
    allocator: &mut dyn Allocator,
    trace: &AllocationTrace<'_>,
    clock: Duration,
) -> Result<BatchTime, DeviceError> {
    let start = Instant::now();
    let mut inside = Duration::ZERO;
    'steps: for (allocated, freed) in trace.allocated.iter().zip(&trace.freed) {
        let from = Instant::now();
        for slot in allocated.clone() {
            if !try_allocate(allocator, slot, &trace.buffers[slot])? {
                free_all(allocator, trace)?;
                break 'steps;
            }
        }
        inside += from.elapsed().saturating_sub(clock);
        for slot in allocated.clone() {
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
    Ok(BatchTime { allocator_us: us(inside), batch_us: us(start.elapsed()) })
}

/// Returns the time that reading the clock twice takes: the least of many readings.
fn clock_cost() -> Duration {
    (0..1000).map(|_| Instant::now().elapsed()).min().unwrap_or_default()
}

/// Replays a batch and reads the allocator's memory at each step, after its allocations and before its frees.
/// Returns false if no memory was found for a buffer.
pub(crate) fn read_usage(
    allocator: &mut dyn Allocator,
    trace: &AllocationTrace<'_>,
    read: &mut dyn FnMut(Usage),
) -> Result<bool, DeviceError> {
    for (allocated, freed) in trace.allocated.iter().zip(&trace.freed) {
        for slot in allocated.clone() {
            if !try_allocate(allocator, slot, &trace.buffers[slot])? {
                free_all(allocator, trace)?;
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

/// Returns false if there is no memory for the buffer.
fn try_allocate(
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

fn free_all(allocator: &mut dyn Allocator, trace: &AllocationTrace<'_>) -> Result<(), DeviceError> {
    (0..trace.buffers.len()).try_for_each(|slot| allocator.free(slot))
}
