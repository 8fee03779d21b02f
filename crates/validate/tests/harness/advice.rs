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
use bigbatch_validate::system::{
    MemorySample, Prompt, Reply, ReplyFuture, Target, TargetInfo, Terms,
};
use bigbatch_validate::verdict::Outcome;
use bigbatch_validate::{Plan, Results, RunOptions, Silent, run_async};
use tokio::sync::Mutex;

use crate::reports::report;
use crate::simulated::{PieceCounter, corpus};

/// Long names of flags that a server has, with underscores.
const KEYS: [&str; 5] =
    ["for_model", "max_batch_tokens", "memory_budget", "max_concurrent_requests", "auto_truncate"];

/// Answers one request at a time, each in 10 ms: with C clients every latency is C times that.
struct OneAtATime(Mutex<()>);

impl Target for OneAtATime {
    fn describe(&self) -> TargetInfo {
        TargetInfo { name: "a queue".into(), ..TargetInfo::default() }
    }

    fn send<'a>(&'a self, _: &'a Prompt, _: Terms) -> ReplyFuture<'a> {
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
    let model = table["for_model"].as_str().expect("a name");
    assert!(!model.contains('\n'), "{model}");
    if let Some(budget) = table.get("memory_budget") {
        let budget = budget.as_str().expect("a size");
        bigbatch_engine::units::parse_bytes(budget).expect("what --memory-budget takes");
    }
    let settings = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    assert_eq!(settings.count(), table.len(), "{text}");
}

/// `python/deploy/run` checks the snapshot against the chart's schema and renders the chart with it.
#[tokio::test(start_paused = true)]
async fn the_values_of_the_chart_are_what_they_were() {
    let hostile = "x\noptions: {api_key: y}\n---\u{2028}# z\u{85}";
    let mut results = report(hostile, "embedded:pii").await.results;
    results.target.model_shape = "a \"quoted\" \\ é: 512 tokens".into();
    results.target.device = "cuda:0, a card".into();
    let advise = |support, settings: &[(&str, Value)]| {
        let setting = |(key, value): &(&str, Value)| {
            let (key, comment) = ((*key).to_owned(), format!("Why: {hostile}."));
            Setting { key, value: value.clone(), comment }
        };
        Recommendation {
            topic: Topic::MemoryBudget,
            tokens: None,
            support,
            advice: "Set what the load used.".into(),
            figure: None,
            evidence: Vec::new(),
            missing: (support == Support::Partly).then(|| "Measure more.".into()),
            settings: settings.iter().map(setting).collect(),
        }
    };
    results.recommendations = vec![
        advise(Support::Shown, &[("memory_budget", Value::Text("1216MiB".into()))]),
        advise(Support::Missing, &[]),
        advise(Support::Partly, &[("max_concurrent_requests", Value::Number(64))]),
        advise(
            Support::Shown,
            &[("max_batch_tokens", Value::Number(2048)), ("auto_truncate", Value::Switch(false))],
        ),
    ];
    insta::assert_snapshot!(settings::chart_values(&results));
    results.recommendations.clear();
    let nothing = settings::chart_values(&results);
    assert!(
        nothing.ends_with("supports no setting; report.html names what is missing.\noptions: {}\n"),
        "{nothing}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_sample_that_is_too_small_sets_no_limit() {
    // A hundred rounds of one client bound a p95, twenty of five clients don't.
    let results = queue(&[1, 5], 20).await;
    let advice = about(&results.recommendations, Topic::Concurrency);
    assert_eq!(advice.support, Support::Partly, "{advice:?}");
    assert!(advice.advice.starts_with("1 in flight is shown"), "{advice:?}");
    assert!(advice.settings.is_empty(), "a server isn't throttled for want of data: {advice:?}");
    let tail = about(&results.recommendations, Topic::TailLatency);
    let bound = "The largest p99 / p50 relative to its limit is ≥ 1.00";
    assert!(tail.evidence[0].starts_with(bound), "{tail:?}");
    assert!(
        tail.evidence[0].ends_with("the limit is 3, which is built in: the plan sets none."),
        "{tail:?}"
    );
    assert_eq!(about(&results.recommendations, Topic::Replicas).support, Support::Missing);
}

#[tokio::test(start_paused = true)]
async fn one_run_never_stands_for_the_others() {
    let mut results = queues(&[1, 4], 150, 2).await;
    let advice = recommend(&results, Goal::default());
    assert_eq!(about(&advice, Topic::Concurrency).support, Support::Partly, "the premise");
    let last = results.cells.iter_mut().rfind(|cell| cell.spec.concurrency() == Some(1));
    let Status::Run { figures } = &mut last.expect("a second run").status else { panic!("run") };
    figures.latency.p95.shown = PercentileFigure::AtLeast { ms: 10.0, level: 0.9 };
    let advice = recommend(&results, Goal::default());
    let advice = about(&advice, Topic::Concurrency);
    assert_eq!((advice.support, advice.figure.as_ref()), (Support::Missing, None), "{advice:?}");
    assert!(advice.evidence[0].starts_with("p95 latency: not shown at C = 1"), "{advice:?}");
}

/// 20 ms for 64 tokens, but 40 ms for every twentieth; other lengths now and then take a second.
struct Tailed(std::sync::atomic::AtomicU64);

impl Target for Tailed {
    fn describe(&self) -> TargetInfo {
        TargetInfo::default()
    }

    fn send<'a>(&'a self, prompt: &'a Prompt, _: Terms) -> ReplyFuture<'a> {
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
    let built_in = nothing("3").replace(
        "every cell",
        "every cell (3 is built in, for cells that the plan does not limit)",
    );
    assert_eq!(tail_advice(|_| ()).await.advice, built_in, "p99 is twice the median");
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
        plan.scenarios = vec![Scenario::new(
            "rising",
            Lengths::Fixed(128),
            Load::Ramp {
                from_per_second: 50.0,
                to_per_second: 100.0,
                seconds: 20.0,
                arrival: Arrival::Constant,
                latency_seconds_p95_max: None,
                failure_rate_max: 0.01,
            },
        )];
    };
    assert_eq!(tail_advice(ramp).await.advice, built_in);
    // Eight clients have 150 rounds, too few for a p99, though one has the larger ratio.
    let advice = tail_advice(|plan| plan.concurrency = vec![1, 8]).await;
    assert_eq!(advice.support, Support::Partly, "{advice:?}");
    assert!(advice.missing.is_some_and(|missing| missing.contains("a p99 needs 400 rounds")));
}

/// The plan of a queue of 10 ms per request, with a limit on the p95 of each concurrency that has one.
async fn with_limits(concurrency: &[usize], limits: &[Option<f64>]) -> Results {
    let mut plan = Plan::matrix("queue", &[64], concurrency);
    (plan.cell.requests_per_client, plan.repeat_first) = (120, false);
    let bar = |(&clients, &limit): (&usize, &Option<f64>)| {
        let success_rate_min = Some(0.9);
        let latency_seconds_p95_max = Some(limit?);
        Some(Bar { success_rate_min, latency_seconds_p95_max, ..Bar::on(64, clients) })
    };
    plan.bars = concurrency.iter().zip(limits).filter_map(bar).collect();
    let options = RunOptions { corpus: corpus(), ..RunOptions::default() };
    let target = Arc::new(OneAtATime(Mutex::new(())));
    run_async(&plan, target, &PieceCounter, &options, &Silent).await.expect("it is set up").results
}

#[tokio::test(start_paused = true)]
async fn a_concurrency_that_passes_its_own_limit_is_advised() {
    // 10 ms at C = 1 and 100 ms at C = 10: each within its own limit, the second beyond that of the first.
    let results = with_limits(&[1, 10], &[Some(0.02), Some(0.15)]).await;
    assert_eq!(results.conclusion.passed, 4, "{:?}", results.verdicts);
    let advice = about(&results.recommendations, Topic::Concurrency);
    assert_eq!(advice.figure.as_ref().map(|figure| figure.value), Some(10.0), "{advice:?}");
}

#[tokio::test(start_paused = true)]
async fn advice_is_never_below_what_the_verdicts_pass_without_saying_why() {
    let (concurrency, mut random) = ([1, 3, 6, 10], fastrand::Rng::with_seed(14));
    for _ in 0..40 {
        let choices = [None, Some(0.005), Some(0.025), Some(0.05), Some(0.08), Some(0.3)];
        let limits: Vec<Option<f64>> =
            concurrency.map(|_| random.choice(choices).flatten()).to_vec();
        let results = with_limits(&concurrency, &limits).await;
        let passes = |clients: usize| {
            let mut own = results.verdicts.iter().filter(|verdict| {
                verdict.spec.as_ref().and_then(|spec| spec.concurrency()) == Some(clients)
            });
            let passed =
                |verdict: &bigbatch_validate::verdict::Verdict| verdict.outcome == Outcome::Pass;
            let first = own.next();
            first.is_some_and(passed) && own.all(passed)
        };
        let Some(&passed) = concurrency.iter().rfind(|&&clients| passes(clients)) else { continue };
        let advice = about(&results.recommendations, Topic::Concurrency);
        let advised = advice.figure.as_ref().map_or(0.0, |figure| figure.value);
        let said = format!("{} {:?} {:?}", advice.advice, advice.evidence, advice.missing);
        let says_why = said.contains(&format!("C = {passed} keeps its own limits"));
        assert!(advised >= passed as f64 || says_why, "{limits:?}: {said}");
        // And never one whose own limit is missed.
        let missed = results.verdicts.iter().filter(|verdict| verdict.outcome == Outcome::Fail);
        let missed = missed.filter_map(|verdict| verdict.spec.as_ref()?.concurrency());
        assert!(missed.min().is_none_or(|clients| advised < clients as f64), "{limits:?}: {said}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_memory_budget_is_never_below_what_the_longest_input_needs() {
    let mut results = report("plan", "target").await.results;
    let budget = |results: &Results| {
        let all = recommend(results, Goal::default());
        let advice = about(&all, Topic::MemoryBudget).clone();
        let value = advice.settings.first().map(|setting| setting.value.clone());
        let Some(Value::Text(text)) = value else { return (advice, None) };
        (advice, Some(bigbatch_engine::units::parse_bytes(&text).expect("a size")))
    };
    results.target.memory_budget_bytes = Some(4 << 30);
    results.target.longest_input_budget_bytes = Some(100 << 20);
    let (_, of_load) = budget(&results);
    let of_load = of_load.expect("the load is known");
    results.target.longest_input_budget_bytes = Some(3 << 30);
    let (advice, of_longest) = budget(&results);
    assert!(of_load < 3 << 30 && of_longest == Some(3 << 30), "{of_load} {of_longest:?}");
    assert!(advice.advice.contains("the longest, need 3.00 GiB"), "{advice:?}");
    results.target.longest_input_budget_bytes = None;
    let (advice, unknown) = budget(&results);
    assert_eq!((unknown, advice.support), (None, Support::Partly), "no setting: {advice:?}");
}

#[tokio::test(start_paused = true)]
async fn percentages_are_what_the_figures_make() {
    let mut results = report("plan", "target").await.results;
    results.target.longest_input_budget_bytes = Some(1 << 20);
    results.target.memory_budget_bytes = Some(8 << 30);
    for cell in &mut results.cells {
        for point in &mut cell.memory {
            (point.sample.rss_bytes, point.sample.device_used_bytes) = (Some(148 << 20), None);
        }
    }
    let all = recommend(&results, Goal::default());
    let advice = about(&all, Topic::MemoryBudget);
    assert!(
        advice.advice.starts_with("Set the memory budget to 192 MiB instead of 8.00 GiB: the measured load used at most 148 MiB"),
        "{advice:?}"
    );
    assert!(!advice.advice.contains('%'), "{advice:?}");
    let comment = &advice.settings[0].comment;
    assert!(comment.contains("148 MiB, and this is at least 29.7 % more"), "192 / 148: {comment}");
}
