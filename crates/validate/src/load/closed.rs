//! The closed loop: a number of clients that each send, wait for the answer, and send again.
//!
//! The intended start of a request is the moment its client was free to send it: right after the
//! answer before it, or after the pause that follows a failure. Whatever the generator itself loses
//! between that moment and the sending is part of the latency, and is reported as its lag.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, interval, sleep_until};

pub use super::phases::Progressed;
use super::phases::{Finished, Phases, Quotas, Ticket};
use super::{Cancel, Clock, Phase, RequestRecord, Sent, send};
use crate::plan::CellRules;
use crate::target::{Prompt, Target};
use crate::workload::Dealer;

/// How often the caller hears of a cell's progress.
const PROGRESS_EVERY: Duration = Duration::from_millis(200);

/// What a cell needs to run.
pub(crate) struct Cell<'a> {
    pub(crate) index: usize,
    pub(crate) clients: usize,
    pub(crate) rules: &'a CellRules,
    pub(crate) dealer: Dealer,
}

/// Why the measured phase of a cell ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// It had what the plan asked for.
    Complete,
    /// The time limit came first; what was measured until then counts.
    TimeLimit,
    /// The time limit came during the warm-up.
    NeverWarm,
    /// The run was cancelled.
    Cancelled,
}

/// What a cell leaves behind.
pub(crate) struct Driven {
    pub(crate) records: Vec<RequestRecord>,
    /// Start and end of the measured phase, in microseconds since the start of the run.
    pub(crate) measured_us: Option<(u64, u64)>,
    pub(crate) ended: Ended,
}

/// Runs one cell to its end.
pub(crate) async fn drive(
    cell: Cell<'_>,
    target: &Arc<dyn Target>,
    clock: Clock,
    cancel: &Cancel,
    progressed: &dyn Fn(Progressed),
) -> Driven {
    let limit = Instant::now() + cell.rules.time_limit();
    let clients = cell.clients;
    let shared = Arc::new(Shared {
        cell: cell.index,
        phases: Phases::new(Quotas::new(cell.rules, clients)),
        target: Arc::clone(target),
        dealer: cell.dealer,
        timeout: cell.rules.request_timeout(),
        failure_pause: cell.rules.failure_pause(),
        clock,
    });
    let mut workers = JoinSet::new();
    for client in 0..clients {
        workers.spawn(Arc::clone(&shared).client(client));
    }
    let ended = supervise(&shared.phases, limit, cancel, progressed).await;
    // Hangs up on whatever is still under way: none of it is measured.
    workers.shutdown().await;
    progressed(shared.phases.progressed());
    let Finished { mut records, measured_from, measured_to } = shared.phases.finish();
    records.sort_by_key(|record| record.ordinal);
    let measured_us =
        measured_from.zip(measured_to).map(|(from, to)| (clock.at(from), clock.at(to)));
    Driven { records, measured_us, ended }
}

/// Waits for the cell to be done, its time to be up, or the run to be cancelled.
async fn supervise(
    phases: &Phases,
    limit: Instant,
    cancel: &Cancel,
    progressed: &dyn Fn(Progressed),
) -> Ended {
    let mut ticks = interval(PROGRESS_EVERY);
    let mut ended = Ended::Complete;
    let mut limit_passed = false;
    loop {
        tokio::select! {
            biased;
            () = cancel.cancelled() => return Ended::Cancelled,
            () = phases.done.notified() => return ended,
            () = sleep_until(limit), if !limit_passed => {
                limit_passed = true;
                match phases.time_is_up(Instant::now()) {
                    Phase::WarmUp => return Ended::NeverWarm,
                    Phase::Measured => ended = Ended::TimeLimit,
                    Phase::CoolDown => {}
                }
            }
            _ = ticks.tick() => progressed(phases.progressed()),
        }
    }
}

struct Shared {
    cell: usize,
    phases: Phases,
    target: Arc<dyn Target>,
    dealer: Dealer,
    timeout: Duration,
    failure_pause: Duration,
    clock: Clock,
}

impl Shared {
    async fn client(self: Arc<Self>, client: usize) {
        loop {
            let intended = Instant::now();
            let Some(ticket) = self.phases.issue(intended) else { return };
            let prompt = self.dealer.prompt(ticket.ordinal);
            let sent = send(&*self.target, &prompt, intended, self.timeout).await;
            let pause = self.pause_after(&sent);
            let ended = sent.ended;
            self.phases.complete(self.record(client, ticket, &prompt, intended, sent), ended);
            if let Some(pause) = pause {
                tokio::time::sleep(pause).await;
            }
            // A target that answers at once would otherwise keep this thread from all others.
            tokio::task::coop::consume_budget().await;
        }
    }

    fn pause_after(&self, sent: &Sent) -> Option<Duration> {
        let failure = sent.outcome.as_ref().err()?;
        Some(failure.retry_after.unwrap_or(self.failure_pause))
    }

    fn record(
        &self,
        client: usize,
        ticket: Ticket,
        prompt: &Prompt,
        intended: Instant,
        sent: Sent,
    ) -> RequestRecord {
        let (reply, failure) = match sent.outcome {
            Ok(reply) => (reply, None),
            Err(failure) => (Default::default(), Some(failure)),
        };
        RequestRecord {
            cell: self.cell,
            client,
            ordinal: ticket.ordinal,
            phase: ticket.phase,
            tokens: prompt.tokens(),
            intended_us: self.clock.at(intended),
            sent_us: self.clock.at(sent.sent),
            ended_us: self.clock.at(sent.ended),
            failure: failure.as_ref().map(|failure| failure.kind),
            message: failure.map(|failure| failure.message),
            stages: reply.stages,
            batch: reply.batch,
        }
    }
}
