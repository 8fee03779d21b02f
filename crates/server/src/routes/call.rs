//! One request to a model: the steps that every handler shares, before its own work and after it.
//!
//! Before: the body is read as JSON and the model is chosen. After: the answer gets its headers. The work
//! between is a handler's, in the file of its endpoint.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::{FromRequestParts, MatchedPath, RawPathParams, Request};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::Response;
use bigbatch_engine::{Input, Overlong, Task};
use serde::Serialize;

use crate::answer::JsonBody;
use crate::app::App;
use crate::error::{DOCUMENT, Failure, Refusal};
use crate::footprint;
use crate::jobs::{Job, Output, Outputs, count_tokens};
use crate::memory::Charge;
use crate::middleware::{Charged, take_body};
use crate::models::ServedModel;
use crate::observe::OTHER;
use crate::options::UnknownFieldPolicy;
use crate::terms::{HeadTerms, Terms};
use crate::wire::Dialect;
use crate::wire::ability::Needs;
use crate::wire::body::{self, UnknownFields};
use crate::wire::fields::TimeoutMs;
use crate::wire::partial::listed;
use crate::wire::request::LengthFields;
use crate::wire::request::ModelRequest;
use crate::wire::vllm::{List, Usage};

/// The parameter of `/models/{name}/...` that names the model.
pub(super) const MODEL_PARAMETER: &str = "name";

/// A request is charged for the largest answer that it could have; most are this many times smaller.
const CHARGE_PER_ANSWER: usize = 16;

/// A request whose body was read and whose model is known.
pub(crate) struct Call {
    pub(super) app: Arc<App>,
    /// The model that the path names, else the body, else the first, or the only one that can answer the request.
    pub(super) served: Arc<ServedModel>,
    /// The body's fields on how inputs are tokenized and cut.
    pub(super) length: LengthFields,
    /// Whether inputs may fail without failing the request.
    pub(super) partial: bool,
    /// The memory that the request may hold.
    pub(super) charge: Arc<Charge>,
    /// When the answer is late, its priority, and whose it is.
    pub(super) terms: Terms,
    /// The dialect of the body.
    dialect: Dialect,
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
    T: ModelRequest + Needs,
    F: Fn(Call, T) -> Fut,
    Fut: Future<Output = Result<Response, Refusal>>,
{
    let started = Instant::now();
    let Received { in_path, request, dialect, unknown, route, charge, terms } =
        match read::<T>(&app, request, of_path, started.into()).await {
            Ok(received) => received,
            Err(refusal) => return of_path.render(&refusal),
        };
    let (length, partial) = (request.length(), request.partial());
    let name = in_path.as_deref().or(request.model());
    let chosen = check_unknown_fields(&app, &route, &unknown)
        .and_then(|()| app.models.choose(name, request.needs()).cloned());
    let answer = match chosen {
        Ok(served) => {
            let call = Call { app, served, length, partial, charge, terms, dialect, started };
            terms.bound(handler(call, request)).await
        }
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
    charge: Arc<Charge>,
    terms: Terms,
}

async fn read<T: ModelRequest>(
    app: &Arc<App>,
    request: Request,
    of_path: Dialect,
    started: tokio::time::Instant,
) -> Result<Received<T>, Refusal> {
    let (mut parts, body) = request.into_parts();
    let terms = HeadTerms::read(&parts, &app.keys)?;
    // It fails if a parameter is not UTF-8, and no model is called so.
    let parameters = RawPathParams::from_request_parts(&mut parts, app).await;
    let parameters = parameters
        .map_err(|_| Refusal::NoRoute { path: parts.uri.path().to_owned(), document: DOCUMENT })?;
    let mut parameters = parameters.iter();
    let in_path = parameters.find(|(name, _)| *name == MODEL_PARAMETER);
    let in_path = in_path.map(|(_, value)| value.to_owned());
    let (body, charge) = take_body(app, &mut parts, body).await?;
    if !is_json(&parts.headers) {
        return Err(Refusal::ContentType);
    }
    charge.set(footprint::of_parsing(&body))?;
    let (request, unknown) = app.offload.run(body.len(), || body::parse::<T>(&body)).await?;
    if unknown.any_of_other_endpoints() {
        // The body is read again while its request is held.
        charge.set(2 * footprint::of_parsing(&body))?;
        let refuse = || unknown.refuse_those_of_other_endpoints(&body);
        app.offload.run(body.len(), refuse).await?;
        charge.set(footprint::of_parsing(&body))?;
    }
    let dialect = request.dialect(of_path)?;
    let route = parts.extensions.get::<MatchedPath>().map_or(OTHER, MatchedPath::as_str);
    let limit = app.options.request_timeout;
    let timeout = request.timeout().map(TimeoutMs::duration);
    let terms = terms.with_body(timeout, request.priority(), started, limit);
    Ok(Received { in_path, request, dialect, unknown, route: route.to_owned(), charge, terms })
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

    /// Rejects an empty request and one with more inputs than the limit of its dialect.
    pub(super) fn check_count(&self, count: usize, field: &str) -> Result<(), Refusal> {
        let limit = self.dialect.max_inputs(&self.app.options);
        match count {
            0 => Err(Refusal::Empty(format!("`{field}` cannot be empty"))),
            _ if count > limit => {
                Err(Refusal::TooMany { count, limit, flag: "--max-client-batch-size" })
            }
            _ => Ok(()),
        }
    }

    /// Runs one task on all inputs: an output per input, or the first failure unless the request is partial.
    pub(super) async fn run(
        &self,
        inputs: Vec<Input>,
        task: Task,
        overlong: Overlong,
    ) -> Result<Outputs, Refusal> {
        self.check_count(inputs.len(), "inputs")?;
        let several = inputs.len() > 1;
        self.run_counted(inputs, task, overlong).await.map_err(|failure| match failure {
            Failure { index: Some(index), refusal } if several => {
                refusal.of_part(format_args!("input {index}, counted from 0"))
            }
            Failure { refusal, .. } => refusal,
        })
    }

    /// As [`Call::run`], for inputs that the handler has counted and names itself.
    pub(super) async fn run_counted(
        &self,
        inputs: Vec<Input>,
        task: Task,
        overlong: Overlong,
    ) -> Result<Outputs, Failure> {
        let special_tokens = self.length.add_special_tokens.unwrap_or(true);
        let (partial, charge) = (self.partial, self.charge.clone());
        let terms = self.terms;
        let job = Job { inputs, task, overlong, special_tokens, partial, charge, terms };
        self.app.run_job(&self.served, job).await
    }

    /// Returns an answer with the headers on time, tokens and batch. The charge of the request becomes the bytes
    /// of the answer, and shrinks as they are sent.
    pub(super) async fn answer(
        &self,
        characters: usize,
        outputs: &Outputs,
        body: impl Serialize,
    ) -> Result<Response, Refusal> {
        let device = &self.served.engine.device().name;
        let headers = headers(device, self.started, characters, outputs);
        let write = || JsonBody::write(&body, self.charge.clone());
        let body = self.app.offload.run(self.charge.bytes() / CHARGE_PER_ANSWER, write).await?;
        let mut response = Response::new(Body::new(body));
        *response.headers_mut() = headers;
        response.extensions_mut().insert(Charged);
        Ok(response)
    }

    /// Returns vLLM's list of `data`, under a new id that begins with `kind`.
    pub(super) fn vllm_list<T>(&self, kind: &str, data: Vec<T>, outputs: &Outputs) -> List<T> {
        List {
            id: self.app.answer_id(kind),
            object: "list",
            created: crate::app::unix_s(),
            model: self.served.name.clone(),
            data,
            errors: listed(&outputs.failed),
            usage: Usage::of(count_tokens(outputs)),
        }
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

/// The timing headers of text-embeddings-inference, how inputs were read, and the batch that carried a single one.
/// Times are in whole milliseconds as the original's: the total of the request, and the mean of each stage over its
/// inputs.
fn headers(device: &str, started: Instant, characters: usize, outputs: &Outputs) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
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
    let given: usize = outputs.iter().map(|output| output.input_tokens).sum();
    put("x-input-tokens", given.to_string());
    put("x-processed-tokens", count_tokens(outputs).to_string());
    if outputs.iter().any(Output::is_truncated) {
        put("x-truncated", "true".into());
    }
    let chunks: usize = outputs.iter().filter_map(|output| output.chunks).sum();
    if chunks > 0 {
        put("x-chunks", chunks.to_string());
    }
    if !outputs.failed.is_empty() {
        put("x-failed-inputs", outputs.failed.len().to_string());
    }
    if let [output] = outputs.as_slice() {
        put("x-batch-id", output.batch.id.to_string());
        put("x-batch-sequences", output.batch.sequences.to_string());
        put("x-batch-tokens", output.batch.tokens.to_string());
    }
    headers
}
