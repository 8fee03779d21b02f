//! The virtual clock: when requests arrive, which wait, how long the device was busy, and how each request ended.

use bigbatch_engine::schedule::QueuedRequest;
use bigbatch_engine::{BatchSize, FairClock, Flow};

use super::device::SimulatedDevice;
use super::traces::{Arrival, Arrivals};

/// Requests in flight at most, as `serve` by default: one more is refused.
const SLOTS: usize = 512;

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Outcome {
    /// It has not ended yet. None has this outcome after a simulation.
    Pending,
    /// At this time, in seconds.
    Answered(f64),
    /// It found no slot.
    Refused,
}

/// What a simulation found.
pub(super) struct Ended {
    /// One per request of the trace.
    pub(super) outcomes: Vec<Outcome>,
    /// Seconds that the device worked.
    pub(super) busy: f64,
    /// Seconds until the last request was answered.
    pub(super) end: f64,
}

/// The state of a simulation. Requests are known by their index in the trace.
pub(super) struct Clock<'a> {
    pub(super) device: &'a SimulatedDevice,
    arrivals: &'a [Arrival],
    next: usize,
    now: f64,
    busy: f64,
    /// Indices of the requests that wait, in order of arrival.
    waiting: Vec<usize>,
    /// The same as the scheduler sees them. All are interactive, so their age is never asked for.
    queued: Vec<QueuedRequest>,
    fair: FairClock,
    /// Slots that each client holds, and all together.
    held: Vec<usize>,
    held_by_all: usize,
    outcomes: Vec<Outcome>,
}

impl<'a> Clock<'a> {
    pub(super) fn new(device: &'a SimulatedDevice, trace: &'a Arrivals) -> Clock<'a> {
        let arrivals = trace.requests.as_slice();
        Clock {
            device,
            arrivals,
            next: 0,
            now: 0.0,
            busy: 0.0,
            waiting: Vec::new(),
            queued: Vec::new(),
            fair: FairClock::default(),
            held: vec![0; trace.clients],
            held_by_all: 0,
            outcomes: vec![Outcome::Pending; arrivals.len()],
        }
    }

    pub(super) fn now(&self) -> f64 {
        self.now
    }

    pub(super) fn tokens(&self, request: usize) -> usize {
        self.arrivals[request].tokens
    }

    pub(super) fn flow(&self, request: usize) -> Flow {
        Flow { share: self.arrivals[request].client as u64, ..Flow::default() }
    }

    /// Returns the seconds of a packed batch.
    pub(super) fn predict(&self, batch: &[usize]) -> f64 {
        let lengths = batch.iter().map(|&request| self.tokens(request));
        self.device.costs.predict(BatchSize::of(lengths))
    }

    /// Lets the device work for so many seconds, while others arrive.
    pub(super) fn work(&mut self, seconds: f64) {
        self.busy += seconds;
        self.pass(self.now + seconds);
    }

    /// Advances to the next arrival unless a request waits. Returns false if none will.
    pub(super) fn wait_for_one(&mut self) -> bool {
        while self.waiting.is_empty() {
            let Some(arrival) = self.arrivals.get(self.next) else { return false };
            self.pass(arrival.seconds.max(self.now));
        }
        true
    }

    fn pass(&mut self, until: f64) {
        self.now = until;
        while let Some(&arrival) = self.arrivals.get(self.next).filter(|one| one.seconds <= until) {
            self.admit(self.next, arrival);
            self.next += 1;
        }
    }

    /// Admits a request as `serve` does: a client may hold its share of the slots, and beyond it as many more as are free.
    fn admit(&mut self, request: usize, Arrival { tokens, client, .. }: Arrival) {
        let (free, share) = (SLOTS - self.held_by_all, SLOTS / self.held.len());
        if free == 0 || self.held[client].saturating_sub(share) >= free {
            self.outcomes[request] = Outcome::Refused;
            return;
        }
        self.held[client] += 1;
        self.held_by_all += 1;
        let flow = self.flow(request);
        let start = self.fair.enter(flow, tokens);
        self.waiting.push(request);
        self.queued.push(QueuedRequest { tokens, flow, start, ..QueuedRequest::default() });
    }

    /// Takes the waiting requests whose indices `choose` returns; they ascend. It is given those that wait, and whether several
    /// flows are active. `None` if it returns none.
    pub(super) fn take(
        &mut self,
        choose: impl FnOnce(&[QueuedRequest], bool) -> Option<Vec<usize>>,
    ) -> Option<Vec<usize>> {
        let several_flows = self.fair.has_several_flows();
        let chosen = choose(&self.queued, several_flows).filter(|chosen| !chosen.is_empty())?;
        self.fair.advance(&self.queued, &chosen);
        let batch = chosen.iter().map(|&index| self.waiting[index]).collect();
        let mut gone = vec![false; self.waiting.len()];
        chosen.iter().for_each(|&index| gone[index] = true);
        let mut kept = gone.iter().map(|gone| !gone);
        self.queued.retain(|_| kept.next().unwrap_or(true));
        let mut kept = gone.iter().map(|gone| !gone);
        self.waiting.retain(|_| kept.next().unwrap_or(true));
        Some(batch)
    }

    /// Answers the requests of a batch now.
    pub(super) fn answer(&mut self, batch: &[usize]) {
        for &request in batch {
            let outcome = &mut self.outcomes[request];
            assert_eq!(*outcome, Outcome::Pending, "a request ends once");
            *outcome = Outcome::Answered(self.now);
            self.held[self.arrivals[request].client] -= 1;
            self.held_by_all -= 1;
        }
    }

    pub(super) fn finish(self) -> Ended {
        assert!(!self.outcomes.contains(&Outcome::Pending), "every request ends");
        Ended { outcomes: self.outcomes, busy: self.busy, end: self.now }
    }
}
