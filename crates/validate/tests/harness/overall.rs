//! Limits beside success rate and p95: p99 / p50, and the limits over the whole run.

use std::sync::Arc;
use std::time::Duration;

use crate::simulated::{PieceCounter, SimulatedTarget, alone, corpus};
use bigbatch_validate::plan::{Bar, Overall};
use bigbatch_validate::stats::TrialUnit;
use bigbatch_validate::verdict::{Criterion, Outcome, Verdict};
use bigbatch_validate::{Plan, Report, RunOptions, Silent, report, run_async};

/// Runs `plan` against a target that takes 20 ms, and `slow_ms` for every twentieth request.
async fn measured(plan: &Plan, slow_ms: u64) -> Report {
    let law =
        move |n: u64| (Duration::from_millis(if n % 20 == 19 { slow_ms } else { 20 }), alone(n));
    let options = RunOptions { corpus: corpus(), ..RunOptions::default() };
    let target = Arc::new(SimulatedTarget::new(law));
    run_async(plan, target, &PieceCounter, &options, &Silent).await.expect("a report")
}

fn plan(requests: usize) -> Plan {
    let mut plan = Plan::matrix("beyond", &[64], &[1]);
    plan.repeat_first = false;
    plan.cell.requests_min = requests;
    plan.cell.batches_min = 0;
    plan.bars = vec![Bar { tail_ratio_max: Some(3.0), ..Bar::on(64, 1) }];
    plan
}

fn of(report: &Report, criterion: Criterion) -> Vec<&Verdict> {
    report.results.verdicts.iter().filter(|verdict| verdict.criterion == criterion).collect()
}

#[tokio::test(start_paused = true)]
async fn a_tail_ratio_passes_fails_or_is_not_shown() {
    for (requests, slow_ms, repeats, expected, reason) in [
        (1200, 40, 1, Outcome::Pass, ""),
        (1200, 100, 1, Outcome::Fail, ""),
        (200, 40, 1, Outcome::NotShown, "a p99 needs 400 batches"),
        (1200, 40, 5, Outcome::Pass, ""),
        (1200, 100, 5, Outcome::Fail, ""),
        (200, 40, 5, Outcome::NotShown, "not every run"),
    ] {
        let mut plan = plan(requests);
        plan.repeats = repeats;
        let report = measured(&plan, slow_ms).await;
        let [verdict] = of(&report, Criterion::TailRatio)[..] else { panic!("one") };
        assert_eq!(verdict.outcome, expected, "{verdict:?}");
        assert!(verdict.reason.contains(reason), "{verdict:?}");
        assert_eq!(verdict.trials.map(|t| t.unit == TrialUnit::Runs), Some(repeats > 1));
        if expected != Outcome::NotShown {
            let ratio = verdict.figure.expect("a figure");
            assert!((ratio - slow_ms as f64 / 20.0).abs() < 0.05, "{verdict:?}");
        }
    }
}

/// Latency rises and falls slowly: neighbours are so similar that the p95 has no upper end from ranks.
#[tokio::test(start_paused = true)]
async fn a_limit_that_nothing_came_near_is_met_without_an_upper_end() {
    for (limit_seconds, met) in
        [(1.0, true), (0.1, true), (0.099, false), (0.050, false), (0.045, false)]
    {
        let law = |n: u64| (Duration::from_micros(20_000 + n % 300 * 100), alone(n));
        let mut plan = plan(600);
        plan.bars = vec![Bar { latency_seconds_p95_max: Some(limit_seconds), ..Bar::on(64, 1) }];
        let options = RunOptions { corpus: corpus(), ..RunOptions::default() };
        let target = Arc::new(SimulatedTarget::new(law));
        let report =
            run_async(&plan, target, &PieceCounter, &options, &Silent).await.expect("a report");
        let [verdict] = of(&report, Criterion::LatencyP95)[..] else { panic!("one") };
        assert_eq!(verdict.interval.high, None, "the premise: {verdict:?}");
        assert_eq!(verdict.outcome == Outcome::Pass, met, "{verdict:?}");
        assert_eq!(verdict.reason.contains("half of the limit"), met, "{verdict:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn limits_over_the_whole_run_stand_beside_those_of_cells() {
    let mut plan = plan(1200);
    plan.overall = Overall {
        tail_ratio_max: Some(1.5),
        fragmentation_max: Some(0.05),
        device_memory_bytes_max: Some(1 << 30),
        no_leak: true,
    };
    (plan.concurrency, plan.repeats) = (vec![1, 2], 6);
    plan.check("beyond").expect("valid");
    let report = measured(&plan, 20).await;
    let tails = of(&report, Criterion::TailRatio);
    let limits: Vec<f64> = tails.iter().map(|verdict| verdict.limit).collect();
    assert_eq!(limits, [3.0, 1.5], "a bar's own goes first");
    let one = |criterion| {
        let [verdict] = of(&report, criterion)[..] else { panic!("one of {criterion:?}") };
        assert_eq!(verdict.spec, None);
        (verdict.outcome, verdict.reason.as_str())
    };
    let (fragmentation, reason) = one(Criterion::Fragmentation);
    assert_eq!(fragmentation, Outcome::Pass);
    assert!(reason.contains("by construction"), "{reason}");
    assert_eq!(
        one(Criterion::DeviceMemory),
        (Outcome::NotShown, "the target does not report its device memory")
    );
    assert_eq!(one(Criterion::Leak).0, Outcome::Pass, "idle plateaus that stay level");

    let markdown = report::markdown::render(&report.results);
    assert!(markdown.contains("| all | all | fragmentation | ≤ 5 % | 0 % |"), "{markdown}");
    let html = report::html::render(&report.results);
    for what in ["p99 / p50", "fragmentation", "device memory", "growth per cell"] {
        assert!(html.contains(what), "{what}");
    }
    let mut json = Vec::new();
    report::json::results(&report.results, &mut json).expect("written");
    let read: bigbatch_validate::Results = serde_json::from_slice(&json).expect("reads back");
    assert_eq!(read.verdicts, report.results.verdicts);
    assert_eq!(read.plan, report.results.plan);

    plan.repeats = 1;
    let report = measured(&plan, 20).await;
    let [leak] = of(&report, Criterion::Leak)[..] else { panic!("one") };
    assert_eq!(leak.outcome, Outcome::NotShown, "two plateaus tell nothing: {leak:?}");
}
