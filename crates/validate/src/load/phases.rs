//! The phases of a cell as a state machine: warm-up, measured, cool-down, done.
//!
//! The load does not pause between phases, and a request belongs to the phase of its intended start. The
//! warm-up of a closed loop ends with its last required completion, that of an open loop at a time of its
//! schedule. After the measured phase requests are still sent until the last measured one is answered, so
//! that the last requests are not measured on a target that runs empty; these are cancelled and do not
//! count. A replay ends with its file and has no cool-down.
//!
//! The steady part of the measured phase is found later, in [`crate::figures`].

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

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
    /// At this time, regardless of counts.
    At(Instant),
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
            Some(to) => MeasuredEnd::At(start + to),
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
    quotas: Quotas,
    phase: Phase,
    issued: u64,
    /// Intended start of the last request of an open loop.
    scheduled: Option<Instant>,
    warmed_up: usize,
    measured_issued: usize,
    measured_ended: usize,
    failed: usize,
    batches: HashSet<u64>,
    latency_us: Histogram,
    measuring_from: Option<Instant>,
    measuring_to: Option<Instant>,
    stopped_clients: usize,
    records: Vec<RequestRecord>,
}

/// Shared by the clients of one cell.
#[derive(Debug)]
pub(super) struct Phases {
    state: Mutex<PhaseState>,
    pub(super) done: Notify,
}

/// The records of a cell, and the ends of its measured phase.
pub(super) struct PhaseOutput {
    pub(super) records: Vec<RequestRecord>,
    pub(super) measured_from: Option<Instant>,
    pub(super) measured_to: Option<Instant>,
    /// Clients that the target told to wait past the cell's time limit.
    pub(super) stopped_clients: usize,
}

impl Phases {
    pub(super) fn new(quotas: Quotas) -> Phases {
        let warm = matches!(quotas.warm_up, WarmUpEnd::Ended(0));
        let state = PhaseState {
            quotas,
            phase: if warm { Phase::Measured } else { Phase::WarmUp },
            issued: 0,
            scheduled: None,
            warmed_up: 0,
            measured_issued: 0,
            measured_ended: 0,
            failed: 0,
            batches: HashSet::new(),
            latency_us: Histogram::new(),
            measuring_from: warm.then(Instant::now),
            measuring_to: None,
            stopped_clients: 0,
            records: Vec::new(),
        };
        Phases { state: Mutex::new(state), done: Notify::new() }
    }

    fn state(&self) -> MutexGuard<'_, PhaseState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the number and phase of the request that is meant to start at `intended`; `None` when the
    /// cell is done.
    pub(super) fn issue(&self, intended: Instant) -> Option<Ticket> {
        let mut state = self.state();
        if let WarmUpEnd::Until(end) = state.quotas.warm_up {
            if state.phase == Phase::WarmUp && intended >= end {
                state.phase = Phase::Measured;
                state.measuring_from = Some(end);
            }
            state.scheduled = Some(intended);
        }
        if state.phase == Phase::Measured && state.is_beyond(intended) {
            state.stop_measuring(intended);
            self.notify_if_done(&state);
        }
        if state.is_done() {
            return None;
        }
        let ticket = Ticket { ordinal: state.issued, phase: state.phase };
        state.issued += 1;
        state.measured_issued += usize::from(state.phase == Phase::Measured);
        Some(ticket)
    }

    /// Takes the record of a request that has ended, and enters the next phase if its condition is met.
    pub(super) fn complete(&self, record: RequestRecord, now: Instant) {
        let mut state = self.state();
        match record.phase {
            Phase::WarmUp => state.warmed_up += 1,
            Phase::Measured => {
                state.measured_ended += 1;
                if record.succeeded() {
                    state.latency_us.add(record.latency_us());
                } else {
                    state.failed += 1;
                }
                if let Some(batch) = record.batch {
                    state.batches.insert(batch.id);
                }
            }
            Phase::Settling | Phase::CoolDown => {}
        }
        state.records.push(record);
        if let (Phase::WarmUp, WarmUpEnd::Ended(enough)) = (state.phase, state.quotas.warm_up)
            && state.warmed_up >= enough
        {
            state.phase = Phase::Measured;
            state.measuring_from = Some(now);
        }
        if state.phase == Phase::Measured && state.has_enough() {
            state.stop_measuring(now);
        }
        self.notify_if_done(&state);
    }

    /// Counts a client that sends no further request because the target told it to wait past the time limit.
    pub(super) fn stop_client(&self) {
        self.state().stopped_clients += 1;
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

    /// Ends the measured phase at the time of its schedule, whether or not a request has started in it.
    pub(super) fn end_measured(&self, end: Instant) {
        let mut state = self.state();
        if let (Phase::WarmUp, WarmUpEnd::Until(from)) = (state.phase, state.quotas.warm_up) {
            state.phase = Phase::Measured;
            state.measuring_from = Some(from);
        }
        if state.phase == Phase::Measured {
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

    pub(super) fn progress(&self) -> LoadProgress {
        let state = self.state();
        let measuring = state.phase != Phase::WarmUp;
        LoadProgress {
            measuring,
            ended: if measuring { state.measured_ended } else { state.warmed_up },
            wanted: match (measuring, state.quotas.warm_up) {
                (false, WarmUpEnd::Ended(wanted)) => wanted,
                (false, WarmUpEnd::Until(_)) => 0,
                (true, _) => state.quotas.requests,
            },
            failed: state.failed,
            batches: state.batches.len(),
            latency_us_p50: state.latency_us.quantile(0.5),
            latency_us_p95: state.latency_us.quantile(0.95),
        }
    }

    pub(super) fn finish(&self) -> PhaseOutput {
        let mut state = self.state();
        PhaseOutput {
            records: std::mem::take(&mut state.records),
            measured_from: state.measuring_from,
            measured_to: state.measuring_to,
            stopped_clients: state.stopped_clients,
        }
    }
}

impl PhaseState {
    fn is_done(&self) -> bool {
        self.phase == Phase::CoolDown && self.measured_ended == self.measured_issued
    }

    /// Returns true if a request meant to start at `intended` comes after the measured phase.
    fn is_beyond(&self, intended: Instant) -> bool {
        match self.quotas.ends {
            MeasuredEnd::ByCounts => self.measured_issued >= self.quotas.requests_max,
            MeasuredEnd::At(end) => intended >= end,
            MeasuredEnd::WithSchedule => false,
        }
    }

    fn has_enough(&self) -> bool {
        if self.quotas.ends != MeasuredEnd::ByCounts {
            return false;
        }
        let tells_batches = !self.batches.is_empty();
        let batches_lack = tells_batches && self.batches.len() < self.quotas.batches;
        self.measured_ended >= self.quotas.requests && !batches_lack
    }

    /// Ends the measured phase. In an open loop it ends at an intended start, so that no request meant to
    /// start within the phase is missing because it was late.
    fn stop_measuring(&mut self, now: Instant) {
        self.phase = Phase::CoolDown;
        self.measuring_to = Some(match self.quotas.ends {
            MeasuredEnd::At(end) if now >= end => end,
            _ => self.scheduled.unwrap_or(now),
        });
    }
}
