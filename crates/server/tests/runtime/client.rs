//! A runtime over small random models, and a client that checks of each answer what a router's client checks.

use std::borrow::Cow;
use std::sync::{Arc, LazyLock};

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Method, Request};
use bigbatch_engine::{Dtype, Engine, EngineOptions, Init, InitHead, Model, Preset, RopeOverride};
use bigbatch_server::{App, Models, Options, ServedModel, router, runtime};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;

/// Maximum tokens per input, so that a text that is too long is still short.
pub(crate) const LIMIT: usize = 256;

pub(crate) const LABELS: [&str; 3] = ["billing", "travel", "code"];
pub(crate) const TAGS: [&str; 3] = ["O", "B-NAME", "I-NAME"];

fn served(name: &str, head: InitHead) -> ServedModel {
    let init = Init { preset: Preset::named("random").unwrap(), head, seed: 0, dtype: Dtype::F32 };
    let (tokenizer, config) = bigbatch_models::tokenizer_files();
    let checkpoint =
        init.checkpoint("test", Cow::Borrowed(tokenizer), Cow::Borrowed(config)).unwrap();
    let mut model = Model::load(&checkpoint, RopeOverride::Checkpoint).unwrap();
    if name == "embed" {
        model.prompts =
            serde_json::from_str(r#"{"prompts": {"query": "query: ", "other": "x"}}"#).unwrap();
    }
    let mut options = EngineOptions { tokenizer_threads: 2, ..EngineOptions::default() };
    options.device.max_batch_tokens = Some(LIMIT);
    options.device.threads = 1;
    ServedModel::new(name, format!("test/{name}"), Engine::start(model, &options).unwrap())
}

pub(crate) fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

pub(crate) fn model(name: &str) -> ServedModel {
    let head = match name {
        "embed" => InitHead::Base,
        "intent" => InitHead::Sequence(names(&LABELS)),
        "rank" => InitHead::Sequence(names(&["LABEL_0"])),
        _ => InitHead::Token(names(&TAGS)),
    };
    served(name, head)
}

/// One model of each kind.
pub(crate) fn app() -> Arc<App> {
    static APP: LazyLock<Arc<App>> = LazyLock::new(|| {
        let list = ["embed", "intent", "rank", "pii"].map(model).into();
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

    /// Returns the status and the code of a refusal.
    pub(crate) fn refusal(&self) -> (u16, String) {
        let error = &self.json()["error"];
        assert!(error["message"].as_str().is_some_and(|message| !message.is_empty()));
        assert_eq!(error.as_object().map(|error| error.len()), Some(2), "{error}");
        (self.status, error["code"].as_str().unwrap_or_default().to_owned())
    }
}

/// Sends a request as a router does: without a key.
pub(crate) async fn send(
    router: Router,
    method: Method,
    path: &str,
    body: impl Into<Body>,
) -> Reply {
    let request = Request::builder().method(method).uri(path).header("host", "model-runtime");
    let reply = exchange(router, request.body(body.into()).unwrap()).await;
    check_transport(path, &reply);
    reply
}

/// Posts to the usual port of the same server.
pub(crate) async fn post_to_usual(app: &Arc<App>, path: &str, body: &Value) -> Reply {
    let request =
        Request::post(path).header("host", "x").header("content-type", "application/json");
    exchange(router(app.clone()), request.body(body.to_string().into()).unwrap()).await
}

async fn exchange(router: Router, request: Request<Body>) -> Reply {
    let response = router.oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    Reply { status: parts.status.as_u16(), headers: parts.headers, text }
}

/// Checks what the generated client needs to decode a body, and the timing of the surfaces.
fn check_transport(path: &str, reply: &Reply) {
    let header = |name: &str| reply.headers.get(name).and_then(|value| value.to_str().ok());
    if !["/metrics", "/openapi.yaml"].contains(&path) {
        assert!(header("content-type").is_some_and(|kind| kind.contains("json")), "{path}");
    }
    if path.starts_with("/v1/") {
        let timing = header("server-timing").expect("answers and refusals have it");
        let entry = |entry: &str| {
            let (name, ms) = entry.split_once(";dur=").expect("each has a duration");
            (name.trim().to_owned(), ms.parse::<f64>().expect("a number of milliseconds"))
        };
        let entries: Vec<_> = timing.split(',').map(entry).collect();
        assert!(entries.iter().all(|(_, ms)| (0.0..86_400_000.0).contains(ms)), "{timing}");
        let total = entries
            .iter()
            .find(|(name, _)| name == "total")
            .expect("without it nothing is recorded");
        let parts: f64 = entries.iter().filter(|(name, _)| name != "total").map(|(_, ms)| ms).sum();
        assert!(parts <= total.1 + 0.01, "{timing}");
    }
}

pub(crate) async fn post_to(app: &Arc<App>, path: &str, body: impl Into<Body>) -> Reply {
    send(runtime::router(app.clone(), true), Method::POST, path, body).await
}

pub(crate) async fn post(path: &str, body: &Value) -> Reply {
    post_to(&app(), path, body.to_string()).await
}

pub(crate) async fn get(app: &Arc<App>, path: &str) -> Reply {
    send(runtime::router(app.clone(), true), Method::GET, path, Body::empty()).await
}

/// Sends a request that must succeed and returns its JSON.
pub(crate) async fn ok(path: &str, body: Value) -> Value {
    let reply = post(path, &body).await;
    assert_eq!(reply.status, 200, "{path} {body}: {}", reply.text);
    reply.json()
}

/// Classifies inputs, and checks that each has one result or error, in order.
pub(crate) async fn classify(model: &str, input: Value, options: Value) -> Vec<Value> {
    let count = input.as_array().map_or(1, Vec::len);
    let body = json!({"model": model, "input": input, "options": options});
    let answer = ok("/v1/classify", body).await;
    let results = answer["results"].as_array().expect("a list").clone();
    let indices: Vec<_> = results.iter().map(|result| result["index"].as_u64()).collect();
    assert_eq!(indices, (0..count as u64).map(Some).collect::<Vec<_>>());
    let labels = if model == "pii" { &TAGS } else { &LABELS };
    assert_eq!(answer["labels"], json!(labels));
    assert_eq!(answer["usage"]["output_tokens"], 0);
    for result in results.iter().filter(|result| result.get("error").is_some()) {
        assert_eq!(result.as_object().map(|result| result.len()), Some(2), "{result}");
    }
    results
}

pub(crate) fn floats(value: &Value) -> Vec<f32> {
    let numbers = value.as_array().unwrap_or_else(|| panic!("no list: {value}"));
    numbers.iter().map(|number| number.as_f64().expect("a number") as f32).collect()
}

/// Checks a distribution as the client does, as f32.
pub(crate) fn check_distribution(probabilities: &[f32]) {
    assert!(probabilities.iter().all(|p| (0.0..=1.0).contains(p)), "{probabilities:?}");
    let sum: f32 = probabilities.iter().sum();
    assert!((sum - 1.0).abs() <= 0.001, "{sum}");
}

/// Returns a text of more tokens than a model takes.
pub(crate) fn too_long() -> String {
    "Ada met Bob in London. ".repeat(80)
}
