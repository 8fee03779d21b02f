//! The wire types of requests and answers, one file per dialect, and the renderer of each dialect's refusals.
//!
//! Field names, defaults and shapes are the originals'. Nothing here runs a model: `routes` does. Below the
//! dialects lie `inputs` (texts, pairs and ids), `request` (what requests share), `fields` (types of optional
//! fields), `body` (from bytes to a request), `shared` (bodies and answers of several dialects), `partial` (answers to
//! requests some of whose inputs failed) and `ability` (what a request needs of its model).

pub(crate) mod ability;
pub(crate) mod body;
pub(crate) mod cohere;
pub(crate) mod fields;
pub(crate) mod fms;
pub(crate) mod hub;
pub(crate) mod inputs;
pub(crate) mod native;
pub(crate) mod openai;
pub(crate) mod partial;
pub(crate) mod request;
pub(crate) mod runtime;
pub(crate) mod shared;
pub(crate) mod tei;
pub(crate) mod vllm;

use axum::http::HeaderValue;
use axum::http::header::RETRY_AFTER;
use axum::response::Response;

pub use self::request::Dialect;
use crate::error::{PublicMessage, Reason, Refusal};
use crate::options::Options;

impl Dialect {
    /// Returns the maximum number of inputs per request.
    pub(crate) fn max_inputs(self, options: &Options) -> usize {
        options.max_client_batch_size.unwrap_or(match self {
            Dialect::Tei => 32,
            Dialect::Cohere
            | Dialect::OpenAi
            | Dialect::Vllm
            | Dialect::HubClient
            | Dialect::Native
            | Dialect::Fms
            | Dialect::Runtime => 2048,
        })
    }

    /// Renders a refusal as clients of this dialect read it.
    pub fn render(self, refusal: &Refusal) -> Response {
        let mut response = match self {
            Dialect::Tei => tei::render_refusal(refusal),
            Dialect::OpenAi => openai::render_refusal(refusal),
            Dialect::Vllm => vllm::render_refusal(refusal),
            Dialect::Cohere => cohere::render_refusal(refusal),
            Dialect::HubClient => hub::render_refusal(refusal),
            Dialect::Native => native::render_refusal(refusal),
            Dialect::Fms => fms::render_refusal(refusal),
            Dialect::Runtime => runtime::render_refusal(refusal),
        };
        if let Some(seconds) = refusal.retry_after_seconds() {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response.extensions_mut().insert(Reason(refusal.reason()));
        response.extensions_mut().insert(PublicMessage(refusal.public_message()));
        response
    }
}
