//! Admission by predicted work, on a pace that the tests set.

use super::*;
use crate::batch::Priority;

const LIMIT: Duration = Duration::from_secs(10);

/// Returns a backlog whose batches took a second at 100 nanoseconds per second, after one of 10 ms on an idle device.
fn at_100_per_second() -> Arc<Backlog> {
    let (backlog, start) = (Arc::new(Backlog::default()), Instant::now());
    let at = |millis| start + Duration::from_millis(millis);
    let mut state = backlog.state();
    state.speed.record(1, start, at(10));
    state.speed.record(101, at(10), at(1020));
    state.speed.record(101, at(10), at(2030));
    drop(state);
    backlog
}

fn is_late(result: Result<Reservation, RequestError>) -> bool {
    matches!(result, Err(RequestError::WaitTooLong { .. } | RequestError::TooMuchWork { .. }))
}

#[test]
fn the_speed_is_that_of_batches_that_take_much_longer_than_the_shortest() {
    let (mut speed, start) = (Speed::default(), Instant::now());
    let at = |millis| start + Duration::from_millis(millis);
    assert_eq!(speed.pace(), None);
    speed.record(10, start, at(2));
    for batch in 0..100 {
        speed.record(1000, at(4 * batch), at(4 * batch + 3));
        assert_eq!(speed.pace(), None, "3 ms are launches, not work");
    }
    speed.record(1_000_000, at(1000), at(2002));
    speed.record(1_000_000, at(1000), at(3004));
    let speed = speed.pace().expect("a second is not");
    assert!((0.9e6..1.1e6).contains(&speed), "{speed}");
}

#[test]
fn time_in_which_nothing_waited_does_not_count() {
    let (mut speed, start) = (Speed::default(), Instant::now());
    let at = |seconds| start + Duration::from_secs(seconds);
    speed.record(1, start, start + Duration::from_millis(1));
    speed.record(500, at(100), at(105));
    speed.record(500, at(102), at(110));
    let speed = speed.pace().expect("it ran for ten seconds");
    assert!((99.0..101.0).contains(&speed), "{speed}");
}

#[test]
fn a_stall_is_forgotten_as_fast_as_any_other_batch() {
    let (mut speed, start) = (Speed::default(), Instant::now());
    let at = |seconds| start + Duration::from_secs(seconds);
    speed.record(1, start, start + Duration::from_millis(1));
    speed.record(100, at(1), at(100));
    (100..130).for_each(|second| speed.record(100, at(1), at(second + 1)));
    let speed = speed.pace().expect("it ran for 30 s");
    assert!((90.0..101.0).contains(&speed), "{speed}");
}

#[test]
fn a_request_is_refused_if_all_work_would_take_more_than_four_fifths_of_its_limit() {
    let backlog = at_100_per_second();
    let first =
        backlog.reserve([5000, 0], None, LIMIT, Flow::default()).expect("nothing else waits");
    assert!(is_late(backlog.reserve([1, 0], None, LIMIT, Flow::default())));
    drop(first);
    let _most = backlog.reserve([790, 0], None, LIMIT, Flow::default()).expect("7.9 s");
    assert!(is_late(backlog.reserve([20, 0], None, LIMIT, Flow::default())));
    let _last = backlog.reserve([5, 0], None, LIMIT, Flow::default()).expect("8 s");
    let wait = backlog.predict_wait().expect("batches have run").as_secs_f64();
    assert!((7.9..8.0).contains(&wait), "{wait}");
}

#[test]
fn inputs_after_the_first_leave_half_of_the_time_to_other_requests() {
    let backlog = at_100_per_second();
    let _large =
        backlog.reserve([10, 5000], None, LIMIT, Flow::default()).expect("nothing else waits");
    let refused = backlog.reserve([10, 1], None, LIMIT, Flow::default()).map(drop);
    assert!(matches!(refused, Err(RequestError::TooMuchWork { .. })), "{refused:?}");
    let _small = backlog
        .reserve([380, 0], None, LIMIT, Flow::default())
        .expect("3.9 s beside 4 s of the large one");
    assert!(is_late(backlog.reserve([20, 0], None, LIMIT, Flow::default())));
}

#[test]
fn a_client_with_much_work_is_refused_and_others_are_not() {
    let backlog = at_100_per_second();
    let flow = |share, priority| Flow { share, priority };
    let [many, few, other] = [1, 2, 3].map(|share| flow(share, Priority::Interactive));
    let flood = backlog.reserve([790, 0], None, LIMIT, many).expect("nothing else waits");
    assert!(is_late(backlog.reserve([20, 0], None, LIMIT, many)));
    let own =
        backlog.reserve([100, 0], None, LIMIT, few).expect("2 s: it takes turns with one other");
    assert!(is_late(backlog.reserve([310, 0], None, LIMIT, few)), "8.2 s");
    let third = backlog.reserve([200, 0], None, LIMIT, other).expect("6 s of three");
    assert!(is_late(backlog.reserve([170, 0], None, LIMIT, few)), "8.1 s of three");
    drop(own);
    // Batch work waits for all of it, and interactive work for no batch work.
    let batch = flow(4, Priority::Batch);
    assert!(is_late(backlog.reserve([1, 0], None, LIMIT, batch)));
    drop((flood, third));
    let _batch = backlog.reserve([5000, 0], None, LIMIT, batch).expect("nothing else waits");
    assert!(backlog.reserve([790, 0], None, LIMIT, few).is_ok());
    assert!(is_late(backlog.reserve([790, 0], None, LIMIT, flow(5, Priority::Batch))));
}

#[test]
fn a_short_request_does_not_wait_for_long_ones_that_it_passes() {
    let turns = Turns { pausing: Duration::from_nanos(64), ..Turns::HOST };
    let Backlog { state, .. } = Arc::into_inner(at_100_per_second()).expect("it is alone");
    let backlog = Arc::new(Backlog { state, turns: Some(turns) });
    let one = Flow { share: 1, priority: Priority::Interactive };
    let _long = backlog.reserve([3000, 0], Some(3000), LIMIT, one).expect("nothing else waits");
    let short = backlog.reserve([100, 0], Some(100), LIMIT, one).expect("1 s, and 6 s owed");
    assert!(is_late(backlog.reserve([20, 0], Some(20), LIMIT, one)), "1.2 s, and 7.2 s owed");
    drop(short);
    assert!(is_late(backlog.reserve([1, 0], None, LIMIT, one)), "it does not fit there");
    assert!(is_late(backlog.reserve([300, 0], Some(300), LIMIT, one)), "it is no shorter");
    let batch = Flow { share: 3, priority: Priority::Batch };
    assert!(backlog.reserve([100, 0], Some(100), LIMIT, batch).is_ok());
    assert!(backlog.reserve([10, 20], Some(10), LIMIT, one).is_ok(), "all of them pass");
}

#[test]
fn without_a_speed_anything_is_accepted() {
    let backlog = Arc::new(Backlog::default());
    let accepted =
        [(); 3].map(|()| backlog.reserve([u64::MAX, u64::MAX], None, LIMIT, Flow::default()));
    assert!(accepted.iter().all(Result::is_ok));
    assert_eq!(backlog.predict_wait(), None);
}

#[test]
fn tokens_are_predicted_from_the_texts_before() {
    let backlog = Backlog::default();
    assert_eq!(backlog.predict_tokens(100), 25);
    (0..10).for_each(|_| backlog.record_text(1_000_000, 500_000));
    assert_eq!(backlog.predict_tokens(100), 50);
    (0..1000).for_each(|_| {
        backlog.record_text(10_000, 4000);
        backlog.record_text(10_000, 6000);
    });
    let tokens = backlog.predict_tokens(100);
    assert!((60..=65).contains(&tokens), "{tokens}: above most of them");
}

#[test]
fn all_work_is_gone_when_everything_is_dropped() {
    let backlog = Arc::new(Backlog::default());
    let mut random = fastrand::Rng::with_seed(1);
    for _ in 0..200 {
        let (first, further) = (random.u64(..1 << 50), random.u64(..1 << 55));
        let mut reservation = backlog
            .reserve([first, further], None, LIMIT, Flow::default())
            .expect("no speed is known");
        let mut works: Vec<Work> =
            (0..random.usize(..5)).map(|_| reservation.next(random.u64(..1 << 53))).collect();
        works.iter_mut().for_each(|work| work.set(random.u64(..1 << 50)));
        if random.bool() {
            drop(reservation);
        }
    }
    assert_eq!(backlog.state().outstanding, HashMap::new());
}
