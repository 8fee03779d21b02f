//! What clients do when a request fails: how long they wait, what they try again, and how.

use std::collections::BTreeMap;

use crate::format::{count, percent, time};
use crate::results::Results;
use crate::stats::interval::wilson;
use crate::system::FailureKind;

use super::concurrency::Limit;
use crate::results::recommendation::{AdviceFigure, Recommendation, Setting, Support, Topic, Unit};

/// Kinds of failure beyond the edge that are named.
const EDGE_FAILURES_LISTED: usize = 6;
/// The client's timeout over the slowest answer that is to be expected.
const TIMEOUT_FACTOR: f64 = 2.0;

pub(super) fn advise(results: &Results, limits: &[Limit<'_>]) -> Vec<Recommendation> {
    let mut all: Vec<Recommendation> = limits.iter().filter_map(timeout).collect();
    if all.is_empty() {
        all.push(Recommendation::missing(
            Topic::ErrorHandling,
            "A client's timeout follows from the tail at a concurrency that keeps its p95 target, and none \
             is shown to.",
        ));
    }
    all.push(retries(results));
    all
}

/// The timeout of clients at the advised concurrency.
fn timeout(limit: &Limit<'_>) -> Option<Recommendation> {
    let clients = limit.settled()?;
    let place = limit.places.iter().rev().find(|place| place.concurrency <= clients)?;
    let p99 = place.percentile(|figures| &figures.latency.p99);
    let slowest = place.cells.iter().filter_map(|(_, figures)| figures.latency.max_ms);
    let slowest = slowest.max_by(f64::total_cmp)?;
    let (basis_ms, what) = match p99.interval.high {
        Some(high) => {
            (high, format!("the upper end of p99, {} ({})", time(high), p99.basis.label()))
        }
        None => (
            slowest,
            format!("the slowest answer seen, {}: the sample bounds no p99", time(slowest)),
        ),
    };
    let timeout_ms = round_up(basis_ms.max(slowest) * TIMEOUT_FACTOR);
    let advice = format!(
        "Let clients wait {} for an answer to {} tokens, then give up: a request that takes longer is lost, \
         not slow.",
        time(timeout_ms),
        count(limit.tokens)
    );
    let support = if p99.interval.high.is_some() { Support::Shown } else { Support::Partly };
    let mut recommendation = Recommendation::new(Topic::ErrorHandling, support, advice);
    recommendation.tokens = Some(limit.tokens);
    recommendation.evidence.push(format!(
        "At C = {}: {what}; slowest {}. The timeout is twice the larger of the two.",
        place.concurrency,
        time(slowest)
    ));
    recommendation.missing = (support == Support::Partly).then(|| {
        format!("A p99 at C = {} with an upper end needs more batches.", place.concurrency)
    });
    recommendation.figure = Some(AdviceFigure {
        value: timeout_ms,
        interval: p99.interval,
        unit: Unit::Milliseconds,
        basis: format!("p99, {}", p99.basis.label()),
    });
    Some(recommendation)
}

/// To one or two digits that people write down.
fn round_up(ms: f64) -> f64 {
    let power = 10f64.powf(ms.max(1.0).log10().floor());
    let steps = [1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0];
    steps.into_iter().map(|step| step * power).find(|&step| step >= ms).unwrap_or(ms)
}

fn retries(results: &Results) -> Recommendation {
    let mut kinds: BTreeMap<FailureKind, usize> = BTreeMap::new();
    let (mut requests, mut trials) = (0, 0);
    for figures in results.cells.iter().filter_map(crate::figures::Cell::figures) {
        requests += figures.requests;
        trials += figures.trials.count;
        for (&kind, &n) in &figures.failures {
            *kinds.entry(kind).or_insert(0) += n;
        }
    }
    if requests == 0 {
        return Recommendation::missing(Topic::ErrorHandling, "No request was measured.");
    }
    if kinds.is_empty() {
        return no_failures(results, requests, trials);
    }
    let advice: Vec<String> = kinds.keys().map(|&kind| answer_to(kind).to_owned()).collect();
    let mut recommendation =
        Recommendation::new(Topic::ErrorHandling, Support::Shown, advice.join(" "));
    for (kind, n) in &kinds {
        recommendation.evidence.push(format!(
            "{}: {} of {} requests ({}).",
            kind.label(),
            count(*n),
            count(requests),
            percent(*n as f64 / requests as f64)
        ));
    }
    for group in &results.analysis.failures {
        recommendation.evidence.push(format!(
            "{} × {} at {}: from {} to {} into the run, with {} requests under way (median).",
            count(group.count),
            group.kind.label(),
            group.load,
            time(group.first_at_ms),
            time(group.last_at_ms),
            count(group.in_flight.0)
        ));
    }
    recommendation.evidence.extend(recoveries(results));
    if let Some(n) = kinds.get(&FailureKind::TooLong) {
        let comment = format!("{} requests were too long: refused, not cut silently", count(*n));
        recommendation.settings.push(Setting::switch("auto_truncate", false, comment));
    }
    recommendation
}

fn no_failures(results: &Results, requests: usize, trials: usize) -> Recommendation {
    let bound = wilson(0.0, trials).and_then(|interval| interval.high);
    let mut recommendation = Recommendation::new(
        Topic::ErrorHandling,
        Support::Partly,
        "Retry a failed request twice at most, after a pause that doubles, drawn at random up to its \
         length, and never sooner than a Retry-After says.",
    );
    recommendation.evidence.push(format!(
        "None of {} requests failed{}.",
        count(requests),
        bound.map_or(String::new(), |high| format!(
            ", so at most {} do (95 %, {} independent trials)",
            percent(high),
            count(trials)
        ))
    ));
    match &results.analysis.edge {
        Some(edge) => {
            let refused = edge.failures.iter().map(|failure| {
                format!(
                    "Beyond the edge, {} at {}: {} × {}.",
                    failure.axis.label(),
                    failure.value,
                    count(failure.count),
                    failure.label()
                )
            });
            recommendation.evidence.extend(refused.take(EDGE_FAILURES_LISTED));
            recommendation.evidence.extend(recoveries(results));
            recommendation.support = Support::Shown;
        }
        None => {
            let missing = "How the target fails was not seen: which errors it gives under overload or \
                           without memory, and whether it recovers. validate --edge would show it.";
            recommendation.missing = Some(missing.into());
        }
    }
    recommendation
}

/// Whether latency came back to normal after each search for the edge.
fn recoveries(results: &Results) -> impl Iterator<Item = String> + '_ {
    results.analysis.edge.iter().flat_map(|edge| &edge.recoveries).map(|recovery| {
        let ratio = match (recovery.ratio, recovery.ratio_interval) {
            (Some(ratio), Some((low, high))) => {
                format!(", latency {ratio:.2} times that before ({low:.2} to {high:.2})")
            }
            _ => String::new(),
        };
        format!(
            "After {} had been taken beyond its edge: {}{ratio}; {} of the next {} requests failed.",
            recovery.axis.label(),
            recovery.verdict.label(),
            count(recovery.failed),
            count(recovery.requests)
        )
    })
}

/// What a client does about a kind of failure.
fn answer_to(kind: FailureKind) -> &'static str {
    match kind {
        FailureKind::Refused => {
            "Refused (busy): wait as long as Retry-After says, else a random time up to the median latency, \
             doubled with each of at most three attempts; a refusal is cheap and leaves the server alone."
        }
        FailureKind::Timeout => {
            "Timeout: try once more at most, and not at once: the first attempt may still be computing. If \
             timeouts persist, lower the concurrency limit."
        }
        FailureKind::OutOfMemory => {
            "Out of memory: don't send the same batch again; halve what is sent at once, then retry, and \
             lower max_batch_tokens or raise the memory budget before the next start."
        }
        FailureKind::TooLong => {
            "Too long: don't retry; cut the text or ask for truncation explicitly."
        }
        FailureKind::Transport => {
            "Transport: open a new connection and retry after a random pause that doubles; embeddings and \
             classes have no side effects, so a repeated request is safe."
        }
        FailureKind::Server => {
            "Server error: retry once after a pause, then alert: it is not load."
        }
        FailureKind::BadReply => {
            "Bad reply: don't retry; the client and the server disagree on the format."
        }
        FailureKind::WrongTokenCount => {
            "Wrong token count: don't retry; the server tokenises or cuts differently from what was asked."
        }
    }
}

#[cfg(test)]
mod tests {
    use super::round_up;

    #[test]
    fn timeouts_are_numbers_that_people_write() {
        assert_eq!(round_up(870.0), 1000.0);
        assert_eq!(round_up(21_000.0), 30_000.0);
        assert_eq!(round_up(12.0), 15.0);
        assert_eq!(round_up(0.2), 1.0);
    }
}
