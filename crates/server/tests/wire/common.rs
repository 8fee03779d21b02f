//! An application over small models, and transcripts of requests and answers by their shape.

use std::borrow::Cow;
use std::fmt::Write;
use std::sync::{Arc, LazyLock};

use axum::body::Body;
use axum::http::{HeaderMap, Request};
use bigbatch_engine::{Dtype, Engine, EngineOptions, Init, InitHead, Model, Preset, RopeOverride};
use bigbatch_server::{App, Models, Options, ServedModel, router};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;

/// Maximum tokens per input here, so that a text that is too long is still short.
pub(crate) const LIMIT: usize = 256;

pub(crate) fn model(head: InitHead) -> Model {
    let init = Init { preset: Preset::named("random").unwrap(), head, seed: 0, dtype: Dtype::F32 };
    let (tokenizer, config) = bigbatch_models::tokenizer_files();
    let checkpoint =
        init.checkpoint("test", Cow::Borrowed(tokenizer), Cow::Borrowed(config)).unwrap();
    Model::load(&checkpoint, RopeOverride::Checkpoint).unwrap()
}

pub(crate) fn served(name: &str, head: InitHead, requests: usize) -> ServedModel {
    let mut model = model(head);
    if name == "embed" {
        model.prompts = serde_json::from_str(r#"{"prompts": {"query": "query: "}}"#).unwrap();
    }
    let mut options = EngineOptions {
        max_concurrent_requests: requests,
        tokenizer_threads: 1,
        ..EngineOptions::default()
    };
    options.device.max_batch_tokens = Some(LIMIT);
    options.device.threads = 1;
    ServedModel::new(name, format!("test/{name}"), Engine::start(model, &options).unwrap())
}

/// A preset that is a package with files of its own, under its name.
pub(crate) fn package(name: &str) -> ServedModel {
    let preset = Preset::named(name).unwrap();
    let head = preset.head().expect("packages have a head");
    let init = Init { preset, head, seed: 0, dtype: Dtype::F32 };
    let [tokenizer, config] = preset.tokenizer_files().expect("packages have a tokenizer");
    let checkpoint =
        init.checkpoint(name, Cow::Borrowed(tokenizer), Cow::Borrowed(config)).unwrap();
    let model = Model::load(&checkpoint, RopeOverride::Checkpoint).unwrap();
    let mut options = EngineOptions { tokenizer_threads: 1, ..EngineOptions::default() };
    options.device.threads = 1;
    ServedModel::new(name, name, Engine::start(model, &options).unwrap())
}

pub(crate) fn labels(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

/// One model of each kind; the first embeds and fills masks.
pub(crate) fn app() -> Arc<App> {
    static APP: LazyLock<Arc<App>> = LazyLock::new(|| {
        let list = vec![
            served("embed", InitHead::MaskedLm, 512),
            served("intent", InitHead::Sequence(labels(&["billing", "travel", "code"])), 512),
            served("rank", InitHead::Sequence(labels(&["LABEL_0"])), 512),
            served("pii", InitHead::Token(labels(&["O", "B-NAME", "I-NAME"])), 512),
        ];
        App::new(Models::new(list).unwrap(), Options::default())
    });
    APP.clone()
}

/// An answer.
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|e| panic!("{e}: {}", self.text))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

pub(crate) async fn send(app: &Arc<App>, mut request: Request<Body>) -> Reply {
    let host = axum::http::HeaderValue::from_static("x");
    request.headers_mut().entry(axum::http::header::HOST).or_insert(host);
    let response = router(app.clone()).oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    Reply { status: parts.status.as_u16(), headers: parts.headers, text }
}

pub(crate) async fn post_to(app: &Arc<App>, path: &str, body: impl Into<Body>) -> Reply {
    let request = Request::post(path).header("content-type", "application/json");
    send(app, request.body(body.into()).unwrap()).await
}

pub(crate) async fn post(path: &str, body: &Value) -> Reply {
    post_to(&app(), path, body.to_string()).await
}

pub(crate) async fn get_from(app: &Arc<App>, path: &str) -> Reply {
    send(app, Request::get(path).body(Body::empty()).unwrap()).await
}

pub(crate) async fn get(path: &str) -> Reply {
    get_from(&app(), path).await
}

/// Sends a request that must succeed and returns its JSON.
pub(crate) async fn ok(path: &str, body: Value) -> Value {
    let reply = post(path, &body).await;
    assert_eq!(reply.status, 200, "{path} {body}: {}", reply.text);
    reply.json()
}

/// Returns requests and answers as text: the status, some headers, and the shape of the body.
pub(crate) async fn transcript(exchanges: &[(&str, Value)]) -> String {
    let mut written = String::new();
    for (path, body) in exchanges {
        let reply = post(path, body).await;
        written += &exchange(&format!("POST {path} {}", shortened(body)), &reply);
    }
    written
}

/// Returns one exchange of a transcript.
pub(crate) fn exchange(request: &str, reply: &Reply) -> String {
    let mut written = format!("{request}\n{}", reply.status);
    for name in
        ["retry-after", "x-truncated", "x-chunks", "x-failed-inputs", "x-compute-tokens", "allow"]
    {
        if let Some(value) = reply.header(name) {
            write!(written, " {name}: {value}").unwrap();
        }
    }
    let body = serde_json::from_str(&reply.text).unwrap_or_else(|_| json!(reply.text));
    let body = serde_json::to_string_pretty(&shape(&body)).unwrap();
    format!("{written}\n{body}\n\n")
}

fn shortened(body: &Value) -> String {
    let text = body.to_string();
    if text.len() < 300 { text } else { format!("{}...", &text[..60]) }
}

/// Replaces what differs between machines or runs by placeholders: floats, ids, times.
pub(crate) fn shape(value: &Value) -> Value {
    match value {
        Value::Number(number) if number.is_f64() => json!("<float>"),
        Value::Array(items) if items.len() > 3 && items.iter().all(Value::is_f64) => {
            json!(format!("<{} floats>", items.len()))
        }
        Value::Array(items) if items.len() > 8 => {
            let first: Vec<Value> = items.iter().take(2).map(shape).collect();
            json!({ "count": items.len(), "first": first })
        }
        Value::Array(items) => items.iter().map(shape).collect(),
        Value::Object(fields) => {
            let field = |(key, value): (&String, &Value)| {
                let text = value.as_str().unwrap_or_default();
                let value = match key.as_str() {
                    "created" if value.is_u64() => json!("<seconds>"),
                    "id" if text.contains('-') => {
                        json!(format!("{}-<id>", text.split('-').next().unwrap()))
                    }
                    "device" => json!("<device>"),
                    "version" => json!("<version>"),
                    "embedding" | "data" if text.len() > 100 => {
                        json!(format!("<{} characters of base64>", text.len()))
                    }
                    _ => shape(value),
                };
                (key.clone(), value)
            };
            Value::Object(fields.iter().map(field).collect())
        }
        other => other.clone(),
    }
}

pub(crate) fn floats(value: &Value) -> Vec<f32> {
    let float = |x: &Value| x.as_f64().unwrap_or_else(|| panic!("no number: {x}")) as f32;
    value.as_array().expect("an array").iter().map(float).collect()
}

pub(crate) fn too_long() -> String {
    "word ".repeat(LIMIT + 50)
}
