//! Bodies: bytes to a wire type, or a refusal that says what is wrong.

use axum::body::Bytes;
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use serde::de::DeserializeOwned;

use crate::error::Refusal;

/// Reads a body. serde_json bounds nesting at 128, refuses lone surrogates and NaN, and a repeated field of
/// a struct is an error; what no field takes is ignored, as the originals do.
pub(crate) fn read<T: DeserializeOwned>(headers: &HeaderMap, body: &Bytes) -> Result<T, Refusal> {
    if !is_json(headers) {
        return Err(Refusal::ContentType);
    }
    serde_json::from_slice(body).map_err(|error| {
        if error.is_data() {
            Refusal::Shape(error.to_string())
        } else {
            Refusal::Syntax(error.to_string())
        }
    })
}

/// `application/json`, with or without parameters, or `application/*+json`.
fn is_json(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()) else {
        return false;
    };
    let essence = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let subtype = essence.strip_prefix("application/");
    subtype.is_some_and(|subtype| subtype == "json" || subtype.ends_with("+json"))
}
