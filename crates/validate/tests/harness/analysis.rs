//! Findings about a server whose batches cost what a formula gives: the formula and the planted faults must be
//! found from the outside.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::simulated::{PieceCounter, SimulatedTarget, alone, corpus};
use bigbatch_validate::analysis::memory::{LeakVerdict, MemoryQuantity};
use bigbatch_validate::analysis::{Analysis, Stage};
use bigbatch_validate::system::{
    BatchRef, Failure, FailureKind, MemorySample, Prompt, Reply, ReplyFuture, StageTimes, Target,
    TargetInfo, Terms,
};
use bigbatch_validate::{Plan, Report, RunOptions, Silent, run_async};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep};

/// Milliseconds of a batch, for each token, for each pair of tokens.
const COST: (f64, f64, f64) = (20.0, 0.1, 4e-4);
/// Most tokens of a batch.
const BATCH_TOKENS: usize = 1024;
/// Milliseconds of a request before its queue.
const TOKENIZE_MS: u64 = 3;
/// The batch that takes a second longer, and the interval in requests at which one is refused.
const SLOW_BATCH: u64 = 333;
const REFUSED_EVERY: u64 = 400;

struct Waiting {
    tokens: usize,
    since: Instant,
    reply: oneshot::Sender<Reply>,
}

/// Packs what waits into batches, one after another.
struct Server {
    queue: mpsc::UnboundedSender<Waiting>,
    requests: AtomicU64,
    faulty: bool,
}

impl Server {
    /// On the current runtime. A faulty one leaks, stalls once and refuses some.
    fn start(faulty: bool) -> Server {
        let (queue, requests) = mpsc::unbounded_channel();
        tokio::spawn(serve(requests, faulty));
        Server { queue, requests: AtomicU64::new(0), faulty }
    }
}

async fn serve(mut requests: mpsc::UnboundedReceiver<Waiting>, faulty: bool) {
    let mut next = requests.recv().await;
    for id in 0.. {
        let Some(first) = next.take() else { return };
        let mut tokens = first.tokens;
        let mut batch = vec![first];
        while let Ok(waiting) = requests.try_recv() {
            if tokens + waiting.tokens > BATCH_TOKENS {
                next = Some(waiting);
                break;
            }
            tokens += waiting.tokens;
            batch.push(waiting);
        }
        let started = Instant::now();
        let pairs: f64 = batch.iter().map(|waiting| (waiting.tokens as f64).powi(2)).sum();
        let ms = COST.0 + COST.1 * tokens as f64 + COST.2 * pairs;
        let slow = if faulty && id == SLOW_BATCH { 1000.0 } else { 0.0 };
        sleep(Duration::from_millis((ms + slow).round() as u64)).await;
        let sequences = batch.len();
        for waiting in batch {
            let us = |time: Duration| time.as_micros() as u64;
            let (queue_us, compute_us) = (us(started - waiting.since), us(started.elapsed()));
            let stages = StageTimes {
                tokenize_us: TOKENIZE_MS * 1000,
                queue_us,
                copy_us: Some(0),
                compute_us,
                total_us: TOKENIZE_MS * 1000 + queue_us + compute_us,
            };
            let batch = Some(BatchRef { id, sequences, tokens });
            // A client that has hung up is no concern of the batch.
            let _ = waiting.reply.send(Reply { tokens: None, stages: Some(stages), batch });
        }
        if next.is_none() {
            next = requests.recv().await;
        }
    }
}

impl Target for Server {
    fn describe(&self) -> TargetInfo {
        TargetInfo { max_batch_tokens: Some(BATCH_TOKENS), ..TargetInfo::default() }
    }

    fn send<'a>(&'a self, prompt: &'a Prompt, _: Terms) -> ReplyFuture<'a> {
        let number = self.requests.fetch_add(1, Ordering::SeqCst);
        Box::pin(async move {
            if self.faulty && number % REFUSED_EVERY == REFUSED_EVERY - 1 {
                return Err(Failure::new(FailureKind::Refused, "the queue is full"));
            }
            sleep(Duration::from_millis(TOKENIZE_MS)).await;
            let (reply, answer) = oneshot::channel();
            let waiting = Waiting { tokens: prompt.tokens(), since: Instant::now(), reply };
            let gone = |_| Failure::new(FailureKind::Server, "the server is gone");
            self.queue.send(waiting).map_err(|_| gone(()))?;
            answer.await.map_err(|_| gone(()))
        })
    }

    fn memory(&self) -> MemorySample {
        let leaked = if self.faulty { 40_000 * self.requests.load(Ordering::SeqCst) } else { 0 };
        MemorySample {
            device_used_bytes: Some((4 << 30) + leaked),
            rss_bytes: Some(1 << 30),
            ..MemorySample::default()
        }
    }
}

pub(crate) async fn run(faulty: bool) -> (Report, Analysis) {
    let plan = Plan::matrix("served", &[64, 128, 256], &[1, 4, 16]);
    let options = RunOptions { corpus: corpus(), ..RunOptions::default() };
    let server = Arc::new(Server::start(faulty));
    let report = run_async(&plan, server, &PieceCounter, &options, &Silent).await;
    let report = report.expect("the run is set up");
    let analysis = report.results.analysis.clone();
    (report, analysis)
}

#[tokio::test(start_paused = true)]
async fn scaling_and_what_limits_it_are_found() {
    let (_, analysis) = run(false).await;
    let lengths = &analysis.scaling.lengths;
    // 128 tokens: alone 3 ms and 39 ms in a batch; eight of sixteen clients in one of 175 ms.
    let speedup = lengths[1].points.last().and_then(|point| point.speedup).expect("C = 1 was run");
    assert!((speedup - 8.0 * 42.0 / 175.0).abs() < 0.05, "{speedup}");
    assert_eq!(lengths.iter().map(|length| length.tokens).collect::<Vec<_>>(), [64, 128, 256]);
    for length in lengths {
        assert_eq!(length.points[0].efficiency, Some(1.0));
        let last = length.points.last().expect("three");
        assert!(last.speedup > Some(1.2) && last.efficiency < Some(0.25), "{last:?}");
    }
    for limit in &analysis.scaling.bottlenecks {
        let busy = limit.device_busy.expect("told");
        assert_eq!(limit.stage, Stage::Compute, "{limit:?}");
        let share = |wanted| {
            let found = limit.shares.iter().find(|(stage, _)| *stage == wanted);
            found.expect("every stage has a share").1
        };
        // Where nobody queues, the device waits while the next requests are tokenized.
        let expected = if share(Stage::Queue) > 0.0 { 1.0 } else { share(Stage::Compute) };
        assert!((busy - expected).abs() < 0.03, "{limit:?}");
        let sum: f64 = limit.shares.iter().map(|(_, share)| share).sum();
        assert!((sum - 1.0).abs() < 1e-9, "{limit:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_clean_server_has_nothing_to_be_found() {
    let (_, analysis) = run(false).await;
    assert!(analysis.failures.is_empty());
    assert!(analysis.latency.cells.iter().all(|cell| cell.spikes.count == 0));
    assert!(analysis.memory.returned.iter().all(|returned| returned.returned));
    for leak in &analysis.memory.leaks {
        if leak.quantity == MemoryQuantity::Rss {
            let left_out = 11 - leak.plateaus.len();
            assert!(
                left_out > 0 && leak.reason.contains(&format!("{left_out} idle plateau")),
                "{leak:?}"
            );
            assert_ne!(leak.verdict, LeakVerdict::Leak);
        } else {
            assert_eq!((leak.verdict, leak.plateaus.len()), (LeakVerdict::Clean, 11), "{leak:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_planted_leak_is_told_from_what_stays() {
    let (_, analysis) = run(true).await;
    let verdict = |wanted| {
        let leak = analysis.memory.leaks.iter().find(|leak| leak.quantity == wanted);
        leak.map(|leak| leak.verdict)
    };
    assert_eq!(verdict(MemoryQuantity::Device), Some(LeakVerdict::Leak));
    assert_ne!(verdict(MemoryQuantity::Rss), Some(LeakVerdict::Leak));
    let device = analysis.memory.returned.iter().filter(|r| r.quantity == MemoryQuantity::Device);
    assert!(device.filter(|returned| !returned.returned).count() >= 5);
}

#[tokio::test(start_paused = true)]
async fn spikes_and_failures_say_where_they_came_from() {
    let (report, analysis) = run(true).await;
    let spiky: Vec<_> =
        analysis.latency.cells.iter().filter(|cell| cell.spikes.count > 0).collect();
    let spikes = &spiky[0].spikes;
    let slow = spikes.longest.iter().find(|spike| spike.batch.map(|b| b.id) == Some(SLOW_BATCH));
    let slow = slow.expect("the slow batch is listed");
    assert_eq!(slow.stage, Some(Stage::Compute));
    assert!((slow.excess_ms.expect("told") - 1000.0).abs() < 60.0, "{slow:?}");
    assert_eq!(slow.in_batch, slow.batch.expect("told").sequences);
    // Nobody else computed for longer: those who waited for it did just that.
    let others = spikes.longest.iter().filter(|spike| spike.batch != slow.batch);
    assert!(others.clone().all(|spike| spike.stage == Some(Stage::Queue)), "{spikes:?}");
    let hottest = spiky[0].heat.windows.iter().flat_map(|window| &window.latency_ms);
    assert!(hottest.copied().fold(0.0, f64::max) > 1000.0);

    let failed: usize = analysis.failures.iter().map(|group| group.count).sum();
    let recorded = report.results.cells.iter().filter_map(|cell| cell.figures());
    assert_eq!(failed, recorded.map(|figures| figures.requests - figures.successes).sum::<usize>());
    for group in &analysis.failures {
        let spec = &report.results.cells[group.cell].spec;
        assert_eq!((group.kind, group.load.clone()), (FailureKind::Refused, spec.label()));
        assert_eq!((group.messages, group.example.as_str()), (1, "the queue is full"));
        assert!(group.first_at_ms <= group.last_at_ms && group.percent < 5.0, "{group:?}");
        assert!(Some(group.in_flight.1) <= spec.concurrency(), "{group:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn every_reading_of_memory_says_what_ran() {
    let (report, analysis) = run(false).await;
    for (cell, series) in report.results.cells.iter().zip(&analysis.memory.aligned) {
        assert_eq!((cell.index, cell.memory.len()), (series.cell, series.points.len()));
        let clients = cell.spec.concurrency().expect("closed");
        let busy = series.points.iter().filter(|point| point.requests_in_flight == clients).count();
        assert!(2 * busy > series.points.len(), "{clients} clients, {busy} of {series:?}");
        let batches = series.points.iter().filter_map(|point| point.batch_tokens);
        assert!(batches.max() <= Some(BATCH_TOKENS));
    }
}

#[tokio::test(start_paused = true)]
async fn scaling_is_over_the_plans_runs_as_published_figures_are() {
    let mut plan = Plan::matrix("over runs", &[64], &[1, 2]);
    plan.repeats = 3;
    // Later runs are slower.
    let law = |n: u64| (Duration::from_millis(20 + n / 50), alone(n));
    let options = RunOptions { corpus: corpus(), ..RunOptions::default() };
    let target = Arc::new(SimulatedTarget::new(law));
    let report =
        run_async(&plan, target, &PieceCounter, &options, &Silent).await.expect("a report");
    let results = &report.results;
    let drift = results.cells.iter().find(|cell| cell.repeats.is_some()).expect("the first again");
    let points = &results.analysis.scaling.lengths[0].points;
    assert_eq!((points.len(), results.published.len()), (2, 2));
    for (point, published) in points.iter().zip(&results.published) {
        assert_eq!(point.cells.len(), 3, "{point:?}");
        assert!(!point.cells.contains(&drift.index), "{point:?}");
        let mean = published.requests_per_second.expect("three runs").mean;
        assert!((point.requests_per_second / mean - 1.0).abs() < 1e-9, "{point:?} {mean}");
        let speedup = point.requests_per_second / points[0].requests_per_second;
        assert_eq!(point.efficiency, Some(speedup / point.concurrency as f64));
    }
}
