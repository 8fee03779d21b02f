//! The endpoints, one file a family.

mod embed;
mod health;
mod metrics;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};

use crate::observe::track;
use crate::{App, pages};

/// Everything that is served.
pub fn router(app: Arc<App>) -> Router {
    let limit = DefaultBodyLimit::max(app.options.payload_limit_bytes);
    Router::new()
        .route("/embed", post(embed::embed))
        .route("/health", get(health::health))
        .route("/metrics", get(metrics::metrics))
        .merge(pages::router())
        .layer(limit)
        .layer(from_fn_with_state(app.clone(), track))
        .with_state(app)
}
