//! Fair shares: whose a request is, how urgent it is, and when it is its turn.
//!
//! Start-time fair queueing. Requests of one client and one priority are a [`Flow`]. Each request has a start in virtual
//! time, which its flow pays for by its cost: the next one of the flow starts that much later. Requests run in order of
//! their starts, so that flows which always have some waiting advance alike, and one that has none waiting loses nothing and
//! saves nothing. A single flow runs in order of arrival. Which requests run is decided by [`super::schedule`]; who keeps
//! the clock is the engine's queue.

use std::collections::{HashMap, HashSet};

use super::schedule::QueuedRequest;

/// Virtual time per unit of cost, so that a small cost counts when it is divided by the number of flows.
const SCALE: u64 = 1024;

/// Where nothing else advances it, time advances by this part of a flow's equal share, as a divisor. With all of it, a flow
/// of small requests would lose what it has no requests for while a large one runs.
const DRIFT: u64 = 64;

/// Upper limit on the flows whose finish is remembered although it may have none waiting.
const FLOWS_MAX: usize = 4096;

/// Batches after the latest change of flows in which several count as active.
const ACTIVE_BATCHES: u32 = 200;

/// Returns the virtual time that a flow pays for a request.
pub(crate) fn price(cost: usize) -> u64 {
    SCALE.saturating_mul(cost as u64)
}

/// How urgent a request is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Priority {
    /// Somebody waits for the answer.
    #[default]
    Interactive,
    /// Runs where interactive requests leave room, and is interactive itself after [`AGING`](super::schedule::AGING).
    Batch,
}

/// The requests of one client that have one priority. They run in order of arrival.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Flow {
    /// Distinguishes clients. Those without one share the default, 0.
    pub share: u64,
    /// How urgent its requests are.
    pub priority: Priority,
}

/// The virtual time of a queue, and the finish of each flow in it.
///
/// Time is the start of the first request that waits. While that does not advance, because others begin with the same
/// start, time does slowly, so that a request that waits is passed by a bounded number of others, however many flows begin.
#[derive(Debug, Default)]
pub struct FairClock {
    now: u64,
    /// Start of the next request of each flow. Flows whose finish lies behind `now` are as good as new.
    finish: HashMap<Flow, u64>,
    /// The client of the latest request.
    latest: Option<u64>,
    /// Batches for which several flows still count as active.
    several_for: u32,
}

impl FairClock {
    /// Returns the start of a request that is the last of its flow. `cost` is in tokens or bytes.
    pub fn enter(&mut self, flow: Flow, cost: usize) -> u64 {
        if self.finish.len() >= FLOWS_MAX && !self.finish.contains_key(&flow) {
            self.forget();
        }
        if self.latest.replace(flow.share).is_some_and(|latest| latest != flow.share) {
            self.several_for = ACTIVE_BATCHES;
        }
        let finish = self.finish.entry(flow).or_insert(self.now);
        let start = (*finish).max(self.now);
        *finish = start.saturating_add(price(cost));
        start
    }

    /// Takes back what a flow paid for a request that leaves before its turn. Returns the start of one that arrived later, by
    /// the start that it had.
    pub fn leave(&mut self, flow: Flow, start: u64, cost: usize) -> impl Fn(u64) -> u64 + use<> {
        let (now, paid) = (self.now, price(cost));
        // Not before those of its flow that arrived earlier, and never backwards: a request that was promoted stands behind
        // some that arrived later.
        let moved = move |later: u64| later.saturating_sub(paid).max(start.max(now).min(later));
        if let Some(finish) = self.finish.get_mut(&flow) {
            *finish = moved(*finish);
        }
        moved
    }

    /// Puts a batch request that has waited for [`AGING`](super::schedule::AGING) at the end of its client's interactive
    /// ones. With the start that it had, a client with many such requests would pass all others.
    pub fn promote(&mut self, request: &mut QueuedRequest) {
        if request.flow.priority == Priority::Batch && request.is_urgent() {
            request.flow.priority = Priority::Interactive;
            request.start = self.enter(request.flow, request.tokens);
        }
    }

    /// Returns whether requests of several clients arrived during the latest 200 batches. Then a request may arrive at any
    /// time that should not wait for a long batch of others.
    pub fn has_several_flows(&self) -> bool {
        self.several_for > 0
    }

    /// Advances the time by the requests that were `chosen` among those `waiting`.
    pub fn advance(&mut self, waiting: &[QueuedRequest], chosen: &[usize]) {
        self.several_for = self.several_for.saturating_sub(1);
        let any_urgent = waiting.iter().any(QueuedRequest::is_urgent);
        let counts = |request: &QueuedRequest| request.is_urgent() || !any_urgent;
        let flows: HashSet<Flow> =
            waiting.iter().filter(|request| counts(request)).map(|request| request.flow).collect();
        let taken = chosen.iter().map(|&index| &waiting[index]).filter(|request| counts(request));
        let cost: usize = taken.map(|request| request.tokens).sum();
        let mut chosen = chosen.iter().peekable();
        let left = waiting.iter().enumerate();
        let left = left.filter(|(index, _)| chosen.next_if_eq(&index).is_none());
        // Those that rank first set the time, so that urgent ones don't start behind a long line of others.
        let first = left.map(|(_, request)| (!request.is_urgent(), request.start)).min();
        self.advance_by(cost, flows.len(), first.map(|(_, start)| start));
    }

    /// Advances the time past a cost that was taken while so many flows waited; `first` is the start of the first request
    /// that still waits.
    pub fn advance_by(&mut self, cost: usize, flows: usize, first: Option<u64>) {
        let passed = (price(cost) / (DRIFT * flows.max(1) as u64)).max(1);
        match first {
            Some(start) if start > self.now => self.now = start,
            Some(_) => self.now = self.now.saturating_add(passed),
            None => {
                let latest = self.finish.values().copied().max().unwrap_or(0);
                self.now = self.now.max(latest);
                self.finish.clear();
            }
        }
    }

    /// Forgets the flows that are as good as new, and if they are few, those that are nearest to it.
    fn forget(&mut self) {
        self.finish.retain(|_, finish| *finish > self.now);
        if self.finish.len() >= FLOWS_MAX {
            let mut finishes: Vec<u64> = self.finish.values().copied().collect();
            let (_, &mut middle, _) = finishes.select_nth_unstable(FLOWS_MAX / 2);
            self.finish.retain(|_, finish| *finish > middle);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flow(share: u64) -> Flow {
        Flow { share, ..Flow::default() }
    }

    #[test]
    fn flows_are_bounded() {
        let mut clock = FairClock::default();
        for share in 0..3 * FLOWS_MAX as u64 {
            clock.enter(flow(share), 1 + share as usize % 7);
            assert!(clock.finish.len() <= FLOWS_MAX);
        }
        clock.advance_by(10, 1, None);
        assert!(clock.finish.is_empty());
    }

    #[test]
    fn several_flows_count_until_one_alone_has_had_many_batches() {
        let mut clock = FairClock::default();
        let waiting = [QueuedRequest { tokens: 1, ..QueuedRequest::default() }];
        clock.enter(flow(1), 1);
        clock.enter(flow(1), 1);
        assert!(!clock.has_several_flows());
        clock.enter(flow(2), 1);
        clock.enter(flow(1), 1);
        for _ in 0..ACTIVE_BATCHES {
            assert!(clock.has_several_flows());
            clock.enter(flow(1), 1);
            clock.advance(&waiting, &[0]);
        }
        assert!(!clock.has_several_flows());
    }

    #[test]
    fn an_idle_flow_saves_nothing_and_loses_nothing() {
        let mut clock = FairClock::default();
        let [_, second] = [(); 2].map(|()| clock.enter(flow(1), 100));
        assert_eq!(clock.enter(flow(2), 5), 0, "it waits for nobody's first request");
        clock.advance_by(105, 2, Some(second));
        // Both were served; the one that comes back starts now, not where it stopped.
        let back = clock.enter(flow(2), 5);
        assert_eq!(back, second);
        let moved = clock.leave(flow(2), back, 5);
        assert_eq!(
            (moved(back + 5 * SCALE), clock.enter(flow(2), 5)),
            (back, back),
            "it did not run"
        );
        clock.advance_by(105, 2, None);
        assert!(clock.has_several_flows());
        let [first, second] = [1, 2].map(|share| clock.enter(flow(share), 1));
        assert_eq!(first, second, "an empty queue forgets all");
    }
}
