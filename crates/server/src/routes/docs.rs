//! The document itself, and the refusals that every endpoint of a dialect can answer with.

use axum::Json;
use axum::response::{IntoResponse, Response};
use utoipa::IntoResponses;

use crate::error::{OpenAiErrorBody, TeiError};
use crate::openapi;

#[utoipa::path(get, path = "/openapi.json", tag = "bigbatch",
    responses((status = 200, description = "This document", body = serde_json::Value)))]
/// All endpoints as an OpenAPI document.
pub(crate) async fn openapi() -> Response {
    Json(openapi::document()).into_response()
}

/// Of text-embeddings-inference's dialect.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "read by the document's macro only")]
pub(crate) enum TeiErrors {
    /// The body is no JSON, or nothing to work on
    #[response(status = 400)]
    Empty(TeiError),
    /// No key, or one that is not known
    #[response(status = 401)]
    Unauthorized(TeiError),
    /// No such model
    #[response(status = 404)]
    UnknownModel(TeiError),
    /// The path takes another method
    #[response(status = 405)]
    Method(TeiError),
    /// The body did not come in time
    #[response(status = 408)]
    SlowBody(TeiError),
    /// The body has too many bytes
    #[response(status = 413)]
    TooLarge(TeiError),
    /// The body is not declared to be JSON, or compressed in a way that is not taken
    #[response(status = 415)]
    ContentType(TeiError),
    /// Too long, too many, or values that cannot be honoured
    #[response(status = 422)]
    Validation(TeiError),
    /// The model does something else, or the device failed
    #[response(status = 424)]
    Backend(TeiError),
    /// Too many requests wait; Retry-After says when to come again
    #[response(status = 429)]
    Overloaded(TeiError),
    /// The device is lost or the server stops; Retry-After says when to come again
    #[response(status = 503)]
    Unhealthy(TeiError),
}

/// Of OpenAI's and vLLM's dialect.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "read by the document's macro only")]
pub(crate) enum OpenAiErrors {
    /// Anything about the request that cannot be honoured
    #[response(status = 400)]
    Invalid(OpenAiErrorBody),
    /// No key, or one that is not known
    #[response(status = 401)]
    Unauthorized(OpenAiErrorBody),
    /// No such model
    #[response(status = 404)]
    UnknownModel(OpenAiErrorBody),
    /// The path takes another method
    #[response(status = 405)]
    Method(OpenAiErrorBody),
    /// The body did not come in time
    #[response(status = 408)]
    SlowBody(OpenAiErrorBody),
    /// The body has too many bytes
    #[response(status = 413)]
    TooLarge(OpenAiErrorBody),
    /// The body is not declared to be JSON, or compressed in a way that is not taken
    #[response(status = 415)]
    ContentType(OpenAiErrorBody),
    /// Too many requests wait; Retry-After says when to come again
    #[response(status = 429)]
    Overloaded(OpenAiErrorBody),
    /// The device failed on this batch
    #[response(status = 500)]
    Backend(OpenAiErrorBody),
    /// The device is lost or the server stops; Retry-After says when to come again
    #[response(status = 503)]
    Unhealthy(OpenAiErrorBody),
}
