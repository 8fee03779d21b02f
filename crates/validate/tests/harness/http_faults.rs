//! Faulty targets. Faults under load are recorded by their kind, the run continues, and no request is lost.
//! Faults that no load can change are errors of one line before any load. Neither keys nor markup from the
//! target reach a report.

use std::path::PathBuf;

use bigbatch_validate::Report;
use bigbatch_validate::load::Phase;
use bigbatch_validate::report::{self, OutputDir};
use bigbatch_validate::system::http::{Api, HttpVersion, Secrets};
use bigbatch_validate::system::{FailureKind, HttpOptions, HttpTarget, TargetInfo};

use crate::http::{figures, mock, plan, run};
use crate::mock::{Dialect, Fault, MockOptions, MockServer, SCRIPT};

async fn connect(server: &MockServer) -> HttpTarget {
    let target = HttpTarget::connect(&HttpOptions::new(server.url())).await;
    target.unwrap_or_else(|error| panic!("{error}"))
}

async fn error(options: &HttpOptions) -> String {
    let error = HttpTarget::connect(options).await.err().expect("refused").to_string();
    assert_eq!(error.lines().count(), 1, "{error}");
    error
}

/// Checks that every request has a record, except those cancelled at the end.
fn assert_nothing_lost(report: &Report) {
    let counts = |phase: Phase| phase != Phase::CoolDown;
    let kept = report.requests.iter().filter(|record| counts(record.phase));
    let ordinals: Vec<u64> = kept.map(|record| record.ordinal).collect();
    let expected: Vec<u64> = (0..ordinals.len() as u64).collect();
    assert_eq!(ordinals, expected, "no gap");
    let figures = figures(report);
    let measured = report.requests.iter().filter(|record| record.phase == Phase::Measured).count();
    assert_eq!(measured, figures.requests);
    assert_eq!(figures.failures.values().sum::<usize>(), figures.requests - figures.successes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn each_misbehaviour_is_recorded_as_what_it_is_and_the_run_goes_on() {
    use FailureKind::{
        BadReply, OutOfMemory, Refused, Server, TooLong, Transport, WrongTokenCount,
    };
    for (fault, kind, says) in [
        (Fault::Error500, Server, "HTTP 500: <html>"),
        (Fault::OutOfMemory, OutOfMemory, "HTTP 424: DriverError(CUDA_ERROR_OUT_OF_MEMORY"),
        (Fault::Overloaded, Refused, "HTTP 429: Model is overloaded"),
        (Fault::TooLong, TooLong, "must have less than 16 tokens"),
        (Fault::Malformed, BadReply, "EOF while parsing"),
        (Fault::OtherShape, BadReply, "at line 1"),
        (Fault::OtherType, BadReply, "content type is not JSON"),
        (Fault::WrongTokens, WrongTokenCount, "counted 33 tokens, the prompt has 32"),
        (Fault::HalfClosed, Transport, ""),
    ] {
        for dialect in [Dialect::TeiEmbed, Dialect::VllmClassify] {
            let what = format!("{fault:?} of {dialect:?}");
            let server = MockServer::start(mock(dialect).fault(fault, 4));
            let target = connect(&server).await;
            let before = server.posts();
            let report = run(&plan(1), target).await;
            assert_nothing_lost(&report);
            let figures = figures(&report);
            let failed: Vec<_> = report.requests.iter().filter(|r| !r.succeeded()).collect();
            assert_eq!(failed.len() as u64, server.faults(), "{what}");
            assert!(failed.len() >= 7 && figures.successes >= 20, "{what}: the run went on");
            assert_eq!(server.posts() - before, report.requests.len() as u64, "{what}: none twice");
            for record in failed {
                let message = record.message.as_deref().unwrap_or_default();
                assert_eq!(record.failure, Some(kind), "{what}: {message}");
                assert!(message.contains(says), "{what}: {message}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn targets_that_never_finish_run_into_the_timeout() {
    for fault in [Fault::Hang, Fault::Trickle] {
        let server = MockServer::start(mock(Dialect::OpenAi).fault(fault, 5));
        let target = connect(&server).await;
        let mut plan = plan(4);
        plan.cell.request_timeout_seconds = 0.1;
        let report = run(&plan, target).await;
        assert_nothing_lost(&report);
        let figures = figures(&report);
        let timed_out = figures.failures.get(&FailureKind::Timeout).copied().unwrap_or(0);
        assert!(timed_out >= 5, "{fault:?}: {:?}", figures.failures);
        assert_eq!(figures.failures.len(), 1, "{fault:?}: {:?}", figures.failures);
        assert!(figures.successes >= 15, "{fault:?}: the run went on");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_target_that_dies_is_a_transport_failure_each_time() {
    let server = MockServer::start(mock(Dialect::TeiEmbed));
    let target = connect(&server).await;
    drop(server);
    let report = run(&plan(3), target).await;
    assert_nothing_lost(&report);
    let figures = figures(&report);
    assert_eq!(figures.failures.get(&FailureKind::Transport), Some(&figures.requests));
    let message = report.requests[0].message.as_deref().expect("a failure");
    assert!(message.contains("refused"), "{message}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn what_no_load_can_change_is_one_line_before_any() {
    let nobody = HttpOptions::new(MockServer::nobody());
    let says = error(&nobody).await;
    assert!(
        says.starts_with("cannot reach http://127.0.0.1:") && says.contains("refused"),
        "{says}"
    );

    let nothing = MockServer::start(mock(Dialect::Nothing));
    let says = error(&HttpOptions::new(nothing.url())).await;
    assert!(says.contains("/info: 404, /v1/models: 404") && says.contains("--api tei"), "{says}");

    let server = MockServer::start(mock(Dialect::TeiEmbed));
    for (api, path) in [(Api::OpenAi, "/v1/embeddings"), (Api::Vllm, "/classify")] {
        let says = error(&HttpOptions { api, ..HttpOptions::new(server.url()) }).await;
        let expected = format!("POST {}{path} was answered with 404: Not Found", server.url());
        assert!(says.starts_with(&expected) && says.contains("--endpoint"), "{says}");
    }
    assert_eq!(server.posts(), 0, "nothing was measured");
    let elsewhere = Some("rerank".to_owned());
    let says = error(&HttpOptions { endpoint: elsewhere, ..HttpOptions::new(server.url()) }).await;
    assert!(says.starts_with("rerank is no endpoint") && says.contains("/predict"), "{says}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_slow_or_sick_target_is_measured_all_the_same() {
    for fault in [Fault::Error500, Fault::Malformed, Fault::HalfClosed, Fault::Overloaded] {
        let server = MockServer::start(mock(Dialect::OpenAi).fault(fault, 1));
        let report = run(&plan(2), connect(&server).await).await;
        assert_nothing_lost(&report);
        assert_eq!(figures(&report).successes, 0, "{fault:?}");
        let first = &report.results.target.details["first_request"];
        assert_ne!(first, "answered", "{fault:?}: the report says so");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_metrics_page_that_cannot_be_read_is_one_line_before_any_load() {
    let page = |text: &str| MockOptions { metrics: Some(text.into()), ..mock(Dialect::TeiEmbed) };
    let none = MockServer::start(mock(Dialect::TeiEmbed));
    let html = MockServer::start(page("<html><body>It works!</body></html>"));
    for (metrics, reason) in [
        (format!("{}/metrics", none.url()), "HTTP 404: Not Found"),
        (MockServer::nobody(), "refused"),
        (format!("{}/metrics", html.url()), "it is not in Prometheus' text format"),
    ] {
        let metrics_url = Some(metrics.clone());
        let says = error(&HttpOptions { metrics_url, ..HttpOptions::new(none.url()) }).await;
        let expected = format!("cannot read the metrics page {metrics}: ");
        assert!(says.starts_with(&expected) && says.contains(reason), "{says}");
        assert!(says.contains("--metrics-url"), "{says}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_metrics_page_without_a_known_metric_is_named_in_the_report() {
    let page = MockOptions { metrics: Some("te_queue_size 4\n".into()), ..mock(Dialect::TeiEmbed) };
    let server = MockServer::start(page);
    let metrics_url = Some(format!("{}/metrics", server.url()));
    let options = HttpOptions { metrics_url, ..HttpOptions::new(server.url()) };
    let target = HttpTarget::connect(&options).await.unwrap_or_else(|error| panic!("{error}"));
    let fault = target.metrics_fault().expect("it has none");
    assert!(fault.contains("/metrics has none of the metrics that are read"), "{fault}");
    let report = run(&plan(2), target).await;
    assert_eq!(report.results.target.details.get(TargetInfo::MEMORY_FAULT), Some(&fault));
    let advice = &report.results.recommendations;
    let missing: Vec<&str> = advice.iter().filter_map(|one| one.missing.as_deref()).collect();
    assert!(missing.iter().any(|missing| missing.contains(&fault)), "{missing:?}");
    assert!(
        !missing.iter().any(|missing| missing.contains("does not report its memory")),
        "{missing:?}"
    );
}

/// A temporary directory, removed when dropped.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!("bigbatch-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("the temporary directory is writable");
        Scratch(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Left over at worst in the temporary directory.
        std::fs::remove_dir_all(&self.0).ok();
    }
}

/// Returns every file that a run writes.
fn written(report: &Report, scratch: &Scratch) -> Vec<(String, String)> {
    let output = OutputDir::create(&scratch.0).expect("writable");
    report::write_reports(report, &output).expect("written");
    let files = std::fs::read_dir(&scratch.0).expect("it is there").flatten();
    let mut all: Vec<_> = files
        .map(|file| {
            let bytes = std::fs::read(file.path()).expect("readable");
            (file.path().display().to_string(), String::from_utf8_lossy(&bytes).into_owned())
        })
        .collect();
    all.push(("the summary".into(), report::text::render(&report.results)));
    all.push(("the records".into(), format!("{:?}", report.requests)));
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn keys_are_sent_and_never_seen_again() {
    let scratch = Scratch::new("keys");
    let key_file = scratch.0.join("key");
    std::fs::write(&key_file, "sk-verysecretkey\n").expect("writable");
    let server = MockServer::start(MockOptions {
        key: Some("sk-verysecretkey".into()),
        model: "repeats sk-verysecretkey".into(),
        ..mock(Dialect::TeiEmbed).fault(Fault::Echo, 2)
    });
    let mut options = HttpOptions::new(server.url());
    options.secrets = Secrets::from_headers(&["X-Tenant: tenantsecret".into()]).expect("fine");
    options.api_key_file = Some(key_file.clone());
    let target = HttpTarget::connect(&options).await.unwrap_or_else(|error| panic!("{error}"));
    let found = target.summary().to_owned();
    let report = run(&plan(2), target).await;
    std::fs::remove_file(&key_file).expect("it is there");
    let mut all = written(&report, &scratch);
    all.push(("what was found".into(), found));
    all.push(("the options".into(), format!("{options:?}")));

    // A wrong key is repeated by the server.
    let other = format!("http://bob:passwordsecret@127.0.0.1:{}/?token=querysecret", server.port());
    all.push(("a refusal".into(), error(&HttpOptions::new(other)).await));
    assert!(all.last().expect("pushed").1.contains("was refused with 401"), "{:?}", all.last());
    let echoed = report.requests.iter().filter(|record| !record.succeeded());
    let messages: Vec<_> = echoed.filter_map(|record| record.message.as_deref()).collect();
    assert!(messages.iter().all(|m| m.contains("[hidden]")), "the server repeated: {messages:?}");
    for (place, text) in &all {
        for secret in ["verysecret", "tenantsecret", "passwordsecret", "querysecret", "Ym9iOn"] {
            assert!(!text.contains(secret), "{secret} in {place}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn markup_of_a_target_reaches_no_report_as_markup() {
    let scratch = Scratch::new("script");
    let server = MockServer::start(MockOptions {
        model: SCRIPT.into(),
        ..mock(Dialect::TeiEmbed).fault(Fault::Script, 3)
    });
    let report = run(&plan(2), connect(&server).await).await;
    assert!(figures(&report).failures.contains_key(&FailureKind::Server));
    assert_eq!(report.results.target.model, SCRIPT);
    let messages = report.requests.iter().filter_map(|record| record.message.as_deref());
    assert!(messages.clone().count() > 0);
    assert!(messages.clone().all(|m| !m.chars().any(char::is_control)), "no escape sequences");
    for (place, text) in written(&report, &scratch) {
        if place.ends_with(".html") || place.ends_with(".md") {
            assert!(!text.contains(SCRIPT), "{place}");
            assert!(text.contains("alert("), "{place} shows it, escaped");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn http2_asked_of_a_server_without_it_ends_in_words() {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a port is free");
    let port = listener.local_addr().expect("bound").port();
    // Ends with the process.
    std::thread::spawn(move || {
        use std::io::{Read, Write};
        for stream in listener.incoming().flatten() {
            let mut stream = stream;
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
        }
    });
    for api in [Api::Auto, Api::Tei, Api::OpenAi] {
        let url = format!("http://127.0.0.1:{port}");
        let options = HttpOptions { api, version: HttpVersion::Http2, ..HttpOptions::new(url) };
        let says = error(&options).await;
        assert!(says.contains("HTTP/2") && says.contains("--http 1"), "{says}");
    }
}
