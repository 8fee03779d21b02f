//! Open loops, ramps, replays and mixed lengths against targets of known behaviour.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::simulated::{PieceCounter, SimulatedTarget, alone, corpus, failed};
use bigbatch_validate::figures::{Cell, Figures, Status};
use bigbatch_validate::load::{Phase, RequestRecord};
use bigbatch_validate::plan::{Arrival, LengthComponent, LengthDist, Lengths, Load, Scenario};
use bigbatch_validate::stats::PercentileFigure;
use bigbatch_validate::system::{
    FailureKind, MemorySample, Prompt, Reply, ReplyFuture, Target, TargetInfo, Terms,
};
use bigbatch_validate::{BreakCause, Error, Plan, Report, RunOptions, Silent, Steady, run_async};
use tokio::time::Instant;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn plan(lengths: Lengths, load: Load) -> Plan {
    let mut plan = Plan::matrix("open", &[], &[]);
    plan.repeat_first = false;
    plan.cell.warmup_seconds = 1.0;
    plan.cell.batches_min = 0;
    plan.scenarios = vec![Scenario::new("the scenario", lengths, load)];
    plan
}

fn open(rate_per_second: f64, arrival: Arrival) -> Plan {
    plan(Lengths::Fixed(64), Load::Open { rate_per_second, arrival, seconds: None })
}

async fn run(plan: &Plan, target: impl Target + 'static) -> Report {
    let options = RunOptions { corpus: corpus(), ..RunOptions::default() };
    run_async(plan, Arc::new(target), &PieceCounter, &options, &Silent)
        .await
        .expect("the run is set up")
}

fn figures(cell: &Cell) -> &Figures {
    cell.figures().unwrap_or_else(|| panic!("was run: {:?}", cell.status))
}

fn of(report: &Report, phase: Phase) -> Vec<&RequestRecord> {
    report.requests.iter().filter(|record| record.phase == phase).collect()
}

/// Intended starts of all requests but those of the cool-down, in milliseconds since the first.
fn starts_ms(report: &Report) -> Vec<u64> {
    let first = report.requests[0].intended_us;
    report.requests.iter().map(|record| (record.intended_us - first) / 1000).collect()
}

#[tokio::test(start_paused = true)]
async fn a_constant_rate_is_that_rate_through_all_phases() {
    let arrived = Arc::new(AtomicUsize::new(0));
    let law = {
        let arrived = Arc::clone(&arrived);
        move |n| {
            arrived.fetch_add(1, Ordering::SeqCst);
            (ms(35), alone(n))
        }
    };
    let report = run(&open(100.0, Arrival::Constant), SimulatedTarget::new(law)).await;
    let figures = figures(&report.results.cells[0]);
    assert_eq!(figures.latency.p95.shown, PercentileFigure::Exactly { ms: 35.0 });
    assert!((figures.offered_per_second - 100.0).abs() < 2.0, "{}", figures.offered_per_second);
    assert!((figures.requests_per_second - 100.0).abs() < 2.0, "{}", figures.requests_per_second);
    assert_eq!(figures.generator.lag_ms_max, 0.0);
    assert_eq!(figures.generator.bottleneck, None);
    // No gap between the phases: one start per 10 ms, and requests of the warm-up still in flight.
    let starts = starts_ms(&report);
    assert!(starts.iter().enumerate().all(|(n, &at)| at == 10 * n as u64), "{starts:?}");
    let (warm, measured) = (of(&report, Phase::WarmUp), of(&report, Phase::Measured));
    assert!((99..=100).contains(&warm.len()), "a second at 100/s: {}", warm.len());
    let from = measured[0].intended_us;
    assert_eq!(warm.iter().filter(|record| record.ended_us > from).count(), 3);
    // The load continued until the last measured request was answered; requests sent then were cancelled.
    let unanswered = arrived.load(Ordering::SeqCst) - report.requests.len();
    assert!((3..=4).contains(&unanswered), "{unanswered}");
}

#[tokio::test(start_paused = true)]
async fn a_stalled_target_does_not_slow_the_starts() {
    // Arrival n comes at 10 n ms. From 2 s to 4 s the target answers nothing.
    let law = |n: u64| match n {
        200..400 => (ms(10 * (400 - n)), alone(n)),
        _ => (ms(5), alone(n)),
    };
    let mut plan = open(100.0, Arrival::Constant);
    plan.cell.requests_min = 600;
    let report = run(&plan, SimulatedTarget::new(law)).await;
    let starts = starts_ms(&report);
    assert!(starts.iter().enumerate().all(|(n, &at)| at == 10 * n as u64), "{starts:?}");
    assert!(report.requests.iter().all(|record| record.sent_us == record.intended_us));
    let figures = figures(&report.results.cells[0]);
    // A generator that waits for its answers would have sent one request into the stall. Of the
    // 200 that users would have sent, half waited for more than a second.
    let slow = of(&report, Phase::Measured)
        .iter()
        .filter(|record| record.latency_us() > 1_000_000)
        .count();
    assert!((99..=101).contains(&slow), "{slow}");
    assert_eq!(figures.latency.max_ms, Some(2000.0));
    assert_eq!(figures.steady, Steady::Found { excluded_requests: 0, excluded_seconds: 0.0 });
}

#[tokio::test(start_paused = true)]
async fn beyond_the_limit_in_flight_waiting_is_latency_and_lag() {
    // Five at a time and 100 ms each make 50 per second, of 100 that arrive.
    let mut plan = open(100.0, Arrival::Constant);
    plan.cell.in_flight_max = 5;
    let report = run(&plan, SimulatedTarget::new(|n| (ms(100), alone(n)))).await;
    let starts = starts_ms(&report);
    assert!(starts.iter().enumerate().all(|(n, &at)| at == 10 * n as u64), "{starts:?}");
    for record in &report.requests {
        assert_eq!(record.ended_us - record.sent_us, 100_000);
        assert_eq!(record.latency_us(), 100_000 + record.lag_us());
    }
    let figures = figures(&report.results.cells[0]);
    let sent = figures.latency_over_all_from_sending;
    assert_eq!((sent.p50.nearest_rank_ms, sent.max_ms), (Some(100.0), Some(100.0)));
    assert!(figures.latency_over_all.p50.nearest_rank_ms > Some(500.0));
    let reason = figures.generator.bottleneck.as_deref().expect("it was the generator's limit");
    assert!(reason.contains("raise in_flight_max"), "{reason}");
    assert!(matches!(figures.steady, Steady::NotSteady { .. }), "{:?}", figures.steady);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_never_got_a_slot_is_a_timeout() {
    // Slots become free one by one, while several requests per millisecond time out.
    let mut plan = open(5000.0, Arrival::Constant);
    (plan.cell.in_flight_max, plan.cell.request_timeout_seconds) = (1, 0.5);
    let report = run(&plan, SimulatedTarget::new(|n| (ms(10_000), alone(n)))).await;
    let figures = figures(&report.results.cells[0]);
    assert_eq!(figures.successes, 0);
    assert_eq!(figures.failures.get(&FailureKind::Timeout), Some(&figures.requests));
    let messages = report.requests.iter().filter_map(|record| record.message.as_deref());
    assert!(messages.filter(|text| text.starts_with("not sent within 0.5 s")).count() > 50);
    assert!(report.requests.iter().all(|record| record.latency_us() <= 501_000));
}

#[tokio::test(start_paused = true)]
async fn seconds_end_an_open_loop_whatever_was_counted() {
    let load = Load::Open { rate_per_second: 50.0, arrival: Arrival::Poisson, seconds: Some(20.0) };
    let report =
        run(&plan(Lengths::Fixed(64), load), SimulatedTarget::new(|n| (ms(35), alone(n)))).await;
    let figures = figures(&report.results.cells[0]);
    assert_eq!(figures.measured_seconds, 20.0);
    // Five standard deviations of a Poisson count of mean 1000.
    assert!(figures.requests.abs_diff(1000) < 160, "{}", figures.requests);
    assert!(!figures.cut_by_time_limit);
}

#[tokio::test(start_paused = true)]
async fn a_slow_beginning_is_found_and_excluded() {
    let law = |n: u64| (ms(if n < 200 { 200 } else { 20 }), alone(n));
    let mut plan = open(100.0, Arrival::Constant);
    plan.cell.requests_min = 600;
    let report = run(&plan, SimulatedTarget::new(law)).await;
    let figures = figures(&report.results.cells[0]);
    let Steady::Found { excluded_requests, excluded_seconds } = figures.steady else {
        panic!("{:?}", figures.steady);
    };
    assert!((85..=115).contains(&excluded_requests), "the warm-up took 100: {excluded_requests}");
    assert!((excluded_seconds - 1.0).abs() < 0.2, "{excluded_seconds}");
    assert_eq!(of(&report, Phase::Settling).len(), excluded_requests);
    assert_eq!(figures.requests, of(&report, Phase::Measured).len());
    assert_eq!(figures.latency.max_ms, Some(20.0));
}

/// A target that serves one request at a time, in order, each in `service`.
struct QueueTarget {
    service: Duration,
    free_at: Mutex<Option<Instant>>,
}

impl Target for QueueTarget {
    fn describe(&self) -> TargetInfo {
        TargetInfo { name: "queue".into(), ..TargetInfo::default() }
    }

    fn send<'a>(&'a self, _: &'a Prompt, _: Terms) -> ReplyFuture<'a> {
        let mut free_at = self.free_at.lock().expect("no panics");
        let now = Instant::now();
        let done = free_at.map_or(now, |at| at.max(now)) + self.service;
        *free_at = Some(done);
        Box::pin(async move {
            tokio::time::sleep_until(done).await;
            Ok(Reply::default())
        })
    }

    fn memory(&self) -> MemorySample {
        MemorySample::default()
    }
}

fn ramp(seconds: f64, latency_seconds_p95_max: Option<f64>) -> Load {
    Load::Ramp {
        from_per_second: 10.0,
        to_per_second: 90.0,
        seconds,
        arrival: Arrival::Constant,
        latency_seconds_p95_max,
        failure_rate_max: 0.01,
    }
}

#[tokio::test(start_paused = true)]
async fn a_ramp_finds_the_rate_that_breaks_a_queue() {
    for limit in [None, Some(0.2)] {
        let queue = QueueTarget { service: ms(20), free_at: Mutex::new(None) };
        let report = run(&plan(Lengths::Fixed(64), ramp(60.0, limit)), queue).await;
        let figures = figures(&report.results.cells[0]);
        let ramp = figures.ramp.as_ref().expect("a ramp");
        let broke = ramp.broke.as_ref().expect("fifty a second is all it can");
        assert_eq!(broke.cause, BreakCause::Latency);
        assert!((48.0..=60.0).contains(&broke.rate_per_second), "{}", broke.rate_per_second);
        // Three times 20 ms, and the step of the timer.
        let most = ramp.latency_ms_p95_max.expect("a limit");
        assert!(if limit.is_some() { most == 200.0 } else { (60.0..63.0).contains(&most) });
        assert!((figures.measured_seconds - 60.0).abs() < 1e-3);
        assert!(figures.requests.abs_diff(3000) <= 2, "{}", figures.requests);
        assert!(matches!(figures.steady, Steady::NotSought { .. }));
    }
}

#[tokio::test(start_paused = true)]
async fn a_ramp_within_capacity_does_not_break_and_failures_break_it() {
    let plan = plan(Lengths::Fixed(64), ramp(60.0, None));
    let borne = run(&plan, SimulatedTarget::new(|n| (ms(20), alone(n)))).await;
    assert_eq!(figures(&borne.results.cells[0]).ramp.as_ref().expect("a ramp").broke, None);
    // From the 1510th request on, the rate is about 60 a second.
    let law =
        |n: u64| if n < 1510 { (ms(20), alone(n)) } else { (ms(1), failed(FailureKind::Refused)) };
    let refused = run(&plan, SimulatedTarget::new(law)).await;
    let ramp = figures(&refused.results.cells[0]).ramp.clone().expect("a ramp");
    let broke = ramp.broke.expect("refused");
    assert_eq!(broke.cause, BreakCause::Failures);
    assert!((58.0..=66.0).contains(&broke.rate_per_second), "{}", broke.rate_per_second);
}

#[tokio::test(start_paused = true)]
async fn a_ramp_that_was_cut_short_did_not_keep_up_to_its_end() {
    let mut plan = plan(Lengths::Fixed(64), ramp(60.0, None));
    for (limit, said) in
        [(600.0, "kept up to the end"), (31.0, "kept up to 48.0/s, where the ramp was cut")]
    {
        plan.cell.time_limit_seconds = limit;
        let report = run(&plan, SimulatedTarget::new(|n| (ms(20), alone(n)))).await;
        let text = bigbatch_validate::report::markdown::render(&report.results);
        assert!(text.contains(said), "{text}");
    }
}

fn folder(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&folder).expect("writable");
    folder
}

#[tokio::test(start_paused = true)]
async fn a_replay_sends_what_the_file_says_when_it_says() {
    let lines: Vec<(u64, usize)> =
        (0..120).map(|n: u64| (n * n * 3 % 40 + n * 50, 20 + (n * 7 % 50) as usize)).collect();
    let mut lines = lines;
    lines.sort_unstable();
    let text: String =
        lines.iter().map(|(at, tokens)| format!("{},{tokens}\n", *at as f64 / 1e3)).collect();
    let mut plan = plan(Lengths::FromTrace, Load::Replay { file: "trace.csv".into(), speed: 1.0 });
    plan.folder = folder("replay");
    std::fs::write(plan.folder.join("trace.csv"), text).expect("writable");
    let report = run(&plan, SimulatedTarget::new(|n| (ms(70), alone(n)))).await;
    let measured = of(&report, Phase::Measured);
    let first = measured[0].intended_us;
    let found: Vec<(u64, usize)> = measured
        .iter()
        .map(|record| ((record.intended_us - first + 500) / 1000, record.tokens))
        .collect();
    let wanted: Vec<(u64, usize)> =
        lines.iter().map(|&(at, tokens)| (at - lines[0].0, tokens)).collect();
    assert_eq!(found, wanted);
    assert!(of(&report, Phase::CoolDown).is_empty());
    assert!((15..=25).contains(&of(&report, Phase::WarmUp).len()), "a second at the mean rate");
    assert_eq!(figures(&report.results.cells[0]).latency.max_ms, Some(70.0));
    assert_eq!(report.results.prompts.prepared_by_scenario["the scenario"], 120);
}

#[tokio::test(start_paused = true)]
async fn faults_of_a_plans_files_come_before_any_load() {
    let mut plan = plan(Lengths::FromTrace, Load::Replay { file: "faulty.csv".into(), speed: 1.0 });
    plan.folder = folder("faulty");
    std::fs::write(plan.folder.join("faulty.csv"), "0,64\n1;64\n").expect("writable");
    let options = RunOptions { corpus: corpus(), ..RunOptions::default() };
    let target = Arc::new(SimulatedTarget::new(|_| panic!("nothing may be sent")));
    let error =
        run_async(&plan, target, &PieceCounter, &options, &Silent).await.expect_err("refused");
    assert!(matches!(error, Error::TraceSyntax { line: 2, .. }), "{error}");
}

#[tokio::test(start_paused = true)]
async fn mixed_lengths_come_by_their_weights_and_are_exact() {
    let part = |weight, lengths| LengthComponent { weight, lengths };
    let log_normal = LengthDist::LogNormal { median: 100.0, sigma: 0.5, min: 20, max: 500 };
    let lengths =
        Lengths::Mix(vec![part(3.0, LengthDist::Fixed(16)), part(1.0, log_normal.clone())]);
    let mut plan = plan(lengths, Load::Closed { concurrency: 8 });
    plan.cell.requests_min = 2000;
    // The target counts for itself: a wrong length would be a failure.
    let report = run(&plan, CountingTarget).await;
    let cell = &report.results.cells[0];
    let figures = figures(cell);
    assert_eq!(figures.successes, figures.requests);
    let measured = of(&report, Phase::Measured);
    let short = measured.iter().filter(|record| record.tokens == 16).count() as f64;
    assert!((short / measured.len() as f64 - 0.75).abs() < 0.05, "{short}");
    let tokens: usize = measured.iter().map(|record| record.tokens).sum();
    let mean = tokens as f64 / measured.len() as f64;
    let rate = figures.tokens_per_second / figures.requests_per_second;
    assert!((rate / mean - 1.0).abs() < 0.05, "{rate} {mean}");
    let long = LengthComponent {
        weight: 1.0,
        lengths: LengthDist::LogNormal { median: 100.0, sigma: 0.5, min: 20, max: 9000 },
    };
    plan.scenarios[0].classes[0].lengths = Lengths::Mix(vec![long]);
    let report = run(&plan, SimulatedTarget::new(|n| (ms(1), alone(n)))).await;
    let Status::NotRun { reason } = &report.results.cells[0].status else { panic!("was run") };
    assert!(reason.contains("at most 8192 tokens, and this cell sends up to 9000"), "{reason}");
}

/// A target that counts the tokens of its prompts.
struct CountingTarget;

impl Target for CountingTarget {
    fn describe(&self) -> TargetInfo {
        TargetInfo::default()
    }

    fn send<'a>(&'a self, prompt: &'a Prompt, _: Terms) -> ReplyFuture<'a> {
        use bigbatch_validate::system::TokenCounter;
        let tokens = PieceCounter.count(prompt.text());
        Box::pin(async move {
            tokio::time::sleep(ms(10)).await;
            Ok(Reply { tokens: Some(tokens), ..Reply::default() })
        })
    }

    fn memory(&self) -> MemorySample {
        MemorySample::default()
    }
}

#[test]
fn the_pacer_of_a_real_run_keeps_its_time() {
    // On the machine's clock: a thousand a second for two seconds, each answered at once.
    let load =
        Load::Open { rate_per_second: 1000.0, arrival: Arrival::Constant, seconds: Some(1.0) };
    let mut plan = plan(Lengths::Fixed(64), load);
    plan.cell.warmup_seconds = 0.2;
    let options = RunOptions { corpus: corpus(), ..RunOptions::default() };
    let target = Arc::new(QueueTarget { service: Duration::ZERO, free_at: Mutex::new(None) });
    let report = bigbatch_validate::run(&plan, target, &PieceCounter, &options, &Silent);
    let report = report.expect("the run is set up");
    let figures = figures(&report.results.cells[0]);
    // By intended start the count is exact however busy the machine is. How many of these count as steady, and the
    // lag, are the machine's.
    let intended = of(&report, Phase::Measured).len() + of(&report, Phase::Settling).len();
    assert!(intended.abs_diff(1000) <= 1, "{intended}");
    assert!(report.requests.iter().all(|record| record.sent_us >= record.intended_us));
    assert!(figures.generator.cpu_cores.is_some_and(|cores| cores > 0.0), "on Linux");
}
