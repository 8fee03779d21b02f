//! The endpoints, one file a family.

mod embed;
mod health;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post};

use crate::App;

/// Everything that is served.
pub fn router(app: Arc<App>) -> Router {
    let limit = DefaultBodyLimit::max(app.options.payload_limit_bytes);
    Router::new()
        .route("/embed", post(embed::embed))
        .route("/health", get(health::health))
        .layer(limit)
        .with_state(app)
}
