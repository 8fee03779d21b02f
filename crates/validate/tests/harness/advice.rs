//! Recommendations against a server whose latency is known, and the configuration made of them.

use std::sync::Arc;
use std::time::Duration;

use bigbatch_validate::figures::Status;
use bigbatch_validate::plan::{Arrival, Bar, Lengths, Load, Scenario};
use bigbatch_validate::recommend::{Goal, recommend, settings};
use bigbatch_validate::results::recommendation::{
    Recommendation, Setting, Support, Topic, Unit, Value,
};
use bigbatch_validate::stats::PercentileFigure;
use bigbatch_validate::system::{MemorySample, Prompt, Reply, ReplyFuture, Target, TargetInfo};
use bigbatch_validate::{Plan, Results, RunOptions, Silent, run_async};
use tokio::sync::Mutex;

use crate::reports::report;
use crate::simulated::{PieceCounter, corpus};

/// Long names of flags that a server has, with underscores.
const KEYS: [&str; 4] =
    ["max_batch_tokens", "memory_budget", "max_concurrent_requests", "auto_truncate"];

/// Answers one request at a time, each in 10 ms: with C clients every latency is C times that.
struct OneAtATime(Mutex<()>);

impl Target for OneAtATime {
    fn describe(&self) -> TargetInfo {
        TargetInfo { name: "a queue".into(), ..TargetInfo::default() }
    }

    fn send<'a>(&'a self, _: &'a Prompt) -> ReplyFuture<'a> {
        Box::pin(async {
            let _turn = self.0.lock().await;
            tokio::time::sleep(Duration::from_millis(10)).await;
            Ok(Reply::default())
        })
    }

    fn memory(&self) -> MemorySample {
        MemorySample::default()
    }
}

async fn queue(concurrency: &[usize], requests_per_client: usize) -> Results {
    queues(concurrency, requests_per_client, 1).await
}

async fn queues(concurrency: &[usize], requests_per_client: usize, repeats: usize) -> Results {
    let mut plan = Plan::matrix("queue", &[64], concurrency);
    plan.cell.requests_per_client = requests_per_client;
    (plan.repeats, plan.repeat_first) = (repeats, false);
    plan.bars = vec![Bar { latency_seconds_p95_max: Some(0.06), ..Bar::on(64, concurrency[0]) }];
    let options = RunOptions { corpus: corpus(), ..RunOptions::default() };
    let target = Arc::new(OneAtATime(Mutex::new(())));
    run_async(&plan, target, &PieceCounter, &options, &Silent).await.expect("it is set up").results
}

fn about(all: &[Recommendation], topic: Topic) -> &Recommendation {
    all.iter().find(|one| one.topic == topic).expect("every topic has an entry")
}

#[tokio::test(start_paused = true)]
async fn the_concurrency_limit_is_the_highest_measured_one_that_keeps_the_target() {
    let results = queue(&[1, 4, 10], 150).await;
    let advice = about(&results.recommendations, Topic::Concurrency);
    // 40 ms at C = 4, 100 ms at C = 10, a target of 60 ms.
    assert_eq!(advice.support, Support::Shown, "{advice:?}");
    let figure = advice.figure.as_ref().expect("a limit");
    assert_eq!((figure.value, figure.interval.high), (4.0, Some(10.0)), "{advice:?}");
    assert_eq!((figure.unit, figure.basis.as_str()), (Unit::Requests, "within run"));
    let limit = figure.value as u64;
    let comment = &advice.settings[0].comment;
    assert_eq!(
        advice.settings,
        [Setting {
            key: "max_concurrent_requests".into(),
            value: Value::Number(limit),
            comment: comment.clone()
        }]
    );
}

#[tokio::test(start_paused = true)]
async fn nothing_is_advised_beyond_what_was_measured() {
    let results = queue(&[1, 4], 150).await;
    let advice = about(&results.recommendations, Topic::Concurrency);
    assert_eq!(
        (advice.support, advice.figure.as_ref().map(|f| f.value)),
        (Support::Partly, Some(4.0))
    );
    assert!(
        advice.missing.as_ref().is_some_and(|missing| missing.contains("Add a higher concurrency"))
    );

    let advice_for = |ms| recommend(&results, Goal { p95_target_ms: Some(ms) });
    let too_soon = advice_for(5.0);
    let advice = about(&too_soon, Topic::Concurrency);
    assert_eq!((advice.support, advice.figure.is_none()), (Support::Shown, true));
    assert!(advice.advice.starts_with("No measured concurrency keeps"), "{advice:?}");
    assert!(
        too_soon.iter().flat_map(|one| &one.settings).all(|s| s.key != "max_concurrent_requests")
    );
}

#[tokio::test(start_paused = true)]
async fn what_the_data_does_not_support_says_what_is_missing() {
    // Twenty rounds cannot bound a p95, and this target tells neither batches nor memory.
    let results = queue(&[5], 20).await;
    for topic in [Topic::Concurrency, Topic::MemoryBudget, Topic::Replicas, Topic::Cleanup] {
        let advice = about(&results.recommendations, topic);
        assert_eq!(
            (advice.support, advice.missing.is_some()),
            (Support::Missing, true),
            "{advice:?}"
        );
        assert!(advice.settings.is_empty(), "{advice:?}");
    }
    assert!(settings::toml(&results).contains("supports no setting"));
}

#[tokio::test(start_paused = true)]
async fn the_configuration_is_toml_with_known_keys_and_evidence() {
    let hostile = "x\nmax_batch_tokens = 1\n\"\"\"\r\u{7f}[[y]]";
    let mut results = report(hostile, hostile).await.results;
    results.recommendations[0].settings.push(Setting {
        key: "max_concurrent_requests".into(),
        value: Value::Number(7),
        comment: hostile.into(),
    });
    let text = settings::toml(&results);
    let table: toml::Table = text.parse().unwrap_or_else(|fault| panic!("{fault}: {text}"));
    assert!(table.len() >= 2, "{text}");
    for (key, value) in &table {
        assert!(KEYS.contains(&key.as_str()), "{key}");
        assert_ne!(value.as_integer(), Some(1), "nothing that a target says is a setting: {text}");
    }
    assert_eq!(table["max_concurrent_requests"].as_integer(), Some(7));
    if let Some(budget) = table.get("memory_budget") {
        let budget = budget.as_str().expect("a size");
        bigbatch_engine::units::parse_bytes(budget).expect("what --memory-budget takes");
    }
    let settings = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    assert_eq!(settings.count(), table.len(), "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_sample_that_is_too_small_sets_no_limit() {
    // A hundred rounds of one client bound a p95, twenty of five clients don't.
    let results = queue(&[1, 5], 20).await;
    let advice = about(&results.recommendations, Topic::Concurrency);
    assert_eq!(advice.support, Support::Partly, "{advice:?}");
    assert!(advice.advice.starts_with("1 in flight is shown"), "{advice:?}");
    assert!(advice.settings.is_empty(), "a server isn't throttled for want of data: {advice:?}");
    assert_eq!(about(&results.recommendations, Topic::Replicas).support, Support::Missing);
}

#[tokio::test(start_paused = true)]
async fn one_run_never_stands_for_the_others() {
    let mut results = queues(&[1, 4], 150, 2).await;
    let advice = recommend(&results, Goal::default());
    assert_eq!(about(&advice, Topic::Concurrency).support, Support::Partly, "the premise");
    let last = results.cells.iter_mut().rfind(|cell| cell.spec.concurrency() == Some(1));
    let Status::Run { figures } = &mut last.expect("a second run").status else { panic!("run") };
    figures.latency_over_all.p95.shown = PercentileFigure::AtLeast { ms: 10.0, level: 0.9 };
    let advice = recommend(&results, Goal::default());
    let advice = about(&advice, Topic::Concurrency);
    assert_eq!((advice.support, advice.figure.as_ref()), (Support::Missing, None), "{advice:?}");
    assert!(
        advice.evidence[0].starts_with("p95 over all requests: not shown at C = 1"),
        "{advice:?}"
    );
}

/// 20 ms for 64 tokens, but 40 ms for every twentieth; other lengths now and then take a second.
struct Tailed(std::sync::atomic::AtomicU64);

impl Target for Tailed {
    fn describe(&self) -> TargetInfo {
        TargetInfo::default()
    }

    fn send<'a>(&'a self, prompt: &'a Prompt) -> ReplyFuture<'a> {
        let n = self.0.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        let ms = match (prompt.tokens(), n % 20) {
            (64, 19) => 40,
            (64, _) => 20,
            (_, 19) => 1000,
            _ => 20,
        };
        Box::pin(async move {
            tokio::time::sleep(Duration::from_millis(ms)).await;
            Ok(Reply::default())
        })
    }

    fn memory(&self) -> MemorySample {
        MemorySample::default()
    }
}

async fn tail_advice(change: impl FnOnce(&mut Plan)) -> Recommendation {
    let mut plan = Plan::matrix("tails", &[64], &[1]);
    (plan.cell.requests_min, plan.repeat_first) = (1200, false);
    change(&mut plan);
    let options = RunOptions { corpus: corpus(), ..RunOptions::default() };
    let target = Arc::new(Tailed(Default::default()));
    let report = run_async(&plan, target, &PieceCounter, &options, &Silent).await;
    about(&report.expect("it is set up").results.recommendations, Topic::TailLatency).clone()
}

#[tokio::test(start_paused = true)]
async fn advice_on_the_tail_says_what_the_verdicts_say() {
    let nothing = |limit: &str| {
        format!(
            "The tail needs no action: p99 stays within {limit} times the median in every cell."
        )
    };
    assert_eq!(tail_advice(|_| ()).await.advice, nothing("3"), "p99 is twice the median");
    // The plan's limits come first: a bar's own, then that over the whole run.
    let own = |limit| Bar { tail_ratio_max: Some(limit), ..Bar::on(64, 1) };
    let advice = tail_advice(|plan| plan.overall.tail_ratio_max = Some(2.5)).await;
    assert_eq!(advice.advice, nothing("2.5"));
    let advice = tail_advice(|plan| plan.overall.tail_ratio_max = Some(1.5)).await;
    assert!(advice.advice.starts_with("p99 / p50 exceeds its limit"), "{advice:?}");
    let advice = tail_advice(|plan| plan.bars = vec![own(1.5)]).await;
    assert!(advice.advice.starts_with("p99 / p50 exceeds its limit"), "{advice:?}");
    let advice = tail_advice(|plan| {
        (plan.overall.tail_ratio_max, plan.bars) = (Some(1.5), vec![own(2.5)]);
    });
    assert_eq!(advice.await.advice, nothing("2.5"));
    // A ramp has no ratio to limit, however long its tail.
    let ramp = |plan: &mut Plan| {
        plan.scenarios = vec![Scenario {
            name: "rising".into(),
            lengths: Lengths::Fixed(128),
            load: Load::Ramp {
                from_per_second: 50.0,
                to_per_second: 100.0,
                seconds: 20.0,
                arrival: Arrival::Constant,
                latency_seconds_p95_max: None,
                failure_rate_max: 0.01,
            },
        }];
    };
    assert_eq!(tail_advice(ramp).await.advice, nothing("3"));
    // Eight clients have 150 rounds, too few for a p99, though one has the larger ratio.
    let advice = tail_advice(|plan| plan.concurrency = vec![1, 8]).await;
    assert_eq!(advice.support, Support::Partly, "{advice:?}");
    assert!(advice.missing.is_some_and(|missing| missing.contains("a p99 needs 400 rounds")));
}
