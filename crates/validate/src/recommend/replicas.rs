//! The rate that one replica can be planned with: the highest at which random arrivals kept their p95 target.
//!
//! A closed loop cannot tell it. Its clients never queue up behind each other as random arrivals do, and a
//! queue at full use grows without end.

use crate::figures::Cell;
use crate::format::{rate, time, time_limit};
use crate::plan::Load;
use crate::results::Results;
use crate::stats::Interval;

use super::Wanted;
use crate::results::recommendation::{AdviceFigure, Recommendation, Support, Topic, Unit};

pub(super) fn advise(results: &Results, wanted: Wanted) -> Recommendation {
    of_open_loops(results, wanted).unwrap_or_else(|| {
        Recommendation::missing(
            Topic::Replicas,
            "No open loop is shown to keep a p95 target: add a scenario with random arrivals and a bar with \
             latency_seconds_p95_max, or give --p95-target.",
        )
    })
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
             keep their p95 within {}.",
            rate(planned),
            cell.name(),
            time_limit(target_ms)
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
    recommendation.figure = Some(AdviceFigure {
        value: planned,
        interval: Interval::default(),
        unit: Unit::RequestsPerSecond,
        basis: "the rate that was sent".into(),
    });
    Some(recommendation)
}
