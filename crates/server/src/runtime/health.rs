//! `GET /health` and `GET /health/live`: whether each model answers, and whether the process does.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::timeout;

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

/// Time for a check. A router gives `/health` and `/v1/models` 2 s together.
const CHECK_TIME: Duration = Duration::from_secs(1);

/// Returns which models take requests, in their order. They are checked at the same time: one that hangs delays the
/// others by no more than [`CHECK_TIME`].
pub(super) async fn health_of_all(app: &Arc<App>) -> Vec<ModelHealth> {
    let unknown = || ModelHealth::degraded("the check of its device failed".into());
    let mut all: Vec<ModelHealth> = app.models.iter().map(|_| unknown()).collect();
    let mut checks = JoinSet::new();
    for index in 0..all.len() {
        let app = app.clone();
        checks.spawn(async move {
            match app.models.iter().nth(index) {
                Some(served) => Some((index, model_health(&app, served).await)),
                None => None,
            }
        });
    }
    while let Some(done) = checks.join_next().await {
        if let Ok(Some((index, health))) = done {
            all[index] = health;
        }
    }
    all
}

async fn model_health(app: &App, served: &ServedModel) -> ModelHealth {
    if let Phase::Draining | Phase::Closing = app.life.phase() {
        return ModelHealth::degraded("the server is stopping".into());
    }
    match timeout(CHECK_TIME, check(&served.engine, &app.options)).await {
        Ok(Ok(())) => ModelHealth { status: READY, reason: None },
        Ok(Err(reason)) => ModelHealth::degraded(reason),
        Err(_) => {
            let seconds = CHECK_TIME.as_secs();
            ModelHealth::degraded(format!("the idle device did not answer within {seconds} s"))
        }
    }
}

pub(super) async fn health(State(app): State<Arc<App>>) -> Response {
    let names = app.models.iter().map(|served| served.name.clone());
    let models: BTreeMap<String, ModelHealth> = names.zip(health_of_all(&app).await).collect();
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
