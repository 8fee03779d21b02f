//! The phases of a cell as a state machine: warm-up, measured, cool-down, done. Cells that run at the same time, the
//! classes of a scenario, have their phases in common.
//!
//! The load does not pause between phases, and a request belongs to the phase of its intended start. The
//! warm-up of a closed loop ends with its last required completion, that of an open loop at a time of its
//! schedule. After the measured phase requests are still sent until the last measured one is answered, so
//! that the last requests are not measured on a target that runs empty; these are cancelled and do not
//! count. A replay ends with its file and has no cool-down.
//!
//! Of several classes the warm-up ends when each is warm. The measured phase lasts the `seconds` of the class that has
//! them; else it ends when every class has its counts, or one has its most requests.
//!
//! The steady part of the measured phase is found later, in [`crate::figures`].

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::histogram::Histogram;
use super::records::{Phase, RequestRecord};
use super::schedule::Schedule;
use crate::plan::CellRules;

/// The conditions that end the phases of a cell.
#[derive(Debug, Clone, Copy)]
pub(super) struct Quotas {
    warm_up: WarmUpEnd,
    requests: usize,
    batches: usize,
    requests_max: usize,
    /// Condition that ends the measured phase.
    ends: MeasuredEnd,
}

#[derive(Debug, Clone, Copy)]
enum WarmUpEnd {
    /// After this many requests have ended.
    Ended(usize),
    /// At the first intended start at or after this time.
    Until(Instant),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum MeasuredEnd {
    /// At the required numbers of requests and batches.
    ByCounts,
    /// This long after its start, regardless of counts.
    After(Duration),
    /// At the end of the schedule.
    WithSchedule,
}

impl Quotas {
    pub(super) fn closed(rules: &CellRules, clients: usize) -> Quotas {
        Quotas {
            warm_up: WarmUpEnd::Ended(rules.warmup_requests_per_client * clients),
            requests: rules.requests_wanted(clients),
            batches: rules.batches_min,
            requests_max: rules.requests_max,
            ends: MeasuredEnd::ByCounts,
        }
    }

    /// The conditions of an open loop that starts at `start`.
    pub(super) fn open(rules: &CellRules, schedule: &Schedule, start: Instant) -> Quotas {
        let ends = match schedule.measured_to() {
            Some(to) => MeasuredEnd::After(to - schedule.measured_from()),
            None if schedule.is_replay() => MeasuredEnd::WithSchedule,
            None => MeasuredEnd::ByCounts,
        };
        Quotas {
            warm_up: WarmUpEnd::Until(start + schedule.measured_from()),
            requests: schedule.measured_arrivals().unwrap_or(rules.requests_wanted(1)),
            batches: rules.batches_min,
            requests_max: rules.requests_max,
            ends,
        }
    }
}

/// A request about to be sent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ticket {
    pub(super) ordinal: u64,
    pub(super) phase: Phase,
}

/// The progress of a cell under load.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LoadProgress {
    /// Whether the warm-up is over.
    pub measuring: bool,
    /// Requests of the current phase that have ended.
    pub ended: usize,
    /// Fewest requests of the current phase that must end; 0 if it ends at a time.
    pub wanted: usize,
    /// Measured requests that failed.
    pub failed: usize,
    /// Different batches among the measured requests.
    pub batches: usize,
    /// Approximate median latency of the measured requests answered so far, in microseconds.
    pub latency_us_p50: Option<u64>,
    /// Approximate 95th percentile of the same, in microseconds.
    pub latency_us_p95: Option<u64>,
}

#[derive(Debug)]
struct PhaseState {
    phase: Phase,
    ends: MeasuredEnd,
    measuring_from: Option<Instant>,
    measuring_to: Option<Instant>,
    classes: Vec<ClassState>,
}

/// The state of one of the cells that run at the same time.
#[derive(Debug)]
struct ClassState {
    quotas: Quotas,
    issued: u64,
    /// Intended start of the last request of an open loop.
    scheduled: Option<Instant>,
    warmed_up: usize,
    /// When a closed loop had ended the requests of its warm-up.
    warm_at: Option<Instant>,
    measured_issued: usize,
    measured_ended: usize,
    failed: usize,
    batches: HashSet<u64>,
    latency_us: Histogram,
    stopped_clients: usize,
    records: Vec<RequestRecord>,
}

/// Shared by the clients of one cell, or of the cells that run at the same time.
#[derive(Debug)]
pub(super) struct Phases {
    state: Mutex<PhaseState>,
    pub(super) done: Notify,
}

/// The ends of the measured phase, and what each cell has recorded.
pub(super) struct PhaseOutput {
    pub(super) measured_from: Option<Instant>,
    pub(super) measured_to: Option<Instant>,
    pub(super) classes: Vec<ClassOutput>,
}

/// The records of one cell.
pub(super) struct ClassOutput {
    pub(super) records: Vec<RequestRecord>,
    /// Clients that the target told to wait past the cell's time limit.
    pub(super) stopped_clients: usize,
}

impl ClassState {
    fn new(quotas: Quotas, now: Instant) -> ClassState {
        ClassState {
            quotas,
            issued: 0,
            scheduled: None,
            warmed_up: 0,
            warm_at: matches!(quotas.warm_up, WarmUpEnd::Ended(0)).then_some(now),
            measured_issued: 0,
            measured_ended: 0,
            failed: 0,
            batches: HashSet::new(),
            latency_us: Histogram::new(),
            stopped_clients: 0,
            records: Vec::new(),
        }
    }

    /// Returns since when the class is warm; `None` if it is not at `now`.
    fn warm_since(&self, now: Instant) -> Option<Instant> {
        match self.quotas.warm_up {
            WarmUpEnd::Ended(_) => self.warm_at,
            WarmUpEnd::Until(end) => (now >= end).then_some(end),
        }
    }

    fn count(&mut self, record: RequestRecord, now: Instant) {
        match record.phase {
            Phase::WarmUp => {
                self.warmed_up += 1;
                if matches!(self.quotas.warm_up, WarmUpEnd::Ended(enough) if self.warmed_up >= enough)
                {
                    self.warm_at = self.warm_at.or(Some(now));
                }
            }
            Phase::Measured => {
                self.measured_ended += 1;
                if record.succeeded() {
                    self.latency_us.add(record.latency_us());
                } else {
                    self.failed += 1;
                }
                if let Some(batch) = record.batch {
                    self.batches.insert(batch.id);
                }
            }
            Phase::Settling | Phase::CoolDown => {}
        }
        self.records.push(record);
    }

    fn has_enough(&self) -> bool {
        let tells_batches = !self.batches.is_empty();
        let batches_lack = tells_batches && self.batches.len() < self.quotas.batches;
        self.measured_ended >= self.quotas.requests && !batches_lack
    }

    fn progress(&self, measuring: bool) -> LoadProgress {
        LoadProgress {
            measuring,
            ended: if measuring { self.measured_ended } else { self.warmed_up },
            wanted: match (measuring, self.quotas.warm_up) {
                (false, WarmUpEnd::Ended(wanted)) => wanted,
                (false, WarmUpEnd::Until(_)) => 0,
                (true, _) => self.quotas.requests,
            },
            failed: self.failed,
            batches: self.batches.len(),
            latency_us_p50: self.latency_us.quantile(0.5),
            latency_us_p95: self.latency_us.quantile(0.95),
        }
    }
}

impl Phases {
    /// Starts the phases of cells that run at the same time, at least one.
    pub(super) fn new(mut quotas: Vec<Quotas>) -> Phases {
        let own = quotas.iter().map(|quotas| quotas.ends);
        let ends = own.clone().find(|&ends| ends != MeasuredEnd::ByCounts);
        let ends = ends.unwrap_or(MeasuredEnd::ByCounts);
        if ends != MeasuredEnd::ByCounts {
            // The counts of the others end nothing.
            let others = quotas.iter_mut().filter(|one| one.ends == MeasuredEnd::ByCounts);
            others.for_each(|one| one.requests = 0);
        }
        let now = Instant::now();
        let warm = quotas.iter().all(|one| matches!(one.warm_up, WarmUpEnd::Ended(0)));
        let state = PhaseState {
            phase: if warm { Phase::Measured } else { Phase::WarmUp },
            ends,
            measuring_from: warm.then_some(now),
            measuring_to: None,
            classes: quotas.into_iter().map(|one| ClassState::new(one, now)).collect(),
        };
        Phases { state: Mutex::new(state), done: Notify::new() }
    }

    fn state(&self) -> MutexGuard<'_, PhaseState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the number and phase of the request of `class` that is meant to start at `intended`; `None` when the
    /// cell is done.
    pub(super) fn issue(&self, class: usize, intended: Instant) -> Option<Ticket> {
        let mut state = self.state();
        if let WarmUpEnd::Until(_) = state.classes[class].quotas.warm_up {
            state.classes[class].scheduled = Some(intended);
        }
        state.measure_if_warm(intended);
        if state.phase == Phase::Measured && state.is_beyond(class, intended) {
            state.stop_measuring(intended);
            self.notify_if_done(&state);
        }
        if state.is_done() {
            return None;
        }
        // Late for a phase that another class has ended.
        let within = state.measuring_to.is_some_and(|to| intended < to);
        let phase = if within { Phase::Measured } else { state.phase };
        let class = &mut state.classes[class];
        let ticket = Ticket { ordinal: class.issued, phase };
        class.issued += 1;
        class.measured_issued += usize::from(phase == Phase::Measured);
        Some(ticket)
    }

    /// Takes the record of a request that has ended, and enters the next phase if its condition is met.
    pub(super) fn complete(&self, class: usize, record: RequestRecord, now: Instant) {
        let mut state = self.state();
        state.classes[class].count(record, now);
        state.measure_if_warm(now);
        if state.phase == Phase::Measured && state.has_enough() {
            state.stop_measuring(now);
        }
        self.notify_if_done(&state);
    }

    /// Counts a client that sends no further request because the target told it to wait past the time limit.
    pub(super) fn stop_client(&self, class: usize) {
        self.state().classes[class].stopped_clients += 1;
    }

    /// Ends the measured phase if it is running; returns the phase before the call.
    pub(super) fn end_at_time_limit(&self, now: Instant) -> Phase {
        let mut state = self.state();
        let phase = state.phase;
        if phase == Phase::Measured {
            state.stop_measuring(now);
            self.notify_if_done(&state);
        }
        phase
    }

    /// Ends the measured phase at the time of its schedule, whether or not a request has started in it. It lasts longer
    /// if another class was warm later than the schedule's.
    pub(super) fn end_measured(&self, end: Instant) {
        let mut state = self.state();
        state.measure_if_warm(end);
        if state.phase == Phase::Measured && state.end().is_some_and(|own| end >= own) {
            state.stop_measuring(end);
        }
        self.notify_if_done(&state);
    }

    /// Ends the measured phase because the schedule has no more requests.
    pub(super) fn end_schedule(&self, now: Instant) {
        let mut state = self.state();
        if state.phase == Phase::Measured {
            state.stop_measuring(now);
        }
        self.notify_if_done(&state);
    }

    fn notify_if_done(&self, state: &PhaseState) {
        if state.is_done() {
            self.done.notify_one();
        }
    }

    /// Returns the progress of each cell.
    pub(super) fn progress(&self) -> Vec<LoadProgress> {
        let state = self.state();
        let measuring = state.phase != Phase::WarmUp;
        state.classes.iter().map(|class| class.progress(measuring)).collect()
    }

    pub(super) fn finish(&self) -> PhaseOutput {
        let mut state = self.state();
        let output = |class: &mut ClassState| ClassOutput {
            records: std::mem::take(&mut class.records),
            stopped_clients: class.stopped_clients,
        };
        PhaseOutput {
            measured_from: state.measuring_from,
            measured_to: state.measuring_to,
            classes: state.classes.iter_mut().map(output).collect(),
        }
    }
}

impl PhaseState {
    fn is_done(&self) -> bool {
        let ended = |class: &ClassState| class.measured_ended == class.measured_issued;
        self.phase == Phase::CoolDown && self.classes.iter().all(ended)
    }

    /// Begins the measured phase when the last class is warm.
    fn measure_if_warm(&mut self, now: Instant) {
        if self.phase != Phase::WarmUp {
            return;
        }
        let since: Option<Vec<Instant>> =
            self.classes.iter().map(|class| class.warm_since(now)).collect();
        if let Some(from) = since.and_then(|since| since.into_iter().max()) {
            self.phase = Phase::Measured;
            self.measuring_from = Some(from);
        }
    }

    /// Returns the time at which the measured phase ends regardless of counts.
    fn end(&self) -> Option<Instant> {
        match self.ends {
            MeasuredEnd::After(length) => Some(self.measuring_from? + length),
            MeasuredEnd::ByCounts | MeasuredEnd::WithSchedule => None,
        }
    }

    /// Returns true if a request of `class` meant to start at `intended` comes after the measured phase.
    fn is_beyond(&self, class: usize, intended: Instant) -> bool {
        let class = &self.classes[class];
        match self.ends {
            MeasuredEnd::ByCounts => class.measured_issued >= class.quotas.requests_max,
            MeasuredEnd::After(_) => self.end().is_some_and(|end| intended >= end),
            MeasuredEnd::WithSchedule => false,
        }
    }

    fn has_enough(&self) -> bool {
        self.ends == MeasuredEnd::ByCounts && self.classes.iter().all(ClassState::has_enough)
    }

    /// Ends the measured phase. With an open loop it ends at an intended start, so that no request meant to
    /// start within the phase is missing because it was late.
    fn stop_measuring(&mut self, now: Instant) {
        self.phase = Phase::CoolDown;
        let scheduled = self.classes.iter().filter_map(|class| class.scheduled).min();
        let to = match self.end() {
            Some(end) if now >= end => end,
            _ => scheduled.unwrap_or(now),
        };
        self.measuring_to = Some(self.measuring_from.map_or(to, |from| from.max(to)));
    }
}
