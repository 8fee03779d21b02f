//! Admission: whether a request is accepted, and how many of its inputs are in flight in an engine.
//!
//! A request is admitted whole, before the engine tokenizes any of it, if its first input finds a free slot that its client
//! may take (`shares`) and the engine predicts that all its inputs can be answered in time. Otherwise it is refused at
//! once. The slot stays the request's own, so that its inputs advance one after the other however busy the engine is. Further inputs share a
//! little less than half of the slots with those of all other requests: a large request leaves the other half to
//! requests that begin. They wait in order of arrival, and a request waits for one slot at a time, so that slots go
//! round. Nothing polls: a semaphore wakes the next one.
//!
//! The engine returns a permit when the input has left it, which may be after its request was dropped.

use std::pin::Pin;
use std::sync::Arc;

use bigbatch_engine::{Engine, InputLength, Overlong, Permit, RequestError, Reservation};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::Refusal;
use crate::shares::{ClientSlot, NoSlot, Shares};
use crate::terms::Terms;

/// Slots beyond the others, for clients that hold none while all are taken, as a part of the others; at least one.
const SPARE_SHARE: usize = 16;

/// The bounds of one engine.
#[derive(Clone)]
pub(crate) struct Admission {
    /// One permit per slot of the engine.
    slots: Arc<Semaphore>,
    /// Those that inputs after a request's first may take, in addition to one of `slots`.
    further: Arc<Semaphore>,
    /// Slots beyond `slots`, for clients that hold none.
    spare: Arc<Semaphore>,
    capacity: usize,
    shares: Arc<Shares>,
}

impl Admission {
    /// Returns the bounds of an engine with so many slots.
    pub(crate) fn new(capacity: usize) -> Admission {
        // With the first slot of one request, half of them.
        let further = capacity.saturating_sub(1) / 2;
        Admission {
            slots: Arc::new(Semaphore::new(capacity)),
            further: Arc::new(Semaphore::new(further)),
            spare: Arc::new(Semaphore::new((capacity / SPARE_SHARE).max(1))),
            capacity,
            shares: Shares::new(capacity),
        }
    }

    /// Admits a request whose inputs must be answered in time, by so many of the model's layers, or refuses it.
    ///
    /// # Errors
    /// [`Refusal::Overloaded`] if no slot is free or the answer is predicted to come too late,
    /// [`Refusal::DeadlineTooShort`] for the latter if the request has a deadline of its own, [`Refusal::OverShare`].
    pub(crate) fn admit(
        &self,
        engine: &Engine,
        inputs: impl IntoIterator<Item = InputLength>,
        overlong: Overlong,
        layers: Option<usize>,
        terms: &Terms,
    ) -> Result<Grant, Refusal> {
        let slots = self.take_slot(terms.flow.share).map_err(|refused| match refused {
            NoSlot::Full => engine.overloaded_error().into(),
            NoSlot::OverShare { held } => {
                let (limit, wait) = (self.capacity, engine.predict_wait());
                Refusal::OverShare { held, limit, wait }
            }
        })?;
        let time = engine.reserve(inputs, overlong, layers, terms.limit(), terms.flow);
        Ok(Grant { slots, time: time.map_err(|error| terms.refuse(error))? })
    }

    /// Takes a slot for a request of a client.
    fn take_slot(&self, client: u64) -> Result<Slots, NoSlot> {
        let one_of = |slots: &Arc<Semaphore>| slots.clone().try_acquire_owned().ok();
        let free = self.slots.available_permits();
        let (take, spare) = (|| one_of(&self.slots), || one_of(&self.spare));
        let own = Arc::new(self.shares.take(client, free, take, spare)?);
        let lane = Arc::new(Semaphore::new(1));
        Ok(Slots { bounds: self.clone(), client, own, lane, further: None })
    }

    /// Waits for a slot that the inputs after a request's first share.
    async fn wait_for_further(self, client: u64) -> Result<Permit, RequestError> {
        let further = acquire(self.further).await?;
        let slot = acquire(self.slots).await?;
        Ok(Arc::new(self.shares.hold(client, (further, slot))))
    }
}

type PermitFuture = Pin<Box<dyn Future<Output = Result<Permit, RequestError>> + Send>>;

/// An accepted request that still has inputs to submit: its slots, and the engine's time for its inputs. Dropping it
/// gives up both.
pub(crate) struct Grant {
    pub(crate) slots: Slots,
    pub(crate) time: Reservation,
}

/// The slots of an accepted request.
pub(crate) struct Slots {
    bounds: Admission,
    client: u64,
    own: Arc<ClientSlot<OwnedSemaphorePermit>>,
    /// Whether the own slot has an input.
    lane: Arc<Semaphore>,
    /// The turn for a further slot, which outlives the calls that wait for it.
    further: Option<PermitFuture>,
}

impl Slots {
    /// Waits for a permit for the next input: the request's own slot, or a further one. Cancel safe: the turn is
    /// kept.
    pub(crate) async fn next_permit(&mut self) -> Result<Permit, RequestError> {
        // Most requests have one input, for which nothing else is made.
        if let Ok(lane) = self.lane.clone().try_acquire_owned() {
            return Ok(Arc::new((lane, self.own.clone())));
        }
        let own = acquire(self.lane.clone());
        let further = self
            .further
            .get_or_insert_with(|| Box::pin(self.bounds.clone().wait_for_further(self.client)));
        tokio::select! {
            biased;
            lane = own => Ok(Arc::new((lane?, self.own.clone()))),
            permit = further => {
                self.further = None;
                permit
            }
        }
    }
}

/// Waits for a permit. None of the semaphores is ever closed.
async fn acquire(semaphore: Arc<Semaphore>) -> Result<OwnedSemaphorePermit, RequestError> {
    semaphore.acquire_owned().await.map_err(|_| RequestError::Stopped)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the next permit if there is one now; else keeps the turn for it.
    async fn now(slots: &mut Slots) -> Option<Permit> {
        tokio::select! {
            biased;
            permit = slots.next_permit() => permit.ok(),
            () = std::future::ready(()) => None,
        }
    }

    #[tokio::test]
    async fn large_requests_leave_half_of_the_slots_and_take_turns() {
        let bounds = Admission::new(6);
        let mut first = bounds.take_slot(0).expect("six are free");
        let (own, further) =
            (now(&mut first).await, [now(&mut first).await, now(&mut first).await]);
        let [Some(one), Some(other)] = further else { panic!("half of six are three") };
        assert!(own.is_some() && now(&mut first).await.is_none());
        let mut second = bounds.take_slot(0).expect("three are free");
        let own_of_second = now(&mut second).await;
        assert!(own_of_second.is_some() && now(&mut second).await.is_none());
        drop(one);
        let to_first = now(&mut first).await.expect("it waited first");
        assert!(now(&mut second).await.is_none() && now(&mut first).await.is_none());
        drop(other);
        assert!(now(&mut first).await.is_none(), "the second waited longer");
        assert!(now(&mut second).await.is_some());
        // Two of six are left, for requests that begin.
        drop(to_first);
        let small = [bounds.take_slot(0), bounds.take_slot(0)];
        assert!(small.iter().all(Result::is_ok));
    }

    #[tokio::test]
    async fn the_own_slot_is_free_for_the_next_input_and_only_at_the_end_for_others() {
        let bounds = Admission::new(1);
        let mut only = bounds.take_slot(0).expect("one is free");
        for _ in 0..3 {
            let permit = now(&mut only).await.expect("nothing is in flight");
            assert!(now(&mut only).await.is_none() && bounds.take_slot(0).is_err());
            drop(permit);
        }
        let last = now(&mut only).await;
        drop(only);
        assert!(bounds.take_slot(0).is_err(), "an input is in flight");
        drop(last);
        assert!(bounds.take_slot(0).is_ok());
    }

    #[tokio::test]
    async fn a_request_that_ends_gives_up_its_turn() {
        let bounds = Admission::new(3);
        let (mut first, mut second) =
            (bounds.take_slot(0).expect("free"), bounds.take_slot(0).expect("free"));
        let held = [now(&mut first).await, now(&mut first).await, now(&mut second).await];
        assert!(held.iter().all(Option::is_some));
        assert!(now(&mut first).await.is_none() && now(&mut second).await.is_none());
        drop(first);
        let [own, further, _own_of_second] = held;
        drop((own, further));
        assert!(now(&mut second).await.is_some());
    }
}
