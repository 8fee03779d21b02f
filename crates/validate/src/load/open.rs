//! The open loop: every request starts at the time of its [`Schedule`], whether or not earlier ones have
//! been answered.
//!
//! A pacer sends each intended start of the schedule to a dispatcher at that time, and the end of the measured
//! phase in order with them; the dispatcher spawns a task per request at once. Neither a slow answer nor a full target delays the next start: at the plan's
//! `in_flight_max` the task waits for a slot, in order, and the wait counts as latency and as the
//! generator's lag. Otherwise a target that stalls would receive fewer requests while it stalls, and its
//! figures would be too good ("coordinated omission", Tene, "How not to measure latency", 2013).
//!
//! The timer of the async runtime wakes at whole milliseconds, which is too coarse for thousands of
//! requests per second. The pacer is therefore a thread that sleeps; the runtime's timer is used only if
//! the runtime's clock is simulated.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::cell::LoadContext;
use super::phases::Ticket;
use super::schedule::{Schedule, Tick};
use super::send::{Attempt, SendRules, send};

/// Interval at which a sleeping pacer checks that its channel is still open.
const CLOSED_CHECK_INTERVAL: Duration = Duration::from_millis(50);

/// The clock that the pacer follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pacing {
    /// A sleeping thread, on the machine's clock.
    Thread,
    /// The runtime's timer, on the runtime's clock.
    Timer,
}

impl Pacing {
    /// Chooses the timer if the runtime's clock stands still while a thread sleeps, as a simulated clock
    /// does; else the thread.
    pub(crate) fn for_current_runtime() -> Pacing {
        let before = Instant::now();
        thread::sleep(Duration::from_micros(1));
        if Instant::now() == before { Pacing::Timer } else { Pacing::Thread }
    }
}

/// Sends each tick of `schedule` at its time, which is the intended start of a request or the end of the measured
/// phase. Ends with the schedule, or when the receiver is dropped.
pub(super) fn pace(
    schedule: Schedule,
    start: Instant,
    pacing: Pacing,
) -> UnboundedReceiver<Tick<Instant>> {
    let (sender, receiver) = unbounded_channel();
    if pacing == Pacing::Thread {
        let (schedule, sender) = (schedule.clone(), sender.clone());
        let pacer = thread::Builder::new().name("validate-pacer".into());
        if pacer.spawn(move || pace_by_sleeping(schedule, start, &sender)).is_ok() {
            return receiver;
        }
    }
    tokio::spawn(pace_by_timer(schedule, start, sender));
    receiver
}

fn pace_by_sleeping(schedule: Schedule, start: Instant, sender: &UnboundedSender<Tick<Instant>>) {
    for tick in schedule.ticks() {
        let tick = tick.after(start);
        loop {
            let left = tick.at().into_std().saturating_duration_since(std::time::Instant::now());
            if left.is_zero() {
                break;
            }
            thread::sleep(left.min(CLOSED_CHECK_INTERVAL));
            if sender.is_closed() {
                return;
            }
        }
        if sender.send(tick).is_err() {
            return;
        }
    }
}

async fn pace_by_timer(schedule: Schedule, start: Instant, sender: UnboundedSender<Tick<Instant>>) {
    for tick in schedule.ticks() {
        let tick = tick.after(start);
        tokio::select! {
            () = sender.closed() => return,
            () = sleep_until(tick.at()) => {}
        }
        if sender.send(tick).is_err() {
            return;
        }
    }
}

/// Spawns a request per arrival until the cell is done.
pub(super) async fn dispatch(
    shared: Arc<LoadContext>,
    mut ticks: UnboundedReceiver<Tick<Instant>>,
    in_flight_max: usize,
) {
    let slots = Arc::new(Semaphore::new(in_flight_max));
    // Dropped with this task, which cancels all of them.
    let mut requests = JoinSet::new();
    while let Some(tick) = ticks.recv().await {
        let intended = match tick {
            Tick::Start(intended) => intended,
            Tick::MeasuredEnd(end) => {
                shared.phases.end_measured(end);
                continue;
            }
        };
        let Some(ticket) = shared.phases.issue(shared.class, intended) else { break };
        requests.spawn(send_arrival(Arc::clone(&shared), ticket, intended, Arc::clone(&slots)));
        while requests.try_join_next().is_some() {}
    }
    shared.phases.end_schedule(Instant::now());
    while requests.join_next().await.is_some() {}
}

/// Waits for a slot, sends one request and records it.
async fn send_arrival(
    shared: Arc<LoadContext>,
    ticket: Ticket,
    intended: Instant,
    slots: Arc<Semaphore>,
) {
    let prompt = shared.prompts.prompt(ticket.ordinal);
    let attempt = match timeout_at(shared.rules.given_up_at(intended), slots.acquire()).await {
        Ok(_slot) => send(&*shared.target, &prompt, intended, &shared.rules).await,
        Err(_) => attempt_without_slot(&shared.rules),
    };
    shared.complete(0, ticket, &prompt, intended, attempt);
}

/// Makes the attempt of a request that was given up before it got a slot.
fn attempt_without_slot(rules: &SendRules) -> Attempt {
    let now = Instant::now();
    let mut failure = rules.given_up("not sent");
    failure.message += ": in_flight_max requests were in flight";
    Attempt { sent: now, ended: now, outcome: Err(failure) }
}
