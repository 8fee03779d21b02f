//! The dashboard's figures: `GET /dashboard/data`, a snapshot of the counters, and `GET /dashboard/history`, the last
//! hour.
//!
//! Tables show differences between two snapshots, charts show the history. Nothing here holds the content of a request.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header::CACHE_CONTROL;
use axum::http::{HeaderValue, Uri};
use axum::response::{IntoResponse, Response};
use bigbatch_engine::host::resident_bytes;
use bigbatch_engine::{ArenaUsage, DeviceMemory, MemoryPlan};
use serde::Serialize;

use super::is_page_path;
use crate::app::App;
use crate::models::ServedModel;
use crate::observe::{
    Endpoint, LatestRefusal, ModelCounters, RefusalRecord, RouteCounters, Snapshot, load, unix_ms,
};

/// The answer.
#[derive(Serialize)]
struct Data {
    version: &'static str,
    /// Tells the answers of a restarted process apart.
    started_unix_s: u64,
    uptime_s: f64,
    /// Requests received and not yet answered, of all endpoints.
    in_flight: usize,
    models: Vec<ModelData>,
    memory: MemoryData,
    /// Without the pages.
    routes: Vec<RouteData>,
    /// The reasons that occurred.
    refusals: Vec<ReasonData>,
    /// Newest first, without the content of the requests.
    recent_refusals: Vec<RefusalData>,
}

/// Memory of the process and of its device, in bytes; `null` for what cannot be read.
#[derive(Serialize)]
struct MemoryData {
    /// `--memory-budget`, which bounds models and arenas.
    budget_bytes: Option<u64>,
    /// Taken of it: as the driver of the device reports, on a CPU by the plans of the models.
    budget_used_bytes: u64,
    resident_bytes: Option<u64>,
    /// From the driver of the device; `null` on a CPU.
    device: Option<DeviceMemory>,
    /// Charged to requests at this moment.
    request_bytes: usize,
    /// `--host-memory-budget`.
    request_limit_bytes: usize,
}

#[derive(Serialize)]
struct ModelData {
    name: String,
    kind: String,
    source: String,
    device: String,
    dtype: String,
    max_tokens: usize,
    max_batch_tokens: usize,
    max_batch_sequences: usize,
    /// Inputs admitted and not yet answered.
    in_flight: usize,
    arena: ArenaUsage,
    /// Bytes of the arena that the batches on the device use at this moment.
    arena_used_bytes: u64,
    memory_plan: MemoryPlan,
    stages: StagesData,
    /// Ascending.
    lengths: Vec<LengthData>,
}

/// The inputs of one class of lengths.
#[derive(Serialize)]
struct LengthData {
    /// Tokens of the longest; `null` for the last class.
    tokens_max: Option<usize>,
    seconds: Buckets,
}

#[derive(Serialize)]
struct StagesData {
    inputs: u64,
    answered: u64,
    truncated: u64,
    tokens: u64,
    batches_failed: u64,
    tokenize_seconds: Buckets,
    queue_seconds: Buckets,
    inference_seconds: Buckets,
    total_seconds: Buckets,
    batch_sequences: Buckets,
    batch_tokens: Buckets,
    batch_seconds: Buckets,
}

#[derive(Serialize)]
struct RouteData {
    /// Method and route, such as `POST /embed`.
    route: String,
    ok: u64,
    refused: u64,
    abandoned: u64,
    seconds: Buckets,
}

/// The refusals of one reason, with the latest of them.
#[derive(Serialize)]
struct ReasonData {
    reason: &'static str,
    count: u64,
    last_at_unix_ms: u64,
    route: String,
    status: u16,
    /// Without the client's text.
    message: String,
}

#[derive(Serialize)]
struct RefusalData {
    at_unix_ms: u64,
    route: String,
    status: u16,
    reason: &'static str,
    request_id: String,
}

/// A histogram; buckets are `[lower, upper, count]`, without empty ones.
#[derive(Serialize)]
struct Buckets {
    count: u64,
    sum: f64,
    buckets: Vec<(f64, f64, u64)>,
}

pub(super) async fn data(State(app): State<Arc<App>>) -> Response {
    let counters = &app.observe;
    let routes = counters.routes();
    let rows =
        routes.iter().filter(|(endpoint, _)| endpoint.computes() || !is_page_path(&endpoint.route));
    let data = Data {
        version: env!("CARGO_PKG_VERSION"),
        started_unix_s: app.started_unix_s,
        uptime_s: counters.started.elapsed().as_secs_f64(),
        in_flight: counters.in_flight(),
        models: app
            .models
            .iter()
            .map(|served| model(served, &counters.model(&served.name)))
            .collect(),
        memory: memory(&app),
        routes: rows.map(|(endpoint, route)| self::route(endpoint, route)).collect(),
        refusals: counters.latest_refusals().into_iter().map(reason).collect(),
        recent_refusals: counters.recent_refusals().into_iter().map(refused).collect(),
    };
    fresh(data)
}

/// Answers with the points of the last hour, or those after the first `after` ones, which the reader has.
pub(super) async fn history(State(app): State<Arc<App>>, uri: Uri) -> Response {
    let mut fields = uri.query().unwrap_or_default().split('&');
    let after = fields.find_map(|field| field.strip_prefix("after=")?.parse().ok());
    fresh(app.history.columns(&app.models, after.unwrap_or(0), app.started_unix_s))
}

fn fresh(data: impl Serialize) -> Response {
    let fresh = (CACHE_CONTROL, HeaderValue::from_static("no-store"));
    ([fresh], axum::Json(data)).into_response()
}

fn memory(app: &App) -> MemoryData {
    let plans = app.models.iter().map(|served| served.engine.memory_plan());
    let planned: u64 = plans.map(|plan| plan.fixed_bytes + plan.arena_bytes).sum();
    let device = app.models.first().engine.device_memory();
    let on_device = device.and_then(|device| device.process_bytes);
    MemoryData {
        budget_bytes: app.options.memory_budget_bytes,
        budget_used_bytes: on_device.unwrap_or(planned),
        resident_bytes: resident_bytes(),
        device,
        request_bytes: app.memory.taken_bytes(),
        request_limit_bytes: app.memory.budget_bytes(),
    }
}

fn model(served: &ServedModel, stages: &ModelCounters) -> ModelData {
    let ServedModel { name, source, kind, engine, .. } = served;
    let (limits, arena) = (engine.limits(), engine.arena());
    ModelData {
        name: name.clone(),
        kind: kind.name().into(),
        source: source.clone(),
        device: engine.device().name.clone(),
        dtype: format!("{:?}", engine.device().dtype).to_lowercase(),
        max_tokens: engine.max_tokens(),
        max_batch_tokens: limits.max_batch_tokens,
        max_batch_sequences: limits.max_batch_sequences,
        in_flight: engine.in_flight(),
        arena,
        arena_used_bytes: arena.used_bytes(engine.batches_in_flight()),
        memory_plan: engine.memory_plan(),
        stages: StagesData {
            inputs: load(&stages.inputs),
            answered: load(&stages.answered),
            truncated: load(&stages.truncated),
            tokens: load(&stages.tokens),
            batches_failed: load(&stages.batches_failed),
            tokenize_seconds: buckets(stages.tokenize_seconds.snapshot()),
            queue_seconds: buckets(stages.queue_seconds.snapshot()),
            inference_seconds: buckets(stages.inference_seconds.snapshot()),
            total_seconds: buckets(stages.total_seconds.snapshot()),
            batch_sequences: buckets(stages.batch_sequences.snapshot()),
            batch_tokens: buckets(stages.batch_tokens.snapshot()),
            batch_seconds: buckets(stages.batch_seconds.snapshot()),
        },
        lengths: stages
            .total_seconds
            .classes()
            .map(|(tokens_max, seconds)| LengthData { tokens_max, seconds: buckets(seconds) })
            .collect(),
    }
}

fn route(endpoint: &Endpoint, route: &RouteCounters) -> RouteData {
    RouteData {
        route: format!("{} {}", endpoint.method, endpoint.route),
        ok: load(&route.ok),
        refused: load(&route.refused),
        abandoned: load(&route.abandoned),
        seconds: buckets(route.seconds.snapshot()),
    }
}

fn reason((reason, count, latest): (&'static str, u64, LatestRefusal)) -> ReasonData {
    let LatestRefusal { at, route, status, message } = latest;
    ReasonData { reason, count, last_at_unix_ms: unix_ms(at), route, status, message }
}

fn refused(refused: RefusalRecord) -> RefusalData {
    RefusalData {
        at_unix_ms: unix_ms(refused.at),
        route: refused.route,
        status: refused.status,
        reason: refused.reason,
        request_id: refused.request_id,
    }
}

fn buckets(snapshot: Snapshot) -> Buckets {
    Buckets {
        count: snapshot.count(),
        sum: snapshot.sum(),
        buckets: snapshot.buckets().filter(|(_, _, count)| *count > 0).collect(),
    }
}
