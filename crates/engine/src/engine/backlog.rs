//! The work that an engine has admitted and not done, and how fast it does it: what predicts a wait.
//!
//! Work is counted in nanoseconds of device time, as [`CostModel`](crate::batch::cost::CostModel) predicts them, from the bytes
//! of a text until it is tokenized and from its tokens afterwards. How much of that is done per second is the pace: that at which
//! admitted work was answered during the last seconds in which there was any, with whatever else the machine did meanwhile:
//! tokenizing, other engines, other processes. Batches that take little more than the shortest one that found the device
//! idle do not show the pace. Until others have run, it is that of the cost model if it was fitted at start-up, and
//! otherwise no wait is predicted.
//!
//! A request is admitted if the work ahead of it and its own would be done within [`USABLE_SHARE`] of its time limit. Ahead
//! of it is what its flow has admitted already, and as much of each other flow of its priority; for one of
//! [`Priority::Batch`](crate::batch::Priority::Batch) all interactive work, too. So a client with much work does not cause that of others to be refused.
//! Long inputs that a request may pass ([`crate::batch::passing`]) delay it only by the time that they are owed.
//! Inputs after a request's first may take half of that, and count for no more even if an idle
//! engine accepted more: they wait for slots, so that requests that begin find room beside a large one.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::batch::Flow;
use crate::batch::passing::{Turns, passes};
use crate::error::RequestError;

/// Share of a time limit that predicted work may fill. The rest is for errors of the prediction.
const USABLE_SHARE: f64 = 0.8;
/// Share of [`USABLE_SHARE`] that inputs after their request's first may fill.
const FURTHER_SHARE: f64 = 0.5;
/// Time over which the speed is averaged, in seconds of work.
const AVERAGING_SECONDS: f64 = 10.0;
/// Batches show the speed if they take this many times as long as the shortest.
const SIGNIFICANT_FACTOR: f64 = 4.0;
/// Tokens per byte before any text has been tokenized.
const TOKENS_PER_BYTE: f64 = 0.25;
/// Standard deviations above the mean that nine of ten values are below.
const DEVIATIONS: f64 = 1.28;
/// Bytes over which the tokens per byte are averaged.
const AVERAGING_BYTES: f64 = 1e6;

/// Returns a predicted time, which may be infinite, as a duration of at most some days.
pub(super) fn to_duration(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds.min(1e6))
}

/// The work that waits or runs, and the speed at which it was done.
#[derive(Default)]
pub(super) struct Backlog {
    state: Mutex<State>,
    /// Those of a device on which short requests pass long ones.
    turns: Option<Turns>,
}

#[derive(Default)]
struct State {
    /// Nanoseconds admitted and not done, of the flows that have any, by class; see [`Backlog::class`].
    outstanding: HashMap<Flow, BTreeMap<u64, WorkTime>>,
    speed: Speed,
    /// The pace until batches show it.
    assumed_pace: Option<f64>,
    text: TextSize,
}

/// Nanoseconds: of requests' first inputs, and of those after them. Integers, whose sums return to zero.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct WorkTime {
    first: u128,
    further: u128,
}

impl WorkTime {
    fn new(nanoseconds: u64, further: bool) -> WorkTime {
        let nanoseconds = u128::from(nanoseconds);
        if further {
            WorkTime { first: 0, further: nanoseconds }
        } else {
            WorkTime { first: nanoseconds, further: 0 }
        }
    }

    fn plus(self, other: WorkTime) -> WorkTime {
        WorkTime { first: self.first + other.first, further: self.further + other.further }
    }

    fn minus(self, other: WorkTime) -> WorkTime {
        WorkTime { first: self.first - other.first, further: self.further - other.further }
    }

    /// Returns so many times the nanoseconds, but no more than `most`.
    fn times_up_to(self, count: u128, most: WorkTime) -> WorkTime {
        WorkTime {
            first: self.first.saturating_mul(count).min(most.first),
            further: self.further.saturating_mul(count).min(most.further),
        }
    }

    fn all(self) -> u128 {
        self.first + self.further
    }
}

impl State {
    fn add(&mut self, flow: Flow, class: u64, more: WorkTime) {
        if more != WorkTime::default() {
            let outstanding = self.outstanding.entry(flow).or_default().entry(class).or_default();
            *outstanding = outstanding.plus(more);
        }
    }

    fn subtract(&mut self, flow: Flow, class: u64, done: WorkTime) {
        let Some(classes) = self.outstanding.get_mut(&flow) else { return };
        let Some(outstanding) = classes.get_mut(&class) else { return };
        *outstanding = outstanding.minus(done);
        if *outstanding == WorkTime::default() {
            classes.remove(&class);
        }
        if classes.is_empty() {
            self.outstanding.remove(&flow);
        }
    }

    /// Returns the nanoseconds of work that are done per second.
    fn pace(&self) -> Option<f64> {
        self.speed.pace().or(self.assumed_pace)
    }

    fn all(&self) -> WorkTime {
        let works = self.outstanding.values().flat_map(BTreeMap::values);
        works.copied().fold(WorkTime::default(), WorkTime::plus)
    }

    /// Returns what is done by the time that `more` of a flow is done. It has its turn after the flow's other work, but before
    /// the classes that it passes, which meanwhile run for at most `owed` times as long as the rest.
    fn until(
        &self,
        flow: Flow,
        more: WorkTime,
        passes: impl Fn(u64) -> bool,
        owed: f64,
    ) -> WorkTime {
        let (mut before, mut beside, mut flows) = (WorkTime::default(), more, 0_u128);
        let (mut own, mut passed) = (more, WorkTime::default());
        for (other, classes) in &self.outstanding {
            let mut work = WorkTime::default();
            for (&class, &of_class) in classes {
                let sum = if passes(class) { &mut passed } else { &mut work };
                *sum = sum.plus(of_class);
            }
            if other.priority == flow.priority {
                beside = beside.plus(work);
                flows += u128::from(*other != flow && work != WorkTime::default());
            } else if other.priority < flow.priority {
                before = before.plus(work);
            }
            if *other == flow {
                own = own.plus(work);
            }
        }
        let mut until = own.times_up_to(flows + 1, beside).plus(before);
        until.first += passed.all().min((until.all() as f64 * owed) as u128);
        until
    }
}

/// Decaying sums over the batches that were done.
#[derive(Debug, Default, Clone, Copy)]
struct Speed {
    batches: f64,
    seconds: f64,
    nanoseconds: f64,
    /// The shortest time from the admission of a request to the end of its batch, if the device was idle before.
    shortest_seconds: Option<f64>,
    latest: Option<Instant>,
}

impl Speed {
    /// Records a batch of so many predicted nanoseconds; its first request was admitted at `admitted`.
    fn record(&mut self, nanoseconds: u64, admitted: Instant, done: Instant) {
        let since = self.latest.map_or(admitted, |latest| latest.max(admitted));
        let seconds = done.saturating_duration_since(since).as_secs_f64();
        if since == admitted {
            let shortest = self.shortest_seconds.map_or(seconds, |shortest| shortest.min(seconds));
            self.shortest_seconds = Some(shortest);
        }
        let kept = (-seconds / AVERAGING_SECONDS).exp();
        // A batch that took longer than the average reaches back counts as its last seconds.
        let weight = if seconds > 0.0 { (1.0 - kept) * AVERAGING_SECONDS / seconds } else { 1.0 };
        self.batches = self.batches * kept + weight;
        self.seconds = self.seconds * kept + weight * seconds;
        self.nanoseconds = self.nanoseconds * kept + weight * nanoseconds as f64;
        self.latest = Some(done);
    }

    /// Returns the nanoseconds per second, if the latest batches show it.
    fn pace(&self) -> Option<f64> {
        let shortest = self.batches * self.shortest_seconds?;
        let shown = self.nanoseconds > 0.0 && self.seconds >= SIGNIFICANT_FACTOR * shortest;
        shown.then(|| self.nanoseconds / self.seconds)
    }
}

/// Decaying sums over the texts that were tokenized.
#[derive(Debug, Default, Clone, Copy)]
struct TextSize {
    bytes: f64,
    tokens: f64,
    /// Of the squared tokens per byte of each text, weighted by its bytes.
    squares: f64,
}

impl TextSize {
    fn record(&mut self, bytes: usize, tokens: usize) {
        let kept = (-(bytes as f64) / AVERAGING_BYTES).exp();
        self.bytes = self.bytes * kept + bytes as f64;
        self.tokens = self.tokens * kept + tokens as f64;
        self.squares = self.squares * kept + (tokens as f64).powi(2) / bytes.max(1) as f64;
    }

    /// Returns the tokens per byte that nine of ten texts stay below, if they are spread normally.
    fn tokens_per_byte(&self) -> f64 {
        if self.bytes == 0.0 {
            return TOKENS_PER_BYTE;
        }
        let mean = self.tokens / self.bytes;
        let variance = (self.squares / self.bytes - mean * mean).max(0.0);
        mean + DEVIATIONS * variance.sqrt()
    }
}

impl Backlog {
    /// No code panics while it holds the lock, so a poisoned one is still whole.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns an empty backlog for a device with these turns, if short requests pass long ones there.
    pub(super) fn new(turns: Option<Turns>) -> Backlog {
        Backlog { turns, ..Backlog::default() }
    }

    /// Returns the class of an input of so many nanoseconds: the least nanoseconds of its inputs, or 0 if nobody passes it.
    fn class(&self, nanoseconds: u64) -> u64 {
        let pauses = |turns: Turns| u128::from(nanoseconds) >= turns.pausing.as_nanos();
        if self.turns.is_some_and(pauses) { 1 << nanoseconds.ilog2() } else { 0 }
    }

    /// Counts the work of one input.
    fn work(
        self: &Arc<Backlog>,
        state: &mut State,
        nanoseconds: u64,
        flow: Flow,
        further: bool,
    ) -> Work {
        let class = self.class(nanoseconds);
        state.add(flow, class, WorkTime::new(nanoseconds, further));
        Work { backlog: self.clone(), flow, nanoseconds, class, further }
    }

    /// Adds work without asking whether it can be done in time.
    pub(super) fn add(self: &Arc<Backlog>, nanoseconds: u64, flow: Flow) -> Work {
        self.work(&mut self.state(), nanoseconds, flow, false)
    }

    /// Reserves the time for a request's first input and for all others, if everything can be done within `limit`, if
    /// nothing else waits, or if the speed is not known yet. `longest` is the work of the longest input if that fits where
    /// short requests run that pass others.
    ///
    /// # Errors
    /// [`RequestError::WaitTooLong`], [`RequestError::TooMuchWork`].
    pub(super) fn reserve(
        self: &Arc<Backlog>,
        [first, further]: [u64; 2],
        longest: Option<u64>,
        limit: Duration,
        flow: Flow,
    ) -> Result<Reservation, RequestError> {
        let mut state = self.state();
        let more = WorkTime { first: first.into(), further: further.into() };
        if !state.outstanding.is_empty()
            && let Some(speed) = state.pace()
        {
            let usable = limit.as_secs_f64() * USABLE_SHARE;
            let usable_further = usable * FURTHER_SHARE;
            let may_pass = |class| class > 0 && longest.is_some_and(|own| passes(own, class));
            let owed = self.turns.map_or(0.0, |turns| turns.owed_before_others);
            let until = state.until(flow, more, may_pass, owed);
            let wait_further = until.further as f64 / speed;
            let wait = until.first as f64 / speed + wait_further.min(usable_further);
            if further > 0 && wait_further > usable_further {
                let (wait, limit) = (to_duration(wait_further), to_duration(usable_further));
                return Err(RequestError::TooMuchWork { wait, limit });
            }
            if wait > usable {
                let (wait, limit) = (to_duration(wait), to_duration(usable));
                return Err(RequestError::WaitTooLong { wait, limit });
            }
        }
        let first = self.work(&mut state, first, flow, false);
        // The inputs after the first are counted together until they are submitted, so none is known to be long.
        let class = 0;
        state.add(flow, class, WorkTime::new(further, true));
        let further =
            Work { backlog: self.clone(), flow, nanoseconds: further, class, further: true };
        Ok(Reservation { first: Some(first), further })
    }

    /// Takes the predicted times for real ones until batches show the pace.
    pub(super) fn assume_predicted_times(&self) {
        self.state().assumed_pace = Some(1e9);
    }

    /// Records that a batch of so many predicted nanoseconds was answered whose first request was admitted at `admitted`.
    pub(super) fn record_batch(&self, nanoseconds: u64, admitted: Instant) {
        self.state().speed.record(nanoseconds, admitted, Instant::now());
    }

    /// Records how many tokens a text of so many bytes has, without special ones.
    pub(super) fn record_text(&self, bytes: usize, tokens: usize) {
        self.state().text.record(bytes, tokens);
    }

    /// Predicts the tokens of a text of so many bytes, without special ones, from the texts before it.
    pub(super) fn predict_tokens(&self, bytes: usize) -> usize {
        (bytes as f64 * self.state().text.tokens_per_byte()).ceil() as usize
    }

    /// Predicts how long the work that waits or runs takes; `None` while the speed is not known.
    pub(super) fn predict_wait(&self) -> Option<Duration> {
        let state = self.state();
        Some(to_duration(state.all().all() as f64 / state.pace()?))
    }
}

/// Work that was admitted and is not done: counted in its [`Backlog`] until it is dropped.
pub(crate) struct Work {
    backlog: Arc<Backlog>,
    flow: Flow,
    nanoseconds: u64,
    /// As [`Backlog::class`].
    class: u64,
    further: bool,
}

impl Work {
    pub(super) fn nanoseconds(&self) -> u64 {
        self.nanoseconds
    }

    /// Corrects a prediction.
    pub(super) fn set(&mut self, nanoseconds: u64) {
        let class = self.backlog.class(nanoseconds);
        let mut state = self.backlog.state();
        state.subtract(self.flow, self.class, WorkTime::new(self.nanoseconds, self.further));
        state.add(self.flow, class, WorkTime::new(nanoseconds, self.further));
        drop(state);
        (self.nanoseconds, self.class) = (nanoseconds, class);
    }

    /// Takes up to so many nanoseconds out of it, for one input.
    fn split(&mut self, nanoseconds: u64) -> Work {
        let nanoseconds = nanoseconds.min(self.nanoseconds);
        let mut state = self.backlog.state();
        state.subtract(self.flow, self.class, WorkTime::new(nanoseconds, self.further));
        self.nanoseconds -= nanoseconds;
        self.backlog.work(&mut state, nanoseconds, self.flow, self.further)
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        self.set(0);
    }
}

/// The time reserved for a request's inputs that are not submitted yet. Dropping it gives the time back.
pub struct Reservation {
    first: Option<Work>,
    further: Work,
}

impl Reservation {
    /// Takes the work of the next input, which is predicted to be of so many nanoseconds.
    pub(super) fn next(&mut self, nanoseconds: u64) -> Work {
        self.first.take().unwrap_or_else(|| self.further.split(nanoseconds))
    }
}

#[cfg(test)]
mod tests;
