//! The queue under every order in which its threads may run: no request is lost or ends twice, no slot stays taken,
//! and no thread waits for ever.
//!
//! The queue's sources are compiled here a second time, over loom's locks and signals, which try the orders one after
//! another and report a deadlock. loom rather than shuttle, because it tries every order up to a number of
//! preemptions and skips those that cannot differ, where shuttle tries random ones, and because it adds fewer crates.
//! As a second copy in this crate's tests, it needs no other build. Neither crate knows time: here it passes in
//! [`Model::pass_deadlines`].
//!
//! What is computed of texts and batches is not modelled: the threads below do with the queue what `tokenizer_loop`,
//! `device_loop` and `pending` do. The backlog keeps std's lock, under which nothing else is locked. Whether the
//! engine around the queue loses anything is for `tests/chaos.rs`.
#![allow(dead_code, reason = "the models need not call all that the program does")]
#![allow(unreachable_pub, reason = "what the engine exports, this copy does not")]
#![allow(clippy::duplicate_mod, reason = "that is what it is for")]

#[path = "queue.rs"]
mod queue;
#[path = "queue_state.rs"]
mod queue_state;
#[path = "slot.rs"]
mod slot;
mod sync;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use loom::thread::{self, JoinHandle};

use self::End::{Answered, Dropped, Expired};
use self::queue::{Permit, Queue};
use self::slot::{Slot, SlotHolder, Terms};
use super::backlog::{self, Backlog};
use crate::batch::Flow;
use crate::error::RequestError;

/// How far the clock moves at once; deadlines are nearer.
const STEP: Duration = Duration::from_secs(2);

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum End {
    Answered,
    Expired,
    /// Without an answer: cancelled, or the device was lost.
    Dropped,
}

/// How the requests of one run ended, by their ids.
type Ends = BTreeMap<u64, End>;

/// What became of each request, and how many hold a slot without a permit.
#[derive(Default)]
struct Record {
    ends: BTreeMap<u64, Vec<End>>,
    held: usize,
    held_most: usize,
}

type Shared<T> = Arc<Mutex<T>>;

/// A request's id, or why it is refused.
type Admission = Result<u64, RequestError>;

/// The number of requests that have ended, as a part of the model: a thread may wait for it.
type Ended = Arc<(sync::Mutex<usize>, sync::Condvar)>;

/// A request: admitted or tokenized, which makes no difference here.
struct Ticket {
    held: Option<Held>,
    slot: Slot,
    reply: Reply,
    long: bool,
}

/// Counts a request among those with a slot, until just before the slot is freed.
struct Held(Shared<Record>);

/// The caller's end of a request; records it as dropped if nothing was sent.
struct Reply {
    id: u64,
    sent: Option<End>,
    ended: Option<Ended>,
    record: Shared<Record>,
}

/// Changes what is no part of the model, between two of its steps.
fn with<T, R>(shared: &Shared<T>, change: impl FnOnce(&mut T) -> R) -> R {
    change(&mut shared.lock().unwrap_or_else(PoisonError::into_inner))
}

impl Held {
    fn new(record: &Shared<Record>) -> Held {
        with(record, |record| {
            record.held += 1;
            record.held_most = record.held_most.max(record.held);
        });
        Held(record.clone())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        with(&self.0, |record| record.held -= 1);
    }
}

impl Reply {
    fn send(mut self, end: End) {
        self.sent = Some(end);
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        let end = self.sent.unwrap_or(Dropped);
        with(&self.record, |record| record.ends.entry(self.id).or_default().push(end));
        if let Some(ended) = &self.ended {
            *ended.0.lock().expect("loom poisons no lock") += 1;
            ended.1.notify_one();
        }
    }
}

impl Ticket {
    fn new(slot: Slot, held: Option<Held>, long: bool, model: &Model) -> Ticket {
        let (record, ended) = (model.record.clone(), model.ended.clone());
        Ticket { held, reply: Reply { id: slot.id, sent: None, ended, record }, slot, long }
    }

    fn end(self, end: End) {
        let Ticket { held, slot, reply, .. } = self;
        drop(held);
        drop(slot);
        reply.send(end);
    }
}

impl SlotHolder for Ticket {
    fn slot(&self) -> &Slot {
        &self.slot
    }

    fn slot_mut(&mut self) -> &mut Slot {
        &mut self.slot
    }

    fn cost(&self) -> usize {
        1
    }

    fn is_long(&self) -> bool {
        self.long
    }

    fn expire(self) {
        self.end(Expired);
    }
}

/// A queue, its threads, and what became of the requests.
#[derive(Clone)]
struct Model {
    queue: Arc<Queue<Ticket, Ticket>>,
    record: Shared<Record>,
    backlog: Arc<Backlog>,
    permit: Arc<()>,
    ended: Option<Ended>,
    threads: Shared<Vec<JoinHandle<()>>>,
    /// Long texts that are being tokenized, and their upper limit.
    long: Arc<sync::AtomicUsize>,
    long_max: usize,
}

/// Runs a model in every order with at most so many preemptions. Returns all the ways in which its requests ended.
fn check(preemptions: usize, run: impl Fn() -> Ends + Send + Sync + 'static) -> BTreeSet<Ends> {
    let seen = Shared::<BTreeSet<Ends>>::default();
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(preemptions));
    builder.check({
        let seen = seen.clone();
        move || {
            let ends = run();
            with(&seen, |seen| seen.insert(ends));
        }
    });
    with(&seen, std::mem::take)
}

impl Model {
    fn new(capacity: usize, tokenizer_threads: usize) -> Model {
        Model {
            queue: Arc::new(Queue::new(capacity, tokenizer_threads)),
            record: Shared::default(),
            backlog: Arc::default(),
            permit: Arc::new(()),
            ended: None,
            threads: Shared::default(),
            long: Arc::new(sync::AtomicUsize::new(0)),
            long_max: tokenizer_threads.saturating_sub(1).max(1),
        }
    }

    /// Returns a model whose caller waits for answers, as [`Model::wait_for`] does.
    fn watched(capacity: usize, tokenizer_threads: usize) -> Model {
        let ended = Arc::new((sync::Mutex::new(0), sync::Condvar::new()));
        Model { ended: Some(ended), ..Model::new(capacity, tokenizer_threads) }
    }

    /// Starts a thread that [`Model::stop`] waits for.
    fn spawn(&self, run: impl FnOnce(&Model) + 'static) {
        let model = self.clone();
        let thread = thread::spawn(move || run(&model));
        with(&self.threads, |threads| threads.push(thread));
    }

    fn spawn_tokenizer(&self) {
        self.spawn(|model| {
            while let Some(ticket) = model.queue.take_admitted() {
                let long = ticket.long;
                if long {
                    let others = model.long.fetch_add(1, sync::Ordering::AcqRel);
                    assert!(others < model.long_max, "too many long texts are tokenized at once");
                    model.long.fetch_sub(1, sync::Ordering::AcqRel);
                }
                model.queue.put_tokenized(Some(ticket), long);
            }
        });
    }

    /// Answers batches of one request until the queue has ended, or so many if the device is lost then.
    fn spawn_device(&self, batches: usize) {
        self.spawn(move |model| {
            for _ in 0..batches {
                let Some(batch) = model.queue.take_batch(|_, _| vec![0]) else { break };
                batch.into_iter().for_each(|ticket| ticket.end(Answered));
            }
            model.queue.abandon();
        });
    }

    fn admit_with(&self, permit: Option<Permit>, terms: Terms, long: bool) -> Admission {
        let work = self.backlog.add(1, Flow::default());
        let bounded = permit.is_none();
        self.queue.admit(permit, work, terms, |slot| {
            let held = bounded.then(|| Held::new(&self.record));
            Ticket::new(slot, held, long, self)
        })
    }

    fn admit(&self) -> Admission {
        self.admit_with(None, Terms::default(), false)
    }

    fn admit_long(&self) -> Admission {
        self.admit_with(None, Terms::default(), true)
    }

    /// Admits a request whose deadline passes with the next step of the clock.
    fn admit_due(&self) -> Admission {
        let deadline = Some(sync::now() + STEP / 2);
        self.admit_with(None, Terms { deadline, ..Terms::default() }, false)
    }

    /// Lets the deadlines pass that were set so far. Under the lock, because a wait that begins later ends at once.
    fn pass_deadlines(&self) {
        let state = self.queue.lock();
        sync::advance(STEP);
        self.queue.on_deadline.time_out();
        drop(state);
    }

    /// Blocks until so many requests have ended, of a model that [`Model::watched`] returned.
    fn wait_for(&self, count: usize) {
        let ended = self.ended.as_ref().expect("the model is watched");
        let mut seen = ended.0.lock().expect("loom poisons no lock");
        while *seen < count {
            seen = ended.1.wait(seen).expect("loom poisons no lock");
        }
    }

    /// Closes the queue as the engine does when it is dropped, and then as [`Model::join`].
    fn stop(self) -> Ends {
        self.queue.close();
        self.join()
    }

    /// Waits for the threads, checks that nothing is left, and returns how each request ended.
    fn join(self) -> Ends {
        for thread in with(&self.threads, std::mem::take) {
            thread.join().expect("no thread of the model panics");
        }
        assert_eq!(self.queue.taken(), 0, "slots are taken");
        let state = self.queue.lock();
        assert_eq!((state.admitted.len(), state.tokenized.len(), state.tokenizing), (0, 0, 0));
        drop(state);
        assert_eq!(Arc::strong_count(&self.permit), 1, "permits are held");
        with(&self.record, |record| {
            assert!(record.held_most <= self.queue.capacity(), "{} slots", record.held_most);
            let once = |(id, ends): (&u64, &Vec<End>)| match ends.as_slice() {
                [end] => (*id, *end),
                other => panic!("request {id} ended with {other:?}"),
            };
            record.ends.iter().map(once).collect()
        })
    }
}

/// Returns the ends of requests 0, 1, ...
fn ends<const N: usize>(ends: [End; N]) -> Ends {
    (0..).zip(ends).collect()
}

#[test]
fn requests_are_answered_while_the_queue_stays_open() {
    let seen = check(2, || {
        let model = Model::watched(2, 1);
        model.spawn_tokenizer();
        model.spawn_device(usize::MAX);
        model.admit().expect("a slot is free");
        model.admit().expect("a slot is free");
        model.wait_for(2);
        model.stop()
    });
    assert_eq!(seen, BTreeSet::from([ends([Answered; 2])]));
}

#[test]
fn requests_that_wait_when_the_queue_closes_are_answered() {
    let seen = check(3, || {
        let model = Model::new(2, 1);
        model.spawn_tokenizer();
        model.spawn_device(usize::MAX);
        model.admit().expect("a slot is free");
        model.admit().expect("a slot is free");
        model.stop()
    });
    assert_eq!(seen, BTreeSet::from([ends([Answered; 2])]));
}

#[test]
fn a_request_that_comes_while_the_queue_closes_is_answered_or_refused() {
    let seen = check(3, || {
        let model = Model::new(1, 1);
        model.spawn_tokenizer();
        model.spawn_device(usize::MAX);
        model.spawn(|model| match model.admit() {
            Ok(id) => assert_eq!(id, 0),
            Err(error) => assert_eq!(error, RequestError::Stopped),
        });
        model.stop()
    });
    assert_eq!(seen, BTreeSet::from([ends([]), ends([Answered])]));
}

#[test]
fn a_request_that_is_cancelled_is_answered_or_dropped_and_no_other_is() {
    let seen = check(2, || {
        let model = Model::new(2, 1);
        model.spawn_tokenizer();
        model.spawn_device(usize::MAX);
        model.admit().expect("a slot is free");
        let cancelled = model.admit().expect("a slot is free");
        model.spawn(move |model| model.queue.cancel(cancelled));
        model.stop()
    });
    assert_eq!(seen, BTreeSet::from([ends([Answered; 2]), ends([Answered, Dropped])]));
}

#[test]
fn a_request_whose_deadline_passes_is_answered_or_expired_and_no_other_is() {
    let seen = check(2, || {
        let model = Model::new(2, 1);
        model.spawn_tokenizer();
        model.spawn_device(usize::MAX);
        model.spawn(|model| model.queue.expire_late());
        model.admit().expect("a slot is free");
        model.admit_due().expect("a slot is free");
        model.pass_deadlines();
        model.stop()
    });
    assert_eq!(seen, BTreeSet::from([ends([Answered; 2]), ends([Answered, Expired])]));
}

/// The device and the tokenizers are busy: nobody else looks at the queue.
#[test]
fn a_deadline_that_passes_is_noticed_by_the_thread_that_waits_for_it() {
    let seen = check(3, || {
        let model = Model::watched(2, 1);
        model.spawn(|model| model.queue.expire_late());
        model.admit().expect("a slot is free");
        model.admit_due().expect("a slot is free");
        model.pass_deadlines();
        model.wait_for(1);
        model.queue.abandon();
        model.stop()
    });
    assert_eq!(seen, BTreeSet::from([ends([Dropped, Expired])]));
}

#[test]
fn callers_at_once_take_no_more_slots_than_there_are_but_by_permit() {
    let seen = check(2, || {
        let model = Model::new(1, 1);
        model.spawn_tokenizer();
        model.spawn_device(usize::MAX);
        let may_be_refused = |model: &Model| match model.admit() {
            Ok(_) => {}
            Err(error) => assert!(matches!(error, RequestError::Overloaded { limit: 1, .. })),
        };
        let permitted = model.admit_with(Some(model.permit.clone()), Terms::default(), false);
        permitted.expect("the caller bounds it");
        let caller = model.clone();
        let caller = thread::spawn(move || may_be_refused(&caller));
        may_be_refused(&model);
        caller.join().expect("no thread of the model panics");
        model.stop()
    });
    let answered = [ends([Answered]), ends([Answered; 2]), ends([Answered; 3])];
    assert_eq!(seen, BTreeSet::from(answered));
}

#[test]
fn a_lost_device_leaves_no_request_and_no_thread() {
    let seen = check(2, || {
        let model = Model::new(2, 1);
        model.spawn_tokenizer();
        model.spawn_device(1);
        model.spawn(|model| model.queue.expire_late());
        model.admit().expect("a slot is free");
        let second = model.admit().is_ok();
        // The queue is not closed but by the device's thread, which ends all others.
        let ends = model.join();
        assert_eq!(ends.len(), 1 + usize::from(second));
        ends
    });
    let dropped = ends([Answered, Dropped]);
    assert_eq!(seen, BTreeSet::from([ends([Answered]), dropped]));
}

#[test]
fn long_texts_wait_for_one_another_and_none_is_lost() {
    let seen = check(1, || {
        let model = Model::watched(3, 2);
        model.spawn_tokenizer();
        model.spawn_tokenizer();
        model.spawn_device(usize::MAX);
        model.admit_long().expect("a slot is free");
        model.admit_long().expect("a slot is free");
        model.admit().expect("a slot is free");
        model.wait_for(3);
        model.stop()
    });
    assert_eq!(seen, BTreeSet::from([ends([Answered; 3])]));
}

/// One thread waits for the long text of the other one, and there is none to take after it.
#[test]
fn tokenizer_threads_end_without_the_device() {
    let seen = check(1, || {
        let model = Model::new(2, 2);
        for _ in 0..2 {
            model.spawn(|model| {
                while let Some(ticket) = model.queue.take_admitted() {
                    ticket.end(Answered);
                    model.queue.put_tokenized(None, true);
                }
            });
        }
        (0..2).for_each(|_| assert!(model.admit_long().is_ok()));
        model.stop()
    });
    assert_eq!(seen, BTreeSet::from([ends([Answered; 2])]));
}

#[test]
fn a_probe_needs_neither_slot_nor_tokenizer_and_short_requests_pass_the_batch_that_pauses() {
    let seen = check(2, || {
        let model = Model::watched(1, 1);
        model.spawn_tokenizer();
        model.spawn(|model| {
            while let Some(long) = model.queue.take_batch(|_, _| vec![0]) {
                let passing =
                    model.queue.try_take_batch(|waiting, _| (!waiting.is_empty()).then(|| vec![0]));
                passing.into_iter().flatten().for_each(|ticket| ticket.end(Answered));
                long.into_iter().for_each(|ticket| ticket.end(Answered));
            }
            model.queue.abandon();
        });
        model.admit().expect("a slot is free");
        let work = model.backlog.add(0, Flow::default());
        let probe = |slot| Ticket::new(slot, None, false, &model);
        model.queue.admit_tokenized(work, probe).expect("it is not closed");
        model.wait_for(2);
        model.stop()
    });
    assert_eq!(seen, BTreeSet::from([ends([Answered; 2])]));
}
