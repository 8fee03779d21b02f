//! Targets that refuse, with and without a wait, and a generator that cannot send: none of it ends as a pass, and no
//! load outlives its cell.

use std::sync::Arc;
use std::time::Duration;

use bigbatch_validate::figures::Status;
use bigbatch_validate::load::Phase;
use bigbatch_validate::plan::{Arrival, Bar, Lengths, Load, Scenario};
use bigbatch_validate::report::text;
use bigbatch_validate::system::{Failure, FailureKind, Reply};
use bigbatch_validate::verdict::Outcome;
use bigbatch_validate::{Plan, Report, RunOptions, Silent, run_async};
use tokio::time::Instant;

use crate::simulated::{PieceCounter, SimulatedTarget, alone, corpus, failed};

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// One cell with every kind of limit.
fn plan(concurrency: usize) -> Plan {
    let mut plan = Plan::matrix("refused", &[64], &[concurrency]);
    plan.repeat_first = false;
    (plan.cell.requests_min, plan.cell.batches_min) = (20, 0);
    (plan.cell.time_limit_seconds, plan.cell.request_timeout_seconds) = (10.0, 1.0);
    plan.bars = vec![Bar {
        success_rate_min: Some(0.5),
        latency_seconds_p95_max: Some(1.0),
        tail_ratio_max: Some(9.0),
        ..Bar::on(64, concurrency)
    }];
    plan
}

/// A refusal that asks for a wait.
fn wait(seconds: u64) -> Result<Reply, Failure> {
    let retry_after = Some(Duration::from_secs(seconds));
    Err(Failure { retry_after, ..Failure::new(FailureKind::Refused, "come back later") })
}

/// Runs a plan; returns the simulated seconds that it took.
async fn run(
    plan: &Plan,
    law: impl Fn(u64) -> (Duration, Result<Reply, Failure>) + Send + Sync + 'static,
) -> (Report, f64) {
    let options = RunOptions { corpus: corpus(), ..RunOptions::default() };
    let (target, started) = (Arc::new(SimulatedTarget::new(law)), Instant::now());
    let report = run_async(plan, target, &PieceCounter, &options, &Silent).await;
    (report.expect("the run is set up"), started.elapsed().as_secs_f64())
}

fn outcomes(report: &Report) -> Vec<Outcome> {
    report.results.verdicts.iter().map(|verdict| verdict.outcome).collect()
}

#[tokio::test(start_paused = true)]
async fn a_wait_past_the_cell_ends_it_and_fails_its_limits() {
    for (warmup_requests_per_client, seconds) in [(0, 10), (1, 99_999_999_999), (2, u64::MAX)] {
        let mut plan = plan(3);
        plan.cell.warmup_requests_per_client = warmup_requests_per_client;
        let (report, took) = run(&plan, move |_| (ms(5), wait(seconds))).await;
        assert!(took < 1.0, "{seconds}: no client is left after 5 ms, and the cell took {took} s");
        assert_eq!(outcomes(&report), [Outcome::Fail; 3], "{:?}", report.results.verdicts);
        assert_eq!(report.exit_code(false), 1);
        let summary = text::render(&report.results);
        assert!(summary.contains("the target told 3 of 3 clients to wait past"), "{summary}");
        let head = if warmup_requests_per_client == 0 {
            "No request was answered: all 3 failed"
        } else {
            "Nothing was measured: not one request in 1 cell"
        };
        assert!(summary.contains(&format!("{head}; 3 of 3 limits are missed")), "{summary}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_wait_within_the_cell_is_obeyed() {
    let (report, _) =
        run(&plan(1), |n| if n == 3 { (ms(5), wait(4)) } else { (ms(5), alone(n)) }).await;
    let refused = report.requests.iter().position(|record| !record.succeeded()).expect("one");
    let (refused, next) = (&report.requests[refused], &report.requests[refused + 1]);
    assert_eq!(next.intended_us - refused.ended_us, 4_000_000);
    assert_eq!(report.results.cells[0].figures().expect("was run").note, None);
}

#[tokio::test(start_paused = true)]
async fn clients_that_may_send_go_on_without_those_that_may_not() {
    let (report, took) =
        run(&plan(4), |n| if n == 9 { (ms(5), wait(60)) } else { (ms(5), alone(n)) }).await;
    let figures = report.results.cells[0].figures().expect("was run");
    assert!(figures.successes >= 20 && took < 1.0, "{took} {figures:?}");
    assert!(
        figures.note.as_ref().is_some_and(|note| note.contains("1 of 4 clients")),
        "{figures:?}"
    );
    // What three clients got is no answer to what four would get.
    assert_eq!(outcomes(&report), [Outcome::Fail; 3], "{:?}", report.results.verdicts);
}

#[tokio::test(start_paused = true)]
async fn a_run_without_one_answer_is_no_success_even_without_limits() {
    let mut plan = plan(2);
    plan.bars.clear();
    let (report, _) = run(&plan, |_| (ms(5), failed(FailureKind::Server))).await;
    assert_eq!(report.exit_code(false), 1);
    let summary = text::render(&report.results);
    assert!(summary.contains("No request was answered: all 20 failed"), "{summary}");
}

#[tokio::test(start_paused = true)]
async fn the_generators_own_failure_is_not_the_targets() {
    let law = |n: u64| match n % 7 {
        6 => (ms(1), Err(Failure::new(FailureKind::Generator, "Too many open files"))),
        _ => (ms(5), alone(n)),
    };
    let (report, _) = run(&plan(2), law).await;
    assert_eq!(outcomes(&report), [Outcome::NotRun; 3]);
    let Status::NotRun { reason } = &report.results.cells[0].status else { panic!("was run") };
    assert!(reason.starts_with("the load generator failed, not the target:"), "{reason}");
    assert!(reason.contains("Too many open files") && reason.contains("ulimit -n"), "{reason}");
    assert!(report.requests.iter().any(|record| record.failure == Some(FailureKind::Generator)));
    assert_eq!(report.exit_code(false), 1, "nothing was measured");
}

#[tokio::test(start_paused = true)]
async fn an_answer_past_the_timeout_is_a_timeout() {
    // The answer is ready together with the timer, or after it.
    let (report, _) = run(&plan(1), |n| (ms(1000 + n % 2), alone(n))).await;
    let late = |record: &&bigbatch_validate::load::RequestRecord| record.latency_us() > 1_000_000;
    assert!(report.requests.iter().filter(late).all(|record| !record.succeeded()));
}

/// An open load.
fn open(rate_per_second: f64, seconds: f64) -> Plan {
    let mut plan = plan(1);
    (plan.tokens, plan.concurrency, plan.cell.warmup_seconds) = (vec![], vec![], 1.0);
    let load = Load::Open { rate_per_second, arrival: Arrival::Constant, seconds: Some(seconds) };
    plan.scenarios = vec![Scenario::new("open", Lengths::Fixed(64), load)];
    plan.bars = vec![Bar { success_rate_min: Some(0.5), ..Bar::on_scenario("open") }];
    plan
}

#[tokio::test(start_paused = true)]
async fn an_open_load_ends_with_its_seconds() {
    // Starts come at 2 s, 4 s, ...: the next after the end would be a second late.
    let (report, took) = run(&open(0.5, 4.0), |n| (ms(5), alone(n))).await;
    let measured = report.requests.iter().filter(|record| record.phase == Phase::Measured).count();
    assert_eq!(measured, 2);
    assert!((5.0..5.5).contains(&took), "{took}");
    // Refusals with a wait do not hold it up.
    let (report, took) = run(&open(20.0, 4.0), |_| (ms(5), wait(3600))).await;
    assert!((5.0..5.5).contains(&took), "{took}");
    assert_eq!((outcomes(&report), report.exit_code(false)), (vec![Outcome::Fail], 1));
}

#[tokio::test(start_paused = true)]
async fn an_open_load_without_a_start_in_its_phase_was_not_run() {
    let (report, took) = run(&open(0.1, 3.0), |n| (ms(5), alone(n))).await;
    assert!((4.0..4.5).contains(&took), "{took}");
    let Status::NotRun { reason } = &report.results.cells[0].status else { panic!("was run") };
    assert!(reason.contains("no request was scheduled"), "{reason}");
    assert_eq!((outcomes(&report), report.exit_code(false)), (vec![Outcome::NotRun], 1));
}
