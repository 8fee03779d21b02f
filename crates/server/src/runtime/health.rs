//! `GET /health` and `GET /health/live`: whether each model answers, and whether the process does.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::json;

use super::API_VERSION;
use crate::app::App;
use crate::lifecycle::Phase;
use crate::models::ServedModel;
use crate::routes::health::check;

const READY: &str = "ready";
const DEGRADED: &str = "degraded";

/// The state of one model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct ModelHealth {
    pub(super) status: &'static str,
    pub(super) reason: Option<String>,
}

#[derive(Debug, Serialize)]
struct Health {
    api_version: &'static str,
    status: &'static str,
    reason: Option<String>,
    /// The only model; null with several.
    model: Option<String>,
    /// Every model by its id: a client looks for its own there.
    models: BTreeMap<String, ModelHealth>,
}

impl ModelHealth {
    pub(super) fn is_ready(&self) -> bool {
        self.status == READY
    }

    fn degraded(reason: String) -> ModelHealth {
        ModelHealth { status: DEGRADED, reason: Some(reason) }
    }
}

/// Returns whether a model takes requests.
pub(super) async fn model_health(app: &App, served: &ServedModel) -> ModelHealth {
    if let Phase::Draining | Phase::Closing = app.life.phase() {
        return ModelHealth::degraded("the server is stopping".into());
    }
    match check(&served.engine, &app.options).await {
        Ok(()) => ModelHealth { status: READY, reason: None },
        Err(reason) => ModelHealth::degraded(reason),
    }
}

pub(super) async fn health(State(app): State<Arc<App>>) -> Response {
    let mut models = BTreeMap::new();
    for served in app.models.iter() {
        models.insert(served.name.clone(), model_health(&app, served).await);
    }
    let first = models.iter().find(|(_, health)| !health.is_ready());
    let reason = first.map(|(name, health)| {
        format!("{name}: {}", health.reason.as_deref().unwrap_or(health.status))
    });
    let status = if reason.is_none() { READY } else { DEGRADED };
    let model = match models.len() {
        1 => models.keys().next().cloned(),
        _ => None,
    };
    answer(&Health { api_version: API_VERSION, status, reason, model, models })
}

/// Returns the answer of the health paths while models load; `None` for any other path.
pub(super) fn loading(path: &str) -> Option<Response> {
    match path {
        super::HEALTH => Some(answer(&Health {
            api_version: API_VERSION,
            status: "loading",
            reason: Some("models are loading".into()),
            model: None,
            models: BTreeMap::new(),
        })),
        super::LIVE => Some(alive()),
        _ => None,
    }
}

pub(super) async fn live() -> Response {
    alive()
}

fn alive() -> Response {
    Json(json!({ "api_version": API_VERSION, "status": "alive" })).into_response()
}

fn answer(health: &Health) -> Response {
    let status = match health.status {
        READY => StatusCode::OK,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    };
    (status, Json(health)).into_response()
}
