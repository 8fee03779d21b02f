//! Whether the server can answer.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;

use crate::App;

#[utoipa::path(get, path = "/health", tag = "text-embeddings-inference",
    responses((status = 200, description = "It can")))]
/// Whether the server can answer.
pub(crate) async fn health(State(_app): State<Arc<App>>) -> StatusCode {
    StatusCode::OK
}
