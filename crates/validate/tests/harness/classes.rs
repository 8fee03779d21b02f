//! Scenarios of several classes: one measured phase, figures of each, terms, ratios to a baseline.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bigbatch_validate::figures::{Cell, Figures, Status};
use bigbatch_validate::load::Phase;
use bigbatch_validate::report::{html, markdown, text};
use bigbatch_validate::stats::PercentileFigure;
use bigbatch_validate::system::{
    Failure, FailureKind, MemorySample, Priority, Prompt, Reply, ReplyFuture, Target, TargetInfo,
    Terms,
};
use bigbatch_validate::verdict::{Criterion, Outcome, Verdict};
use bigbatch_validate::{Plan, Report, RunOptions, Silent, run_async};
use tokio::time::Instant;

use crate::simulated::{PieceCounter, corpus};

type Law = Box<dyn Fn(usize) -> (u64, Result<Reply, Failure>) + Send + Sync>;

/// A target whose answer depends on the length of the text: its delay in milliseconds, and its outcome.
struct ByLength {
    law: Law,
    /// Tokens, terms and arrival of every request.
    seen: Arc<Mutex<Vec<(usize, Terms, Instant)>>>,
}

impl ByLength {
    fn new(
        law: impl Fn(usize) -> (u64, Result<Reply, Failure>) + Send + Sync + 'static,
    ) -> ByLength {
        ByLength { law: Box::new(law), seen: Arc::default() }
    }

    /// Answers 64 tokens after `short` milliseconds and longer texts after `long`.
    fn answering(short: u64, long: u64) -> ByLength {
        ByLength::new(move |tokens| (if tokens > 64 { long } else { short }, Ok(Reply::default())))
    }
}

impl Target for ByLength {
    fn describe(&self) -> TargetInfo {
        TargetInfo { max_sequence_tokens: Some(2048), ..TargetInfo::default() }
    }

    fn send<'a>(&'a self, prompt: &'a Prompt, terms: Terms) -> ReplyFuture<'a> {
        self.seen.lock().expect("no panics").push((prompt.tokens(), terms, Instant::now()));
        let (ms, outcome) = (self.law)(prompt.tokens());
        Box::pin(async move {
            tokio::time::sleep(Duration::from_millis(ms)).await;
            outcome
        })
    }

    fn memory(&self) -> MemorySample {
        MemorySample { rss_bytes: Some(1 << 20), ..MemorySample::default() }
    }
}

const RULES: &str = r#"
name = "classes"
repeat_first = false

[cell]
requests_min = 20
requests_per_client = 1
batches_min = 0
warmup_seconds = 1
request_timeout_seconds = 20
time_limit_seconds = 100
"#;

const ALONE: &str = r#"
[[scenario]]
name = "short alone"
tokens = 64
load = { kind = "open", rate_per_second = 100, arrival = "constant", seconds = 10 }
"#;

const BESIDE: &str = r#"
[[scenario]]
name = "beside"

[[scenario.class]]
name = "short"
tokens = 64
load = { kind = "open", rate_per_second = 100, arrival = "constant", seconds = 10 }
priority = "interactive"
timeout_ms = 400

[[scenario.class]]
name = "long"
tokens = 1024
concurrency = 1
priority = "batch"
"#;

/// A bar on the short texts beside the long one; `limits` are its lines.
fn bar(limits: &str) -> String {
    format!("[[bar]]\nscenario = \"beside\"\nclass = \"short\"\n{limits}\n")
}

fn plan(parts: &[&str]) -> Plan {
    Plan::parse(&[&[RULES], parts].concat().concat(), "p.toml").expect("valid")
}

async fn run(plan: &Plan, target: ByLength) -> Report {
    let options = RunOptions { corpus: corpus(), ..RunOptions::default() };
    let report = run_async(plan, Arc::new(target), &PieceCounter, &options, &Silent).await;
    report.expect("the run is set up")
}

/// Returns the cell of a class of "beside".
fn class<'a>(report: &'a Report, name: &str) -> &'a Cell {
    let named = |cell: &&Cell| cell.spec.class.as_deref() == Some(name);
    report.results.cells.iter().find(named).expect("in the plan")
}

fn figures<'a>(report: &'a Report, name: &str) -> &'a Figures {
    let cell = class(report, name);
    cell.figures().unwrap_or_else(|| panic!("was run: {:?}", cell.status))
}

fn exactly(ms: f64) -> PercentileFigure {
    PercentileFigure::Exactly { ms }
}

#[tokio::test(start_paused = true)]
async fn classes_share_a_measured_phase_and_have_their_own_figures() {
    let report = run(&plan(&[BESIDE]), ByLength::answering(15, 700)).await;
    let (short, long) = (figures(&report, "short"), figures(&report, "long"));
    assert_eq!((short.latency.p50.shown, long.latency.p50.shown), (exactly(15.0), exactly(700.0)));
    assert_eq!((short.measured_seconds, long.measured_seconds), (10.0, 10.0));
    assert!(short.requests.abs_diff(1000) <= 1, "{}", short.requests);
    assert!(long.requests.abs_diff(14) <= 1, "{}: one was always in flight", long.requests);
    assert_eq!((short.successes, long.successes), (short.requests, long.requests));
    let (short, long) = (class(&report, "short"), class(&report, "long"));
    assert_eq!(short.span_ms, long.span_ms);
    assert!(!short.memory.is_empty() && long.memory.is_empty(), "readings count once");
    // Each record is of the cell whose length it has, and numbered in it.
    for (cell, tokens) in [(short, 64), (long, 1024)] {
        let of: Vec<_> = report.requests.iter().filter(|r| r.cell == cell.index).collect();
        assert!(of.iter().all(|record| record.tokens == tokens));
        assert!(of.iter().enumerate().all(|(n, record)| record.ordinal == n as u64));
    }
}

#[tokio::test(start_paused = true)]
async fn the_phase_begins_when_the_last_class_is_warm_and_lasts_its_seconds() {
    // The first long text takes three times as long as the warm-up of the short ones.
    let report = run(&plan(&[BESIDE]), ByLength::answering(15, 3000)).await;
    let start = class(&report, "short").span_ms.expect("run").0;
    let first = |tokens| {
        let of = |record: &&bigbatch_validate::load::RequestRecord| {
            record.tokens == tokens && record.phase == Phase::Measured
        };
        report.requests.iter().find(of).expect("measured").intended_us as f64 / 1e3 - start
    };
    assert!((first(64) - 3000.0).abs() <= 10.0, "{}", first(64));
    assert!((first(1024) - 3000.0).abs() <= 10.0, "{}", first(1024));
    let (short, long) = (figures(&report, "short"), figures(&report, "long"));
    assert_eq!((short.measured_seconds, long.measured_seconds), (10.0, 10.0));
    assert!(short.requests.abs_diff(1000) <= 1, "{}", short.requests);
}

#[tokio::test(start_paused = true)]
async fn without_seconds_every_class_gets_its_counts() {
    let by_counts = BESIDE.replace(", seconds = 10", "");
    let report = run(&plan(&[&by_counts]), ByLength::answering(15, 700)).await;
    let (short, long) = (figures(&report, "short"), figures(&report, "long"));
    // Twenty long texts of 0.7 s; the short ones had theirs after 0.2 s.
    assert!((20..=21).contains(&long.requests), "{}", long.requests);
    assert!((1300..=1500).contains(&short.requests), "{}", short.requests);
    assert!(!short.cut_by_time_limit && !long.cut_by_time_limit);
}

#[tokio::test(start_paused = true)]
async fn requests_state_their_terms_and_are_given_up_at_their_deadline() {
    // Every short text is answered after its deadline.
    let target = ByLength::answering(401, 700);
    let seen = Arc::clone(&target.seen);
    let report = run(&plan(&[ALONE, BESIDE]), target).await;
    let missed = figures(&report, "short");
    assert_eq!(missed.failures, [(FailureKind::DeadlineMissed, missed.requests)].into());
    assert_eq!(figures(&report, "long").failures, [].into());
    let alone = &report.results.cells.iter().find(|cell| cell.spec.class.is_none());
    assert_eq!(alone.and_then(Cell::figures).expect("run").failures, [].into(), "no deadline");
    let ended_late = report.requests.iter().filter(|r| r.failure.is_some());
    assert!(ended_late.clone().count() > 1000);
    assert!(ended_late.clone().all(|record| record.latency_us() == 400_000));
    for (tokens, terms, at) in seen.lock().expect("no panics").iter() {
        let in_ms = terms.deadline.map(|deadline| (deadline - *at).as_millis());
        let expected = match (tokens, terms.priority) {
            (64, Some(Priority::Interactive)) => Some(400),
            (64, None) | (1024, Some(Priority::Batch)) => None,
            other => panic!("{other:?}"),
        };
        assert_eq!(in_ms, expected, "{tokens}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_class_that_cannot_be_run_keeps_its_scenario_from_running() {
    let report = run(&plan(&[&BESIDE.replace("1024", "4096")]), ByLength::answering(15, 700)).await;
    for cell in &report.results.cells {
        let Status::NotRun { reason } = &cell.status else { panic!("was run") };
        assert!(reason.contains("at most 2048 tokens"), "{reason}");
    }
    assert!(report.requests.is_empty());
}

/// Runs the short texts alone and beside the long one; returns the verdicts.
async fn judged(limits: &str, target: ByLength) -> Vec<Verdict> {
    run(&plan(&[ALONE, BESIDE, &bar(limits)]), target).await.results.verdicts
}

/// A target whose short texts take `alone` milliseconds, and `beside` ones while a long text is there.
fn slowed(alone: u64, beside: u64) -> ByLength {
    let long = Arc::new(Mutex::new(None::<Instant>));
    ByLength::new(move |tokens| {
        let mut until = long.lock().expect("no panics");
        if tokens > 64 {
            *until = Some(Instant::now() + Duration::from_millis(701));
            return (700, Ok(Reply::default()));
        }
        let busy = until.is_some_and(|until| Instant::now() < until);
        (if busy { beside } else { alone }, Ok(Reply::default()))
    })
}

#[tokio::test(start_paused = true)]
async fn a_ratio_is_judged_against_its_baseline() {
    let limits = "baseline = \"short alone\"\nsuccess_rate_min = 0.9\nlatency_p50_ratio_max = 2.0\n\
                  latency_p99_ratio_max = 2.0";
    for (beside, expected) in [(15, Outcome::Pass), (25, Outcome::Fail)] {
        let verdicts = judged(limits, slowed(10, beside)).await;
        assert_eq!(verdicts.len(), 3);
        assert_eq!(
            (verdicts[0].criterion, verdicts[0].outcome),
            (Criterion::SuccessRate, Outcome::Pass)
        );
        for (verdict, criterion) in
            verdicts[1..].iter().zip([Criterion::LatencyP50Ratio, Criterion::LatencyP99Ratio])
        {
            assert_eq!((verdict.criterion, verdict.outcome), (criterion, expected), "{verdict:?}");
            assert_eq!(verdict.figure, Some(beside as f64 / 10.0));
            assert_eq!(verdict.baseline.as_deref(), Some("short alone"));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_ratio_without_its_baseline_is_not_a_pass() {
    let bar = bar("baseline = \"short alone\"\nlatency_p99_ratio_max = 2.0");
    // The baseline is too long for the target, is refused, or has too few requests for a p99.
    let long = ALONE.replace("64", "4096");
    let report = run(&plan(&[&long, BESIDE, &bar]), ByLength::answering(15, 700)).await;
    let verdict = &report.results.verdicts[0];
    assert_eq!(verdict.outcome, Outcome::NotRun);
    assert!(
        verdict.reason.starts_with("its baseline was not run: the target takes"),
        "{verdict:?}"
    );

    let other = ALONE.replace("64", "65");
    let refusing = ByLength::new(|tokens| match tokens {
        65 => (1, Err(Failure::new(FailureKind::Refused, "busy"))),
        _ => (15, Ok(Reply::default())),
    });
    let report = run(&plan(&[&other, BESIDE, &bar]), refusing).await;
    let verdict = &report.results.verdicts[0];
    assert_eq!(verdict.outcome, Outcome::NotShown);
    assert!(verdict.reason.contains("baseline did not answer"), "{verdict:?}");

    let few = ALONE.replace("seconds = 10", "seconds = 1");
    let report = run(&plan(&[&few, BESIDE, &bar]), ByLength::answering(15, 700)).await;
    let verdict = &report.results.verdicts[0];
    assert_eq!((verdict.outcome, verdict.figure), (Outcome::NotShown, None));
    assert!(verdict.reason.contains("a p99 needs 400"), "{verdict:?}");
}

#[tokio::test(start_paused = true)]
async fn short_texts_beside_nothing_pass_nothing() {
    let limits = "baseline = \"short alone\"\nsuccess_rate_min = 0.9\nlatency_p99_ratio_max = 2.0";
    // Every long text is refused, for a moment or for good.
    for (retry_after, expected, said) in [
        (None, Outcome::NotShown, "no request of the class \"long\" beside it was answered"),
        (Some(Duration::from_secs(9999)), Outcome::Fail, "wait past the end"),
    ] {
        let refusing = ByLength::new(move |tokens| match tokens {
            64 => (15, Ok(Reply::default())),
            _ => (1, Err(Failure { retry_after, ..Failure::new(FailureKind::Refused, "busy") })),
        });
        for verdict in judged(limits, refusing).await {
            assert_eq!(verdict.outcome, expected, "{verdict:?}");
            assert!(verdict.reason.contains(said), "{verdict:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn ratios_over_runs_have_the_run_as_their_unit() {
    let limits = "baseline = \"short alone\"\nlatency_p99_ratio_max = 2.0";
    let mut plan = plan(&[ALONE, BESIDE, &bar(limits)]);
    (plan.repeats, plan.repeat_first) = (3, true);
    let report = run(&plan, slowed(10, 15)).await;
    let verdict = &report.results.verdicts[0];
    assert_eq!(
        (verdict.outcome, verdict.trials.map(|trials| trials.count)),
        (Outcome::Pass, Some(3))
    );
    assert!((verdict.figure.expect("a ratio") - 1.5).abs() < 1e-9, "{verdict:?}");
    // All cells of the first group are repeated at the end.
    let repeats: Vec<_> = report.results.cells.iter().filter_map(|cell| cell.repeats).collect();
    assert_eq!(repeats.first(), Some(&0));
    assert_eq!(report.results.cells.len(), 9 + repeats.len());
    assert!(report.results.cells.iter().enumerate().all(|(n, cell)| cell.index == n));
    assert_eq!(report.results.published.len(), 3, "one per class");
}

#[tokio::test(start_paused = true)]
async fn reports_have_a_table_of_classes() {
    let refusing = ByLength::new(|tokens| match tokens {
        64 => (401, Ok(Reply::default())),
        _ => (20, Ok(Reply::default())),
    });
    let bar = bar("baseline = \"short alone\"\nlatency_p99_ratio_max = 2.0");
    let results = run(&plan(&[ALONE, BESIDE, &bar]), refusing).await.results;
    let rows = |report: &str| {
        report.lines().filter(|line| line.starts_with("| beside | ")).map(str::to_owned).collect()
    };
    let rows: Vec<String> = rows(&markdown::render(&results));
    let fields: Vec<Vec<&str>> = rows.iter().map(|row| row.split(" | ").collect()).collect();
    assert_eq!(fields.len(), 2, "{rows:?}");
    assert_eq!(fields[0][1..7], ["short", "64", "100/s constant", "interactive", "400 ms", "0 %"]);
    let missed = results.scenarios()[1].figures().expect("run").requests;
    assert_eq!(fields[0][13].replace(',', ""), missed.to_string());
    assert_eq!(fields[1][1..7], ["long", "1K", "1", "batch", "–", "100 %"]);
    for report in [html::render(&results), text::render(&results)] {
        assert!(report.contains("Deadlines missed") && report.contains("100/s constant"));
        assert!(report.contains("beside / short") && report.contains("that of short alone"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_group_of_which_one_cell_was_written_is_run_again() {
    let folder = std::env::temp_dir().join(format!("bigbatch-classes-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("writable");
    let path = folder.join("journal");
    let plan = plan(&[BESIDE]);
    let options = |resume| RunOptions {
        corpus: corpus(),
        journal: Some(path.clone()),
        resume,
        ..RunOptions::default()
    };
    let run = async |resume| {
        let target = Arc::new(ByLength::answering(15, 700));
        let report = run_async(&plan, target, &PieceCounter, &options(resume), &Silent).await;
        report.expect("a report")
    };
    run(false).await;
    let whole = std::fs::read_to_string(&path).expect("written");
    let first = whole.find("{\"cell\":{").expect("a cell");
    let end = first + whole[first..].find('\n').expect("a line") + 1;
    assert!(whole[end..].contains("{\"cell\":{"), "another cell follows");
    std::fs::write(&path, &whole[..end]).expect("writable");
    for _ in 0..2 {
        let report = run(true).await;
        let (short, long) = (class(&report, "short"), class(&report, "long"));
        assert!(short.figures().is_some() && short.span_ms == long.span_ms, "of one sitting");
        assert_eq!((short.sitting, long.sitting), (1, 1));
    }
    std::fs::remove_dir_all(&folder).expect("removable");
}
