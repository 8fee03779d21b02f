//! The work that an engine has admitted and not done, and how fast it does it: what predicts a wait.
//!
//! Work is counted in nanoseconds of device time, as [`CostModel`](crate::batch::cost::CostModel) predicts them, from the bytes
//! of a text until it is tokenized and from its tokens afterwards. How much of that is done per second is the pace: that at which
//! admitted work was answered during the last seconds in which there was any, with whatever else the machine did meanwhile:
//! tokenizing, other engines, other processes. A batch's time has a part that does not depend on its work (launches on a GPU);
//! the least time of a batch that found the device idle bounds it. Batches that take little more than that do not show the
//! pace. Until others have run, it is that of the cost model if it was fitted at start-up, and otherwise no wait is predicted.
//!
//! A request is admitted if the work ahead of it and its own would be done within [`USABLE_SHARE`] of its time limit. Ahead
//! of it is what its flow has admitted already, and as much of each other flow of its priority; for one of
//! [`Priority::Batch`](crate::batch::Priority::Batch) all interactive work, too. So a client with much work does not cause that of others to be refused.
//! Nor does a request wait for long ones that it may pass ([`crate::batch::passing`]), but for the time that they are owed.
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
    /// Nanoseconds admitted and not done, of the flows that have any, by the nanoseconds of the least input of each class.
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

    /// Returns what is done by the time that `more` of a flow is done, which has its turn after the flow's other work, but
    /// before the work that it passes: that is owed `owed` times what passes.
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
    /// Records a batch; its first request was admitted at `admitted`.
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
        let constant = self.batches * self.shortest_seconds?;
        let shown = self.nanoseconds > 0.0 && self.seconds >= SIGNIFICANT_FACTOR * constant;
        shown.then(|| self.nanoseconds / (self.seconds - constant))
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

    /// Returns the class of an input of so many nanoseconds: at most those, or 0 for one that nobody passes.
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
        // Of several inputs, which are none that others pass together.
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

    /// Records that a batch was answered whose first request was admitted at `admitted`.
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
mod tests {
    use super::*;
    use crate::batch::Priority;

    const LIMIT: Duration = Duration::from_secs(10);

    /// Returns a backlog whose batches took a second at 100 nanoseconds per second, after one of 10 ms on an idle device.
    fn at_100_per_second() -> Arc<Backlog> {
        let (backlog, start) = (Arc::new(Backlog::default()), Instant::now());
        let at = |millis| start + Duration::from_millis(millis);
        let mut state = backlog.state();
        state.speed.record(1, start, at(10));
        state.speed.record(100, at(10), at(1020));
        state.speed.record(100, at(10), at(2030));
        drop(state);
        backlog
    }

    fn is_late(result: Result<Reservation, RequestError>) -> bool {
        matches!(result, Err(RequestError::WaitTooLong { .. } | RequestError::TooMuchWork { .. }))
    }

    #[test]
    fn the_speed_is_that_of_batches_that_take_much_longer_than_the_shortest() {
        let (mut speed, start) = (Speed::default(), Instant::now());
        let at = |millis| start + Duration::from_millis(millis);
        assert_eq!(speed.pace(), None);
        speed.record(10, start, at(2));
        for batch in 0..100 {
            speed.record(1000, at(4 * batch), at(4 * batch + 3));
            assert_eq!(speed.pace(), None, "3 ms are launches, not work");
        }
        speed.record(1_000_000, at(1000), at(2002));
        speed.record(1_000_000, at(1000), at(3004));
        let speed = speed.pace().expect("a second is not");
        assert!((0.9e6..1.1e6).contains(&speed), "{speed}");
    }

    #[test]
    fn time_in_which_nothing_waited_does_not_count() {
        let (mut speed, start) = (Speed::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        speed.record(1, start, start + Duration::from_millis(1));
        speed.record(500, at(100), at(105));
        speed.record(500, at(102), at(110));
        let speed = speed.pace().expect("it ran for ten seconds");
        assert!((99.0..101.0).contains(&speed), "{speed}");
    }

    #[test]
    fn a_stall_is_forgotten_as_fast_as_any_other_batch() {
        let (mut speed, start) = (Speed::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        speed.record(1, start, start + Duration::from_millis(1));
        speed.record(100, at(1), at(100));
        (100..130).for_each(|second| speed.record(100, at(1), at(second + 1)));
        let speed = speed.pace().expect("it ran for 30 s");
        assert!((90.0..101.0).contains(&speed), "{speed}");
    }

    #[test]
    fn a_request_is_refused_if_all_work_would_take_more_than_four_fifths_of_its_limit() {
        let backlog = at_100_per_second();
        let first =
            backlog.reserve([5000, 0], None, LIMIT, Flow::default()).expect("nothing else waits");
        assert!(is_late(backlog.reserve([1, 0], None, LIMIT, Flow::default())));
        drop(first);
        let _most = backlog.reserve([790, 0], None, LIMIT, Flow::default()).expect("7.9 s");
        assert!(is_late(backlog.reserve([20, 0], None, LIMIT, Flow::default())));
        let _last = backlog.reserve([5, 0], None, LIMIT, Flow::default()).expect("8 s");
        let wait = backlog.predict_wait().expect("batches have run").as_secs_f64();
        assert!((7.9..8.0).contains(&wait), "{wait}");
    }

    #[test]
    fn inputs_after_the_first_leave_half_of_the_time_to_other_requests() {
        let backlog = at_100_per_second();
        let _large =
            backlog.reserve([10, 5000], None, LIMIT, Flow::default()).expect("nothing else waits");
        let refused = backlog.reserve([10, 1], None, LIMIT, Flow::default()).map(drop);
        assert!(matches!(refused, Err(RequestError::TooMuchWork { .. })), "{refused:?}");
        let _small = backlog
            .reserve([380, 0], None, LIMIT, Flow::default())
            .expect("3.9 s beside 4 s of the large one");
        assert!(is_late(backlog.reserve([20, 0], None, LIMIT, Flow::default())));
    }

    #[test]
    fn a_client_with_much_work_is_refused_and_others_are_not() {
        let backlog = at_100_per_second();
        let flow = |share, priority| Flow { share, priority };
        let [many, few, other] = [1, 2, 3].map(|share| flow(share, Priority::Interactive));
        let flood = backlog.reserve([790, 0], None, LIMIT, many).expect("nothing else waits");
        assert!(is_late(backlog.reserve([20, 0], None, LIMIT, many)));
        let own = backlog
            .reserve([100, 0], None, LIMIT, few)
            .expect("2 s: it takes turns with one other");
        assert!(is_late(backlog.reserve([310, 0], None, LIMIT, few)), "8.2 s");
        let third = backlog.reserve([200, 0], None, LIMIT, other).expect("6 s of three");
        assert!(is_late(backlog.reserve([170, 0], None, LIMIT, few)), "8.1 s of three");
        drop(own);
        // Batch work waits for all of it, and interactive work for no batch work.
        let batch = flow(4, Priority::Batch);
        assert!(is_late(backlog.reserve([1, 0], None, LIMIT, batch)));
        drop((flood, third));
        let _batch = backlog.reserve([5000, 0], None, LIMIT, batch).expect("nothing else waits");
        assert!(backlog.reserve([790, 0], None, LIMIT, few).is_ok());
        assert!(is_late(backlog.reserve([790, 0], None, LIMIT, flow(5, Priority::Batch))));
    }

    #[test]
    fn a_short_request_does_not_wait_for_long_ones_that_it_passes() {
        let turns = Turns { pausing: Duration::from_nanos(64), ..Turns::HOST };
        let Backlog { state, .. } = Arc::into_inner(at_100_per_second()).expect("it is alone");
        let backlog = Arc::new(Backlog { state, turns: Some(turns) });
        let one = Flow { share: 1, priority: Priority::Interactive };
        let _long = backlog.reserve([3000, 0], Some(3000), LIMIT, one).expect("nothing else waits");
        let short = backlog.reserve([100, 0], Some(100), LIMIT, one).expect("1 s, and 6 s owed");
        assert!(is_late(backlog.reserve([20, 0], Some(20), LIMIT, one)), "1.2 s, and 7.2 s owed");
        drop(short);
        assert!(is_late(backlog.reserve([1, 0], None, LIMIT, one)), "it does not fit there");
        assert!(is_late(backlog.reserve([300, 0], Some(300), LIMIT, one)), "it is no shorter");
        let batch = Flow { share: 3, priority: Priority::Batch };
        assert!(backlog.reserve([100, 0], Some(100), LIMIT, batch).is_ok());
        assert!(backlog.reserve([10, 20], Some(10), LIMIT, one).is_ok(), "all of them pass");
    }

    #[test]
    fn without_a_speed_anything_is_accepted() {
        let backlog = Arc::new(Backlog::default());
        let accepted =
            [(); 3].map(|()| backlog.reserve([u64::MAX, u64::MAX], None, LIMIT, Flow::default()));
        assert!(accepted.iter().all(Result::is_ok));
        assert_eq!(backlog.predict_wait(), None);
    }

    #[test]
    fn tokens_are_predicted_from_the_texts_before() {
        let backlog = Backlog::default();
        assert_eq!(backlog.predict_tokens(100), 25);
        (0..10).for_each(|_| backlog.record_text(1_000_000, 500_000));
        assert_eq!(backlog.predict_tokens(100), 50);
        (0..1000).for_each(|_| {
            backlog.record_text(10_000, 4000);
            backlog.record_text(10_000, 6000);
        });
        let tokens = backlog.predict_tokens(100);
        assert!((60..=65).contains(&tokens), "{tokens}: above most of them");
    }

    #[test]
    fn all_work_is_gone_when_everything_is_dropped() {
        let backlog = Arc::new(Backlog::default());
        let mut random = fastrand::Rng::with_seed(1);
        for _ in 0..200 {
            let (first, further) = (random.u64(..1 << 50), random.u64(..1 << 55));
            let mut reservation = backlog
                .reserve([first, further], None, LIMIT, Flow::default())
                .expect("no speed is known");
            let mut works: Vec<Work> =
                (0..random.usize(..5)).map(|_| reservation.next(random.u64(..1 << 53))).collect();
            works.iter_mut().for_each(|work| work.set(random.u64(..1 << 50)));
            if random.bool() {
                drop(reservation);
            }
        }
        assert_eq!(backlog.state().outstanding, HashMap::new());
    }
}
