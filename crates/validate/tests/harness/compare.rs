//! Two systems compared, from results whose figures are set by hand.

use std::sync::Arc;
use std::time::Duration;

use crate::simulated::{PieceCounter, SimulatedTarget, alone, corpus};
use bigbatch_validate::figures::{Figures, Status};
use bigbatch_validate::plan::CellSpec;
use bigbatch_validate::report::comparison::render;
use bigbatch_validate::results::compare::{Change, Comparison, ComparisonOutcome, Metric, compare};
use bigbatch_validate::stats::PercentileFigure;
use bigbatch_validate::{Plan, Results, RunOptions, Silent, run_async};

/// `runs` runs of a cell each of 1 and 2 clients, all of them with the same figures.
async fn measured(runs: usize) -> Results {
    let mut plan = Plan::matrix("compared", &[64], &[1, 2]);
    (plan.repeats, plan.repeat_first) = (runs, false);
    (plan.cell.requests_min, plan.cell.batches_min) = (200, 0);
    let target = Arc::new(SimulatedTarget::new(|n| (Duration::from_millis(20), alone(n))));
    let options = RunOptions { corpus: corpus(), ..RunOptions::default() };
    let report =
        run_async(&plan, target, &PieceCounter, &options, &Silent).await.expect("a report");
    let mut results = report.results;
    change(&mut results, 1, |_, figures| set(figures, 0));
    change(&mut results, 2, |_, figures| set(figures, 0));
    results
}

/// A cell with this many failures of 100 requests, whose p95 is there if at most five failed.
fn set(figures: &mut Figures, failed: usize) {
    (figures.requests, figures.successes) = (100, 100 - failed);
    figures.latency_over_all.p50.shown = PercentileFigure::Exactly { ms: 10.0 };
    figures.latency_over_all.p95.shown = if failed > 5 {
        PercentileFigure::NotReached
    } else {
        PercentileFigure::Exactly { ms: 20.0 }
    };
    figures.tokens_per_second = 1000.0;
}

/// Changes the figures of each run of one cell, given its number.
fn change(results: &mut Results, clients: usize, how: impl Fn(usize, &mut Figures)) {
    for cell in results.cells.iter_mut().filter(|cell| cell.spec == CellSpec::matrix(64, clients)) {
        let Status::Run { figures } = &mut cell.status else { panic!("it was run") };
        how(cell.run, figures);
    }
}

fn compared(before: &Results, after: &Results) -> Comparison {
    compare(&[before], &[after], 0.02)
}

fn row(comparison: &Comparison, metric: Metric, clients: usize) -> &Change {
    let label = CellSpec::matrix(64, clients).label();
    let is = |change: &&Change| change.cell == label && change.metric == metric;
    comparison.changes.iter().find(is).expect("a row")
}

fn of(comparison: &Comparison, metric: Metric, clients: usize) -> ComparisonOutcome {
    row(comparison, metric, clients).outcome
}

#[tokio::test(start_paused = true)]
async fn what_only_one_side_has_is_never_no_regression() {
    let whole = measured(3).await;
    assert_eq!(compared(&whole, &whole).outcome, ComparisonOutcome::NonInferior, "the premise");

    let mut without = whole.clone();
    for cell in without.cells.iter_mut().filter(|cell| cell.spec == CellSpec::matrix(64, 2)) {
        cell.status = Status::NotRun { reason: "the target stopped answering".into() };
    }
    let mut shorter = whole.clone();
    shorter.cells.retain(|cell| cell.spec == CellSpec::matrix(64, 1));
    for half in [&without, &shorter] {
        for (before, after) in [(&whole, half), (half, &whole)] {
            let found = compared(before, after);
            assert_eq!(found.outcome, ComparisonOutcome::Inconclusive);
            assert_eq!(found.changes.len(), 6, "{found:?}");
            assert_eq!(of(&found, Metric::TokensPerSecond, 2), ComparisonOutcome::Inconclusive);
            assert_eq!(of(&found, Metric::TokensPerSecond, 1), ComparisonOutcome::NonInferior);
            assert!(render(&found).contains("with no runs on one side"), "{}", render(&found));
        }
        assert_eq!(
            compared(half, half).outcome,
            ComparisonOutcome::NonInferior,
            "neither side has it"
        );
    }

    // One run of three whose sample is too small for a p95.
    let mut few = whole.clone();
    change(&mut few, 1, |run, figures| {
        if run == 1 {
            figures.latency_over_all.p95.shown = PercentileFigure::NoData;
        }
    });
    let found = compared(&whole, &few);
    assert_eq!(of(&found, Metric::LatencyP95, 1), ComparisonOutcome::Inconclusive);
    assert_eq!(found.outcome, ComparisonOutcome::Inconclusive);
    assert!(compared(&without, &few).changes.len() == 3 + 3, "{found:?}");

    let mut other = whole.clone();
    other.cells.iter_mut().for_each(|cell| cell.spec = CellSpec::matrix(24, 1));
    assert!(compared(&whole, &other).changes.is_empty(), "nothing in common");
}

#[tokio::test(start_paused = true)]
async fn a_latency_that_is_no_longer_reached_is_a_regression_only_if_it_is_shown() {
    let failing = |runs: &Results, failed: &[usize]| {
        let mut results = runs.clone();
        change(&mut results, 1, |run, figures| set(figures, failed[run]));
        results
    };
    let (one, three) = (measured(1).await, measured(3).await);
    for (runs, before, after, expected) in [
        (&one, &[0][..], &[50][..], ComparisonOutcome::Inconclusive),
        (&three, &[0, 1, 0], &[50, 52, 55], ComparisonOutcome::Regression),
        (&three, &[0, 0, 0], &[50, 50, 50], ComparisonOutcome::Regression),
        // Five of a hundred reach a p95 and six don't: all of these may have the same true share.
        (&three, &[5, 5, 3], &[6, 6, 4], ComparisonOutcome::Inconclusive),
        (&three, &[5, 6, 5], &[6, 5, 6], ComparisonOutcome::Inconclusive),
        (&three, &[50, 50, 50], &[0, 0, 0], ComparisonOutcome::Inconclusive),
    ] {
        let found = compared(&failing(runs, before), &failing(runs, after));
        assert_eq!(of(&found, Metric::LatencyP95, 1), expected, "{before:?} {after:?}");
        assert_eq!(found.outcome, expected, "{before:?} {after:?}");
    }
    // The correction counts it: six rows of which this one has p = 0.007.
    let before = failing(&three, &[0, 1, 2]);
    let after = failing(&three, &[6, 6, 9]);
    let found = compared(&before, &after);
    let p = row(&found, Metric::LatencyP95, 1).cost.p.expect("a p");
    assert!(0.025 / 6.0 < p && p <= 0.025, "{p}");
    assert_eq!(found.outcome, ComparisonOutcome::Inconclusive);
}
