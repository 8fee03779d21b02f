//! Targets behind a URL, against a mock server on the loopback interface and on a real clock: each dialect
//! without faults, its detection, and the sources of memory readings.

use std::sync::Arc;

use bigbatch_validate::figures::Figures;
use bigbatch_validate::plan::{Lengths, Load, Scenario};
use bigbatch_validate::system::http::{Api, HttpVersion, Secrets};
use bigbatch_validate::system::{HttpOptions, HttpTarget, Priority, Target, TokenCounter};
use bigbatch_validate::{Plan, Report, RunOptions, Silent, run_async};

use crate::mock::{Dialect, LONGEST, MODEL, MockOptions, MockServer};
use crate::simulated::{PieceCounter, corpus};

pub(crate) const TOKENS: usize = 32;

/// A mock that counts as [`PieceCounter`] does.
pub(crate) fn mock(dialect: Dialect) -> MockOptions {
    MockOptions::new(dialect).counting(|text| PieceCounter.count(text))
}

/// One small cell.
pub(crate) fn plan(concurrency: usize) -> Plan {
    let mut plan = Plan::matrix("over http", &[TOKENS], &[concurrency]);
    plan.repeat_first = false;
    (plan.cell.requests_min, plan.cell.requests_per_client, plan.cell.batches_min) = (30, 1, 0);
    plan.cell.failure_pause_seconds = 0.0;
    plan
}

pub(crate) async fn run(plan: &Plan, target: HttpTarget) -> Report {
    let options = RunOptions { corpus: corpus(), ..RunOptions::default() };
    run_async(plan, Arc::new(target), &PieceCounter, &options, &Silent)
        .await
        .expect("the run is set up")
}

pub(crate) fn figures(report: &Report) -> &Figures {
    let cell = &report.results.cells[0];
    cell.figures().unwrap_or_else(|| panic!("was run: {:?}", cell.status))
}

async fn connect(options: &HttpOptions) -> HttpTarget {
    HttpTarget::connect(options).await.unwrap_or_else(|error| panic!("{error}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn each_dialect_is_recognised_and_answers() {
    for (dialect, endpoint, api, software) in [
        (Dialect::TeiEmbed, "/embed", Api::Tei, "text-embeddings-inference"),
        (Dialect::TeiPredict, "/predict", Api::Tei, "text-embeddings-inference"),
        (Dialect::OpenAi, "/v1/embeddings", Api::OpenAi, "OpenAI"),
        (Dialect::Infinity, "/embeddings", Api::OpenAi, "OpenAI"),
        (Dialect::VllmEmbed, "/v1/embeddings", Api::OpenAi, "vLLM"),
        (Dialect::VllmClassify, "/classify", Api::Vllm, "vLLM"),
        (Dialect::VllmPooling, "/pooling", Api::Vllm, "vLLM"),
    ] {
        let server = MockServer::start(mock(dialect));
        let target = connect(&HttpOptions::new(server.url())).await;
        let found = target.summary().to_owned();
        assert!(found.ends_with(&format!("measuring POST {endpoint}")), "{dialect:?}: {found}");
        assert!(found.contains(software) && found.contains(MODEL), "{dialect:?}: {found}");
        let info = target.describe();
        assert_eq!((info.name, info.model.as_str()), (server.url(), MODEL), "{dialect:?}");
        assert_eq!(info.details["api"], format!("{api}, POST {endpoint}"));
        assert_eq!(info.details["first_request"], "answered", "{dialect:?}");
        assert_eq!(info.details["token_counts"], "checked against each reply", "{dialect:?}");
        assert_eq!(info.details["http"], "HTTP/1.1");
        let task = info.details.get("task").map(String::as_str);
        assert_eq!(task, (endpoint == "/pooling").then_some("token_classify"), "{dialect:?}");

        let report = run(&plan(3), target).await;
        let figures = figures(&report);
        assert_eq!((figures.successes, &figures.failures), (figures.requests, &[].into()));
        assert!(figures.requests >= 30, "{dialect:?}");
        assert!(report.requests.iter().all(|record| record.stages.is_some()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn what_the_user_names_is_believed() {
    for (dialect, api, endpoint, expected) in [
        (Dialect::TeiPredict, Api::Tei, Some("predict"), "/predict"),
        (Dialect::TeiPredict, Api::Auto, Some("/predict"), "/predict"),
        (Dialect::TeiEmbed, Api::Tei, None, "/embed"),
        (Dialect::OpenAi, Api::OpenAi, None, "/v1/embeddings"),
        (Dialect::Infinity, Api::OpenAi, None, "/embeddings"),
        (Dialect::Infinity, Api::OpenAi, Some("embeddings"), "/embeddings"),
        (Dialect::VllmPooling, Api::Vllm, Some("pooling"), "/pooling"),
        (Dialect::VllmPooling, Api::Vllm, None, "/pooling"),
    ] {
        let server = MockServer::start(mock(dialect));
        let mut options = HttpOptions::new(server.url());
        (options.api, options.endpoint) = (api, endpoint.map(str::to_owned));
        options.model = Some("mine".into());
        let target = connect(&options).await;
        assert!(target.summary().ends_with(&format!("POST {expected}")), "{}", target.summary());
        assert_eq!(target.describe().model, "mine");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn what_the_target_tells_is_in_the_report() {
    let server = MockServer::start(MockOptions { batch_headers: true, ..mock(Dialect::TeiEmbed) });
    let target = connect(&HttpOptions::new(format!("{}/", server.url()))).await;
    let info = target.describe();
    assert_eq!((info.version.as_str(), info.dtype.as_str()), ("1.9.3", "float16"));
    assert_eq!((info.max_sequence_tokens, info.max_batch_tokens), (Some(LONGEST), Some(16384)));
    let mut plan = plan(2);
    plan.tokens.push(LONGEST * 2);
    let report = run(&plan, target).await;
    let not_run = report.results.cells.iter().filter(|cell| cell.figures().is_none()).count();
    assert_eq!(not_run, 1, "longer than the target takes");
    let record = report.requests.iter().find(|record| record.succeeded()).expect("one");
    let (stages, batch) = (record.stages.expect("told"), record.batch.expect("told"));
    assert!(stages.total_us > 0 && stages.total_us <= record.latency_us(), "{stages:?}");
    assert_eq!((batch.sequences, batch.tokens), (1, TOKENS));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn http2_with_prior_knowledge() {
    let server = MockServer::start(mock(Dialect::OpenAi));
    let mut options = HttpOptions::new(server.url());
    options.version = HttpVersion::Http2;
    let target = connect(&options).await;
    assert_eq!(target.describe().details["http"], "HTTP/2");
    let report = run(&plan(8), target).await;
    let figures = figures(&report);
    assert_eq!(figures.successes, figures.requests, "{:?}", figures.failures);
}

const PAGE: &str = "process_resident_memory_bytes 1.5e6\n\
    bigbatch_arena_capacity_bytes 4000\nbigbatch_arena_used_bytes 1000\n\
    bigbatch_arena_high_water_bytes 2000\nbigbatch_arena_largest_free_bytes 2500\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn memory_comes_from_the_metrics_page_and_keys_stay_with_the_target() {
    let with_page = |dialect| MockOptions { metrics: Some(PAGE.into()), ..mock(dialect) };
    let server = MockServer::start(with_page(Dialect::TeiEmbed));
    let elsewhere = MockServer::start(with_page(Dialect::Nothing));
    for page_of in [&server, &elsewhere] {
        let mut options = HttpOptions::new(server.url());
        options.secrets = Secrets::from_headers(&["X-Key: sesame99".into()]).expect("a header");
        options.metrics_url = Some(format!("{}/metrics", page_of.url()));
        options.metrics_interval = std::time::Duration::from_millis(2);
        let report = run(&plan(2), connect(&options).await).await;
        let last = report.results.cells[0].memory.last().expect("a reading").sample;
        assert_eq!(last.rss_bytes, Some(1_500_000));
        assert_eq!(last.arena.map(|arena| arena.largest_free_bytes), Some(2500));
        let keys = page_of.metrics_seen().iter().filter(|seen| seen.contains_key("x-key")).count();
        assert_eq!(keys > 0, page_of.port() == server.port(), "sent to its own origin only");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn an_idle_reading_asks_for_the_page_anew() {
    let options = MockOptions { metrics: Some(PAGE.into()), ..mock(Dialect::TeiEmbed) };
    let server = MockServer::start(options);
    let mut options = HttpOptions::new(server.url());
    options.metrics_url = Some(format!("{}/metrics", server.url()));
    options.metrics_interval = std::time::Duration::from_secs(3600);
    let target = connect(&options).await;
    let before = server.metrics_seen().len();
    for asked in 1..=3 {
        assert_eq!(target.memory_now().await.rss_bytes, Some(1_500_000));
        assert!(server.metrics_seen().len() >= before + asked);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn memory_comes_from_the_process_of_a_target_on_this_machine() {
    let server = MockServer::start(mock(Dialect::TeiEmbed));
    let mut options = HttpOptions::new(server.url());
    options.pid = Some(std::process::id());
    let target = connect(&options).await;
    assert!(target.memory().rss_bytes.is_some_and(|bytes| bytes > 1 << 20));
    options.pid = Some(u32::MAX);
    let error = HttpTarget::connect(&options).await.err().expect("refused").to_string();
    assert!(error.contains("no process 4294967295"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn terms_are_headers_that_another_server_ignores() {
    let server = MockServer::start(mock(Dialect::TeiEmbed));
    let mut plan = plan(2);
    (plan.tokens, plan.concurrency) = (vec![], vec![]);
    plan.scenarios =
        vec![Scenario::new("terms", Lengths::Fixed(TOKENS), Load::Closed { concurrency: 2 })];
    let class = &mut plan.scenarios[0].classes[0];
    (class.priority, class.timeout_ms) = (Some(Priority::Batch), Some(30_000));
    let probed = server.posts();
    let target = connect(&HttpOptions::new(server.url())).await;
    let report = run(&plan, target).await;
    assert_eq!(figures(&report).failures, [].into());
    let seen = server.posts_seen();
    let of = |name: &str| -> Vec<&str> {
        seen.iter().filter_map(|headers| headers.get(name)?.to_str().ok()).collect()
    };
    let (priority, timeout) = (of("x-priority"), of("x-request-timeout-ms"));
    assert!(priority.len() >= 30 && priority.iter().all(|&value| value == "batch"));
    assert!(seen.len() > priority.len() && probed == 0, "the short text states none");
    let ms: Vec<u64> = timeout.iter().map(|ms| ms.parse().expect("a number")).collect();
    assert_eq!(ms.len(), priority.len());
    assert!(ms.iter().all(|&ms| (1..=30_000).contains(&ms)), "{ms:?}");
    assert!(ms.iter().any(|&ms| ms > 29_000), "{ms:?}");
}
