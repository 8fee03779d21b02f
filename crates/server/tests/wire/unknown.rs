//! Fields that an endpoint does not have, by `--unknown-fields`.

use bigbatch_engine::InitHead;
use bigbatch_server::{App, Models, Options, UnknownFieldPolicy};
use serde_json::{Value, json};

use crate::common::{get_from, labels, post_to, served};

fn app(unknown_fields: UnknownFieldPolicy) -> std::sync::Arc<App> {
    let models = vec![
        served("embed", InitHead::MaskedLm, 512),
        served("rank", InitHead::Sequence(labels(&["LABEL_0"])), 512),
    ];
    App::new(Models::new(models).unwrap(), Options { unknown_fields, ..Options::default() })
}

/// Requests with one unknown field, and its name.
fn requests() -> Vec<(&'static str, Value, &'static str)> {
    vec![
        ("/embed", json!({"inputs": "a", "normalise": false}), "normalise"),
        ("/v1/embeddings", json!({"input": "a", "dimension": 5}), "dimension"),
        ("/", json!({"inputs": "a", "normalise": false}), "normalise"),
        ("/", json!({"inputs": "a", "parameters": {"normalise": 1}}), "parameters.normalise"),
        (
            "/",
            json!({"inputs": {"source_sentence": "a", "sentences": ["b"], "sentence": "c"}}),
            "inputs.sentence",
        ),
        (
            "/similarity",
            json!({"inputs": {"source_sentence": "a", "sentences": ["b"], "c": {"d": 1}}}),
            "inputs.c",
        ),
        (
            "/models/rank/v1/rerank",
            json!({"query": "q", "documents": ["a", {"text": "b", "title": "c"}]}),
            "documents[].title",
        ),
    ]
}

#[tokio::test]
async fn they_are_refused_by_name() {
    let app = app(UnknownFieldPolicy::Refuse);
    for (path, body, name) in requests() {
        let reply = post_to(&app, path, body.to_string()).await;
        let status = if path.contains("/v1/") { 400 } else { 422 };
        assert_eq!(reply.status, status, "{path} {body}: {}", reply.text);
        assert!(reply.text.contains(&format!("unknown field `{name}`")), "{}", reply.text);
    }
    // In the dialect of the body.
    let body = json!({"query": "q", "documents": ["a"], "top": 1, "model": "rank"});
    let reply = post_to(&app, "/rerank", body.to_string()).await;
    assert!(reply.status == 400 && reply.json()["error"]["message"].is_string(), "{}", reply.text);
    // A long name is not sent back whole.
    let long = format!(r#"{{"inputs": "a", "{}": 1}}"#, "x".repeat(10_000));
    let reply = post_to(&app, "/embed", long).await;
    assert!(reply.status == 422 && reply.text.len() < 300, "{}", reply.text);
}

#[tokio::test]
async fn they_are_counted_by_route_and_change_nothing() {
    for policy in [UnknownFieldPolicy::Ignore, UnknownFieldPolicy::Warn] {
        let app = app(policy);
        for (path, body, _) in requests() {
            let reply = post_to(&app, path, body.to_string()).await;
            assert_eq!(reply.status, 200, "{path} {body}: {}", reply.text);
        }
        post_to(&app, "/embed", r#"{"inputs": "a", "b": 1, "c": 2, "b": 3}"#).await;
        post_to(&app, "/tokenize", r#"{"inputs": "a"}"#).await;
        let page = get_from(&app, "/metrics").await.text;
        for (route, count) in
            [("/embed", 4), ("/", 3), ("/models/{name}/v1/rerank", 1), ("/tokenize", 0)]
        {
            let line = format!(
                "bigbatch_unknown_fields_total{{method=\"POST\",route=\"{route}\"}} {count}\n"
            );
            assert!(page.contains(&line), "{line}{page}");
        }
    }
}
