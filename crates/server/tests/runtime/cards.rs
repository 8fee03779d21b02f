//! `/v1/models`, `/health`, `/metrics` and the document: what a router reads before it binds a model.

use std::sync::Arc;

use bigbatch_server::{App, Lifecycle, Models, Options, Phase};
use serde_json::{Value, json};

use crate::client::{LABELS, LIMIT, TAGS, app, get, model};

#[tokio::test]
async fn cards_have_what_bindings_need() {
    let list = get(&app(), "/v1/models").await.json();
    assert_eq!((&list["object"], &list["api_version"]), (&json!("list"), &json!("2.3.0")));
    assert_eq!(list["limits"], json!({"max_bundle_tasks": 64, "max_request_bytes": 8 << 20}));
    let cards = list["data"].as_array().expect("a list");
    let ids: Vec<_> = cards.iter().map(|card| card["id"].as_str().unwrap_or_default()).collect();
    assert_eq!(ids, ["embed", "intent", "rank", "pii"]);
    for card in cards {
        assert_eq!((&card["object"], &card["ready"]), (&json!("model"), &json!(true)));
        assert_eq!((&card["device"], &card["dtype"]), (&json!("cpu"), &json!("fp32")));
        assert_eq!(card["limits"]["max_input_tokens"], LIMIT);
        let most = if card["id"] == "rank" { 1024 } else { 2048 };
        assert_eq!(card["limits"]["max_inputs"], most);
    }
    let head = |card: &Value| card["heads"][0].clone();
    let (intent, pii) = (head(&cards[1]), head(&cards[3]));
    assert_eq!((&intent["kind"], &intent["labels"]), (&json!("sequence"), &json!(LABELS)));
    assert_eq!((&intent["reduction"], &intent["window"]), (&json!("max"), &Value::Null));
    assert_eq!((&pii["kind"], &pii["labels"]), (&json!("token"), &json!(TAGS)));
    assert_eq!((&pii["inputs"], &pii["reduction"]), (&json!(["text"]), &json!("span_union")));
    for (card, surface) in cards.iter().zip(["embeddings", "classify", "rerank", "classify"]) {
        assert_eq!(card["surfaces"], json!([surface]));
        assert_eq!(
            card["heads"].as_array().is_some_and(|heads| !heads.is_empty()),
            surface == "classify"
        );
        assert_eq!(card["embedding"].is_object(), surface == "embeddings");
        assert_eq!(card["rerank"].is_object(), surface == "rerank");
    }
}

#[tokio::test]
async fn health_lists_every_model_by_its_id() {
    let health = get(&app(), "/health").await;
    assert_eq!(health.status, 200);
    let body = health.json();
    assert_eq!((&body["api_version"], &body["status"]), (&json!("2.3.0"), &json!("ready")));
    assert_eq!(body["model"], Value::Null, "there are several");
    for id in ["embed", "intent", "rank", "pii"] {
        assert_eq!(body["models"][id], json!({"status": "ready", "reason": null}), "{id}");
    }
    let life = Arc::<Lifecycle>::default();
    life.enter(Phase::Draining);
    let models = Models::new(vec![model("intent")]).unwrap();
    let alone = App::with_guards(models, Options::default(), Arc::default(), life, Arc::default());
    let draining = get(&alone, "/health").await;
    let body = draining.json();
    assert_eq!(
        (draining.status, &body["status"], &body["model"]),
        (503, &json!("degraded"), &json!("intent"))
    );
    assert_eq!(body["models"]["intent"]["status"], "degraded");
    assert_eq!(
        get(&alone, "/health/live").await.json(),
        json!({"api_version": "2.3.0", "status": "alive"})
    );
}

#[tokio::test]
async fn metrics_and_the_document_are_there() {
    let metrics = get(&app(), "/metrics").await;
    assert!(metrics.text.contains("# TYPE bigbatch_"), "{}", metrics.text);
    let document = get(&app(), "/openapi.yaml").await;
    assert_eq!(document.status, 200);
    for path in [
        "/health",
        "/health/live",
        "/v1/models",
        "/v1/classify",
        "/v1/embeddings",
        "/v1/rerank",
        "/v1/bundle",
        "/metrics",
        "/openapi.yaml",
    ] {
        assert!(document.text.contains(&format!("\n  {path}:\n")), "{path}");
    }
}
