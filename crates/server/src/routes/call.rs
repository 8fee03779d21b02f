//! One request to a model: the steps that every handler shares, before its own work and after it.
//!
//! Before: the body is read as JSON and the model is chosen. After: the answer gets its headers. The work
//! between is a handler's, in the file of its endpoint.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Json;
use axum::body::to_bytes;
use axum::extract::{FromRequestParts, MatchedPath, RawPathParams, Request};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};
use bigbatch_engine::{Input, Overlong, Task};
use serde::Serialize;

use crate::app::App;
use crate::error::Refusal;
use crate::jobs::{Job, Output, count_tokens};
use crate::models::ServedModel;
use crate::observe::OTHER;
use crate::options::UnknownFieldPolicy;
use crate::wire::Dialect;
use crate::wire::body::{self, UnknownFields};
use crate::wire::request::LengthFields;
use crate::wire::request::ModelRequest;
use crate::wire::vllm::{List, Usage};

/// The parameter of `/models/{name}/...` that names the model.
pub(super) const MODEL_PARAMETER: &str = "name";

/// A request whose body was read and whose model is known.
pub(crate) struct Call {
    pub(super) app: Arc<App>,
    /// The model that the path names, else the body, else the first.
    pub(super) served: Arc<ServedModel>,
    /// The body's fields on how inputs are tokenized and cut.
    pub(super) length: LengthFields,
    started: Instant,
}

/// Answers a request by a handler. A refusal is rendered in the dialect of the body where two dialects share
/// the path, else in the path's.
pub(super) async fn answer<T, F, Fut>(
    app: Arc<App>,
    request: Request,
    of_path: Dialect,
    handler: F,
) -> Response
where
    T: ModelRequest,
    F: Fn(Call, T) -> Fut,
    Fut: Future<Output = Result<Response, Refusal>>,
{
    let started = Instant::now();
    let Received { in_path, request, dialect, unknown, route } =
        match read::<T>(&app, request, of_path).await {
            Ok(received) => received,
            Err(refusal) => return of_path.render(&refusal),
        };
    let length = request.length();
    let chosen = check_unknown_fields(&app, &route, &unknown)
        .and_then(|()| app.models.get(in_path.as_deref().or(request.model())).cloned());
    let answer = match chosen {
        Ok(served) => handler(Call { app, served, length, started }, request).await,
        Err(refusal) => Err(refusal),
    };
    answer.unwrap_or_else(|refusal| dialect.render(&refusal))
}

/// A request whose body was read.
struct Received<T> {
    /// The model that the path names.
    in_path: Option<String>,
    request: T,
    /// The dialect of the body.
    dialect: Dialect,
    unknown: UnknownFields,
    /// The route's template.
    route: String,
}

async fn read<T: ModelRequest>(
    app: &Arc<App>,
    request: Request,
    of_path: Dialect,
) -> Result<Received<T>, Refusal> {
    let (mut parts, body) = request.into_parts();
    let parameters = RawPathParams::from_request_parts(&mut parts, app).await.ok();
    let in_path = parameters.and_then(|parameters| {
        let mut parameters = parameters.iter();
        parameters.find(|(name, _)| *name == MODEL_PARAMETER).map(|(_, value)| value.to_owned())
    });
    // The middleware has bounded the body; the framework's own limit is another.
    let body = to_bytes(body, usize::MAX).await;
    let body = body.map_err(|error| Refusal::Syntax(error.to_string()))?;
    if !is_json(&parts.headers) {
        return Err(Refusal::ContentType);
    }
    let (request, unknown) = body::parse::<T>(&body)?;
    let dialect = request.dialect(of_path)?;
    let route = parts.extensions.get::<MatchedPath>().map_or(OTHER, MatchedPath::as_str);
    Ok(Received { in_path, request, dialect, unknown, route: route.to_owned() })
}

/// Counts the fields that a request does not have, and logs or rejects them as `--unknown-fields` says.
fn check_unknown_fields(app: &App, route: &str, unknown: &UnknownFields) -> Result<(), Refusal> {
    let Some(first) = unknown.names.first() else { return Ok(()) };
    app.observe.record_unknown_fields(route, unknown.count);
    match app.options.unknown_fields {
        UnknownFieldPolicy::Ignore => Ok(()),
        UnknownFieldPolicy::Warn => {
            for name in &unknown.names {
                app.observe.log_unknown_field(route, name);
            }
            Ok(())
        }
        UnknownFieldPolicy::Refuse => Err(Refusal::Shape(format!(
            "unknown field `{first}`; leave it out, or start the server without --unknown-fields=refuse"
        ))),
    }
}

impl Call {
    /// Returns what happens to inputs that are too long.
    pub(super) fn overlong(&self) -> Result<Overlong, Refusal> {
        self.overlong_by(self.length)
    }

    /// As [`Call::overlong`], by fields that lie deeper in the body.
    pub(super) fn overlong_by(&self, fields: LengthFields) -> Result<Overlong, Refusal> {
        fields.resolve(self.app.options.auto_truncate, self.served.engine.max_tokens())
    }

    /// Runs one task on all inputs: an output per input, or the first failure.
    pub(super) async fn run(
        &self,
        inputs: Vec<Input>,
        task: Task,
        overlong: Overlong,
    ) -> Result<Vec<Output>, Refusal> {
        let inputs = match self.length.add_special_tokens {
            Some(false) => {
                let pools_prompts = self.served.engine.model().embedding.include_prompt;
                let bare = |input| without_special_tokens(input, pools_prompts);
                inputs.into_iter().map(bare).collect::<Result<_, _>>()?
            }
            Some(true) | None => inputs,
        };
        self.app.run_job(&self.served, Job { inputs, task, overlong }).await
    }

    /// Returns an answer with the headers on time, tokens and batch.
    pub(super) fn answer(
        &self,
        characters: usize,
        outputs: &[Output],
        body: impl Serialize,
    ) -> Response {
        let device = &self.served.engine.device().name;
        (headers(device, self.started, characters, outputs), Json(body)).into_response()
    }

    /// Returns vLLM's list of `data`, under a new id that begins with `kind`.
    pub(super) fn vllm_list<T>(&self, kind: &str, data: Vec<T>, tokens: usize) -> List<T> {
        List {
            id: self.app.answer_id(kind),
            object: "list",
            created: crate::app::unix_s(),
            model: self.served.name.clone(),
            data,
            usage: Usage::of(tokens),
        }
    }
}

/// Returns an input that is read without special tokens; token ids are read as they are anyway.
fn without_special_tokens(input: Input, pools_prompts: bool) -> Result<Input, Refusal> {
    match input {
        Input::Text(text) => Ok(Input::Bare(text)),
        Input::Prompted(prompt, text) if pools_prompts => Ok(Input::Bare(prompt + &text)),
        Input::Prompted(..) => Err(Refusal::Invalid(
            "`add_special_tokens` is false, but this model leaves prompts out of pooling; leave out the field or the prompt".into(),
        )),
        Input::Pair(..) => Err(Refusal::Invalid(
            "`add_special_tokens` is false, but pairs are read with special tokens only; leave it out".into(),
        )),
        Input::Bare(_) | Input::Ids(_) | Input::Tokens(..) => Ok(input),
    }
}

/// Returns whether the body is `application/json`, with or without parameters, or `application/*+json`.
fn is_json(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()) else {
        return false;
    };
    let essence = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let subtype = essence.strip_prefix("application/");
    subtype.is_some_and(|subtype| subtype == "json" || subtype.ends_with("+json"))
}

/// The timing headers of text-embeddings-inference, and the batch that carried a single input. Times are in
/// whole milliseconds as the original's: the total of the request, and the mean of each stage over its inputs.
fn headers(device: &str, started: Instant, characters: usize, outputs: &[Output]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let mut put = |name: &'static str, value: String| {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    };
    let count = outputs.len().max(1) as u32;
    let mean = |stage: fn(&Output) -> Duration| {
        (outputs.iter().map(stage).sum::<Duration>() / count).as_millis().to_string()
    };
    let total = started.elapsed().as_millis().to_string();
    put("x-compute-type", if device.starts_with("cpu") { "cpu" } else { "gpu" }.into());
    put("x-compute-time", total.clone());
    put("x-compute-characters", characters.to_string());
    put("x-compute-tokens", count_tokens(outputs).to_string());
    put("x-total-time", total);
    put("x-tokenization-time", mean(|output| output.timings.tokenize));
    put("x-queue-time", mean(|output| output.timings.queue));
    put("x-inference-time", mean(|output| output.timings.copy + output.timings.compute));
    if outputs.iter().any(|output| output.truncated) {
        put("x-truncated", "true".into());
    }
    let chunks: usize = outputs.iter().filter_map(|output| output.chunks).sum();
    if chunks > 0 {
        put("x-chunks", chunks.to_string());
    }
    if let [output] = outputs {
        put("x-batch-id", output.batch.id.to_string());
        put("x-batch-sequences", output.batch.sequences.to_string());
        put("x-batch-tokens", output.batch.tokens.to_string());
    }
    headers
}
