//! Repeats, and runs that are interrupted and resumed.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::simulated::{PieceCounter, SimulatedTarget, alone, corpus};
use bigbatch_validate::figures::{Cell, Status};
use bigbatch_validate::load::Cancel;
use bigbatch_validate::plan::Bar;
use bigbatch_validate::stats::TrialUnit;
use bigbatch_validate::verdict::Outcome;
use bigbatch_validate::{
    Error, Event, Plan, Progress, Report, RunOptions, Silent, report, run_async,
};

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn plan() -> Plan {
    let mut plan = Plan::matrix("in sittings", &[64], &[1, 2, 3]);
    plan.repeats = 2;
    plan
}

fn journal(name: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.jsonl"));
    let _ = std::fs::remove_file(&path);
    path
}

fn options(journal: &Path, resume: bool) -> RunOptions {
    RunOptions {
        corpus: corpus(),
        journal: Some(journal.to_owned()),
        resume,
        ..RunOptions::default()
    }
}

/// Returns a target that takes 20 ms, and its count of requests.
fn target() -> (Arc<SimulatedTarget>, Arc<AtomicUsize>) {
    let arrived = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&arrived);
    let law = move |n| {
        counted.fetch_add(1, Ordering::SeqCst);
        (ms(20), alone(n))
    };
    (Arc::new(SimulatedTarget::new(law)), arrived)
}

/// Cancels the run in the measured phase of the cell with this index, and records which cells started.
struct CancelAtCell {
    index: usize,
    cancel: Cancel,
    began: Mutex<Vec<usize>>,
    resumed: AtomicUsize,
}

impl CancelAtCell {
    fn new(index: usize, options: &RunOptions) -> CancelAtCell {
        CancelAtCell {
            index,
            cancel: options.cancel.clone(),
            began: Mutex::default(),
            resumed: AtomicUsize::new(0),
        }
    }
}

impl Progress for CancelAtCell {
    fn event(&self, event: Event<'_>) {
        match event {
            Event::CellsStarted { index, .. } => {
                self.began.lock().expect("no panics").push(index);
            }
            Event::CellsProgressed { index, progress, .. }
                if index == self.index && progress[0].1.measuring =>
            {
                self.cancel.cancel();
            }
            Event::Resumed { cells } => self.resumed.store(cells, Ordering::SeqCst),
            _ => {}
        }
    }
}

async fn run(plan: &Plan, options: &RunOptions, progress: &dyn Progress) -> Result<Report, Error> {
    run_async(plan, target().0, &PieceCounter, options, progress).await
}

fn was_run(cell: &Cell) -> bool {
    matches!(cell.status, Status::Run { .. })
}

#[tokio::test(start_paused = true)]
async fn an_interrupted_run_resumes_with_the_missing_cells() {
    let (plan, path) = (plan(), journal("interrupted"));
    let first_options = options(&path, false);
    let progress = CancelAtCell::new(3, &first_options);
    let first = run(&plan, &first_options, &progress).await.expect("a report");
    assert!(first.results.interrupted);
    assert_eq!(first.results.cells.iter().filter(|cell| was_run(cell)).count(), 3);

    let second_options = options(&path, true);
    let progress = CancelAtCell::new(usize::MAX, &second_options);
    let second = run(&plan, &second_options, &progress).await.expect("a report");
    assert_eq!(progress.resumed.load(Ordering::SeqCst), 3);
    assert_eq!(*progress.began.lock().expect("no panics"), [3, 4, 5, 6], "and the first again");
    let cells = &second.results.cells;
    assert!(cells.len() == 7 && cells.iter().all(was_run));
    assert_eq!(cells[..3], first.results.cells[..3], "finished cells are as they were");
    assert!(cells.iter().enumerate().all(|(index, cell)| cell.index == index));
    let of = |report: &Report, cell| -> Vec<_> {
        report.requests.iter().filter(|record| record.cell == cell).cloned().collect()
    };
    for cell in 0..3 {
        assert_eq!(of(&first, cell), of(&second, cell), "so are their raw records");
    }
    // The clock continues where the last finished cell ended.
    let spans: Vec<_> = cells.iter().map(|cell| cell.span_ms.expect("run")).collect();
    assert!(spans.windows(2).all(|two| two[0].1 <= two[1].0), "{spans:?}");
    let results = &second.results;
    assert_eq!((results.resumed_at.len(), results.interrupted), (1, false));
    assert_eq!(results.started_at, first.results.started_at);

    // Nothing is missing any more.
    let (idle, arrived) = target();
    let third = run_async(&plan, idle, &PieceCounter, &options(&path, true), &Silent).await;
    assert_eq!(third.expect("a report").results.cells, second.results.cells);
    assert_eq!(arrived.load(Ordering::SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn another_plan_or_target_is_refused_before_any_load() {
    let (plan, path) = (plan(), journal("others"));
    let options_of_first = options(&path, false);
    let progress = CancelAtCell::new(1, &options_of_first);
    run(&plan, &options_of_first, &progress).await.expect("a report");

    let mut other = plan.clone();
    other.cell.requests_min += 1;
    let error = run(&other, &options(&path, true), &Silent).await.expect_err("refused").to_string();
    assert!(error.contains("plan.cell.requests_min was 100, now it is 101"), "{error}");
    let mut changed = SimulatedTarget::new(|_| panic!("nothing may be sent"));
    changed.info.dtype = "bf16".into();
    let error =
        run_async(&plan, Arc::new(changed), &PieceCounter, &options(&path, true), &Silent).await;
    let error = error.expect_err("refused").to_string();
    assert!(error.contains("target.dtype was \"f32\", now it is \"bf16\""), "{error}");
    assert_eq!(error.lines().count(), 1, "{error}");
    let mut texts = options(&path, true);
    texts.corpus = bigbatch_validate::workload::Corpus::embedded();
    let error = run(&plan, &texts, &Silent).await.expect_err("refused").to_string();
    assert!(error.contains("the prompts differ"), "{error}");

    // Refusals change nothing: the right plan still goes on.
    let progress = CancelAtCell::new(usize::MAX, &options(&path, true));
    run(&plan, &options(&path, true), &progress).await.expect("a report");
    assert_eq!(progress.resumed.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn without_resume_a_run_starts_over() {
    let (plan, path) = (plan(), journal("anew"));
    run(&plan, &options(&path, false), &Silent).await.expect("a report");
    let progress = CancelAtCell::new(usize::MAX, &options(&path, false));
    run(&plan, &options(&path, false), &progress).await.expect("a report");
    assert_eq!(progress.began.lock().expect("no panics").len(), 7);
}

#[tokio::test(start_paused = true)]
async fn repeats_are_in_random_order_and_their_figures_are_over_runs() {
    let mut plan = plan();
    plan.repeats = 5;
    let bar = |ms: f64| Bar { latency_seconds_p95_max: Some(ms / 1e3), ..Bar::on(64, 2) };
    plan.bars = vec![bar(25.0)];
    // A latency of its own for each run of a cell, in whole milliseconds.
    let runs = |latencies: [u64; 5]| {
        let mut plan = plan.clone();
        async move {
            (plan.tokens, plan.concurrency) = (vec![64], vec![2]);
            plan.repeat_first = false;
            plan.cell.requests_min = 200;
            let law = move |n: u64| (ms(latencies[(n / 203).min(4) as usize]), alone(n));
            let options = RunOptions { corpus: corpus(), ..RunOptions::default() };
            let target = Arc::new(SimulatedTarget::new(law));
            run_async(&plan, target, &PieceCounter, &options, &Silent).await.expect("a report")
        }
    };
    let report = runs([20, 20, 20, 20, 20]).await;
    let published = &report.results.published[0];
    assert_eq!((published.runs, report.results.published.len()), (5, 1));
    let p95 = published.latency_ms_p95.expect("five runs have it");
    assert!((p95.mean - 20.0).abs() < 1e-9 && p95.publishable, "{p95:?}");
    // The reports show that figure, and not only that of the first run.
    let texts = [report::text::render(&report.results), report::markdown::render(&report.results)];
    for text in texts.iter().chain([&report::html::render(&report.results)]) {
        assert!(text.contains("over") && text.contains("first run"), "{text}");
    }
    let verdict = &report.results.verdicts[0];
    assert_eq!(
        (verdict.outcome, verdict.trials.map(|trials| trials.unit)),
        (Outcome::Pass, Some(TrialUnit::Runs))
    );
    // Every run is below the bar on average, and yet they differ too much to show it.
    let report = runs([10, 15, 20, 28, 35]).await;
    // The logarithms of the five have mean 2.979 and standard deviation 0.497; t is 2.776.
    let markdown = report::markdown::render(&report.results);
    assert!(markdown.contains("19.7 ms (10.6 ms to 36.4 ms)"), "{markdown}");
    let verdict = &report.results.verdicts[0];
    assert!(verdict.figure < Some(25.0), "{verdict:?}");
    assert_eq!(verdict.outcome, Outcome::NotShown, "{verdict:?}");

    let options = RunOptions { corpus: corpus(), ..RunOptions::default() };
    let report = run(&plan, &options, &Silent).await.expect("a report");
    let cells = &report.results.cells;
    assert_eq!(cells.len(), 3 * 5 + 1);
    let clients = |cell: &Cell| cell.spec.concurrency().expect("closed");
    for concurrency in [1, 2, 3] {
        let mut runs: Vec<usize> = cells[..15]
            .iter()
            .filter(|cell| clients(cell) == concurrency)
            .map(|cell| cell.run)
            .collect();
        runs.sort_unstable();
        assert_eq!(runs, [0, 1, 2, 3, 4]);
    }
    // Random over the whole run: neither block after block nor round after round.
    let order: Vec<usize> = cells[..15].iter().map(clients).collect();
    assert!(order.chunks(5).any(|block| block.iter().any(|&one| one != block[0])), "{order:?}");
    assert!(order.chunks(3).any(|round| (1..=3).any(|one| !round.contains(&one))), "{order:?}");
    assert_eq!((cells[15].repeats, clients(&cells[15])), (Some(0), clients(&cells[0])));
    assert_eq!(report.results.published.len(), 3);
}
