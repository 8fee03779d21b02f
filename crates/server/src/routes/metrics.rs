//! `GET /metrics`: the counters in Prometheus' text format.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;

use crate::app::App;
use crate::observe::prometheus;

#[utoipa::path(get, path = "/metrics", tag = "text-embeddings-inference",
    responses((status = 200, description = "Counters in Prometheus' text format", body = String)))]
/// Returns the counters.
pub(crate) async fn metrics(State(app): State<Arc<App>>) -> impl IntoResponse {
    (
        [(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")],
        prometheus::page(&app.models, &app.observe, &app.memory),
    )
}
