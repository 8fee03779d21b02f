//! The queue in one thread: order, shares, permits, and its end. All orders in which threads may meet in it are in
//! `queue_interleavings`.

use std::sync::Arc;

use super::backlog::{Backlog, Work};
use super::queue::Queue;
use super::slot::{Slot, SlotHolder, Terms};
use crate::batch::schedule::next_batch;
use crate::batch::{Flow, Limits};

struct Waits(Slot, bool);

impl SlotHolder for Waits {
    fn slot(&self) -> &Slot {
        &self.0
    }

    fn slot_mut(&mut self) -> &mut Slot {
        &mut self.0
    }

    fn cost(&self) -> usize {
        1
    }

    fn is_long(&self) -> bool {
        self.1
    }

    fn expire(self) {}
}

fn short(slot: Slot) -> Waits {
    Waits(slot, false)
}

fn work() -> Work {
    Arc::new(Backlog::default()).add(1, Flow::default())
}

fn queue(requests: usize) -> Queue<Waits, Waits> {
    let queue = Queue::new(requests, 3);
    for _ in 0..requests {
        queue.admit(None, work(), Terms::default(), short).expect("a slot is free");
    }
    queue
}

#[test]
fn chosen_ones_leave_in_order_and_the_others_stay_in_order() {
    let queue = queue(6);
    (0..6).for_each(|_| queue.put_tokenized(queue.take_admitted(), false));
    let ids = |batch: &[Waits]| batch.iter().map(|w| w.0.id).collect::<Vec<u64>>();
    let taken = queue.take_batch(|_, _| vec![1, 2, 4]).expect("some are ready");
    assert_eq!(ids(&taken), [1, 2, 4]);
    assert_eq!(ids(&queue.lock().tokenized), [0, 3, 5]);
    assert!(queue.try_take_batch(|_, _| Some(Vec::new())).is_some_and(|none| none.is_empty()));
}

/// Takes a batch of one request and returns its id.
fn take_one(queue: &Queue<Waits, Waits>) -> Option<u64> {
    let limits = Limits { max_batch_tokens: 9, max_batch_sequences: 1, max_masks: 0 };
    let taken = queue.take_batch(|waiting, _| next_batch(waiting, limits))?;
    taken.first().map(|request| request.0.id)
}

#[test]
fn clients_take_turns_at_the_tokenizers_and_each_keeps_its_order() {
    let queue: Queue<Waits, Waits> = Queue::new(9, 1);
    for share in [1, 1, 1, 2, 2] {
        let terms = Terms { flow: Flow { share, ..Flow::default() }, deadline: None };
        queue.admit(None, work(), terms, short).expect("a slot is free");
    }
    queue.cancel(1);
    let mut taken: Vec<Waits> = (0..4).filter_map(|_| queue.take_admitted()).collect();
    assert_eq!(taken.iter().map(|request| request.0.id).collect::<Vec<_>>(), [0, 3, 2, 4]);
    // Those that are tokenized early do not pass others of their client.
    taken.reverse();
    taken.into_iter().for_each(|request| queue.put_tokenized(Some(request), false));
    let order = [(); 4].map(|()| take_one(&queue));
    assert_eq!(order, [0, 3, 2, 4].map(Some));
}

#[test]
fn a_permit_is_held_beyond_the_capacity_and_as_long_as_the_slot() {
    let queue = queue(1);
    let permit = Arc::new(());
    queue
        .admit(Some(permit.clone()), work(), Terms::default(), short)
        .expect("the caller bounds it");
    queue.put_tokenized(queue.take_admitted(), false);
    let held = queue.take_admitted();
    assert_eq!((queue.taken(), Arc::strong_count(&permit)), (2, 2));
    queue.cancel(1);
    assert_eq!(Arc::strong_count(&permit), 2, "it is being tokenized");
    queue.put_tokenized(None, false);
    drop(held);
    assert_eq!((queue.taken(), Arc::strong_count(&permit)), (1, 1));
}

#[test]
fn what_is_being_tokenized_when_the_queue_is_abandoned_waits_for_nobody() {
    let queue = queue(3);
    let admitted = queue.take_admitted();
    queue.abandon();
    assert_eq!(queue.taken(), 1, "two waited");
    queue.put_tokenized(admitted, false);
    assert_eq!(queue.taken(), 0);
    assert!(queue.take_batch(|_, _| vec![0]).is_none());
}

#[test]
fn long_texts_leave_a_thread_to_short_ones_and_none_is_lost() {
    let queue: Queue<Waits, Waits> = Queue::new(8, 3);
    for long in [true, true, true, false, true, false] {
        queue
            .admit(None, work(), Terms::default(), |slot| Waits(slot, long))
            .expect("a slot is free");
    }
    let take = || queue.take_admitted().map(|request| (request.0.id, request.1));
    assert_eq!([take(), take()], [Some((0, true)), Some((1, true))]);
    assert_eq!([take(), take()], [Some((3, false)), Some((5, false))], "two long ones run");
    queue.close();
    std::thread::scope(|scope| {
        // Only long ones wait now: three threads take them as those before are done, and all of them end.
        for _ in 0..3 {
            scope.spawn(|| {
                while let Some(request) = queue.take_admitted() {
                    queue.put_tokenized(None, request.is_long());
                }
            });
        }
        queue.put_tokenized(None, true);
        queue.put_tokenized(None, true);
    });
    let state = queue.lock();
    assert_eq!((state.admitted.len(), state.tokenizing_long), (0, 0));
}

#[test]
fn a_single_thread_takes_long_texts_in_order() {
    let queue: Queue<Waits, Waits> = Queue::new(2, 1);
    for long in [true, false] {
        queue
            .admit(None, work(), Terms::default(), |slot| Waits(slot, long))
            .expect("a slot is free");
    }
    assert!(queue.take_admitted().is_some_and(|request| request.is_long()));
}
