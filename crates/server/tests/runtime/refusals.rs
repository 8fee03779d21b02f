//! What is refused, with which status and code, and in which order.

use std::sync::Arc;

use axum::body::Body;
use axum::http::Method;
use bigbatch_server::{App, Keys, Lifecycle, Models, Options, Phase, runtime};
use serde_json::{Value, json};

use crate::client::{app, get, model, post, post_to, send};

/// A request with all faults that come after a fault, so that the earliest decides.
#[tokio::test]
async fn the_first_fault_in_the_order_of_the_contract_decides() {
    let refused =
        async |body: &str| post_to(&app(), "/v1/classify", body.to_owned()).await.refusal();
    let table = [
        (r#"[1]"#, 400, "invalid_request"),
        (r#"{"more": 1, "model": "nobody", "options": 3}"#, 400, "invalid_request"),
        (r#"{"model": 3, "options": 3}"#, 400, "invalid_request"),
        (r#"{"model": "nobody", "options": 3, "input": 3}"#, 404, "model_not_found"),
        (r#"{"model": "embed", "options": 3, "input": 3}"#, 422, "unsupported_surface"),
        (
            r#"{"model": "intent", "options": {"profile": "fast"}, "input": 3}"#,
            400,
            "invalid_request",
        ),
    ];
    for (body, status, code) in table {
        assert_eq!(refused(body).await, (status, code.to_owned()), "{body}");
    }
    let message = |body: &'static str| async move {
        let reply = post_to(&app(), "/v1/classify", body).await;
        reply.json()["error"]["message"].as_str().unwrap_or_default().to_owned()
    };
    assert!(message(r#"{"more": 1, "model": "nobody"}"#).await.contains("unknown field `more`"));
    let options = r#"{"model": "intent", "options": {"more": 1}, "input": 3}"#;
    assert!(message(options).await.contains("`options`: unknown field `more`"));
    assert!(message(r#"{"model": "intent", "input": 3}"#).await.contains("`input`"));
}

#[tokio::test]
async fn options_are_checked_and_null_is_absence() {
    for (name, value) in [
        ("more", json!(1)),
        ("deadline_ms", json!(0)),
        ("deadline_ms", json!(-1)),
        ("deadline_ms", json!(true)),
        ("deadline_ms", json!("5")),
        ("profile", json!("fast")),
        ("profile", json!(1)),
        ("return_meta", json!(1)),
        ("overflow", json!("cut")),
        ("overflow", json!({"reject": null})),
        ("max_tokens", json!(0)),
        ("max_tokens", json!(257)),
        ("max_tokens", json!(12.5)),
        ("max_tokens", json!(-3)),
        ("window", json!([8, 2])),
        ("window", json!({"tokens": 1})),
        ("window", json!({"tokens": 8, "overlap": -1})),
        ("window", json!({"tokens": 8, "stride": 2})),
        ("window", json!({"overlap": 1})),
        ("threshold", json!(1.5)),
        ("threshold", json!(-0.1)),
        ("return_tokens", json!("yes")),
    ] {
        let mut options = json!({});
        options[name] = value.clone();
        let body = json!({"model": "intent", "input": "a", "options": options});
        let refusal = post("/v1/classify", &body).await.refusal();
        assert_eq!(refusal, (400, "invalid_request".into()), "{name} {value}");
        options[name] = Value::Null;
        let body = json!({"model": "intent", "input": "a", "head": null, "options": options});
        let reply = post("/v1/classify", &body).await;
        let expected = if name == "more" { 400 } else { 200 };
        assert_eq!(reply.status, expected, "{name}: {}", reply.text);
    }
    for options in [
        json!({"overflow": "window"}),
        json!({"overflow": "window", "window": {"tokens": 300}}),
        json!({"overflow": "window", "window": {"tokens": 20}, "max_tokens": 10}),
    ] {
        let body = json!({"model": "intent", "input": "a", "options": options});
        assert_eq!(post("/v1/classify", &body).await.refusal().0, 400, "{options}");
    }
    let body = json!({"model": "intent", "input": "a", "options": null, "head": "other"});
    assert_eq!(post("/v1/classify", &body).await.refusal().0, 400);
}

#[tokio::test]
async fn bodies_that_are_not_json_are_refused() {
    let bodies: [&[u8]; 7] = [
        b"",
        b"{",
        b"\xff",
        b"{\"input\": \"\xff\"}",
        b"nan",
        b"{} {}",
        br#"{"model": "intent", "input": "\ud83d"}"#,
    ];
    for body in bodies {
        for path in ["/v1/classify", "/v1/embeddings", "/v1/rerank", "/v1/bundle"] {
            let refusal = post_to(&app(), path, body.to_vec()).await.refusal();
            assert!(refusal.0 < 500 && refusal.1 != "overloaded", "{path} {body:?} {refusal:?}");
        }
        let refusal = post_to(&app(), "/v1/classify", body.to_vec()).await.refusal();
        assert_eq!(refusal, (400, "invalid_request".into()), "{body:?}");
    }
    let nested = format!("{{\"input\": {}1{}}}", "[".repeat(1000), "]".repeat(1000));
    assert_eq!(post_to(&app(), "/v1/classify", nested).await.refusal().0, 400);
}

#[tokio::test]
async fn a_body_may_have_8_mib() {
    let text = |bytes: usize| json!({"model": "intent", "input": "a".repeat(bytes)}).to_string();
    let fits = post_to(&app(), "/v1/classify", text((8 << 20) - 100)).await;
    assert_eq!(
        (fits.status, &fits.json()["results"][0]["error"]),
        (200, &json!("max_length_exceeded"))
    );
    let refusal = post_to(&app(), "/v1/classify", text(8 << 20)).await.refusal();
    assert_eq!(refusal, (413, "request_too_large".into()));
}

#[tokio::test]
async fn paths_and_methods_are_those_of_the_contract() {
    for path in ["/", "/embed", "/v1/models/intent", "/models/intent/v1/classify"] {
        assert_eq!(get(&app(), path).await.refusal(), (404, "invalid_request".into()), "{path}");
    }
    for (method, path) in
        [(Method::GET, "/v1/classify"), (Method::POST, "/v1/models"), (Method::POST, "/health")]
    {
        let reply = send(runtime::router(app(), true), method, path, Body::empty()).await;
        assert_eq!(reply.refusal(), (405, "invalid_request".into()), "{path}");
    }
}

#[tokio::test]
async fn decisions_are_a_surface_that_no_model_has() {
    let reply = post("/v1/decisions", &json!({"model": "intent"})).await;
    assert_eq!(reply.refusal(), (422, "unsupported_surface".into()));
}

#[tokio::test]
async fn a_model_has_one_name_also_where_it_is_alone() {
    let app = App::new(Models::new(vec![model("intent")]).unwrap(), Options::default());
    let classify = async |body: Value| post_to(&app, "/v1/classify", body.to_string()).await;
    assert_eq!(classify(json!({"input": "a"})).await.status, 200);
    assert_eq!(classify(json!({"input": "a", "model": "intent"})).await.status, 200);
    let other = classify(json!({"input": "a", "model": "gpt"})).await;
    assert_eq!(other.refusal(), (404, "model_not_found".into()));
    // Of several, one has to be named.
    let unnamed = post("/v1/classify", &json!({"input": "a"})).await;
    assert_eq!(unnamed.refusal(), (400, "invalid_request".into()));
}

#[tokio::test]
async fn a_key_is_asked_for_where_the_listener_says_so_and_never_for_health() {
    let (life, keys) = (Arc::<Lifecycle>::default(), Keys::load(Some("secret"), None).unwrap());
    life.enter(Phase::Ready);
    let models = Models::new(vec![model("intent")]).unwrap();
    let app = App::with_guards(models, Options::default(), Arc::new(keys), life, Arc::default());
    let body = r#"{"input": "a"}"#;
    let status = async |asks: bool, method: Method, path: &str| {
        send(runtime::router(app.clone(), asks), method, path, body).await.status
    };
    assert_eq!(status(true, Method::POST, "/v1/classify").await, 401);
    assert_eq!(status(true, Method::GET, "/v1/models").await, 401);
    assert_eq!(status(true, Method::GET, "/health").await, 200);
    assert_eq!(status(false, Method::POST, "/v1/classify").await, 200);
    assert_eq!(status(false, Method::GET, "/v1/models").await, 200);
}

#[tokio::test]
async fn a_lost_device_and_a_closing_server_are_not_ready() {
    for phase in [Phase::Lost, Phase::Closing] {
        let life = Arc::<Lifecycle>::default();
        life.enter(phase);
        let models = Models::new(vec![model("intent")]).unwrap();
        let app =
            App::with_guards(models, Options::default(), Arc::default(), life, Arc::default());
        let reply = post_to(&app, "/v1/classify", r#"{"input": "a"}"#).await;
        assert_eq!(reply.refusal(), (503, "not_ready".into()));
    }
}
