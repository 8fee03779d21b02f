//! Refusals of the model-runtime contract: one of seven codes, each with its status.
//!
//! The surfaces themselves, and what their items are refused with, are in [`crate::runtime`]. A client that gets a status of
//! 500 or more leaves the server alone for a while, so that no input and no overload is answered with one.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::error::Refusal;

/// The value of `error` in a refusal, and in a failed task of a bundle.
#[derive(Debug, Serialize)]
pub(crate) struct RuntimeError {
    code: &'static str,
    /// One line for a person.
    message: String,
}

#[derive(Debug, Serialize)]
struct RuntimeErrorBody {
    error: RuntimeError,
}

/// Renders a refusal.
pub(super) fn render_refusal(refusal: &Refusal) -> Response {
    (status(refusal), Json(RuntimeErrorBody { error: error(refusal) })).into_response()
}

/// Returns a refusal as the value of `error`.
pub(crate) fn error(refusal: &Refusal) -> RuntimeError {
    RuntimeError { code: status_and_code(refusal).1, message: refusal.message() }
}

/// Returns the HTTP status of a refusal.
pub(crate) fn status(refusal: &Refusal) -> StatusCode {
    status_and_code(refusal).0
}

fn status_and_code(refusal: &Refusal) -> (StatusCode, &'static str) {
    use StatusCode as S;
    const INVALID: &str = "invalid_request";
    match refusal {
        Refusal::Syntax(_)
        | Refusal::Shape(_)
        | Refusal::ContentType
        | Refusal::Encoding
        | Refusal::Empty(_)
        | Refusal::Invalid(_)
        | Refusal::TooMany { .. }
        | Refusal::Host(_)
        | Refusal::SlowBody { .. } => (S::BAD_REQUEST, INVALID),
        Refusal::Unauthorized => (S::UNAUTHORIZED, INVALID),
        Refusal::NoRoute { .. } | Refusal::UnknownDetector { .. } => (S::NOT_FOUND, INVALID),
        Refusal::Method { .. } => (S::METHOD_NOT_ALLOWED, INVALID),
        Refusal::UnknownModel { .. } => (S::NOT_FOUND, "model_not_found"),
        Refusal::TooLarge { .. }
        | Refusal::Ratio { .. }
        | Refusal::NeedsMemory { .. }
        | Refusal::TooLong(_) => (S::PAYLOAD_TOO_LARGE, "request_too_large"),
        Refusal::WrongKind(_) => (S::UNPROCESSABLE_ENTITY, "unsupported_surface"),
        Refusal::Overloaded { .. }
        | Refusal::OverShare { .. }
        | Refusal::DeadlineTooShort { .. }
        | Refusal::DeadlinePassed(_)
        | Refusal::Late { .. } => (S::TOO_MANY_REQUESTS, "overloaded"),
        Refusal::Backend(_) => (S::INTERNAL_SERVER_ERROR, "internal_error"),
        Refusal::Unavailable(_) => (S::SERVICE_UNAVAILABLE, "not_ready"),
    }
}
