//! The model-runtime contract 2.x: what semantic routers attach as `provider: model_runtime`.
//!
//! It has a listener of its own (`--runtime-listen`), because its paths are those of other dialects with other rules:
//! unknown fields are refused, items fail alone, a model has exactly one name. The engines, the queue, the limits and the
//! counters are those of the other listener. [`router`] is the table of its endpoints.
//!
//! A request goes through `body` (strict JSON), its surface (`classify`, `embeddings`, `rerank`, or several by `bundle`),
//! `run` (admission, tokens by `reading`, the engines) and back to its surface. `cards` and `health` describe the models,
//! `timing` writes `Server-Timing`. Refusals are rendered by `wire::runtime`.

mod body;
mod bundle;
mod cards;
mod classify;
mod classify_input;
mod embeddings;
mod head;
mod health;
mod item;
mod reading;
mod rerank;
mod run;
pub(crate) mod scan;
mod spans;
mod surface;
mod timing;

use std::sync::Arc;
use std::time::Instant;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, Uri};
use axum::middleware::from_fn;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Router};
use serde::Serialize;

use self::bundle::{BundleAnswer, Task, TaskResult, prepare_one};
use self::run::{RequestRows, run_all};
use self::surface::{Surface, SurfaceRequest};
use self::timing::{Phases, ReceivedAt, add_timing};
use crate::answer::JsonBody;
use crate::app::App;
use crate::error::Refusal;
use crate::footprint;
use crate::memory::Charge;
use crate::middleware::{Charged, ListenerRules, Refusals, no_connection, take_body};
use crate::observe::Cut;
use crate::options::Options;
use crate::terms::HeadTerms;
use crate::wire::Dialect;
use crate::{middleware, routes};

/// The contract that is served.
const API_VERSION: &str = "2.3.0";

const HEALTH: &str = "/health";
const LIVE: &str = "/health/live";
const METRICS: &str = "/metrics";
const OPENAPI: &str = "/openapi.yaml";

/// Bytes of a body that clients of the contract may send at least, whatever `--payload-limit` says.
const PAYLOAD_LIMIT_BYTES_MIN: usize = 8 << 20;

/// Returns the maximum bytes of a body.
fn payload_limit_bytes(options: &Options) -> usize {
    options.payload_limit_bytes.max(PAYLOAD_LIMIT_BYTES_MIN)
}

/// Returns the router of the contract. Without `asks_for_key` all of it is open, as on a Unix socket.
pub fn router(app: Arc<App>, asks_for_key: bool) -> Router {
    let surfaces = [
        ("/v1/classify", Surface::Classify),
        ("/v1/embeddings", Surface::Embeddings),
        ("/v1/rerank", Surface::Rerank),
        ("/v1/decisions", Surface::Decisions),
    ];
    let guarded = surfaces.into_iter().fold(Router::new(), |router, (path, surface)| {
        let answer = move |State(app): State<Arc<App>>, received, request| {
            answer_surface(app, surface, received, request)
        };
        router.route(path, post(answer))
    });
    let method = async |uri: Uri| refuse(&uri, |path| Refusal::Method { path, document: OPENAPI });
    let guarded = guarded
        .route("/v1/bundle", post(answer_bundle))
        .route("/v1/models", get(cards::models))
        .route(OPENAPI, get(openapi))
        .fallback(async |uri: Uri| {
            refuse(&uri, |path| Refusal::NoRoute { path, document: OPENAPI })
        })
        .method_not_allowed_fallback(method);
    let open = Router::new()
        .route(HEALTH, get(health::health))
        .route(LIVE, get(health::live))
        .route(METRICS, get(routes::metrics::metrics));
    let rules = ListenerRules {
        dialect_of: |_| Dialect::Runtime,
        asks_for_key,
        payload_limit_bytes: payload_limit_bytes(&app.options),
    };
    let routes = open
        .merge(middleware::with_guard(guarded, &app, rules))
        .method_not_allowed_fallback(method)
        .with_state(app.clone())
        .layer(from_fn(add_timing));
    middleware::with_middleware(routes, &app, rules)
}

/// What is answered without the router.
pub(crate) const REFUSALS: Refusals =
    Refusals { while_loading: refuse_while_loading, while_full: refuse_while_full };

fn refuse_while_loading(path: &str) -> Response {
    health::loading(path).unwrap_or_else(|| {
        Dialect::Runtime.render(&Refusal::Unavailable("models are loading".into()))
    })
}

fn refuse_while_full(path: &str, cut: Cut) -> Option<Response> {
    let is_open = [HEALTH, LIVE, METRICS].contains(&path);
    // Not 503, for which a router would leave the whole server alone.
    let overloaded = || Refusal::Overloaded { message: no_connection(cut).to_string(), wait: None };
    (!is_open).then(|| Dialect::Runtime.render(&overloaded()))
}

fn refuse(uri: &Uri, refusal: fn(String) -> Refusal) -> Response {
    Dialect::Runtime.render(&refusal(uri.path().to_owned()))
}

async fn openapi() -> Response {
    let content_type = HeaderValue::from_static("application/yaml");
    ([(CONTENT_TYPE, content_type)], include_str!("openapi.yaml")).into_response()
}

/// An exchange whose body was read.
struct Exchange {
    app: Arc<App>,
    charge: Arc<Charge>,
    terms: HeadTerms,
    received: Instant,
}

async fn receive(
    app: Arc<App>,
    received: ReceivedAt,
    request: Request,
) -> Result<(Exchange, Bytes), Refusal> {
    let (mut parts, body) = request.into_parts();
    let terms = HeadTerms::read(&parts, &app.keys)?;
    let (body, charge) = take_body(&app, &mut parts, body).await?;
    charge.set(footprint::of_parsing(&body))?;
    Ok((Exchange { app, charge, terms, received: received.0 }, body))
}

async fn answer_surface(
    app: Arc<App>,
    surface: Surface,
    Extension(received): Extension<ReceivedAt>,
    request: Request,
) -> Response {
    let answer = async {
        let (exchange, body) = receive(app, received, request).await?;
        let prepare = || prepare_one(&exchange.app, surface, body::parse(&body)?);
        let prepared = exchange.app.offload.run(body.len(), prepare).await?;
        drop(body);
        let Run { mut answers, phases, charges } = exchange.run(vec![prepared]).await?;
        let answer = answers.pop().unwrap_or_else(|| Err(no_rows()));
        exchange.respond(answer?, phases, charges).await
    };
    answer.await.unwrap_or_else(|refusal| Dialect::Runtime.render(&refusal))
}

async fn answer_bundle(
    State(app): State<Arc<App>>,
    Extension(received): Extension<ReceivedAt>,
    request: Request,
) -> Response {
    let answer = async {
        let (exchange, body) = receive(app, received, request).await?;
        let prepare = || bundle::prepare(&exchange.app, body::parse(&body)?);
        let tasks = exchange.app.offload.run(body.len(), prepare).await?;
        drop(body);
        let (mut requests, mut refused) = (Vec::new(), Vec::new());
        for Task { id, request } in tasks {
            refused.push((id, request.map(|request| requests.push(request)).err()));
        }
        let Run { answers, phases, charges } = exchange.run(requests).await?;
        let mut answers = answers.into_iter();
        let mut result = |(id, refusal): (String, Option<Refusal>)| {
            let answer = match refusal {
                Some(refusal) => Err(refusal),
                None => answers.next().unwrap_or_else(|| Err(no_rows())),
            };
            TaskResult::new(id, answer)
        };
        let answer = BundleAnswer { results: refused.into_iter().map(&mut result).collect() };
        exchange.respond(answer, phases, charges).await
    };
    answer.await.unwrap_or_else(|refusal| Dialect::Runtime.render(&refusal))
}

/// Returns the refusal of a request that was lost in the server.
fn no_rows() -> Refusal {
    Refusal::Backend("the request failed in the server; its log has the reason".into())
}

/// What the requests of an exchange gave.
struct Run {
    answers: Vec<Result<surface::Answer, Refusal>>,
    phases: Phases,
    /// For what the answers hold beyond the charge of the exchange.
    charges: Vec<Arc<Charge>>,
}

impl Exchange {
    /// Runs requests and makes their answers.
    async fn run(&self, mut requests: Vec<SurfaceRequest>) -> Result<Run, Refusal> {
        let parse = self.received.elapsed();
        let limit = self.app.options.request_timeout;
        let received = tokio::time::Instant::from_std(self.received);
        let terms = |request: &SurfaceRequest| {
            self.terms.with_body(request.common.deadline, None, received, limit)
        };
        let (rows, phases) = run_all(&self.app, &mut requests, &self.charge, terms).await;
        let started = Instant::now();
        let mut charges = Vec::new();
        let mut answer = |(request, rows): (SurfaceRequest, Result<RequestRows, Refusal>)| {
            let mut rows = rows?;
            charges.extend(rows.charge.take());
            Ok(request.answer(rows))
        };
        let work = || requests.into_iter().zip(rows).map(&mut answer).collect();
        let answers = self.app.offload.run(self.charge.bytes(), work).await;
        Ok(Run { answers, phases: Phases { parse, post: started.elapsed(), ..phases }, charges })
    }

    /// Writes an answer. The charge of the request becomes the bytes of the answer.
    async fn respond(
        self,
        answer: impl Serialize,
        phases: Phases,
        charges: Vec<Arc<Charge>>,
    ) -> Result<Response, Refusal> {
        let started = Instant::now();
        let write = || JsonBody::write(&answer, self.charge.clone());
        let body = self.app.offload.run(self.charge.bytes(), write).await?;
        drop((answer, charges));
        let mut response = Response::new(Body::new(body));
        let json = HeaderValue::from_static("application/json");
        response.headers_mut().insert(CONTENT_TYPE, json);
        let serialize = started.elapsed();
        response.extensions_mut().insert(Phases { serialize, ..phases });
        response.extensions_mut().insert(Charged);
        Ok(response)
    }
}
