//! `POST /embed`: vectors, as text-embeddings-inference gives them.

use std::sync::Arc;
use std::time::Instant;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use bigbatch_engine::task::{Answer, Task};
use bigbatch_engine::tokenize::Truncate;

use crate::App;
use crate::error::{Dialect, Refusal};
use crate::run::Job;
use crate::wire::tei::EmbedRequest;
use crate::{json, timing};

pub(super) async fn embed(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    answer(&app, &headers, &body).await.unwrap_or_else(|refusal| refusal.answer(Dialect::Tei))
}

async fn answer(app: &App, headers: &HeaderMap, body: &Bytes) -> Result<Response, Refusal> {
    let started = Instant::now();
    let request: EmbedRequest = json::read(headers, body)?;
    let served = app.models.get(request.model.as_deref())?;
    let (inputs, characters) = request.inputs.into_engine().map_err(Refusal::Shape)?;
    let task =
        Task::Embed { pooling: None, normalize: request.normalize, dimensions: request.dimensions };
    let truncate = match request.truncate.unwrap_or(app.options.auto_truncate) {
        true => Truncate::Right,
        false => Truncate::No,
    };
    let answers = app.run(served, Job { inputs, task, truncate }).await?;
    let headers = timing::headers(&served.engine.device().name, started, characters, &answers);
    let vectors: Vec<Vec<f32>> = answers
        .into_iter()
        .filter_map(|answer| match answer.answer {
            Answer::Embedding(vector) => Some(vector),
            _ => None,
        })
        .collect();
    Ok((headers, Json(vectors)).into_response())
}
