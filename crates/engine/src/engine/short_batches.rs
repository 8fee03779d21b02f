//! Short requests that run while a long batch pauses. Which ones is decided by [`Passing`].
//!
//! A synchronous device runs and answers them in the pause. An asynchronous one always has a slice to work on: the requests
//! that pass are launched behind it, the next slice behind them, and they are answered in the next pause. Its large batches
//! run in slices in any case, because the batch after them is then chosen late.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use super::device_loop::{InFlightBatch, Passed, work};
use super::request::TokenizedRequest;
use super::shared::Shared;
use crate::batch::passing::Passing;
use crate::device::Device;

/// The turns of short requests during one long batch.
pub(super) struct ShortBatches<'a> {
    shared: &'a Shared,
    passing: Passing,
    /// Launched in the latest pause.
    running: Option<InFlightBatch>,
    /// When the long batch was resumed, and how long it has to run before the next short one.
    resumed: Instant,
    owed: Duration,
    /// How long the batch runs for each second of those that ran last.
    owed_per_second: f64,
    pub(super) passed: Passed,
}

impl<'a> ShortBatches<'a> {
    /// Returns `None` if the batch does not run in slices.
    pub(super) fn new(
        shared: &'a Shared,
        device: &Device,
        long: &[TokenizedRequest],
    ) -> Option<Self> {
        let limits = device.short_limits()?;
        let turns = device.turns();
        let batch = long.iter().map(|request| {
            let slot = &request.slot;
            (slot.terms.flow, slot.work.nanoseconds())
        });
        let passing = Passing::new(limits, shared.cost_model(), turns, batch);
        let is_long = u128::from(work(long)) >= turns.pausing.as_nanos();
        let in_slices = if device.is_asynchronous() { is_long } else { passing.pauses() };
        in_slices.then(|| ShortBatches {
            shared,
            passing,
            running: None,
            resumed: Instant::now(),
            owed: Duration::ZERO,
            owed_per_second: 0.0,
            passed: Passed::default(),
        })
    }

    /// Answers the short requests that ran since the latest pause, and runs others if any wait and the long batch has had its
    /// time.
    pub(super) fn run(&mut self, device: &mut Device) {
        self.finish(device);
        if self.resumed.elapsed() < self.owed {
            return;
        }
        let owed = Cell::new(0.0);
        let chosen = self.shared.queue.try_take_batch(|waiting, _| {
            let chosen = self.passing.choose(waiting)?;
            owed.set(self.passing.owed(waiting, chosen.len()));
            Some(chosen)
        });
        self.owed_per_second = owed.get();
        let Some(requests) = chosen else { return };
        // A panic fails those that pass, not the batch that pauses.
        let start = AssertUnwindSafe(|| InFlightBatch::start_short(self.shared, device, requests));
        self.running = catch_unwind(start).ok();
        if !device.is_asynchronous() {
            self.finish(device);
        }
    }

    /// Answers the short requests that were launched in the latest pause.
    pub(super) fn finish(&mut self, device: &mut Device) {
        let Some(batch) = self.running.take() else { return };
        let shared = self.shared;
        // An asynchronous device began with it now, when the slice before it had ended.
        let turn = if device.is_asynchronous() { Instant::now() } else { batch.started() };
        let finish = AssertUnwindSafe(|| batch.finish_short(shared, device, turn));
        self.passed.nanoseconds += catch_unwind(finish).unwrap_or_default();
        self.resumed = Instant::now();
        self.passed.time += self.resumed - turn;
        self.owed = (self.resumed - turn).mul_f64(self.owed_per_second);
    }
}
