//! `GET /dashboard/data`: a snapshot of the counters. The dashboard shows differences between two snapshots.

use std::sync::Arc;
use std::time::UNIX_EPOCH;

use axum::extract::State;
use axum::http::HeaderValue;
use axum::http::header::CACHE_CONTROL;
use axum::response::{IntoResponse, Response};
use bigbatch_engine::{ArenaUsage, DeviceMemory, MemoryPlan};
use serde::Serialize;

use super::is_page_path;
use crate::app::App;
use crate::models::ServedModel;
use crate::observe::{Endpoint, ModelCounters, RefusalRecord, RouteCounters, Snapshot, load};

/// The answer.
#[derive(Serialize)]
struct Data {
    version: &'static str,
    uptime_s: f64,
    /// Requests received and not yet answered, of all endpoints.
    in_flight: usize,
    models: Vec<ModelData>,
    /// From the driver of the device; `null` on a CPU.
    device_memory: Option<DeviceMemory>,
    /// Without the pages.
    routes: Vec<RouteData>,
    refusals: Vec<Count>,
    /// Newest first, without the content of the requests.
    recent_refusals: Vec<RefusalData>,
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
    memory_plan: MemoryPlan,
    stages: StagesData,
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

#[derive(Serialize)]
struct Count {
    reason: &'static str,
    count: u64,
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
    let device_memory = app.models.iter().next().and_then(|served| served.engine.device_memory());
    let routes = counters.routes();
    let rows =
        routes.iter().filter(|(endpoint, _)| endpoint.computes() || !is_page_path(&endpoint.route));
    let refusals = counters.refusals().map(|(reason, count)| Count { reason, count });
    let data = Data {
        version: env!("CARGO_PKG_VERSION"),
        uptime_s: counters.started.elapsed().as_secs_f64(),
        in_flight: counters.in_flight(),
        models: app
            .models
            .iter()
            .map(|served| model(served, &counters.model(&served.name)))
            .collect(),
        device_memory,
        routes: rows.map(|(endpoint, route)| self::route(endpoint, route)).collect(),
        refusals: refusals.collect(),
        recent_refusals: counters.recent_refusals().into_iter().map(refused).collect(),
    };
    let fresh = (CACHE_CONTROL, HeaderValue::from_static("no-store"));
    ([fresh], axum::Json(data)).into_response()
}

fn model(served: &ServedModel, stages: &ModelCounters) -> ModelData {
    let ServedModel { name, source, kind, engine, .. } = served;
    let limits = engine.limits();
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
        arena: engine.arena(),
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

fn refused(refused: RefusalRecord) -> RefusalData {
    let since = refused.at.duration_since(UNIX_EPOCH).unwrap_or_default();
    RefusalData {
        at_unix_ms: since.as_millis() as u64,
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
