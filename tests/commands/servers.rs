//! `validate --target URL` against a mock server: the report, and secrets that must not appear in it.

use bigbatch_engine::Tokenizer;
use bigbatch_validate::load::records::read_requests;
use serde_json::Value;

use crate::mock::{Dialect, Fault, MODEL, MockOptions, MockServer};
use crate::support::{RunOutput, Scratch, bigbatch, text};

const PLAN: &str = "name = \"served\"\ntokens = [24]\nconcurrency = [2]\nrepeat_first = false\n\
    [cell]\nrequests_min = 20\nrequests_per_client = 1\nbatches_min = 0\nfailure_pause_seconds = 0\n";

fn mock(dialect: Dialect) -> MockOptions {
    let checkpoint =
        bigbatch_models::resolve_tokenizer("embedded").expect("it is part of the program");
    let tokenizer = Tokenizer::open(&checkpoint).expect("reads");
    MockOptions::new(dialect).counting(move |text| tokenizer.count(text).unwrap_or(0))
}

#[test]
fn a_server_is_measured_through_each_api() {
    let scratch = Scratch::new();
    let plan = scratch.file("plan.toml", PLAN);
    for (dialect, options, endpoint) in [
        (Dialect::TeiEmbed, &[][..], "/embed"),
        (Dialect::OpenAi, &["--api", "openai", "--http", "2"], "/v1/embeddings"),
        (Dialect::VllmClassify, &["--api", "vllm", "--endpoint", "classify"], "/classify"),
    ] {
        let server = MockServer::start(mock(dialect));
        let (url, out) = (server.url(), scratch.path(&format!("{dialect:?}")));
        let args = ["validate", "--plan", text(&plan), "--out", text(&out), "--target", &url];
        let args = [&args[..], &["--tokenizer", "embedded"], options].concat();
        let RunOutput { code, stdout, stderr } = bigbatch(args).run();
        assert_eq!(code, Some(0), "{stdout}{stderr}");
        let found = format!("with {MODEL}; measuring POST {endpoint}");
        assert!(stderr.contains(&url) && stderr.contains(&found), "{stderr}");
        let json = std::fs::read(out.join("results.json")).expect("it was written");
        let results: Value = serde_json::from_slice(&json).expect("it is JSON");
        assert_eq!(results["target"]["name"], url.as_str());
        let judged = results["preflight"].as_array().expect("an array");
        let subjects: Vec<&str> = judged.iter().filter_map(|of| of["subject"].as_str()).collect();
        assert_eq!(
            subjects,
            ["open_files", "host_memory", "disk", "processor"],
            "the generator's side only"
        );
        let figures = &results["cells"][0]["status"]["figures"];
        assert_eq!(
            figures["successes"], figures["requests"],
            "every token count matched: {figures}"
        );
    }
}

#[test]
fn a_metrics_page_that_is_missing_stops_the_run_in_one_line() {
    let scratch = Scratch::new();
    let plan = scratch.file("plan.toml", PLAN);
    let server = MockServer::start(mock(Dialect::TeiEmbed));
    let (url, out) = (server.url(), scratch.path("out"));
    let metrics = format!("{url}/metrics");
    let args = ["validate", "--plan", text(&plan), "--out", text(&out), "--target", &url];
    let args = [&args[..], &["--tokenizer", "embedded", "--metrics-url", &metrics]].concat();
    let RunOutput { code, stdout, stderr } = bigbatch(args).run();
    assert_eq!((code, stdout.as_str()), (Some(2), ""), "{stderr}");
    assert!(
        stderr.contains(&format!("cannot read the metrics page {metrics}: HTTP 404")),
        "{stderr}"
    );
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
}

#[test]
fn secrets_of_the_command_line_are_in_no_output() {
    let scratch = Scratch::new();
    let plan = scratch.file("plan.toml", PLAN);
    let key = scratch.file("key", "sk-filesecret\n");
    let server = MockServer::start(MockOptions {
        key: Some("sk-filesecret".into()),
        ..mock(Dialect::TeiEmbed).fault(Fault::Echo, 2)
    });
    let out = scratch.path("out");
    let url = format!("{}/?token=querysecret", server.url());
    let RunOutput { code, stdout, stderr } = bigbatch([
        "validate",
        "--plan",
        text(&plan),
        "--out",
        text(&out),
        "--target",
        &url,
        "--tokenizer",
        "embedded",
        "--header",
        "X-Tenant: headersecret",
        "--api-key-file",
        text(&key),
    ])
    .run();
    assert_eq!(code, Some(0), "{stdout}{stderr}");
    assert!(server.faults() > 5, "the server echoed the secrets");
    let mut outputs = vec![("stdout".to_owned(), stdout), ("stderr".to_owned(), stderr)];
    for file in std::fs::read_dir(&out).expect("it was made").flatten() {
        let bytes = std::fs::read(file.path()).expect("readable");
        let name = file.path().display().to_string();
        if name.ends_with(".zst") {
            let records = read_requests(bytes.as_slice()).expect("records");
            outputs.push((name, format!("{records:?}")));
            continue;
        }
        outputs.push((name, String::from_utf8_lossy(&bytes).into_owned()));
    }
    let records = outputs.iter().find(|(name, _)| name.contains("requests")).expect("written");
    assert!(records.1.contains("[hidden]"), "echoed secrets are replaced");
    for (place, output) in outputs {
        for secret in ["filesecret", "headersecret", "querysecret"] {
            assert!(!output.contains(secret), "{secret} in {place}");
        }
    }
}
