//! One request as a handler sees it: its body, which model its path names, and when it came.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Instant;

use axum::Json;
use axum::body::{Bytes, to_bytes};
use axum::extract::{FromRequest, FromRequestParts, RawPathParams, Request};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use bigbatch_engine::chunk::Overlong;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::Refusal;
use crate::jobs::Answered;
use crate::models::Served;
use crate::wire::overlong::{self, Chunk, Direction};
use crate::{App, json, timing};

/// The part of `/models/{name}/...` that names the model.
pub(super) const MODEL_PARAMETER: &str = "name";

pub(crate) struct Call {
    started: Instant,
    headers: HeaderMap,
    body: Result<Bytes, Refusal>,
    model: Option<String>,
}

impl FromRequest<Arc<App>> for Call {
    // What is wrong with a body is said by the handler, in its own dialect.
    type Rejection = Infallible;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Call, Infallible> {
        let started = Instant::now();
        let (mut parts, body) = request.into_parts();
        let named = RawPathParams::from_request_parts(&mut parts, app).await.ok();
        let model = named.and_then(|named| {
            let mut named = named.iter();
            named.find(|(key, _)| *key == MODEL_PARAMETER).map(|(_, value)| value.to_owned())
        });
        let headers = parts.headers;
        // It was taken in within the server's limits, and the framework's own is another.
        let body = to_bytes(body, usize::MAX).await;
        let body = body.map_err(|error| Refusal::Syntax(error.to_string()));
        Ok(Call { started, headers, body, model })
    }
}

impl Call {
    /// The body as a wire type.
    pub(super) fn read<T: DeserializeOwned>(&self) -> Result<T, Refusal> {
        json::read(&self.headers, self.body.as_ref().map_err(Clone::clone)?)
    }

    /// The model that the path names, else the body, else the first.
    pub(super) fn served<'a>(
        &self,
        app: &'a App,
        in_body: Option<&str>,
    ) -> Result<&'a Arc<Served>, Refusal> {
        app.models.get(self.model.as_deref().or(in_body))
    }

    /// An answer with the headers that say how it came about.
    pub(super) fn answer(
        &self,
        served: &Served,
        characters: usize,
        answers: &[Answered],
        body: impl Serialize,
    ) -> Response {
        let device = &served.engine.device().name;
        (timing::headers(device, self.started, characters, answers), Json(body)).into_response()
    }
}

/// What becomes of inputs that are too long, where the dialect has all of our fields.
pub(super) fn overlong(
    app: &App,
    truncate: Option<bool>,
    direction: Option<Direction>,
    chunk: Option<Chunk>,
) -> Result<Overlong, Refusal> {
    overlong::overlong(truncate, direction, chunk, app.options.auto_truncate)
}

/// The same for vLLM's `truncate_prompt_tokens`.
pub(super) fn overlong_vllm(
    app: &App,
    served: &Served,
    truncate: Option<bool>,
    prompt_tokens: Option<i64>,
    chunk: Option<Chunk>,
) -> Result<Overlong, Refusal> {
    let most = served.engine.max_tokens();
    let truncate = match prompt_tokens {
        None => truncate,
        Some(-1) => Some(true),
        Some(tokens) if usize::try_from(tokens) == Ok(most) => Some(true),
        Some(tokens) => {
            return Err(Refusal::Invalid(format!(
                "truncate_prompt_tokens is {tokens}; it may be -1 or {most}, the model's length"
            )));
        }
    };
    overlong(app, truncate, None, chunk)
}
