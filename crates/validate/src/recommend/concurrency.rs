//! The concurrency limit: the highest measured concurrency that keeps p95 latency within a target.
//!
//! A concurrency keeps the target if the upper end of its p95 interval does, and if all lower concurrencies do.
//! Nothing is interpolated: what happens between two measured concurrencies is not known. The p95 is over all
//! requests, so that a server cannot meet the target by refusing requests.

use crate::figures::estimate::MatrixPosition;
use crate::format::{count, time, time_limit, tokens};
use crate::results::Results;
use crate::stats::Interval;

use super::Goal;
use crate::results::recommendation::{AdviceFigure, Recommendation, Setting, Support, Topic, Unit};

/// The limit for one length.
struct Limit<'a> {
    tokens: usize,
    target_ms: f64,
    target_source: &'static str,
    /// The highest concurrency that keeps the target.
    highest: Option<MatrixPosition<'a>>,
    /// The first concurrency that does not.
    next: Option<(MatrixPosition<'a>, Obstacle)>,
}

/// Why a concurrency does not keep the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Obstacle {
    /// The p95 or its upper end is beyond the target.
    Beyond,
    /// Too many requests fail for a p95 to exist.
    Failing,
    /// The sample is too small to bound the p95.
    SmallSample,
}

/// Returns one recommendation per length that has a target; the smallest limit becomes the setting.
pub(super) fn advise(results: &Results, goal: Goal) -> Vec<Recommendation> {
    let limits = limits(results, goal);
    if limits.is_empty() {
        return vec![Recommendation::missing(
            Topic::Concurrency,
            "No cell of a fixed length under a closed loop has a p95 target: give the plan a bar with \
             latency_seconds_p95_max, or pass --p95-target.",
        )];
    }
    let mut all: Vec<Recommendation> = limits.iter().map(Limit::advise).collect();
    // A limit that ends at a small sample would throttle a server for want of data.
    let clients: Option<Vec<usize>> = limits.iter().map(Limit::shown_clients).collect();
    let smallest = clients.iter().flatten().enumerate().min_by_key(|(_, clients)| **clients);
    if let Some((index, &clients)) = smallest {
        let short =
            |limit: &Limit<'_>| format!("{} tokens: {}", tokens(limit.tokens), limit.clients());
        let each: Vec<String> = limits.iter().map(short).collect();
        let comment = format!("The smallest limit over all lengths ({}).", each.join("; "));
        let setting = Setting::number("max_concurrent_requests", clients as u64, comment);
        all[index].settings.push(setting);
    }
    all
}

fn limits(results: &Results, goal: Goal) -> Vec<Limit<'_>> {
    let positions = results.matrix_positions();
    let by_length = positions.chunk_by(|one, next| one.tokens == next.tokens);
    let limit = |same: &[MatrixPosition<'_>]| {
        let tokens = same[0].tokens;
        let bars = results.plan.bars.iter().filter(|bar| bar.tokens == Some(tokens));
        let strictest = bars
            .filter_map(|bar| bar.latency_seconds_p95_max)
            .min_by(f64::total_cmp)
            .map(|seconds| (seconds * 1e3, "the plan's strictest limit at this length"));
        let requested = goal.p95_target_ms.map(|ms| (ms, "as requested"));
        let (target_ms, target_source) = requested.or(strictest)?;
        Some((tokens, target_ms, target_source))
    };
    let mut limits = Vec::new();
    for same in by_length {
        let Some((tokens, target_ms, target_source)) = limit(same) else { continue };
        let obstacle = |position: &MatrixPosition<'_>| obstacle(position, target_ms);
        let end = same.iter().position(|position| obstacle(position).is_some());
        let highest = end.unwrap_or(same.len()).checked_sub(1).map(|last| same[last].clone());
        let next = end.and_then(|end| Some((same[end].clone(), obstacle(&same[end])?)));
        limits.push(Limit { tokens, target_ms, target_source, highest, next });
    }
    limits
}

fn obstacle(position: &MatrixPosition<'_>, target_ms: f64) -> Option<Obstacle> {
    let interval = position.p95_over_all_ms().interval;
    match (interval.low, interval.high) {
        (_, Some(high)) if high <= target_ms => None,
        (_, Some(_)) => Some(Obstacle::Beyond),
        (Some(low), None) if low > target_ms => Some(Obstacle::Beyond),
        (None, None) if position.p95_is_never_reached() => Some(Obstacle::Failing),
        (_, None) => Some(Obstacle::SmallSample),
    }
}

impl Limit<'_> {
    fn clients(&self) -> usize {
        self.highest.as_ref().map_or(0, |highest| highest.concurrency)
    }

    /// Returns the limit, unless only the size of a sample ends it.
    fn shown_clients(&self) -> Option<usize> {
        let ends_early = matches!(self.next, Some((_, Obstacle::SmallSample)));
        self.highest.as_ref().filter(|_| !ends_early).map(|highest| highest.concurrency)
    }

    fn advise(&self) -> Recommendation {
        let (length, target) = (count(self.tokens), time_limit(self.target_ms));
        let clients = self.clients();
        let next = self.next.as_ref().map(|(position, obstacle)| (position.concurrency, *obstacle));
        let (support, advice) = match (clients, next) {
            (0, Some((first, Obstacle::Beyond))) => (
                Support::Shown,
                format!(
                    "No measured concurrency keeps p95 latency of {length}-token requests within {target}; C = \
                     {first} does not. Use a faster device, shorter texts, or a longer target."
                ),
            ),
            (0, _) => (Support::Missing, "No advice.".to_owned()),
            (_, Some((_, obstacle))) if obstacle != Obstacle::SmallSample => (
                Support::Shown,
                format!(
                    "Limit {length}-token requests to {clients} in flight: the highest measured concurrency that \
                     keeps p95 latency within {target}."
                ),
            ),
            _ => (
                Support::Partly,
                format!(
                    "{clients} in flight is shown to keep p95 latency of {length}-token requests within {target}; \
                     the limit may be higher."
                ),
            ),
        };
        let mut recommendation = Recommendation::new(Topic::Concurrency, support, advice);
        recommendation.tokens = Some(self.tokens);
        recommendation.missing = missing(clients, next);
        let compared = self.highest.iter().chain(self.next.as_ref().map(|(position, _)| position));
        let compared: Vec<String> = compared.map(p95).collect();
        recommendation.evidence = vec![format!(
            "p95 over all requests: {}; the target is {target} ({}).",
            compared.join(", "),
            self.target_source
        )];
        recommendation.figure = self.highest.as_ref().map(|highest| AdviceFigure {
            value: clients as f64,
            interval: Interval {
                low: Some(clients as f64),
                high: next
                    .filter(|(_, obstacle)| *obstacle != Obstacle::SmallSample)
                    .map(|(n, _)| n as f64),
            },
            unit: Unit::Requests,
            basis: highest.p95_over_all_ms().basis.label(),
        });
        recommendation
    }
}

/// Returns what a plan would have to measure for a firmer limit.
fn missing(clients: usize, next: Option<(usize, Obstacle)>) -> Option<String> {
    match next {
        None => Some(format!(
            "C = {clients} is the highest concurrency that was measured, and it keeps the target. Add a higher \
             concurrency to the plan."
        )),
        Some((next, Obstacle::SmallSample)) => Some(format!(
            "The p95 at C = {next} has no upper end: it has too few independent batches. Measure more requests there."
        )),
        Some((next, Obstacle::Failing)) if clients == 0 => Some(format!(
            "At C = {next} more than 5 % of the requests failed, so that no p95 exists."
        )),
        Some(_) => None,
    }
}

/// Prints `1.2 s at C = 50 (1.1 s to 1.3 s, within run)`.
fn p95(position: &MatrixPosition<'_>) -> String {
    let estimate = position.p95_over_all_ms();
    let value = match estimate.value {
        Some(ms) => time(ms),
        None if position.p95_is_never_reached() => "not reached".to_owned(),
        None => "not shown".to_owned(),
    };
    let interval = match estimate.interval {
        Interval { low: None, high: None } => String::new(),
        Interval { low, high } => {
            let [low, high] = [low, high].map(|end| end.map_or("?".to_owned(), time));
            format!(" ({low} to {high}, {})", estimate.basis.label())
        }
    };
    format!("{value} at C = {}{interval}", position.concurrency)
}
