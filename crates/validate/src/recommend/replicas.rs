//! The rate to plan per replica: the highest at which random arrivals kept their p95 target.
//!
//! A closed loop cannot show it: its clients never queue behind each other as random arrivals do, and at full
//! utilisation the queue of an open loop grows without bound.

use crate::figures::Cell;
use crate::format::{rate, time, time_limit};
use crate::plan::Load;
use crate::results::Results;
use crate::stats::Interval;

use super::Goal;
use crate::results::recommendation::{AdviceFigure, Recommendation, Support, Topic, Unit};
use crate::verdict::{Outcome, judge_load};

pub(super) fn advise(results: &Results, goal: Goal) -> Recommendation {
    let kept = |cell: &Cell| {
        let Load::Open { rate_per_second, .. } = cell.spec.load else { return None };
        let plan = &results.plan;
        let bars = plan.bars.iter().filter(|bar| plan.cell_of(bar).as_ref() == Some(&cell.spec));
        let bar = bars.filter_map(|bar| bar.latency_seconds_p95_max).next();
        let target_ms = goal.p95_target_ms.or(bar.map(|seconds| seconds * 1e3))?;
        let judged = judge_load(&results.plan, &results.cells, &cell.spec, target_ms);
        let passes = judged.iter().all(|verdict| verdict.outcome == Outcome::Pass);
        passes.then_some((rate_per_second, target_ms, cell.figures()?.latency.p95.nearest_rank_ms?))
    };
    let open = results.scenarios().into_iter().filter_map(|cell| Some((cell, kept(cell)?)));
    let Some((cell, (planned, target_ms, p95_ms))) =
        open.max_by(|(_, one), (_, other)| one.0.total_cmp(&other.0))
    else {
        return Recommendation::missing(
            Topic::Replicas,
            "No open loop is shown to keep a p95 target: add a scenario with random arrivals and a bar with \
             latency_seconds_p95_max, or pass --p95-target.",
        );
    };
    let advice = format!(
        "Plan {} requests/s per replica for the lengths of “{}”: the highest measured rate of random arrivals that \
         keeps p95 within {}.",
        rate(planned),
        cell.name(),
        time_limit(target_ms)
    );
    let mut recommendation = Recommendation::new(Topic::Replicas, Support::Shown, advice);
    let (load, p95) = (cell.spec.load.label(), time(p95_ms));
    let limit = time_limit(target_ms);
    recommendation.evidence.push(format!(
        "{load}: p95 is {p95}, and it and the share of answered requests are shown to keep their limits ({limit})."
    ));
    recommendation.figure = Some(AdviceFigure {
        value: planned,
        interval: Interval::default(),
        unit: Unit::RequestsPerSecond,
        basis: "the rate of the schedule".into(),
    });
    recommendation
}
