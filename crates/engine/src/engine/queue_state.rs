//! The requests that wait in a queue, and whose turn it is. The locks and signals around them are in `queue`.

use std::collections::VecDeque;
use std::time::Instant;

use super::slot::SlotHolder;
use super::sync::now;
use crate::batch::fair::price;
use crate::batch::schedule::QueuedRequest;
use crate::batch::{FairClock, Priority};

/// What a queue's lock guards.
pub(super) struct QueueState<A, T> {
    /// In order of arrival, as `tokenized`.
    pub(super) admitted: VecDeque<A>,
    /// Orders `admitted` by bytes.
    admitted_clock: FairClock,
    pub(super) tokenized: Vec<T>,
    /// Orders `tokenized` by tokens.
    tokenized_clock: FairClock,
    /// No request that waits has an earlier deadline.
    pub(super) next_deadline: Option<Instant>,
    /// Requests being tokenized, which are in neither list.
    pub(super) tokenizing: usize,
    /// Those of them with long texts.
    pub(super) tokenizing_long: usize,
    pub(super) next_id: u64,
    pub(super) closed: bool,
    /// No thread takes batches any more.
    pub(super) abandoned: bool,
}

impl<A: SlotHolder, T: SlotHolder> QueueState<A, T> {
    pub(super) fn new() -> QueueState<A, T> {
        QueueState {
            admitted: VecDeque::new(),
            admitted_clock: FairClock::default(),
            tokenized: Vec::new(),
            tokenized_clock: FairClock::default(),
            next_deadline: None,
            tokenizing: 0,
            tokenizing_long: 0,
            next_id: 0,
            closed: false,
            abandoned: false,
        }
    }

    /// Puts a request in line to be tokenized.
    pub(super) fn push_admitted(&mut self, mut request: A) {
        let (flow, cost) = (request.slot().terms.flow, request.cost());
        request.slot_mut().start = self.admitted_clock.enter(flow, cost);
        self.admitted.push_back(request);
    }

    /// Takes the request whose turn it is to be tokenized, if it may be long or is not.
    pub(super) fn take_admitted(&mut self, long_too: bool) -> Option<A> {
        let now = now();
        let mut turns = Vec::with_capacity(self.admitted.len());
        for (index, request) in self.admitted.iter_mut().enumerate() {
            request.promote(&mut self.admitted_clock, now);
            let slot = request.slot();
            turns.push((slot.terms.flow.priority, slot.start, index));
        }
        let may_run =
            |&&(.., index): &&(Priority, u64, usize)| long_too || !self.admitted[index].is_long();
        let &(.., chosen) = turns.iter().filter(may_run).min()?;
        let waiting = self.admitted.len();
        let request = self.admitted.remove(chosen)?;
        let left = turns.iter().filter(|(.., index)| *index != chosen).min();
        // There are at most as many flows as requests.
        self.admitted_clock.advance_by(request.cost(), waiting, left.map(|(_, start, _)| *start));
        Some(request)
    }

    /// Puts a request in line for a batch, in order of arrival.
    pub(super) fn push_tokenized(&mut self, mut request: T) {
        let (id, flow, cost) = (request.slot().id, request.slot().terms.flow, request.cost());
        let at = self.tokenized.partition_point(|other| other.slot().id < id);
        let mut start = self.tokenized_clock.enter(flow, cost);
        // Requests of the flow that arrived later and were tokenized earlier run after it.
        // One that was promoted stays behind those that its client had by then.
        let promoted = request.slot().promoted;
        let later = self.tokenized[at..].iter_mut().map(SlotHolder::slot_mut);
        for slot in later.filter(|slot| slot.terms.flow == flow && !promoted) {
            start = start.min(slot.start);
            slot.start = slot.start.saturating_add(price(cost));
        }
        request.slot_mut().start = start;
        self.tokenized.insert(at, request);
    }

    /// Takes the tokenized requests whose indices `choose` returns; they ascend. It is given those that wait, and whether
    /// several flows are active.
    pub(super) fn take_batch(
        &mut self,
        choose: impl Fn(&[QueuedRequest], bool) -> Option<Vec<usize>>,
    ) -> Option<Vec<T>> {
        let now = now();
        self.tokenized.iter_mut().for_each(|one| one.promote(&mut self.tokenized_clock, now));
        let waiting: Vec<QueuedRequest> =
            self.tokenized.iter().map(|request| request.queued(now)).collect();
        let chosen = choose(&waiting, self.tokenized_clock.has_several_flows())?;
        let Some(last) = chosen.last() else { return Some(Vec::new()) };
        self.tokenized_clock.advance(&waiting, &chosen);
        let (mut index, mut chosen) = (0, chosen.iter().peekable());
        let is_chosen = |_: &mut T| {
            let found = chosen.next_if_eq(&&index).is_some();
            index += 1;
            found
        };
        // One pass, which closes the gaps as it goes: this happens under the lock that admission needs.
        Some(self.tokenized.extract_if(..=*last, is_chosen).collect())
    }

    /// Removes a request that waits.
    pub(super) fn remove(&mut self, id: u64) -> (Option<A>, Option<T>) {
        let at = self.admitted.iter().position(|request| request.slot().id == id);
        if let Some((at, gone)) = at.and_then(|at| Some((at, self.admitted.remove(at)?))) {
            gone.leave(&mut self.admitted_clock, self.admitted.iter_mut().skip(at));
            return (Some(gone), None);
        }
        let at = self.tokenized.iter().position(|request| request.slot().id == id);
        let gone = at.map(|at| {
            let gone = self.tokenized.remove(at);
            gone.leave(&mut self.tokenized_clock, self.tokenized.iter_mut().skip(at));
            gone
        });
        (None, gone)
    }

    /// Takes the requests whose deadlines have passed.
    pub(super) fn take_late(&mut self, now: Instant) -> (Vec<A>, Vec<T>) {
        if self.next_deadline.is_none_or(|next| next > now) {
            return (Vec::new(), Vec::new());
        }
        let all = std::mem::take(&mut self.admitted).into_iter();
        let (late, admitted): (Vec<A>, Vec<A>) = all.partition(|one| one.slot().is_late(now));
        self.admitted = admitted.into();
        let late_tokenized: Vec<T> =
            self.tokenized.extract_if(.., |one| one.slot().is_late(now)).collect();
        let admitted = self.admitted.iter().map(SlotHolder::slot);
        let slots = admitted.chain(self.tokenized.iter().map(SlotHolder::slot));
        self.next_deadline = slots.filter_map(|slot| slot.terms.deadline).min();
        for gone in &late {
            let later = self.admitted.iter_mut().filter(|one| one.slot().id > gone.slot().id);
            gone.leave(&mut self.admitted_clock, later);
        }
        for gone in &late_tokenized {
            let later = self.tokenized.iter_mut().filter(|one| one.slot().id > gone.slot().id);
            gone.leave(&mut self.tokenized_clock, later);
        }
        (late, late_tokenized)
    }
}
