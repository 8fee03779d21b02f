//! The Grafana dashboard queries only metrics that the server exports.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::support::{Server, Setup, served, status};

const DASHBOARD: &str = include_str!("../../../../deploy/grafana/bigbatch.json");

fn is_metric(word: &&str) -> bool {
    word.starts_with("te_") || word.starts_with("bigbatch_")
}

/// Metric names in all queries below a value.
fn asked(value: &Value, names: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                match value.as_str() {
                    Some(text) if key == "expr" || key == "query" || key == "definition" => {
                        let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
                        names.extend(words.filter(is_metric).map(str::to_owned));
                    }
                    _ => asked(value, names),
                }
            }
        }
        Value::Array(values) => values.iter().for_each(|value| asked(value, names)),
        _ => {}
    }
}

#[test]
fn every_metric_of_the_dashboard_is_exported() {
    let server = Server::start(vec![served("a")], Setup::default());
    assert_eq!(status(&server.embed(r#"{"inputs":"hello"}"#, "")), 200);
    let page = server.get("/metrics");
    let exported: BTreeSet<&str> =
        page.lines().filter_map(|line| line.split(['{', ' ']).next()).filter(is_metric).collect();
    let dashboard: Value = serde_json::from_str(DASHBOARD).expect("the dashboard is JSON");
    let mut names = BTreeSet::new();
    asked(&dashboard, &mut names);
    assert!(names.len() >= 15, "the queries were found: {names:?}");
    // Memory of a device is exported where there is one.
    let here = |name: &&String| name.as_str() != "bigbatch_device_memory_bytes";
    let missing: Vec<&String> =
        names.iter().filter(here).filter(|name| !exported.contains(name.as_str())).collect();
    assert!(missing.is_empty(), "{missing:?} of {exported:?}");
}

#[test]
fn the_page_is_prometheus_text() {
    let server = Server::start(vec![served("a \"quoted\" name")], Setup::default());
    assert_eq!(status(&server.embed(r#"{"inputs":["hello","there"]}"#, "")), 200);
    // None of these makes a model compute.
    server.get("/");
    server.exchange(b"POST /nothing HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    server.exchange(b"BREW /embed HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    let answer = server.get("/metrics");
    let page = answer.split("\r\n\r\n").nth(1).expect("a body");
    for line in page.lines().filter(|line| !line.starts_with('#')) {
        let (name, value) = line.rsplit_once(' ').expect("a name and a value");
        assert!(value.parse::<f64>().is_ok(), "{line}");
        let bare = name.split('{').next().unwrap_or_default();
        let family = ["_bucket", "_sum", "_count"].iter().find_map(|end| bare.strip_suffix(end));
        let typed = |name: &str| page.contains(&format!("# TYPE {name} "));
        assert!(typed(bare) || family.is_some_and(typed), "{line}");
    }
    for expected in [
        "te_request_count 1\n",
        "te_request_success 1\n",
        "te_embed_count 2\n",
        "te_embed_success 2\n",
        "te_predict_count 0\n",
        "te_request_input_length_count 2\n",
        "bigbatch_requests_total{method=\"POST\",route=\"/embed\",outcome=\"ok\"} 1\n",
        "bigbatch_requests_total{method=\"GET\",route=\"/\",outcome=\"ok\"} 1\n",
        "bigbatch_requests_total{method=\"other\",route=\"/embed\",outcome=\"refused\"} 1\n",
        "bigbatch_inputs_total{model=\"a \\\"quoted\\\" name\"} 2\n",
    ] {
        assert!(page.contains(expected), "{expected} in {page}");
    }
}
