//! The policies: the engine's planner, driven as by the engine's device loop, and the three that it is compared with.
//!
//! The rivals are the defaults of other servers for encoders, without their overhead, on the same device:
//!
//! - [`Policy::Fifo`] takes up to 32 requests in order of arrival and pads them to the longest, as the default of Infinity does
//!   (and text-embeddings-inference where a model has no packed kernels). A batch ends before its padded tokens exceed what
//!   the device holds.
//! - [`Policy::FifoBudget`] packs requests in order of arrival until the next one would exceed 16384 tokens, as
//!   text-embeddings-inference with its default of `--max-batch-tokens`. A longer request runs alone.
//! - [`Policy::ShortestFirst`] packs the shortest ones that wait within the same tokens. Nothing bounds how long others wait.

use bigbatch_engine::schedule::QueuedRequest;
use bigbatch_engine::{Passing, next_full_peers, next_peers};
use serde::{Deserialize, Serialize};

use super::clock::Clock;
use super::device::SimulatedDevice;
use crate::format::labelled;

/// Requests of a padded batch at most.
const PADDED_REQUESTS: usize = 32;
/// Tokens of a packed batch of a rival, unless one request alone has more.
const BUDGET_TOKENS: usize = 16_384;

labelled! {
    /// What chooses the next batch.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    pub enum Policy {
        /// The engine's: fair shares, packed batches, long ones pause.
        Planner = "bigbatch",
        /// Order of arrival, padded to the longest.
        Fifo = "FIFO, padded",
        /// Order of arrival, packed.
        FifoBudget = "FIFO, token budget",
        /// The shortest first, packed.
        ShortestFirst = "shortest first",
    }
}

impl Policy {
    /// All of them, the planner first.
    pub const ALL: [Policy; 4] =
        [Policy::Planner, Policy::Fifo, Policy::FifoBudget, Policy::ShortestFirst];
}

/// Runs until every request has ended.
pub(super) fn run(policy: Policy, clock: &mut Clock<'_>) {
    match policy {
        Policy::Planner => run_planner(clock),
        Policy::Fifo => {
            let most = clock.device.limits.max_batch_tokens;
            run_whole(clock, |waiting| padded(waiting, most), padded_size);
        }
        Policy::FifoBudget => {
            let in_order = |waiting: &[QueuedRequest]| within_budget(waiting, 0..waiting.len());
            run_whole(clock, in_order, |clock, batch| clock.predict(batch));
        }
        Policy::ShortestFirst => run_whole(clock, shortest, |clock, batch| clock.predict(batch)),
    }
}

/// Runs one whole batch after another, each chosen when the device is free.
fn run_whole(
    clock: &mut Clock<'_>,
    choose: impl Fn(&[QueuedRequest]) -> Vec<usize>,
    seconds: impl Fn(&Clock<'_>, &[usize]) -> f64,
) {
    while clock.wait_for_one() {
        let Some(batch) = clock.take(|waiting, _| Some(choose(waiting))) else { return };
        clock.work(seconds(clock, &batch));
        clock.answer(&batch);
    }
}

fn padded(waiting: &[QueuedRequest], tokens_max: usize) -> Vec<usize> {
    let mut longest = 0;
    let fits = |&index: &usize| {
        longest = longest.max(waiting[index].tokens);
        index == 0 || longest * (index + 1) <= tokens_max
    };
    (0..waiting.len().min(PADDED_REQUESTS)).take_while(fits).collect()
}

fn padded_size(clock: &Clock<'_>, batch: &[usize]) -> f64 {
    let longest = batch.iter().map(|&request| clock.tokens(request)).max().unwrap_or(0);
    let padded = std::iter::repeat_n(longest, batch.len());
    clock.device.costs.predict(bigbatch_engine::BatchSize::of(padded))
}

fn shortest(waiting: &[QueuedRequest]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..waiting.len()).collect();
    order.sort_by_key(|&index| waiting[index].tokens);
    let mut chosen = within_budget(waiting, order);
    chosen.sort_unstable();
    chosen
}

/// Takes requests in this order until the next one would exceed the budget; the first in any case.
fn within_budget(waiting: &[QueuedRequest], order: impl IntoIterator<Item = usize>) -> Vec<usize> {
    let mut tokens = 0;
    let fits = |&index: &usize| {
        let first = tokens == 0;
        tokens += waiting[index].tokens;
        first || tokens <= BUDGET_TOKENS
    };
    order.into_iter().take_while(fits).collect()
}

/// Does what the engine's device loop does with the planner. A GPU is given the next batch when it begins one, if that is full;
/// if the batch runs in slices, when it begins the last slice, in any case.
fn run_planner(clock: &mut Clock<'_>) {
    let mut ahead = None;
    loop {
        let batch = match ahead.take() {
            Some(batch) => batch,
            None if clock.wait_for_one() => match take_next(clock) {
                Some(batch) => batch,
                None => return,
            },
            None => return,
        };
        match ShortTurns::new(clock, &batch) {
            Some(turns) => ahead = turns.run_in_slices(clock, &batch),
            None => {
                ahead = take_full(clock);
                clock.work(clock.predict(&batch));
            }
        }
        clock.answer(&batch);
    }
}

fn take_next(clock: &mut Clock<'_>) -> Option<Vec<usize>> {
    let SimulatedDevice { limits, costs, turns, .. } = *clock.device;
    clock.take(|waiting, several| Some(next_peers(waiting, several, limits, &costs, turns)))
}

/// Takes the next batch for a device that still works, if it is full.
fn take_full(clock: &mut Clock<'_>) -> Option<Vec<usize>> {
    let SimulatedDevice { limits, costs, turns, asynchronous, .. } = *clock.device;
    clock.take(|waiting, several_flows| {
        asynchronous
            .then(|| next_full_peers(waiting, several_flows, limits, &costs, turns))
            .flatten()
    })
}

/// The turns of short requests during one long batch, as in the engine's `short_batches`.
struct ShortTurns {
    passing: Passing,
    /// When the long batch was resumed, and how long it has to run before the next short one, in seconds.
    resumed: f64,
    owed: f64,
    /// How long the batch runs for each second of those that ran last.
    owed_per_second: f64,
}

impl ShortTurns {
    /// Returns `None` if the batch does not run in slices.
    fn new(clock: &Clock<'_>, batch: &[usize]) -> Option<ShortTurns> {
        let device = clock.device;
        let work = |&request: &usize| device.costs.nanoseconds(clock.tokens(request));
        let total = batch.iter().map(work).sum::<u64>();
        let of_flows = batch.iter().map(|request| (clock.flow(*request), work(request)));
        let passing = Passing::new(device.short_lane, device.costs, device.turns, of_flows);
        let is_long = u128::from(total) >= device.turns.pausing.as_nanos();
        let in_slices = if device.asynchronous { is_long } else { passing.pauses() };
        in_slices.then(|| ShortTurns {
            passing,
            resumed: clock.now(),
            owed: 0.0,
            owed_per_second: 0.0,
        })
    }

    /// Runs a batch in slices, and short ones between them. A GPU works on a slice when the short ones are chosen, and on them
    /// after it. Returns the batch that was chosen ahead.
    fn run_in_slices(mut self, clock: &mut Clock<'_>, batch: &[usize]) -> Option<Vec<usize>> {
        let slice = clock.device.turns.slice.as_secs_f64();
        let mut left = clock.predict(batch);
        while left > slice {
            let short = self.choose(clock);
            if clock.device.asynchronous {
                clock.work(slice);
                self.run_short(clock, short);
            } else {
                self.run_short(clock, short);
                clock.work(slice);
            }
            left -= slice;
        }
        let ahead = if clock.device.asynchronous { take_next(clock) } else { None };
        clock.work(left);
        ahead
    }

    fn choose(&mut self, clock: &mut Clock<'_>) -> Option<Vec<usize>> {
        if clock.now() - self.resumed < self.owed {
            return None;
        }
        let (passing, owed) = (&self.passing, &mut self.owed_per_second);
        clock.take(|waiting, _| {
            let chosen = passing.choose(waiting)?;
            *owed = passing.owed(waiting, chosen.len());
            Some(chosen)
        })
    }

    fn run_short(&mut self, clock: &mut Clock<'_>, short: Option<Vec<usize>>) {
        let Some(short) = short else { return };
        let seconds = clock.predict(&short);
        clock.work(seconds);
        clock.answer(&short);
        (self.resumed, self.owed) = (clock.now(), seconds * self.owed_per_second);
    }
}
