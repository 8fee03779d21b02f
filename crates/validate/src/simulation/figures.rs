//! The figures of one policy on one trace.

use bigbatch_engine::BatchSize;
use serde::Serialize;

use super::clock::{Ended, Outcome};
use super::device::SimulatedDevice;
use super::policies::Policy;
use super::traces::{Arrival, Arrivals};
use crate::stats::nearest_rank;

/// Upper ends of the classes of lengths, in tokens; the last class has none.
pub const LENGTH_CLASSES: [usize; 3] = [512, 2048, 8192];

/// What one policy did with one trace.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PolicyFigures {
    /// The policy.
    pub policy: Policy,
    /// Requests that were answered.
    pub answered: usize,
    /// Requests that found no slot.
    pub refused: usize,
    /// Tokens answered per second of the device's work. Padding is no token.
    pub tokens_per_second: f64,
    /// Share of the time until the last answer in which the device had nothing to do.
    pub idle_share: f64,
    /// Most milliseconds that a request took beyond what it takes alone on an idle device.
    pub worst_wait_ms: f64,
    /// Jain's index of the clients' speeds, 1 if they are equal. A client's speed is the mean over its requests of the time
    /// that each takes alone / the time that it took, 0 if refused. Clients that ask for more than an equal share of the device
    /// don't count.
    pub fairness: f64,
    /// Latencies by length: up to each of [`LENGTH_CLASSES`], and longer.
    pub classes: [ClassFigures; LENGTH_CLASSES.len() + 1],
    /// Latencies of the trace's quiet clients; none in most traces.
    pub quiet: ClassFigures,
}

/// The latencies of some requests, from arrival to answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct ClassFigures {
    /// Number of them that were answered.
    pub requests: usize,
    /// Median; `None` without requests.
    pub p50_ms: Option<f64>,
    /// 99th percentile, nearest rank: of fewer than 100 requests the longest.
    pub p99_ms: Option<f64>,
}

impl ClassFigures {
    fn of(mut latencies: Vec<f64>) -> ClassFigures {
        latencies.sort_unstable_by(f64::total_cmp);
        let at = |level| latencies.get(nearest_rank(level, latencies.len()) - 1).copied();
        ClassFigures { requests: latencies.len(), p50_ms: at(0.5), p99_ms: at(0.99) }
    }
}

/// Returns the class of a length.
fn class(tokens: usize) -> usize {
    LENGTH_CLASSES.partition_point(|&end| end < tokens)
}

/// Computes the figures of a simulation.
pub(super) fn of(
    policy: Policy,
    device: &SimulatedDevice,
    trace: &Arrivals,
    ended: &Ended,
) -> PolicyFigures {
    let alone_ms = |one: &Arrival| device.costs.predict(BatchSize::of([one.tokens])) * 1e3;
    let mut by_class: [Vec<f64>; LENGTH_CLASSES.len() + 1] = Default::default();
    let (mut quiet, mut tokens, mut worst_wait_ms, mut refused) = (Vec::new(), 0, 0.0_f64, 0);
    // Requests, speeds and seconds of work of each client.
    let mut clients = vec![(0_usize, 0.0, 0.0); trace.clients];
    for (one, outcome) in trace.requests.iter().zip(&ended.outcomes) {
        let client = &mut clients[one.client];
        client.0 += 1;
        client.2 += device.costs.of_sequence(one.tokens);
        let &Outcome::Answered(end) = outcome else {
            refused += 1;
            continue;
        };
        let ms = (end - one.seconds) * 1e3;
        client.1 += alone_ms(one) / ms;
        tokens += one.tokens;
        worst_wait_ms = worst_wait_ms.max(ms - alone_ms(one));
        by_class[class(one.tokens)].push(ms);
        if trace.quiet.contains(&one.client) {
            quiet.push(ms);
        }
    }
    let share = trace.seconds.max(ended.busy) / trace.clients as f64;
    let speeds = clients.iter().filter(|(requests, _, work)| *requests > 0 && *work <= share);
    PolicyFigures {
        policy,
        answered: trace.requests.len() - refused,
        refused,
        tokens_per_second: tokens as f64 / ended.busy.max(f64::MIN_POSITIVE),
        idle_share: 1.0 - ended.busy / ended.end.max(f64::MIN_POSITIVE),
        worst_wait_ms,
        fairness: jain(speeds.map(|(requests, speeds, _)| speeds / *requests as f64)),
        classes: by_class.map(ClassFigures::of),
        quiet: ClassFigures::of(quiet),
    }
}

/// Returns the index of Jain, Chiu and Hawe (1984): the square of the sum over the number times the sum of squares.
fn jain(values: impl Iterator<Item = f64>) -> f64 {
    let (count, sum, squares) = values.fold((0.0, 0.0, 0.0), |(count, sum, squares), value| {
        (count + 1.0, sum + value, squares + value * value)
    });
    if squares > 0.0 { sum * sum / (count * squares) } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_end_where_they_say() {
        let classes = [1, 512, 513, 2048, 2049, 8192, 8193, 65_536].map(class);
        assert_eq!(classes, [0, 0, 1, 1, 2, 2, 3, 3]);
    }

    #[test]
    fn percentiles_and_fairness_of_known_values() {
        let figures = ClassFigures::of((1..=200).rev().map(f64::from).collect());
        assert_eq!((figures.p50_ms, figures.p99_ms), (Some(100.0), Some(198.0)));
        assert_eq!(ClassFigures::of(Vec::new()), ClassFigures::default());
        assert_eq!(jain([2.0, 2.0, 2.0].into_iter()), 1.0);
        assert_eq!(jain([1.0, 0.0, 0.0, 0.0].into_iter()), 0.25);
        assert_eq!(jain(std::iter::empty()), 1.0);
    }
}
