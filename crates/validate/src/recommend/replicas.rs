//! How many replicas a rate of requests needs.
//!
//! A closed loop tells what one replica can answer at most: its clients always keep it busy. Real
//! arrivals come at random, and a queue at full use grows without end, so only a part of that rate
//! can be planned with.

use crate::figures::Cell;
use crate::figures::estimate::Place;
use crate::format::{count, rate, time, time_limit};
use crate::plan::Load;
use crate::results::Results;
use crate::stats::Interval;

use super::Wanted;
use super::concurrency::Limit;
use crate::results::recommendation::{Advised, Recommendation, Support, Topic, Unit};

/// Share of the closed loop's rate that is planned with. At 70 % an M/G/1 queue's mean wait is about
/// 1.2 times (deterministic) to 2.3 times (exponential service) a service time.
const PLANNED_SHARE: f64 = 0.7;

pub(super) fn advise(
    results: &Results,
    limits: &[Limit<'_>],
    wanted: Wanted,
) -> Vec<Recommendation> {
    let mut all: Vec<Recommendation> = limits.iter().filter_map(of_limit).collect();
    all.extend(of_open_loops(results, wanted));
    if !all.is_empty() {
        return all;
    }
    let missing = if results.places().is_empty() {
        "No cell of a fixed length under a closed loop was measured."
    } else {
        "No concurrency is shown to keep a p95 target, so there is no rate that one replica can be planned \
         for."
    };
    vec![Recommendation::missing(Topic::Replicas, missing)]
}

fn of_limit(limit: &Limit<'_>) -> Option<Recommendation> {
    let clients = limit.settled()?;
    let place = limit.places.iter().rev().find(|place| place.concurrency <= clients)?;
    let estimate = place.requests_per_second();
    let measured = estimate.value.filter(|&rate| rate > 0.0)?;
    let certain = estimate.interval.low.unwrap_or(measured);
    let planned = certain * PLANNED_SHARE;
    let mut recommendation = Recommendation::new(
        Topic::Replicas,
        Support::Partly,
        format!(
            "Plan with {} requests/s of {} tokens for each replica: R requests/s need R / {} replicas, \
             rounded up, and one more to survive the loss of one. For example {}.",
            rate(planned),
            count(limit.tokens),
            rate(planned),
            examples(planned)
        ),
    );
    recommendation.tokens = Some(limit.tokens);
    recommendation.evidence = vec![evidence(place, limit.target_ms, measured)];
    recommendation.missing = Some(format!(
        "The share of {:.0} % is a rule, not a measurement: a scenario with an open loop (Poisson, or \
         bursty) near {} requests/s would show the latency that random arrivals see.",
        PLANNED_SHARE * 100.0,
        rate(planned)
    ));
    let scaled = |end: Option<f64>| end.map(|end| end * PLANNED_SHARE);
    let mut interval = estimate.interval;
    (interval.low, interval.high) = (scaled(interval.low), scaled(interval.high));
    recommendation.figure = Some(Advised {
        value: planned,
        interval,
        unit: Unit::RequestsPerSecond,
        basis: estimate.basis.label(),
    });
    Some(recommendation)
}

/// What the open loops showed: of those that kept their target, the one with the highest rate.
fn of_open_loops(results: &Results, wanted: Wanted) -> Option<Recommendation> {
    let kept = |cell: &Cell| {
        let Load::Open { rate_per_second, .. } = cell.spec.load else { return None };
        let bars = results.plan.bars.iter().filter(|bar| bar.scenario == cell.spec.scenario);
        let bar = bars.filter_map(|bar| bar.latency_seconds_p95_max).next();
        let target_ms = wanted.p95_target_ms.or(bar.map(|seconds| seconds * 1e3))?;
        let p95 = cell.figures()?.latency_over_all.p95.interval_ms;
        (p95.high? <= target_ms).then_some((rate_per_second, target_ms, p95))
    };
    let open = results.scenarios().into_iter().filter_map(|cell| Some((cell, kept(cell)?)));
    let best = open.max_by(|(_, one), (_, other)| one.0.total_cmp(&other.0));
    let (cell, (planned, target_ms, p95)) = best?;
    let mut recommendation = Recommendation::new(
        Topic::Replicas,
        Support::Shown,
        format!(
            "Plan with {} requests/s of the lengths of “{}” for each replica: random arrivals at that rate \
             keep their p95 within {}. For example {}.",
            rate(planned),
            cell.name(),
            time_limit(target_ms),
            examples(planned)
        ),
    );
    let end = |end: Option<f64>| end.map_or("?".into(), time);
    recommendation.evidence.push(format!(
        "Open loop, {}: p95 over all requests {} to {} (within run). It is the highest rate measured that \
         keeps its target.",
        cell.spec.load.label(),
        end(p95.low),
        end(p95.high)
    ));
    recommendation.figure = Some(Advised {
        value: planned,
        interval: Interval::default(),
        unit: Unit::RequestsPerSecond,
        basis: "the rate that was sent".into(),
    });
    Some(recommendation)
}

fn evidence(place: &Place<'_>, target_ms: f64, measured: f64) -> String {
    let estimate = place.requests_per_second();
    let interval = match (estimate.interval.low, estimate.interval.high) {
        (Some(low), Some(high)) => {
            format!(" ({} to {}, {})", rate(low), rate(high), estimate.basis.label())
        }
        _ => " (one run, so no interval)".to_owned(),
    };
    format!(
        "One replica answered {} requests/s{interval} at C = {}, the largest measured concurrency within \
         the limit for a p95 of {}. Of that, {:.0} % is planned with.",
        rate(measured),
        place.concurrency,
        time_limit(target_ms),
        PLANNED_SHARE * 100.0
    )
}

/// Replicas for one, ten and a hundred times what a replica is planned for, in round numbers.
fn examples(planned: f64) -> String {
    let power = 10f64.powf(planned.log10().floor());
    let examples = [10.0, 100.0].map(|factor| {
        let wanted = power * factor;
        format!("{} requests/s: {}", rate(wanted), count((wanted / planned).ceil() as usize))
    });
    examples.join(", ")
}
