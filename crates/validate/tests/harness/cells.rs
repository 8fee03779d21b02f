//! Whole runs against a target of known latency, on a simulated clock.

use std::collections::HashSet;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::simulated::{PieceCounter, SimulatedTarget, alone, batched, corpus, failed};
use bigbatch_validate::figures::{Cell, Figures, Status};
use bigbatch_validate::load::{Cancel, LoadProgress, Phase};
use bigbatch_validate::plan::{Arrival, Bar, Lengths, Load, Scenario};
use bigbatch_validate::stats::PercentileFigure;
use bigbatch_validate::system::{
    FailureKind, MemorySample, Prompt, Reply, ReplyFuture, Target, TargetInfo, Terms,
};
use bigbatch_validate::verdict::Outcome;
use bigbatch_validate::{
    Event, MemoryPoint, Plan, Progress, Report, RunOptions, Silent, run_async,
};

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn plan(concurrency: &[usize]) -> Plan {
    let mut plan = Plan::matrix("simulated", &[64], concurrency);
    plan.repeat_first = false;
    plan
}

async fn run(plan: &Plan, target: SimulatedTarget) -> Report {
    let options = RunOptions { corpus: corpus(), ..RunOptions::default() };
    run_async(plan, Arc::new(target), &PieceCounter, &options, &Silent)
        .await
        .expect("the run is set up")
}

fn figures(cell: &Cell) -> &Figures {
    cell.figures().unwrap_or_else(|| panic!("was run: {:?}", cell.status))
}

#[tokio::test(start_paused = true)]
async fn a_steady_target_gives_its_latency_and_its_rate() {
    let report = run(&plan(&[10]), SimulatedTarget::new(|n| (ms(20), alone(n)))).await;
    let figures = figures(&report.results.cells[0]);
    // The hundredth answer ends the measured phase; requests in flight then are still measured.
    assert!((100..110).contains(&figures.requests), "{}", figures.requests);
    assert_eq!(figures.latency.mean_ms, Some(20.0));
    assert_eq!(figures.latency.p95.shown, PercentileFigure::Exactly { ms: 20.0 });
    assert_eq!(figures.latency.max_ms, Some(20.0));
    assert!((figures.requests_per_second - 500.0).abs() < 1.0, "{}", figures.requests_per_second);
    assert!((figures.tokens_per_second - 500.0 * 64.0).abs() < 64.0);
    assert_eq!(figures.generator.lag_ms_max, 0.0);
}

#[tokio::test(start_paused = true)]
async fn percentiles_are_those_of_the_law() {
    // Of every 100 requests 90 take 10 ms, 7 take 50 ms and 3 take 400 ms.
    let law = |n: u64| match n % 100 {
        0..90 => (ms(10), alone(n)),
        90..97 => (ms(50), alone(n)),
        _ => (ms(400), alone(n)),
    };
    let mut plan = plan(&[1]);
    plan.cell.requests_min = 1000;
    let report = run(&plan, SimulatedTarget::new(law)).await;
    let latency = figures(&report.results.cells[0]).latency;
    assert_eq!(latency.p50.shown, PercentileFigure::Exactly { ms: 10.0 });
    assert_eq!(latency.p95.shown, PercentileFigure::Exactly { ms: 50.0 });
    assert_eq!(latency.p99.shown, PercentileFigure::Exactly { ms: 400.0 });
    assert!((latency.mean_ms.expect("mean") - 24.5).abs() < 0.4, "{:?}", latency.mean_ms);
}

#[tokio::test(start_paused = true)]
async fn the_warm_up_is_left_out_and_hands_over_without_draining() {
    // The first ten requests are slow and end one after another.
    let law = |n: u64| if n < 10 { (ms(1000 + 30 * n), alone(n)) } else { (ms(20), alone(n)) };
    let report = run(&plan(&[10]), SimulatedTarget::new(law)).await;
    assert_eq!(figures(&report.results.cells[0]).latency.max_ms, Some(20.0));
    let warm: Vec<_> =
        report.requests.iter().filter(|record| record.phase == Phase::WarmUp).collect();
    let measured_from = report
        .requests
        .iter()
        .filter(|record| record.phase == Phase::Measured)
        .map(|record| record.intended_us)
        .min()
        .expect("measured");
    assert!(warm.len() > 10, "the first client to finish went on: {}", warm.len());
    let ended = warm.iter().filter(|record| record.ended_us <= measured_from).count();
    assert_eq!(ended, 10, "one for each client");
    let across = warm.iter().filter(|record| record.ended_us > measured_from).count();
    assert!(across > 0, "requests of the warm-up are still under way when measuring begins");
}

#[tokio::test(start_paused = true)]
async fn the_load_stays_on_until_the_last_measured_request_has_its_answer() {
    // One measured request is a straggler.
    let law = |n: u64| (ms(if n == 105 { 500 } else { 20 }), alone(n));
    let report = run(&plan(&[10]), SimulatedTarget::new(law)).await;
    let of = |phase| report.requests.iter().filter(move |record| record.phase == phase);
    let last = of(Phase::Measured).map(|record| record.ended_us).max().expect("measured");
    let cool_down = of(Phase::CoolDown).count();
    assert!((150..250).contains(&cool_down), "nine clients go on for half a second: {cool_down}");
    assert!(of(Phase::CoolDown).all(|record| record.intended_us <= last));
    let figures = figures(&report.results.cells[0]);
    assert_eq!(figures.latency.max_ms, Some(500.0), "the straggler was waited for");
    assert_eq!(figures.requests, of(Phase::Measured).count());
    assert!((figures.requests_per_second - 500.0).abs() < 25.0, "the wait is not in the rate");
}

#[tokio::test(start_paused = true)]
async fn a_cell_goes_on_until_it_has_its_batches() {
    let report = run(&plan(&[10]), SimulatedTarget::new(|n| (ms(20), batched(n / 10, 10)))).await;
    let figures = figures(&report.results.cells[0]);
    assert!((100..=102).contains(&figures.trials.count), "{:?}", figures.trials);
    assert!((990..=1020).contains(&figures.requests), "{}", figures.requests);
    assert!(matches!(figures.latency.p95.shown, PercentileFigure::Exactly { .. }));
    assert!(
        matches!(figures.latency.p99.shown, PercentileFigure::AtLeast { .. }),
        "100 batches are too few"
    );
}

#[tokio::test(start_paused = true)]
async fn failures_are_counted_by_kind_and_never_improve_figures() {
    let law = |n: u64| match n % 10 {
        0..3 => (ms(1), failed(FailureKind::Refused)),
        3 => (ms(1), failed(FailureKind::OutOfMemory)),
        _ => (ms(30), alone(n)),
    };
    let mut plan = plan(&[5]);
    plan.cell.batches_min = 0;
    let report = run(&plan, SimulatedTarget::new(law)).await;
    let figures = figures(&report.results.cells[0]);
    let of = |kind| figures.failures.get(&kind).copied().unwrap_or(0);
    assert_eq!(
        of(FailureKind::Refused) + of(FailureKind::OutOfMemory),
        figures.requests - figures.successes
    );
    assert!(of(FailureKind::Refused) > 2 * of(FailureKind::OutOfMemory));
    assert_eq!(
        figures.latency.p95.shown,
        PercentileFigure::AtLeast { ms: 30.0, level: figures_level(figures) }
    );
    assert_eq!(figures.latency_over_all.p95.shown, PercentileFigure::NotReached);
    assert_eq!(figures.latency_over_all.p50.shown, PercentileFigure::Exactly { ms: 30.0 });
    let end = figures.distribution.last().expect("points").1;
    assert!((end - figures.success_rate().expect("rate")).abs() < 1e-9);
}

fn figures_level(figures: &Figures) -> f64 {
    1.0 - 5.0 / figures.latency.trials.count as f64
}

#[tokio::test(start_paused = true)]
async fn a_request_without_an_answer_is_a_timeout() {
    let mut plan = plan(&[1]);
    (plan.cell.request_timeout_seconds, plan.cell.batches_min) = (2.0, 0);
    let law = |n: u64| if n % 4 == 3 { (ms(3_600_000), alone(n)) } else { (ms(10), alone(n)) };
    let report = run(&plan, SimulatedTarget::new(law)).await;
    let figures = figures(&report.results.cells[0]);
    assert_eq!(figures.failures.get(&FailureKind::Timeout), Some(&25));
    let timed_out = report.requests.iter().find(|record| !record.succeeded()).expect("one");
    assert_eq!(timed_out.latency_us(), 2_000_000);
    assert_eq!(timed_out.message.as_deref(), Some("no answer within 2 s"));
}

#[tokio::test(start_paused = true)]
async fn a_wrong_token_count_is_not_a_success() {
    let law = |n: u64| {
        let mut outcome = alone(n);
        if let Ok(reply) = &mut outcome {
            reply.tokens = Some(if n.is_multiple_of(2) { 64 } else { 63 });
        }
        (ms(5), outcome)
    };
    let mut plan = plan(&[1]);
    plan.cell.batches_min = 0;
    let report = run(&plan, SimulatedTarget::new(law)).await;
    let figures = figures(&report.results.cells[0]);
    assert_eq!(figures.failures.get(&FailureKind::WrongTokenCount), Some(&50));
}

#[tokio::test(start_paused = true)]
async fn the_time_limit_keeps_the_measured_requests_and_is_reported() {
    let mut plan = plan(&[2]);
    (plan.cell.time_limit_seconds, plan.cell.request_timeout_seconds) = (10.0, 5.0);
    let report = run(&plan, SimulatedTarget::new(|n| (ms(1000), alone(n)))).await;
    let figures = figures(&report.results.cells[0]);
    assert!(figures.cut_by_time_limit);
    assert!((16..=20).contains(&figures.requests), "{}", figures.requests);
    assert_eq!(figures.successes, figures.requests, "what was sent in time was waited for");
    assert!(matches!(figures.latency.p95.shown, PercentileFigure::AtLeast { .. }));
}

#[tokio::test(start_paused = true)]
async fn cells_that_cannot_be_run_are_not_run_with_a_reason() {
    let mut plan = plan(&[1]);
    plan.tokens = vec![16_384];
    let load = Load::Open { rate_per_second: 1.0, arrival: Arrival::Constant, seconds: None };
    plan.scenarios = vec![Scenario::new("slow to begin", Lengths::Fixed(64), load)];
    (plan.cell.time_limit_seconds, plan.cell.request_timeout_seconds) = (10.0, 5.0);
    plan.cell.warmup_seconds = 20.0;
    plan.bars = [Bar::on_scenario("slow to begin"), Bar::on(16_384, 1)]
        .map(|bar| Bar { success_rate_min: Some(0.9), ..bar })
        .to_vec();
    let report = run(&plan, SimulatedTarget::new(|n| (ms(60_000), alone(n)))).await;
    let results = &report.results;
    let reasons: Vec<_> = results
        .scenarios()
        .iter()
        .chain(&results.matrix())
        .map(|cell| match &cell.status {
            Status::NotRun { reason } => reason.clone(),
            Status::Run { .. } => panic!("{:?} was run", cell.spec),
        })
        .collect();
    assert_eq!(
        reasons,
        [
            "its warm-up did not end within its time limit of 10 s",
            "the target takes sequences of at most 8192 tokens",
        ]
    );
    assert!(report.results.verdicts.iter().all(|verdict| verdict.outcome == Outcome::NotRun));
    assert_eq!((report.exit_code(false), report.exit_code(true)), (1, 1));
    let text = bigbatch_validate::report::text::render(results);
    assert!(text.contains("Nothing was measured: none of 2 cells ran (2 not run)"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_target_that_hangs_fails_the_quick_plan() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plans/quick.toml");
    let plan = Plan::load(&file).expect("valid");
    let report = run(&plan, SimulatedTarget::new(|n| (ms(3_600_000), alone(n)))).await;
    for verdict in &report.results.verdicts {
        assert_eq!(verdict.outcome, Outcome::Fail, "{verdict:?}");
    }
    assert_eq!(report.exit_code(false), 1);
}

#[tokio::test(start_paused = true)]
async fn one_run_of_several_does_not_pass_for_all() {
    let mut plan = plan(&[1]);
    (plan.repeats, plan.cell.requests_min) = (3, 200);
    let bar =
        Bar { success_rate_min: Some(0.9), latency_seconds_p95_max: Some(1.0), ..Bar::on(64, 1) };
    plan.bars = vec![Bar { tail_ratio_max: Some(3.0), ..bar }];
    plan.cell.requests_min = 1000;
    let cancel = Cancel::new();
    let options = RunOptions { corpus: corpus(), cancel: cancel.clone(), ..RunOptions::default() };
    // It is cancelled after the first cell, whose last requests are number 1003 or so.
    let law = move |n: u64| {
        if n > 1200 {
            cancel.cancel();
        }
        (ms(10), alone(n))
    };
    let target = Arc::new(SimulatedTarget::new(law));
    let report =
        run_async(&plan, target, &PieceCounter, &options, &Silent).await.expect("a report");
    let ran = report.results.cells.iter().filter(|cell| cell.figures().is_some()).count();
    assert_eq!(ran, 1, "the premise");
    assert_eq!(report.exit_code(false), 1, "an interrupted run is no pass");
    for verdict in &report.results.verdicts {
        assert_eq!(verdict.outcome, Outcome::NotShown, "{verdict:?}");
        assert_eq!(verdict.reason, "2 of 3 runs were not run");
    }
}

#[tokio::test(start_paused = true)]
async fn exit_codes_follow_the_verdicts() {
    let bar =
        Bar { success_rate_min: Some(0.9), latency_seconds_p95_max: Some(0.1), ..Bar::on(64, 1) };
    let cases = [
        // (latency, requests, passed, failed, not shown, exit code, exit code when strict)
        (20, 200, 2, 0, 0, 0, 0),
        (200, 200, 1, 1, 0, 1, 1),
        (20, 50, 1, 0, 1, 0, 1),
    ];
    for (latency, requests, passed, failed, not_shown, code, strict) in cases {
        let mut plan = plan(&[1]);
        plan.bars = vec![bar.clone()];
        (plan.cell.requests_min, plan.cell.batches_min) = (requests, 0);
        let report = run(&plan, SimulatedTarget::new(move |n| (ms(latency), alone(n)))).await;
        let found = report.results.conclusion;
        assert_eq!((found.passed, found.failed, found.not_shown), (passed, failed, not_shown));
        assert_eq!((report.exit_code(false), report.exit_code(true)), (code, strict));
    }
}

#[tokio::test(start_paused = true)]
async fn a_limit_inside_the_interval_is_not_shown() {
    let law = |n: u64| match n % 10 {
        0 => (ms(10), failed(FailureKind::Server)),
        _ => (ms(10), alone(n)),
    };
    for (limit, expected) in [(0.5, Outcome::Pass), (0.9, Outcome::NotShown), (0.99, Outcome::Fail)]
    {
        let mut plan = plan(&[1]);
        plan.bars = vec![Bar { success_rate_min: Some(limit), ..Bar::on(64, 1) }];
        let report = run(&plan, SimulatedTarget::new(law)).await;
        assert_eq!(report.results.verdicts[0].outcome, expected, "{limit}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_dead_target_fails_its_bars() {
    let mut plan = plan(&[1]);
    plan.bars = vec![Bar { latency_seconds_p95_max: Some(1.0), ..Bar::on(64, 1) }];
    let report =
        run(&plan, SimulatedTarget::new(|_| (ms(0), failed(FailureKind::Transport)))).await;
    assert_eq!(report.results.verdicts[0].outcome, Outcome::Fail);
    assert_eq!(report.exit_code(false), 1);
}

/// A target whose answer is ready at once.
struct InstantTarget;

impl Target for InstantTarget {
    fn describe(&self) -> TargetInfo {
        TargetInfo::default()
    }

    fn send<'a>(&'a self, _: &'a Prompt, _: Terms) -> ReplyFuture<'a> {
        Box::pin(std::future::ready(Ok(Reply::default())))
    }

    fn memory(&self) -> MemorySample {
        MemorySample::default()
    }
}

#[tokio::test(start_paused = true)]
async fn a_target_that_answers_at_once_does_not_hang_the_run() {
    let options = RunOptions { corpus: corpus(), ..RunOptions::default() };
    let mut plan = plan(&[4]);
    plan.cell.requests_min = 2000;
    let report = run_async(&plan, Arc::new(InstantTarget), &PieceCounter, &options, &Silent).await;
    let report = report.expect("the run is set up");
    let figures = figures(&report.results.cells[0]);
    assert!(figures.requests >= 2000 && figures.tokens_per_second.is_finite());
    let clients: HashSet<usize> = report.requests.iter().map(|record| record.client).collect();
    assert_eq!(clients.len(), 4, "no client keeps the thread to itself");
}

#[tokio::test(start_paused = true)]
async fn cells_run_in_a_seeded_order_and_the_first_comes_back_last() {
    let mut plan = plan(&[1, 2, 3, 4, 5, 6]);
    plan.repeat_first = true;
    let order = |report: &Report| -> Vec<usize> {
        report.results.cells.iter().map(|cell| cell.spec.concurrency().expect("closed")).collect()
    };
    let one = run(&plan, SimulatedTarget::new(|n| (ms(1), alone(n)))).await;
    let same = run(&plan, SimulatedTarget::new(|n| (ms(1), alone(n)))).await;
    plan.seed = 99;
    let other = run(&plan, SimulatedTarget::new(|n| (ms(1), alone(n)))).await;
    assert_eq!(order(&one), order(&same));
    assert_ne!(order(&one)[..6], order(&other)[..6]);
    assert_ne!(order(&one)[..6], [1, 2, 3, 4, 5, 6]);
    let cells = &one.results.cells;
    assert_eq!((cells.len(), cells[6].repeats, &cells[6].spec), (7, Some(0), &cells[0].spec));
    assert_eq!(one.results.drift.expect("repeated").latency_p50_ratio, Some(1.0));
}

/// Cancels the run during the measured phase of the second cell.
struct CancelInSecondCell(Cancel);

impl Progress for CancelInSecondCell {
    fn event(&self, event: Event<'_>) {
        if let Event::CellsProgressed { index: 1, progress, .. } = event
            && progress[0].1.measuring
        {
            self.0.cancel();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_run_keeps_the_cells_it_finished() {
    let plan = plan(&[1, 2, 3]);
    let options = RunOptions { corpus: corpus(), ..RunOptions::default() };
    let progress = CancelInSecondCell(options.cancel.clone());
    let target = Arc::new(SimulatedTarget::new(|n| (ms(50), alone(n))));
    let report =
        run_async(&plan, target, &PieceCounter, &options, &progress).await.expect("a report");
    let cells = &report.results.cells;
    assert!(report.results.interrupted);
    assert!(cells[0].figures().is_some());
    let reason = |cell: &Cell| match &cell.status {
        Status::NotRun { reason } => reason.clone(),
        Status::Run { .. } => panic!("was run"),
    };
    assert_eq!(reason(&cells[1]), "interrupted while it ran");
    assert_eq!(reason(&cells[2]), "interrupted before it started");
}

/// Keeps the last progress of a running cell.
struct LastProgress(Mutex<Option<(LoadProgress, MemorySample)>>);

impl Progress for LastProgress {
    fn event(&self, event: Event<'_>) {
        if let Event::CellsProgressed { progress, memory, .. } = event {
            *self.0.lock().expect("not poisoned") = Some((progress[0].1, memory));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn latency_and_memory_are_reported_while_a_cell_runs() {
    let live = LastProgress(Mutex::new(None));
    let options = RunOptions { corpus: corpus(), ..RunOptions::default() };
    // One in ten takes ten times as long: the median is the usual, the 95th percentile is not.
    let service = |n| (ms(if n % 10 == 9 { 500 } else { 50 }), alone(n));
    let target = Arc::new(SimulatedTarget::new(service));
    let report =
        run_async(&plan(&[1]), target, &PieceCounter, &options, &live).await.expect("a report");
    let told = live.0.lock().expect("not poisoned").take();
    let (progress, memory) = told.expect("a cell progressed");
    let near =
        |us: Option<u64>, ms: f64| us.is_some_and(|us| (us as f64 / 1e3 / ms - 1.0).abs() < 0.016);
    assert!(near(progress.latency_us_p50, 50.0), "{progress:?}");
    assert!(near(progress.latency_us_p95, 500.0), "{progress:?}");
    let read = |point: &MemoryPoint| point.sample == memory;
    assert!(report.results.cells[0].memory.iter().any(read), "{memory:?}");
}

#[tokio::test(start_paused = true)]
async fn memory_is_read_before_during_and_after_each_cell() {
    let report = run(&plan(&[4]), SimulatedTarget::new(|n| (ms(100), alone(n)))).await;
    let memory = &report.results.cells[0].memory;
    use bigbatch_validate::MemoryPhase::{After, Before, During};
    assert_eq!(memory.first().map(|point| point.moment), Some(Before));
    assert_eq!(memory.last().map(|point| point.moment), Some(After));
    assert!(memory.iter().filter(|point| point.moment == During).count() >= 20);
}
