//! Whether the server can answer.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;

use crate::App;

pub(super) async fn health(State(_app): State<Arc<App>>) -> StatusCode {
    StatusCode::OK
}
