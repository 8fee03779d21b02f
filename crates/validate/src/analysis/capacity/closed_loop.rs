//! Clients of a closed loop before the stages of a [`StageModel`], on a virtual clock.
//!
//! Each client's request takes the first free tokenizer thread, then waits until the device is free. The device takes
//! all that wait, up to the largest batch. When its turn ends, each of its clients has its answer after the rest of the
//! request and sends again. Which batches form is found, not assumed: clients answered together stay together only as
//! far as their times of encoding let them.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use super::model::StageModel;

/// Answers per client and batches until the loop has settled, and from then on counted.
const ROUNDS_SETTLING: usize = 10;
const ROUNDS: usize = 30;
const BATCHES: usize = 400;

/// What clients see.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Outcome {
    pub(super) requests_per_second: f64,
    pub(super) latency_seconds_p50: f64,
}

/// Times are nanoseconds, so that moments have an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Arrived(usize),
    Tokenized(usize),
    Ended,
}

struct Loop<'a> {
    model: &'a StageModel,
    random: fastrand::Rng,
    now: u64,
    /// With the number of the event, so that those of one moment keep their order.
    events: BinaryHeap<Reverse<(u64, u64, Event)>>,
    numbers: u64,
    sent: Vec<u64>,
    /// Clients whose requests wait for a thread, and for a batch.
    admitted: VecDeque<usize>,
    waiting: VecDeque<usize>,
    tokenizing: usize,
    batch: Vec<usize>,
    /// When each answer arrived, and its latency.
    answers: Vec<(u64, u64)>,
    batches: usize,
}

/// Predicts so many clients.
pub(super) fn simulate(model: &StageModel, clients: usize) -> Outcome {
    let clients = clients.max(1);
    let mut state = Loop {
        model,
        random: fastrand::Rng::with_seed(1),
        now: 0,
        events: BinaryHeap::new(),
        numbers: 0,
        sent: vec![0; clients],
        admitted: VecDeque::new(),
        waiting: VecDeque::new(),
        tokenizing: 0,
        batch: Vec::new(),
        answers: Vec::new(),
        batches: 0,
    };
    (0..clients).for_each(|client| state.after(0.0, Event::Arrived(client)));
    while state.answers.len() < ROUNDS_SETTLING * clients {
        state.step();
    }
    let (settled, batches) = (state.answers.len(), state.batches);
    while state.answers.len() < settled + ROUNDS * clients || state.batches < batches + BATCHES {
        state.step();
    }
    let (before, counted) = state.answers.split_at(settled);
    let from = before.last().map_or(0, |answer| answer.0);
    let to = counted.last().map_or(from, |answer| answer.0);
    let mut latencies: Vec<u64> = counted.iter().map(|answer| answer.1).collect();
    let middle = latencies.len().saturating_sub(1) / 2;
    let (_, median, _) = latencies.select_nth_unstable(middle);
    Outcome {
        requests_per_second: counted.len() as f64 / ((to - from).max(1) as f64 * 1e-9),
        latency_seconds_p50: *median as f64 * 1e-9,
    }
}

impl Loop<'_> {
    fn after(&mut self, seconds: f64, event: Event) {
        let at = self.now + (seconds * 1e9).round().max(0.0) as u64;
        self.events.push(Reverse((at, self.numbers, event)));
        self.numbers += 1;
    }

    /// Advances to the next moment at which something happens. All of it has happened before a batch is started.
    fn step(&mut self) {
        let next =
            |events: &BinaryHeap<Reverse<(u64, u64, Event)>>| events.peek().map(|next| next.0.0);
        let Some(now) = next(&self.events) else { return };
        self.now = now;
        while next(&self.events) == Some(now) {
            let Some(Reverse((_, _, event))) = self.events.pop() else { return };
            match event {
                Event::Arrived(client) => {
                    self.sent[client] = now;
                    self.admitted.push_back(client);
                }
                Event::Tokenized(client) => {
                    self.tokenizing -= 1;
                    self.waiting.push_back(client);
                }
                Event::Ended => self.answer(),
            }
            self.tokenize();
        }
        self.start_batch();
    }

    /// Gives the free threads requests that wait for one.
    fn tokenize(&mut self) {
        while self.tokenizing < self.model.threads {
            let Some(client) = self.admitted.pop_front() else { return };
            let seconds = self.model.encoding(self.tokenizing, &mut self.random);
            self.tokenizing += 1;
            self.after(seconds, Event::Tokenized(client));
        }
    }

    fn start_batch(&mut self) {
        if self.batch.is_empty() && !self.waiting.is_empty() {
            let sequences = self.waiting.len().min(self.model.batch_max);
            self.batch = self.waiting.drain(..sequences).collect();
            self.batches += 1;
            let seconds = self.model.turn(sequences, &mut self.random);
            self.after(seconds, Event::Ended);
        }
    }

    /// Answers the batch. A client sends its next request when it has the answer.
    fn answer(&mut self) {
        let batch = std::mem::take(&mut self.batch);
        let rest = self.model.rest(batch.len());
        let answered = self.now + (rest * 1e9).round() as u64;
        for client in batch {
            self.answers.push((answered, answered - self.sent[client]));
            self.after(rest, Event::Arrived(client));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::model::tests::Stages;
    use super::*;

    const STAGES: Stages =
        Stages { batch: 2.0, sequence: 1.0, encoding: 1.0, rest: 0.0, batch_max: 8, threads: 100 };

    fn check(stages: Stages, clients: usize, per_second: f64, p50_ms: f64) {
        let found = simulate(&stages.learn(), clients);
        let (rate, ms) = (found.requests_per_second, found.latency_seconds_p50 * 1e3);
        assert!((rate / per_second - 1.0).abs() < 1e-2, "{rate} requests/s, not {per_second}");
        assert!((ms / p50_ms - 1.0).abs() < 1e-2, "p50 {ms} ms, not {p50_ms}");
    }

    #[test]
    fn one_client_waits_for_each_stage_in_turn() {
        // 1 ms of encoding, 3 ms of a batch, 0.5 ms besides.
        check(Stages { rest: 0.5, ..STAGES }, 1, 1000.0 / 4.5, 4.5);
    }

    #[test]
    fn many_clients_get_full_batches() {
        // Eight in 10 ms; each of 80 clients waits for ten batches.
        check(STAGES, 80, 800.0, 100.0);
    }

    #[test]
    fn clients_settle_in_groups_that_take_turns() {
        // Two threads encode two at a time. All six fit into one batch, but those that are encoded first start one
        // without the others: the groups take 2 ms twice and 1 ms for each client.
        check(Stages { threads: 2, ..STAGES }, 6, 600.0, 10.0);
    }

    #[test]
    fn slow_threads_are_the_limit() {
        // Two threads of 20 ms: 100 per second, whatever the device can do. Twelve clients wait for six turns of them.
        check(Stages { encoding: 20.0, threads: 2, ..STAGES }, 12, 100.0, 120.0);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn throughput_keeps_the_rates_of_the_stages_and_grows_with_clients(
            (batch, sequence) in (0.0..5.0f64, 0.05..5.0f64),
            (encoding, rest) in (0.01..20.0f64, 0.0..2.0f64),
            (batch_max, threads) in (1usize..20, 1usize..9),
            clients in 1usize..40,
        ) {
            let stages = Stages { batch, sequence, encoding, rest, batch_max, threads };
            let model = stages.learn();
            let Outcome { requests_per_second: rate, latency_seconds_p50 } = simulate(&model, clients);
            let device = batch_max as f64 / (batch + sequence * batch_max as f64) * 1e3;
            let tokenizer = threads as f64 / encoding * 1e3;
            let alone_ms = encoding + batch + sequence + rest;
            let unhindered = clients as f64 / alone_ms * 1e3;
            for most in [device, tokenizer, unhindered] {
                prop_assert!(rate <= 1.01 * most, "{rate} of at most {most}");
            }
            prop_assert!(latency_seconds_p50 * 1e3 >= 0.99 * alone_ms);
            let more = simulate(&model, 2 * clients).requests_per_second;
            prop_assert!(more >= 0.98 * rate, "{rate}, with twice the clients {more}");
        }
    }
}
