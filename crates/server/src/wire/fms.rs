//! Refusals of the detector API of FMS guardrails and TrustyAI: `{code, message}`.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::openai;
use crate::error::Refusal;

/// Why a request was refused.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DetectorError {
    /// The HTTP status.
    code: u16,
    /// One line for a person.
    message: String,
}

/// Renders a refusal. What is wrong with a body is 422 there.
pub(super) fn render_refusal(refusal: &Refusal) -> Response {
    let status = match openai::status(refusal) {
        StatusCode::BAD_REQUEST => StatusCode::UNPROCESSABLE_ENTITY,
        status => status,
    };
    let body = DetectorError { code: status.as_u16(), message: refusal.message() };
    (status, Json(body)).into_response()
}
