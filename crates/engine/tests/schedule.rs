//! Properties of the batch plan and of packing, for any queue.

use std::collections::HashMap;
use std::time::Duration;

use bigbatch_engine::schedule::{AGING, QueuedRequest, next_batch};
use bigbatch_engine::{
    CostModel, FairClock, Flow, Limits, PackedBatch, Pooling, Priority, Rows, Sequence, Turns,
    next_full_peers, next_peers,
};
use proptest::prelude::*;

const COSTS: CostModel = CostModel {
    batch_seconds: 0.0,
    token_seconds: 1e-5,
    square_seconds: 0.0,
    sequence_seconds: 0.0,
};

const LIMITS: Limits = Limits { max_batch_tokens: 1000, max_batch_sequences: 8, max_masks: 16 };

fn flow(share: u64, batch: bool) -> Flow {
    let priority = if batch { Priority::Batch } else { Priority::Interactive };
    Flow { share, priority }
}

fn waiting() -> impl Strategy<Value = Vec<QueuedRequest>> {
    let sizes = (1usize..=LIMITS.max_batch_tokens, 0usize..=LIMITS.max_masks);
    let turns = (0u64..4, any::<bool>(), 0u64..20, 0u64..50);
    let request = (sizes, turns).prop_map(|((tokens, masks), (share, batch, seconds, start))| {
        let (flow, age) = (flow(share, batch), Duration::from_secs(seconds));
        QueuedRequest { tokens, masks, flow, age, start }
    });
    prop::collection::vec(request, 0..40)
}

/// The order in which requests are tried.
fn turn(queue: &[QueuedRequest], index: usize) -> (bool, u64, usize) {
    (!queue[index].is_urgent(), queue[index].start, index)
}

/// A queue that does with the clock what the engine's does.
#[derive(Default)]
struct Queue {
    clock: FairClock,
    arrived: usize,
    /// Each with its number, in order of arrival.
    waiting: Vec<(usize, QueuedRequest)>,
}

impl Queue {
    /// Returns the number of the request.
    fn arrive(&mut self, flow: Flow, tokens: usize) -> usize {
        let start = self.clock.enter(flow, tokens);
        self.waiting
            .push((self.arrived, QueuedRequest { tokens, flow, start, ..Default::default() }));
        self.arrived += 1;
        self.arrived - 1
    }

    fn pass(&mut self, time: Duration) {
        self.waiting.iter_mut().for_each(|(_, request)| request.age += time);
    }

    fn take(&mut self) -> Vec<(usize, QueuedRequest)> {
        self.waiting.iter_mut().for_each(|(_, request)| self.clock.promote(request));
        let view: Vec<QueuedRequest> = self.waiting.iter().map(|(_, request)| *request).collect();
        let chosen = next_batch(&view, LIMITS);
        self.clock.advance(&view, &chosen);
        let mut taken: Vec<_> =
            chosen.into_iter().rev().map(|index| self.waiting.remove(index)).collect();
        taken.reverse();
        taken
    }

    fn count(&self, share: u64) -> usize {
        self.waiting.iter().filter(|(_, request)| request.flow.share == share).count()
    }
}

/// Returns the 99th percentile of the times, in seconds, until a client that sends one request per second is answered. Beside
/// it another sends `load` times what the device can do, and holds at most 384 slots: what the server leaves it of 512. A
/// batch takes 5 ms and 10 us per token.
fn p99_beside(load: f64) -> f64 {
    const TOKENS: usize = 100;
    const BATCH_SECONDS: f64 = 0.005 + 8.0 * TOKENS as f64 * 1e-5;
    let interval = BATCH_SECONDS / 8.0 / load;
    let (mut queue, mut now) = (Queue::default(), 0.0_f64);
    let (mut next_of_many, mut next_of_one) = (0.0, 0.3);
    let (mut sent, mut times) = (HashMap::new(), Vec::new());
    while times.len() < 500 {
        while next_of_many <= now {
            if queue.waiting.len() < 384 {
                queue.arrive(flow(1, false), TOKENS);
            }
            next_of_many += interval;
        }
        if next_of_one <= now {
            sent.insert(queue.arrive(flow(2, false), TOKENS), next_of_one);
            // No multiple of the time of a batch.
            next_of_one += 1.000_618;
        }
        if queue.waiting.is_empty() {
            now = next_of_many.min(next_of_one);
            continue;
        }
        let batch = queue.take();
        let tokens: usize = batch.iter().map(|(_, request)| request.tokens).sum();
        now += 0.005 + tokens as f64 * 1e-5;
        times.extend(batch.iter().filter_map(|(number, _)| Some(now - sent.remove(number)?)));
    }
    times.sort_by(f64::total_cmp);
    times[times.len() * 99 / 100]
}

#[test]
fn a_flood_at_ten_times_the_capacity_at_most_doubles_the_tail_of_another_client() {
    let (busy, flooded) = (p99_beside(0.9), p99_beside(10.0));
    assert!(flooded <= 2.0 * busy, "{flooded} s, and {busy} s beside a load of 0.9");
}

proptest! {
    #[test]
    fn a_batch_stays_within_every_limit_and_takes_the_first(queue in waiting()) {
        let batch = next_batch(&queue, LIMITS);
        let first = (0..queue.len()).min_by_key(|&index| turn(&queue, index));
        prop_assert_eq!(batch.is_empty(), queue.is_empty());
        prop_assert!(first.is_none_or(|first| batch.contains(&first)));
        prop_assert!(batch.is_sorted_by(|a, b| a < b), "in order, none twice");
        prop_assert!(batch.len() <= LIMITS.max_batch_sequences);
        let total = |f: fn(&QueuedRequest) -> usize| batch.iter().map(|&i| f(&queue[i])).sum::<usize>();
        prop_assert!(total(|w| w.tokens) <= LIMITS.max_batch_tokens);
        prop_assert!(total(|w| w.masks) <= LIMITS.max_masks);
        // Nothing that would still fit is left out.
        if batch.len() < LIMITS.max_batch_sequences {
            for (i, request) in queue.iter().enumerate().filter(|(i, _)| !batch.contains(i)) {
                let fits = total(|w| w.tokens) + request.tokens <= LIMITS.max_batch_tokens
                    && total(|w| w.masks) + request.masks <= LIMITS.max_masks;
                prop_assert!(!fits, "request {} fits and was left", i);
            }
        }
    }

    #[test]
    fn one_that_is_passed_did_not_fit(queue in waiting()) {
        let batch = next_batch(&queue, LIMITS);
        for left in (0..queue.len()).filter(|index| !batch.contains(index)) {
            let before = batch.iter().filter(|&&index| turn(&queue, index) < turn(&queue, left));
            let before: Vec<&QueuedRequest> = before.map(|&index| &queue[index]).collect();
            let tokens: usize = before.iter().map(|request| request.tokens).sum();
            let masks: usize = before.iter().map(|request| request.masks).sum();
            let fits = before.len() < LIMITS.max_batch_sequences
                && tokens + queue[left].tokens <= LIMITS.max_batch_tokens
                && masks + queue[left].masks <= LIMITS.max_masks;
            prop_assert!(!fits, "{} was passed", left);
        }
    }

    #[test]
    fn batch_requests_take_only_the_room_that_interactive_ones_leave(queue in waiting()) {
        let urgent: Vec<usize> = (0..queue.len()).filter(|&i| queue[i].is_urgent()).collect();
        let view: Vec<QueuedRequest> = urgent.iter().map(|&index| queue[index]).collect();
        let alone = next_batch(&view, LIMITS).into_iter().map(|index| urgent[index]);
        let batch = next_batch(&queue, LIMITS).into_iter().filter(|&index| queue[index].is_urgent());
        prop_assert_eq!(batch.collect::<Vec<_>>(), alone.collect::<Vec<_>>());
    }

    #[test]
    fn every_request_runs_exactly_once(queue in waiting()) {
        let mut left: Vec<(usize, QueuedRequest)> = queue.iter().copied().enumerate().collect();
        let mut ran = Vec::new();
        while !left.is_empty() {
            let view: Vec<QueuedRequest> = left.iter().map(|(_, request)| *request).collect();
            for &index in next_batch(&view, LIMITS).iter().rev() {
                ran.push(left.remove(index).0);
            }
        }
        ran.sort_unstable();
        prop_assert_eq!(ran, (0..queue.len()).collect::<Vec<_>>());
    }

    /// What a user of the library sees who has no clients to tell apart.
    #[test]
    fn a_single_flow_runs_in_order_of_arrival(
        steps in prop::collection::vec(prop::collection::vec(1usize..=1000, 0..12), 1..20),
    ) {
        let (mut queue, mut plain) = (Queue::default(), Vec::new());
        for arrivals in steps {
            for tokens in arrivals {
                plain.push((queue.arrive(Flow::default(), tokens), tokens));
            }
            let (mut tokens, mut expected) = (0, Vec::new());
            plain.retain(|&(number, own)| {
                let fits = tokens + own <= LIMITS.max_batch_tokens
                    && expected.len() < LIMITS.max_batch_sequences;
                if fits {
                    tokens += own;
                    expected.push(number);
                }
                !fits
            });
            let taken: Vec<usize> = queue.take().iter().map(|(number, _)| *number).collect();
            prop_assert_eq!(taken, expected);
        }
    }

    /// Requests of one size, so that none is passed because it does not fit.
    #[test]
    fn requests_of_one_client_and_priority_keep_their_order(
        steps in prop::collection::vec(prop::collection::vec((0u64..3, any::<bool>()), 0..12), 1..30),
        seconds in 0u64..4,
    ) {
        let mut queue = Queue::default();
        let (mut arrived, mut latest) = (HashMap::new(), HashMap::new());
        let mut arrivals = steps.into_iter();
        loop {
            let step = arrivals.next();
            if step.is_none() && queue.waiting.is_empty() {
                break;
            }
            for (share, batch) in step.unwrap_or_default() {
                arrived.insert(queue.arrive(flow(share, batch), 300), flow(share, batch));
            }
            queue.pass(Duration::from_secs(seconds));
            for (number, request) in queue.take() {
                // One that aged is of another flow from then on, and behind those that were in it.
                if arrived[&number] == request.flow {
                    let before = latest.insert(request.flow, number);
                    prop_assert!(before.is_none_or(|before| before < number));
                }
            }
        }
    }

    /// With interactive clients that always have requests waiting, a batch request runs within `AGING`, one round of the
    /// clients, and a batch.
    #[test]
    fn a_batch_request_waits_no_longer_than_the_aging_and_a_round(
        clients in 1u64..6,
        depth in 1usize..12,
        sizes in prop::collection::vec(1usize..=1000, 1..8),
        tokens in 1usize..=1000,
    ) {
        let (second, mut queue, mut size) =
            (Duration::from_secs(1), Queue::default(), sizes.into_iter().cycle());
        let mut fill = |queue: &mut Queue| for share in 0..clients {
            while queue.count(share) < depth {
                queue.arrive(flow(share, false), size.next().expect("it cycles"));
            }
        };
        (0..5).for_each(|_| { fill(&mut queue); queue.take(); });
        let batch = queue.arrive(flow(99, true), tokens);
        let aging = AGING.as_secs();
        for seconds in 0.. {
            fill(&mut queue);
            if queue.take().iter().any(|(number, _)| *number == batch) {
                break;
            }
            queue.pass(second);
            prop_assert!(seconds <= aging + clients + 1, "it waits {} s", seconds);
        }
    }

    /// Batch requests that have aged have the share of one client, and not the turn that they missed.
    #[test]
    fn a_flood_of_batch_requests_that_has_aged_leaves_interactive_ones_their_share(
        flood in 50usize..200,
        tokens in 100usize..=400,
    ) {
        let mut queue = Queue::default();
        (0..flood).for_each(|_| { queue.arrive(flow(1, true), tokens); });
        let mut ran = [0_usize; 2];
        for seconds in 1..=AGING.as_secs() + 10 {
            while queue.count(0) < 20 {
                queue.arrive(flow(0, false), tokens);
            }
            queue.pass(Duration::from_secs(1));
            for (_, request) in queue.take() {
                if seconds >= AGING.as_secs() {
                    ran[request.flow.share as usize] += request.tokens;
                }
            }
        }
        prop_assert!(ran[0] + 1000 >= ran[1], "{:?}", ran);
        prop_assert!(ran[1] > 0, "{:?}", ran);
    }

    /// Two clients whose requests always wait have as many tokens run, but for a request each and a batch.
    #[test]
    fn clients_have_equal_shares_whatever_they_send(
        few in 1usize..200,
        many in 1usize..200,
        depths in (1usize..4, 1usize..40),
    ) {
        let (mut queue, mut ran) = (Queue::default(), [0_usize; 2]);
        for _ in 0..200 {
            for (share, (tokens, depth)) in [(few, 8 + depths.0), (many, 8 + depths.1)].into_iter().enumerate() {
                while queue.count(share as u64) < depth {
                    queue.arrive(flow(share as u64, false), tokens);
                }
            }
            for (_, request) in queue.take() {
                ran[request.flow.share as usize] += request.tokens;
            }
        }
        let bound = few + many + 2 * LIMITS.max_batch_tokens;
        prop_assert!(ran[0].abs_diff(ran[1]) <= bound, "{:?}", ran);
    }

    /// A client that sends less than its share waits for at most one request of each other, however many they have.
    #[test]
    fn one_that_sends_little_waits_for_a_request_of_each_other(
        floods in prop::collection::vec(1usize..=400, 1..6),
        tokens in 1usize..=400,
    ) {
        let fill = |queue: &mut Queue| for (share, size) in floods.iter().enumerate() {
            while queue.count(share as u64) < 50 {
                queue.arrive(flow(share as u64, false), *size);
            }
        };
        // A batch that leaves one out has more than 600 tokens: no request has more than 400.
        let most = (floods.iter().sum::<usize>() + tokens) / 600;
        let mut queue = Queue::default();
        for _ in 0..10 {
            let mut ran = vec![0; floods.len()];
            while ran.iter().any(|ran| *ran <= tokens) {
                fill(&mut queue);
                for (_, request) in queue.take() {
                    ran[request.flow.share as usize] += request.tokens;
                }
            }
            fill(&mut queue);
            let polite = queue.arrive(flow(99, false), tokens);
            let mut batches = 0;
            while !queue.take().iter().any(|(number, _)| *number == polite) {
                fill(&mut queue);
                batches += 1;
            }
            prop_assert!(batches <= most, "{} batches, not {}", batches, most);
        }
    }

    /// New clients begin behind those that wait.
    #[test]
    fn endless_new_clients_starve_nobody(size in 400usize..=1000, own in 1usize..=1000) {
        let (mut queue, mut share) = (Queue::default(), 100);
        let mut begin = |queue: &mut Queue| while queue.waiting.len() < 10 {
            share += 1;
            queue.arrive(flow(share, false), size);
        };
        begin(&mut queue);
        queue.arrive(flow(1, false), own);
        let second = queue.arrive(flow(1, false), own);
        for batch in 0.. {
            begin(&mut queue);
            if queue.take().iter().any(|(number, _)| *number == second) {
                break;
            }
            prop_assert!(batch < 64 * 12 * (own / size + 3), "batch {}", batch);
        }
    }

    #[test]
    fn a_batch_of_peers_takes_the_first_and_none_that_could_pass_another(queue in waiting()) {
        let batch = next_peers(&queue, true, LIMITS, &COSTS, Turns::GPU);
        let first = (0..queue.len()).min_by_key(|&index| turn(&queue, index));
        prop_assert!(first.is_none_or(|first| batch.contains(&first)));
        prop_assert!(batch.is_sorted_by(|a, b| a < b) && batch.len() <= LIMITS.max_batch_sequences);
        let tokens = || batch.iter().map(|&index| queue[index].tokens);
        prop_assert!(tokens().sum::<usize>() <= LIMITS.max_batch_tokens);
        prop_assert!(batch.iter().map(|&i| queue[i].masks).sum::<usize>() <= LIMITS.max_masks);
        // 10 us per token: from 400 tokens on a batch pauses.
        let (least, most) = (tokens().min().unwrap_or(0), tokens().max().unwrap_or(0));
        prop_assert!(most < 400 || 8 * least > most - 8, "{} beside {}", least, most);
        let full = next_full_peers(&queue, true, LIMITS, &COSTS, Turns::GPU);
        prop_assert!(full.as_ref().is_none_or(|full| *full == batch && batch.len() < queue.len()));
        // Short requests alone are peers.
        let short: Vec<QueuedRequest> =
            queue.iter().copied().filter(|request| request.tokens < 400).collect();
        let next = next_batch(&short, LIMITS);
        let full = next_full_peers(&short, false, LIMITS, &COSTS, Turns::GPU);
        prop_assert_eq!(full, (next.len() < short.len()).then_some(next));
    }

    #[test]
    fn packing_keeps_every_token_and_counts_positions_from_each_start(
        sequences in prop::collection::vec(prop::collection::vec(0u32..9999, 1..50), 1..20),
    ) {
        let wants: Vec<Rows> = (0..sequences.len())
            .map(|i| match i % 6 {
                0 => Rows::Pooled(Pooling::Mean),
                1 => Rows::Pooled(Pooling::Cls),
                2 => Rows::At(vec![0, sequences[i].len() as u32 - 1]),
                3 => Rows::Hidden,
                4 => Rows::Exit { layers: 3, pooling: Pooling::Mean },
                _ => Rows::All,
            })
            .collect();
        let pairs = sequences.iter().zip(&wants);
        let batch =
            PackedBatch::pack(pairs.map(|(token_ids, wants)| Sequence { token_ids, wants }));
        prop_assert_eq!(batch.sequences(), sequences.len());
        prop_assert_eq!(&batch.token_ids, &sequences.concat());
        // Those of the exit come first.
        let whole = batch.exits.first().map_or(0, |exit| exit.segments.end);
        let (exits, segments) = batch.segments.split_at(whole);
        let (mut exits, mut segments) = (exits.iter(), segments.iter());
        let mut masks = batch.mask_rows.iter();
        let mut hidden = 0..0;
        for ((span, ids), wants) in batch.spans().zip(&sequences).zip(&wants) {
            let expected: Vec<u32> = (0..ids.len() as u32).collect();
            prop_assert_eq!(&batch.positions[span.clone()], &expected[..]);
            let start = span.start as u32;
            match wants {
                Rows::Pooled(Pooling::Mean) => {
                    prop_assert_eq!(segments.next(), Some(&(start, ids.len() as u32)));
                }
                Rows::Pooled(Pooling::Cls) => prop_assert_eq!(segments.next(), Some(&(start, 1))),
                Rows::At(_) => {
                    prop_assert_eq!(masks.next(), Some(&start));
                    prop_assert_eq!(masks.next(), Some(&(span.end as u32 - 1)));
                }
                Rows::Exit { .. } => {
                    prop_assert_eq!(exits.next(), Some(&(start, ids.len() as u32)));
                }
                Rows::Hidden if hidden.end == 0 => hidden = start..span.end as u32,
                Rows::Hidden => hidden.end = span.end as u32,
                Rows::All => {}
            }
        }
        prop_assert!(segments.next().is_none() && masks.next().is_none());
        prop_assert!(exits.next().is_none() && batch.exits.len() <= 1);
        prop_assert_eq!(batch.hidden_rows, hidden);
    }
}
