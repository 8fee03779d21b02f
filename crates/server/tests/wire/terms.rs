//! `timeout_ms` and `priority`, and the headers for them: where they are read, and which values are refused.

use std::fmt::Write;

use axum::body::Body;
use axum::http::Request;
use bigbatch_engine::InitHead;
use bigbatch_server::{App, Models, Options, UnknownFieldPolicy};
use serde_json::{Value, json};

use crate::common::{app, exchange, get, post, post_to, send, served, transcript};
use crate::nulls::{properties, requests};

/// Routes that run no model.
const WITHOUT: [&str; 3] = ["/tokenize", "/decode", "/detokenize"];

fn url(path: &str, model: &str) -> String {
    if model.is_empty() {
        path.to_owned()
    } else {
        format!("{model}{}", path.trim_end_matches('/'))
    }
}

/// Sends a body with headers.
async fn with_headers(path: &str, body: &Value, headers: &[(&str, &str)]) -> crate::common::Reply {
    let request = Request::post(path).header("content-type", "application/json");
    let request =
        headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    send(&app(), request.body(Body::from(body.to_string())).unwrap()).await
}

#[tokio::test]
async fn every_route_that_runs_a_model_takes_them_and_documents_them() {
    let document = get("/openapi.json").await.json();
    for (path, model, body) in requests() {
        let operation = &document["paths"][path]["post"];
        let mut fields = Vec::new();
        let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
        properties(&document, schema, "", &mut fields);
        let documented = ["/timeout_ms", "/priority"].map(|name| fields.iter().any(|f| f == name));
        assert_eq!(documented, [!WITHOUT.contains(&path); 2], "{path}: {fields:?}");
        let headers = operation["parameters"].as_array().map(|parameters| parameters.len());
        assert_eq!(headers, Some(2), "{path}");
        for (timeout, priority) in [
            (json!(60_000), json!("batch")),
            (json!(86_400_000), json!(7)),
            (json!(100_000_000 / 2), json!(-3)),
            (json!(null), json!("interactive")),
        ] {
            let mut body = body.clone();
            body["timeout_ms"] = timeout;
            body["priority"] = priority;
            let headers = [("x-request-timeout-ms", "60000"), ("x-priority", "batch")];
            let reply = with_headers(&url(path, model), &body, &headers).await;
            assert_eq!(reply.status, 200, "{path} {body}: {}", reply.text);
        }
    }
}

#[tokio::test]
async fn where_they_are_not_read_they_are_unknown() {
    let options = Options { unknown_fields: UnknownFieldPolicy::Refuse, ..Options::default() };
    let models = Models::new(vec![served("m", InitHead::MaskedLm, 512)]).unwrap();
    let app = App::new(models, options);
    for (path, _, body) in requests().into_iter().filter(|(path, ..)| WITHOUT.contains(path)) {
        for name in ["timeout_ms", "priority"] {
            let mut body = body.clone();
            body[name] = json!(1000);
            let reply = post_to(&app, path, body.to_string()).await;
            let refused = matches!(reply.status, 400 | 422)
                && reply.text.contains(&format!("unknown field `{name}`"));
            assert!(refused, "{path}: {} {}", reply.status, reply.text);
        }
    }
}

#[tokio::test]
async fn in_parameters_they_are_refused() {
    for (field, value) in [("timeout_ms", json!(1)), ("priority", json!("batch"))] {
        let reply = post("/", &json!({"inputs": "a", "parameters": {field: value}})).await;
        assert_eq!(reply.status, 422, "{}", reply.text);
        assert!(
            reply.text.contains(&format!("`parameters.{field}` is not read there")),
            "{}",
            reply.text
        );
    }
}

/// A list would be read as the fields in the order of their declaration.
#[tokio::test]
async fn a_list_is_no_body() {
    for (body, status) in [("[]", 422), ("[\"a\", null]", 422), (" [1,", 400)] {
        let reply = post_to(&app(), "/embed", body.to_owned()).await;
        assert_eq!(reply.status, status, "{body}: {}", reply.text);
    }
}

#[tokio::test]
async fn bad_values_are_refused_as_each_dialect_refuses() {
    let mut requests: Vec<(&str, Value)> = Vec::new();
    for timeout in [json!(0), json!(-5), json!(1.5), json!("soon"), json!(86_400_001), json!([1])] {
        requests.push(("/embed", json!({"inputs": "a", "timeout_ms": timeout})));
    }
    for priority in [json!("urgent"), json!(0.5), json!(true), json!(u64::MAX)] {
        requests.push(("/v1/embeddings", json!({"input": "a", "priority": priority})));
    }
    for (path, body) in [
        ("/models/rank/score", json!({"queries": "a", "documents": "b"})),
        ("/v2/embed", json!({"texts": ["a"]})),
        ("/", json!({"inputs": "a"})),
        ("/models/pii/tag", json!({"inputs": "a"})),
        ("/v1/analyze", json!({"text": "a"})),
    ] {
        for (name, value) in [("timeout_ms", json!(0)), ("priority", json!("low"))] {
            let mut body = body.clone();
            body[name] = value;
            requests.push((path, body));
        }
    }
    insta::assert_snapshot!(transcript(&requests).await);
}

#[tokio::test]
async fn bad_headers_are_refused_as_each_dialect_refuses() {
    let mut written = String::new();
    for (path, body) in
        [("/embed", json!({"inputs": "a"})), ("/v1/embeddings", json!({"input": "a"}))]
    {
        for headers in [
            &[("x-request-timeout-ms", "0")][..],
            &[("x-request-timeout-ms", "-1")],
            &[("x-request-timeout-ms", "1s")],
            &[("x-request-timeout-ms", "99999999999999999999")],
            &[("x-request-timeout-ms", "5"), ("x-request-timeout-ms", "6")],
            &[("x-priority", "low")],
            &[("x-priority", "")],
        ] {
            let reply = with_headers(path, &body, headers).await;
            let mut title = format!("POST {path}");
            headers.iter().for_each(|(name, value)| write!(title, " {name}: {value}").unwrap());
            written += &exchange(&title, &reply);
        }
    }
    insta::assert_snapshot!(written);
}
