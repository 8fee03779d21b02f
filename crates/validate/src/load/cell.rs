//! Runs one cell, or the classes of a scenario at the same time: starts each closed or open loop, supervises the phases
//! that they share, and collects the records of each.

use std::panic::resume_unwind;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, interval, sleep_until};

use super::cancel::Cancel;
use super::closed;
use super::open::{self, Pacing};
use super::phases::{LoadProgress, PhaseOutput, Phases, Quotas, Ticket};
use super::records::{Phase, RequestRecord};
use super::schedule::Schedule;
use super::send::{Attempt, Clock, SendRules};
use crate::plan::CellRules;
use crate::system::{Prompt, Target};
use crate::workload::PromptOrder;

/// Interval of progress reports.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(200);

/// Everything that a cell's load needs.
pub(crate) struct CellLoad {
    pub(crate) index: usize,
    pub(crate) starts: StartSource,
    pub(crate) prompts: PromptOrder,
    pub(crate) rules: SendRules,
}

/// What all cells of a group have in common.
#[derive(Clone, Copy)]
pub(crate) struct LoadSetting<'a> {
    pub(crate) rules: &'a CellRules,
    pub(crate) target: &'a Arc<dyn Target>,
    pub(crate) clock: Clock,
    pub(crate) pacing: Pacing,
    pub(crate) cancel: &'a Cancel,
}

/// The source of intended starts.
pub(crate) enum StartSource {
    /// Clients that each wait for their answer.
    Closed { clients: usize },
    /// A schedule.
    Open(Box<Schedule>),
}

/// Why the measured phase of a cell ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EndReason {
    /// The cell has the requests and batches that the plan requires.
    Complete,
    /// The time limit came first. The requests measured until then count.
    TimeLimit,
    /// The time limit came during the warm-up.
    NeverWarm,
    /// The target told every client to wait past the time limit, so that none would send another request.
    NoClientLeft,
    /// The run was cancelled.
    Cancelled,
}

/// The records of a cell, and why it ended.
pub(crate) struct LoadOutput {
    pub(crate) records: Vec<RequestRecord>,
    /// Start and end of the measured phase, in microseconds since the start of the run.
    pub(crate) measured_us: Option<(u64, u64)>,
    pub(crate) end_reason: EndReason,
    /// Clients, of all cells of the group, that the target told to wait past the time limit.
    pub(crate) stopped_clients: usize,
}

/// Runs the cells of one group at the same time, to their common end. Returns an output per cell, in their order.
pub(crate) async fn run_loads(
    cells: Vec<CellLoad>,
    setting: LoadSetting<'_>,
    report_progress: &dyn Fn(&[LoadProgress]),
) -> Vec<LoadOutput> {
    let LoadSetting { rules, target, clock, pacing, cancel } = setting;
    let start = Instant::now();
    let limit = start + rules.time_limit();
    let quotas = cells.iter().map(|cell| match &cell.starts {
        StartSource::Closed { clients } => Quotas::closed(rules, *clients),
        StartSource::Open(schedule) => Quotas::open(rules, schedule, start),
    });
    let phases = Arc::new(Phases::new(quotas.collect()));
    let mut workers = JoinSet::new();
    for (class, cell) in cells.into_iter().enumerate() {
        let shared = Arc::new(LoadContext {
            cell: cell.index,
            class,
            phases: Arc::clone(&phases),
            target: Arc::clone(target),
            prompts: cell.prompts,
            rules: cell.rules,
            failure_pause: rules.failure_pause(),
            limit,
            clock,
        });
        match cell.starts {
            StartSource::Closed { clients } => {
                for client in 0..clients {
                    workers.spawn(closed::run_client(Arc::clone(&shared), client));
                }
            }
            StartSource::Open(schedule) => {
                let arrivals = open::pace(*schedule, start, pacing);
                workers.spawn(open::dispatch(shared, arrivals, rules.in_flight_max));
            }
        }
    }
    let end_reason = supervise(&phases, limit, &mut workers, cancel, report_progress).await;
    // Cancels the requests still in flight, none of which is measured.
    workers.shutdown().await;
    report_progress(&phases.progress());
    let PhaseOutput { measured_from, measured_to, classes } = phases.finish();
    let measured_us =
        measured_from.zip(measured_to).map(|(from, to)| (clock.at(from), clock.at(to)));
    // A client of one class that was sent away is missing from the load of all.
    let stopped_clients = classes.iter().map(|class| class.stopped_clients).sum();
    let output = |mut records: Vec<RequestRecord>| {
        records.sort_by_key(|record| record.ordinal);
        LoadOutput { records, measured_us, end_reason, stopped_clients }
    };
    classes.into_iter().map(|class| output(class.records)).collect()
}

/// Waits until the cell is done, its time limit has passed, no client is left, or the run is cancelled.
async fn supervise(
    phases: &Phases,
    limit: Instant,
    workers: &mut JoinSet<()>,
    cancel: &Cancel,
    report_progress: &dyn Fn(&[LoadProgress]),
) -> EndReason {
    let mut ticks = interval(PROGRESS_INTERVAL);
    let mut ended = EndReason::Complete;
    let mut limit_passed = false;
    loop {
        tokio::select! {
            biased;
            () = cancel.cancelled() => return EndReason::Cancelled,
            () = phases.done.notified() => return ended,
            () = sleep_until(limit), if !limit_passed => {
                limit_passed = true;
                match phases.end_at_time_limit(Instant::now()) {
                    Phase::WarmUp => return EndReason::NeverWarm,
                    Phase::Measured => ended = EndReason::TimeLimit,
                    Phase::Settling | Phase::CoolDown => {}
                }
            }
            worker = workers.join_next() => match worker {
                Some(Err(fault)) if fault.is_panic() => resume_unwind(fault.into_panic()),
                Some(_) => {}
                None => {
                    phases.end_at_time_limit(Instant::now());
                    return EndReason::NoClientLeft;
                }
            },
            _ = ticks.tick() => report_progress(&phases.progress()),
        }
    }
}

/// State shared by the clients or requests of a cell.
pub(super) struct LoadContext {
    cell: usize,
    /// Position of the cell among those that run at the same time.
    pub(super) class: usize,
    pub(super) phases: Arc<Phases>,
    pub(super) target: Arc<dyn Target>,
    pub(super) prompts: PromptOrder,
    pub(super) rules: SendRules,
    pub(super) failure_pause: Duration,
    /// Time limit of the cell.
    pub(super) limit: Instant,
    clock: Clock,
}

impl LoadContext {
    /// Records a request that has ended.
    pub(super) fn complete(
        &self,
        client: usize,
        ticket: Ticket,
        prompt: &Prompt,
        intended: Instant,
        attempt: Attempt,
    ) {
        let ended = attempt.ended;
        let (reply, failure) = match attempt.outcome {
            Ok(reply) => (reply, None),
            Err(failure) => (Default::default(), Some(failure)),
        };
        let record = RequestRecord {
            cell: self.cell,
            client,
            ordinal: ticket.ordinal,
            phase: ticket.phase,
            tokens: prompt.tokens(),
            intended_us: self.clock.at(intended),
            sent_us: self.clock.at(attempt.sent),
            ended_us: self.clock.at(attempt.ended),
            failure: failure.as_ref().map(|failure| failure.kind),
            message: failure.map(|failure| failure.message),
            stages: reply.stages,
            batch: reply.batch,
        };
        self.phases.complete(self.class, record, ended);
    }
}
