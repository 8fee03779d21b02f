//! The life of a cell as a small state machine: warm-up, measured, cool-down, done.
//!
//! The load never pauses between phases, and requests count by their intended start. The warm-up of
//! a closed loop ends at the completion that fills it, that of an open loop at a time of its
//! schedule. At the other end requests are sent until the last measured one has its answer, so that
//! the last ones are not measured on an emptying target; what is sent then is hung up on and does
//! not count. A replay, which ends by itself, has no such load after it.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::time::Instant;

use super::histogram::Histogram;
use super::records::{Phase, RequestRecord};
use super::schedule::Schedule;
use crate::plan::CellRules;

/// When the phases of a cell end.
#[derive(Debug, Clone, Copy)]
pub(super) struct Quotas {
    warm_up: WarmUpEnd,
    requests: usize,
    batches: usize,
    requests_max: usize,
    /// How the measured phase ends.
    ends: MeasuredEnd,
}

#[derive(Debug, Clone, Copy)]
enum WarmUpEnd {
    /// When this many requests have ended.
    Ended(usize),
    /// At the first intended start that is not before.
    Until(Instant),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum MeasuredEnd {
    /// When there are enough requests and batches.
    ByCounts,
    /// At this time, whatever was counted.
    At(Instant),
    /// With the schedule.
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

    /// Of an open loop that starts at `start`.
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

/// How far a cell has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LoadProgress {
    /// Whether the warm-up is over.
    pub measuring: bool,
    /// Requests of the present phase that have ended.
    pub ended: usize,
    /// Requests of the present phase that must end, at least.
    pub wanted: usize,
    /// Measured requests that failed.
    pub failed: usize,
    /// Different batches among the measured requests.
    pub batches: usize,
    /// About the median latency of the measured requests that were answered so far, in microseconds.
    pub latency_us_p50: Option<u64>,
    /// About their 95th percentile.
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
    records: Vec<RequestRecord>,
}

/// Shared by the clients of one cell.
#[derive(Debug)]
pub(super) struct Phases {
    state: Mutex<PhaseState>,
    pub(super) done: Notify,
}

/// What a cell leaves behind.
pub(super) struct PhaseOutput {
    pub(super) records: Vec<RequestRecord>,
    pub(super) measured_from: Option<Instant>,
    pub(super) measured_to: Option<Instant>,
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
            records: Vec::new(),
        };
        Phases { state: Mutex::new(state), done: Notify::new() }
    }

    fn state(&self) -> MutexGuard<'_, PhaseState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A ticket for the request that is meant to start at `intended`; none when the cell is done.
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

    /// Takes the record of a request that has ended and moves on to the next phase if it is time.
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

    /// Ends the measured phase early if it is under way; returns the phase that was.
    pub(super) fn end_at_time_limit(&self, now: Instant) -> Phase {
        let mut state = self.state();
        let phase = state.phase;
        if phase == Phase::Measured {
            state.stop_measuring(now);
            self.notify_if_done(&state);
        }
        phase
    }

    /// No more requests are going to come.
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
        }
    }
}

impl PhaseState {
    fn is_done(&self) -> bool {
        self.phase == Phase::CoolDown && self.measured_ended == self.measured_issued
    }

    /// Whether a request meant to start at `intended` is no longer to be measured.
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

    /// Ends the measured phase. That of an open loop ends at an intended start, so that no request
    /// that was meant to start within it can be missing because it was late.
    fn stop_measuring(&mut self, now: Instant) {
        self.phase = Phase::CoolDown;
        self.measuring_to = Some(match self.quotas.ends {
            MeasuredEnd::At(end) if now >= end => end,
            _ => self.scheduled.unwrap_or(now),
        });
    }
}
