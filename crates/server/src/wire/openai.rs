//! OpenAI's embeddings, models and errors.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::{IntoResponses, ToSchema};

use super::fields::{NotSupported, agreed};
use super::inputs::Inputs;
use super::partial::InputError;
use super::request::model_request;
use super::shared::{EncodingFormat, Numbers};
use crate::error::Refusal;

model_request! {
    /// `POST /v1/embeddings`. `input`, `model`, `encoding_format`, `dimensions` and `user` are OpenAI's. The others
    /// are vLLM's or Jina's, and `prompt_name`, `truncate` and `chunk` our own.
    pub(crate) struct EmbeddingsRequest {
        pub(crate) input: Inputs,
        /// Keeps the first so many dimensions (Matryoshka).
        pub(crate) dimensions: Option<usize>,
        /// Cohere's name for `dimensions`, which LiteLLM sends to servers of the kind `infinity`.
        pub(crate) output_dimension: Option<usize>,
        /// Name of a prompt of the model, put before each text; the model's default prompt if absent.
        pub(crate) prompt_name: Option<String>,
        /// Jina's name for `normalize`.
        pub(crate) normalized: Option<bool>,
        /// Jina's name for `encoding_format`.
        pub(crate) embedding_type: Option<EncodingFormat>,
        /// A field of `infinity`: models read text only.
        #[expect(dead_code, reason = "only what is computed is accepted")]
        pub(crate) modality: Option<Modality>,
        /// Not supported: give `prompt_name`.
        #[expect(dead_code, reason = "any value that matters is refused")]
        pub(crate) task: Option<NotSupported>,
        /// Not supported: give `prompt_name`.
        #[expect(dead_code, reason = "any value that matters is refused")]
        pub(crate) input_type: Option<NotSupported>,
        /// Not supported: give `prompt_name`.
        #[expect(dead_code, reason = "any value that matters is refused")]
        pub(crate) instruction: Option<NotSupported>,
        /// Not supported.
        #[expect(dead_code, reason = "any value that matters is refused")]
        pub(crate) late_chunking: Option<NotSupported>,
        /// Not supported: give `/embed_all` or `/pooling`.
        #[expect(dead_code, reason = "any value that matters is refused")]
        pub(crate) return_multivector: Option<NotSupported>,
        /// Not supported.
        #[expect(dead_code, reason = "any value that matters is refused")]
        pub(crate) additional_data: Option<NotSupported>,
    } + model, timeout_ms, priority, truncate, truncate_prompt_tokens, add_special_tokens, chunk, encoding, activation, vllm, chat, partial
}

impl EmbeddingsRequest {
    /// Returns how vectors are written.
    pub(crate) fn format(&self) -> Result<EncodingFormat, Refusal> {
        let names =
            [("encoding_format", self.encoding_format), ("embedding_type", self.embedding_type)];
        Ok(agreed(&names)?.unwrap_or_default())
    }

    /// Returns the number of dimensions to keep.
    pub(crate) fn kept(&self) -> Result<Option<usize>, Refusal> {
        agreed(&[("dimensions", self.dimensions), ("output_dimension", self.output_dimension)])
    }

    /// Returns whether vectors are scaled to unit length.
    pub(crate) fn scaled(&self) -> Result<bool, Refusal> {
        let names = [("normalize", self.activation()?), ("normalized", self.normalized)];
        Ok(agreed(&names)?.unwrap_or(true))
    }
}

/// What inputs are.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Modality {
    Text,
}

/// The answer of `/v1/embeddings`.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Embeddings {
    pub(crate) object: &'static str,
    pub(crate) data: Vec<Embedding>,
    /// The inputs that failed, if the request has `partial`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) errors: Vec<InputError>,
    pub(crate) model: String,
    pub(crate) usage: TokenUsage,
}

/// One vector.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Embedding {
    pub(crate) object: &'static str,
    pub(crate) embedding: Numbers,
    pub(crate) index: usize,
}

/// Tokens read; nothing is generated, so both are equal.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
pub(crate) struct TokenUsage {
    pub(crate) prompt_tokens: usize,
    pub(crate) total_tokens: usize,
}

impl TokenUsage {
    pub(crate) fn of(tokens: usize) -> TokenUsage {
        TokenUsage { prompt_tokens: tokens, total_tokens: tokens }
    }
}

/// The answer of `/v1/models`.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ModelList {
    pub(crate) object: &'static str,
    pub(crate) data: Vec<ModelCard>,
}

/// One model.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ModelCard {
    pub(crate) id: String,
    pub(crate) object: &'static str,
    /// Seconds since 1970 at which the server started.
    pub(crate) created: u64,
    pub(crate) owned_by: &'static str,
    /// The `SOURCE` that `--model` gave.
    pub(crate) root: String,
    /// Tokens of the longest input.
    pub(crate) max_model_len: usize,
    /// Not OpenAI's: the model's kind, as in `/info`.
    pub(crate) kind: &'static str,
}

/// What is wrong with a request: the value of `error` in [`OpenAiErrorBody`].
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct OpenAiError {
    /// One line for a person.
    message: String,
    /// `invalid_request_error`, `authentication_error`, `not_found_error`, `overloaded_error` or
    /// `server_error`.
    r#type: &'static str,
    /// The field at fault, where it is known.
    param: Option<&'static str>,
    /// The HTTP status.
    code: u16,
}

/// The body of a refusal.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OpenAiErrorBody {
    error: OpenAiError,
}

/// Renders a refusal as OpenAI's and vLLM's clients read it.
pub(super) fn render_refusal(refusal: &Refusal) -> Response {
    let (status, _) = status_and_type(refusal);
    (status, Json(OpenAiErrorBody { error: error(refusal) })).into_response()
}

/// Returns a refusal as the value of `error`.
pub(crate) fn error(refusal: &Refusal) -> OpenAiError {
    let (status, kind) = status_and_type(refusal);
    let param = match refusal {
        Refusal::Empty(_) | Refusal::TooLong(_) | Refusal::TooMany { .. } => Some("input"),
        Refusal::UnknownModel { .. } => Some("model"),
        _ => None,
    };
    OpenAiError { message: refusal.message(), r#type: kind, param, code: status.as_u16() }
}

/// Returns the HTTP status of a refusal.
pub(super) fn status(refusal: &Refusal) -> StatusCode {
    status_and_type(refusal).0
}

fn status_and_type(refusal: &Refusal) -> (StatusCode, &'static str) {
    use StatusCode as S;
    const BAD: &str = "invalid_request_error";
    match refusal {
        Refusal::Syntax(_)
        | Refusal::Host(_)
        | Refusal::Shape(_)
        | Refusal::Empty(_)
        | Refusal::Invalid(_)
        | Refusal::TooLong(_)
        | Refusal::TooMany { .. }
        | Refusal::WrongKind(_) => (S::BAD_REQUEST, BAD),
        Refusal::Unauthorized => (S::UNAUTHORIZED, "authentication_error"),
        Refusal::UnknownModel { .. }
        | Refusal::NoRoute { .. }
        | Refusal::UnknownDetector { .. } => (S::NOT_FOUND, "not_found_error"),
        Refusal::Method { .. } => (S::METHOD_NOT_ALLOWED, BAD),
        Refusal::SlowBody { .. } => (S::REQUEST_TIMEOUT, BAD),
        Refusal::TooLarge { .. } | Refusal::Ratio { .. } | Refusal::NeedsMemory { .. } => {
            (S::PAYLOAD_TOO_LARGE, BAD)
        }
        Refusal::ContentType | Refusal::Encoding => (S::UNSUPPORTED_MEDIA_TYPE, BAD),
        Refusal::Overloaded { .. }
        | Refusal::OverShare { .. }
        | Refusal::DeadlineTooShort { .. } => (S::TOO_MANY_REQUESTS, "overloaded_error"),
        Refusal::Backend(_) => (S::INTERNAL_SERVER_ERROR, "server_error"),
        Refusal::Late { .. } | Refusal::DeadlinePassed(_) => {
            (S::SERVICE_UNAVAILABLE, "overloaded_error")
        }
        Refusal::Unavailable(_) => (S::SERVICE_UNAVAILABLE, "server_error"),
    }
}

/// The refusals of an endpoint, for the OpenAPI document.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "read by the document's macro only")]
pub(crate) enum OpenAiErrors {
    /// The body is not JSON, or a field or input of it is invalid
    #[response(status = 400)]
    Invalid(OpenAiErrorBody),
    /// The API key is missing or unknown
    #[response(status = 401)]
    Unauthorized(OpenAiErrorBody),
    /// No model has this name
    #[response(status = 404)]
    UnknownModel(OpenAiErrorBody),
    /// The path does not support this method
    #[response(status = 405)]
    Method(OpenAiErrorBody),
    /// The body did not arrive within --body-timeout
    #[response(status = 408)]
    SlowBody(OpenAiErrorBody),
    /// The body is larger than --payload-limit or --compressed-limit
    #[response(status = 413)]
    TooLarge(OpenAiErrorBody),
    /// The content type is not application/json, or the content-encoding is not supported
    #[response(status = 415)]
    ContentType(OpenAiErrorBody),
    /// The queue is full; retry after Retry-After seconds
    #[response(status = 429)]
    Overloaded(OpenAiErrorBody),
    /// The device failed while it ran the batch
    #[response(status = 500)]
    Backend(OpenAiErrorBody),
    /// The answer is late, the device is lost, or the server is stopping; retry after Retry-After seconds
    #[response(status = 503)]
    Unhealthy(OpenAiErrorBody),
}
