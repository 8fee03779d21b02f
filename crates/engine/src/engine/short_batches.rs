//! Short requests that run while a long batch pauses.
//!
//! On a CPU a long text takes seconds. A batch with one runs in slices, and between two of them requests pass whose work
//! is at most 1 / [`PASSING_ONE_IN`] of that text's and that fit into the device's short lane. Those that pass together
//! take about [`PASSING_TIME`], or are one. Afterwards the batch runs for at least as long as they did, so others have the
//! device for at most half of the time and one such turn more; the smaller slices cost the batch time too. A request that
//! may pass waits for a slice and the turns of those before it. Batches whose longest text takes less than [`PAUSING_TIME`] do not pause, nor does a device that is
//! asynchronous or has no short lane.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use super::device_loop::{flops, run_short};
use super::request::TokenizedRequest;
use super::shared::Shared;
use crate::batch::Limits;
use crate::batch::schedule::{self, QueuedRequest};
use crate::device::Device;

/// Requests pass a text that has this many times their work.
const PASSING_ONE_IN: u64 = 8;
/// About how long requests that pass together may take.
const PASSING_TIME: Duration = Duration::from_millis(50);
/// A batch pauses if its longest text is expected to take this long.
const PAUSING_TIME: Duration = Duration::from_millis(50);

/// The turns of short requests during one long batch.
pub(super) struct ShortBatches<'a> {
    shared: &'a Shared,
    limits: Limits,
    /// Upper limit on a request's floating-point operations.
    flops_max: u64,
    /// When the long batch was resumed, and how long it has to run before the next short one.
    resumed: Instant,
    owed: Duration,
    pub(super) passed: Passed,
}

/// The short batches that ran while a long one paused.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Passed {
    /// Floating-point operations.
    pub(super) flops: u64,
    pub(super) time: Duration,
}

impl<'a> ShortBatches<'a> {
    /// Returns `None` if the batch does not pause.
    pub(super) fn new(
        shared: &'a Shared,
        device: &Device,
        long: &[TokenizedRequest],
    ) -> Option<Self> {
        let limits = device.short_limits().filter(|_| !device.is_asynchronous())?;
        let longest = long.iter().map(|request| request.slot.work.flops()).max()?;
        if (longest as f64) < device.flops_in(PAUSING_TIME) {
            return None;
        }
        let flops_max = longest / PASSING_ONE_IN;
        let (resumed, owed) = (Instant::now(), Duration::ZERO);
        let passed = Passed::default();
        Some(ShortBatches { shared, limits, flops_max, resumed, owed, passed })
    }

    /// Runs one batch of short requests, if any wait and the long batch has had its time.
    pub(super) fn run(&mut self, device: &mut Device) {
        if self.resumed.elapsed() < self.owed {
            return;
        }
        let together = device.flops_in(PASSING_TIME) as u64;
        let Some(requests) = self.shared.queue.try_take_batch(|all| self.choose(all, together))
        else {
            return;
        };
        let started = Instant::now();
        self.passed.flops += flops(&requests);
        // A panic fails those that pass, not the batch that pauses.
        let _ = catch_unwind(AssertUnwindSafe(|| run_short(self.shared, device, requests)));
        self.resumed = Instant::now();
        self.owed = self.resumed - started;
        self.passed.time += self.owed;
    }

    /// Chooses the requests that pass: at least one, and no more than have `together` operations.
    fn choose(&self, waiting: &[QueuedRequest], together: u64) -> Option<Vec<usize>> {
        let flops = |request: &QueuedRequest| self.shared.flops(request.tokens);
        let may_pass = |request: &QueuedRequest| {
            request.tokens <= self.limits.max_batch_tokens && flops(request) <= self.flops_max
        };
        let (passing, queued): (Vec<usize>, Vec<QueuedRequest>) = waiting
            .iter()
            .enumerate()
            .filter_map(|(index, request)| may_pass(request).then_some((index, *request)))
            .unzip();
        let mut limits = self.limits;
        let mut chosen = schedule::next_batch(&queued, limits);
        while chosen.len() > 1
            && chosen.iter().map(|&index| flops(&queued[index])).sum::<u64>() > together
        {
            limits.max_batch_sequences = chosen.len() / 2;
            chosen = schedule::next_batch(&queued, limits);
        }
        (!chosen.is_empty()).then(|| chosen.into_iter().map(|index| passing[index]).collect())
    }
}
