//! The life of a cell as a small state machine: warm-up, measured, cool-down, done.
//!
//! The loop never pauses between phases. The warm-up ends at the completion that fills it; the
//! clients go straight on, and requests count by their intended start. At the other end the
//! clients keep sending until the last measured request has its answer, so that the last ones are
//! not measured on an emptying target; what they send then is hung up on and does not count.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::time::Instant;

use super::{Phase, RequestRecord};
use crate::plan::CellRules;

/// When the phases of a cell end.
#[derive(Debug, Clone, Copy)]
pub(super) struct Quotas {
    warm_up: usize,
    requests: usize,
    batches: usize,
    requests_max: usize,
}

impl Quotas {
    pub(super) fn new(rules: &CellRules, clients: usize) -> Quotas {
        Quotas {
            warm_up: rules.warmup_requests_per_client * clients,
            requests: rules.requests_wanted(clients),
            batches: rules.batches_min,
            requests_max: rules.requests_max,
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
pub struct Progressed {
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
}

#[derive(Debug)]
struct State {
    quotas: Quotas,
    phase: Phase,
    issued: u64,
    warmed_up: usize,
    measured_issued: usize,
    measured_ended: usize,
    failed: usize,
    batches: HashSet<u64>,
    measuring_from: Option<Instant>,
    measuring_to: Option<Instant>,
    records: Vec<RequestRecord>,
}

/// Shared by the clients of one cell.
#[derive(Debug)]
pub(super) struct Phases {
    state: Mutex<State>,
    pub(super) done: Notify,
}

/// What a cell leaves behind.
pub(super) struct Finished {
    pub(super) records: Vec<RequestRecord>,
    pub(super) measured_from: Option<Instant>,
    pub(super) measured_to: Option<Instant>,
}

impl Phases {
    pub(super) fn new(quotas: Quotas) -> Phases {
        let warm = quotas.warm_up == 0;
        let state = State {
            quotas,
            phase: if warm { Phase::Measured } else { Phase::WarmUp },
            issued: 0,
            warmed_up: 0,
            measured_issued: 0,
            measured_ended: 0,
            failed: 0,
            batches: HashSet::new(),
            measuring_from: warm.then(Instant::now),
            measuring_to: None,
            records: Vec::new(),
        };
        Phases { state: Mutex::new(state), done: Notify::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A ticket for the next request; none when the cell is done.
    pub(super) fn issue(&self, now: Instant) -> Option<Ticket> {
        let mut state = self.state();
        if state.phase == Phase::Measured && state.measured_issued >= state.quotas.requests_max {
            state.stop_measuring(now);
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
                state.failed += usize::from(!record.succeeded());
                if let Some(batch) = record.batch {
                    state.batches.insert(batch.id);
                }
            }
            Phase::CoolDown => {}
        }
        state.records.push(record);
        if state.phase == Phase::WarmUp && state.warmed_up >= state.quotas.warm_up {
            state.phase = Phase::Measured;
            state.measuring_from = Some(now);
        }
        if state.phase == Phase::Measured && state.has_enough() {
            state.stop_measuring(now);
        }
        self.notify_if_done(&state);
    }

    /// Ends the measured phase early if it is under way; returns the phase that was.
    pub(super) fn time_is_up(&self, now: Instant) -> Phase {
        let mut state = self.state();
        let phase = state.phase;
        if phase == Phase::Measured {
            state.stop_measuring(now);
            self.notify_if_done(&state);
        }
        phase
    }

    fn notify_if_done(&self, state: &State) {
        if state.is_done() {
            self.done.notify_one();
        }
    }

    pub(super) fn progressed(&self) -> Progressed {
        let state = self.state();
        let measuring = state.phase != Phase::WarmUp;
        Progressed {
            measuring,
            ended: if measuring { state.measured_ended } else { state.warmed_up },
            wanted: if measuring { state.quotas.requests } else { state.quotas.warm_up },
            failed: state.failed,
            batches: state.batches.len(),
        }
    }

    pub(super) fn finish(&self) -> Finished {
        let mut state = self.state();
        Finished {
            records: std::mem::take(&mut state.records),
            measured_from: state.measuring_from,
            measured_to: state.measuring_to,
        }
    }
}

impl State {
    fn is_done(&self) -> bool {
        self.phase == Phase::CoolDown && self.measured_ended == self.measured_issued
    }

    fn has_enough(&self) -> bool {
        let tells_batches = !self.batches.is_empty();
        let batches_lack = tells_batches && self.batches.len() < self.quotas.batches;
        self.measured_ended >= self.quotas.requests && !batches_lack
    }

    fn stop_measuring(&mut self, now: Instant) {
        self.phase = Phase::CoolDown;
        self.measuring_to = Some(now);
    }
}
