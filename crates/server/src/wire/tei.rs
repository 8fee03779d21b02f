//! text-embeddings-inference 1.9: <https://github.com/huggingface/text-embeddings-inference>.
//!
//! `model`, `chunk` and `partial` are our own fields in these requests; answers have the original's fields only, `/info`
//! excepted.

use std::borrow::Cow;
use std::collections::BTreeMap;

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use bigbatch_engine::{TokenPiece, Tokenizer, Tokens};
use serde::{Deserialize, Serialize};
use utoipa::{IntoResponses, ToSchema};

use super::inputs::{Inputs, PredictInputs, SimilarityInput};
use super::partial::Items;
use super::request::model_request;
use super::shared::Prediction;
use crate::error::Refusal;

model_request! {
    /// `POST /embed`.
    pub(crate) struct EmbedRequest {
        pub(crate) inputs: Inputs,
        /// Name of a prompt of the model, put before each text; the model's default prompt if absent.
        pub(crate) prompt_name: Option<String>,
        /// Scales vectors to unit length; true if absent.
        pub(crate) normalize: Option<bool>,
        /// Keeps the first so many dimensions (Matryoshka).
        pub(crate) dimensions: Option<usize>,
    } + model, timeout_ms, priority, truncate, truncation_direction, add_special_tokens, chunk, partial
}

model_request! {
    /// `POST /embed_all`.
    pub(crate) struct EmbedAllRequest {
        pub(crate) inputs: Inputs,
        pub(crate) prompt_name: Option<String>,
    } + model, timeout_ms, priority, truncate, truncation_direction, add_special_tokens, chunk, partial
}

model_request! {
    /// `POST /predict`.
    pub(crate) struct PredictRequest {
        pub(crate) inputs: PredictInputs,
        /// Logits instead of probabilities; false if absent.
        pub(crate) raw_scores: Option<bool>,
    } + model, timeout_ms, priority, truncate, truncation_direction, add_special_tokens, chunk, partial
}

/// The labels of a single input, or a list of labels per input.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum Predictions {
    One(Vec<Prediction>),
    Many(Items<Vec<Prediction>>),
}

/// One text against the query.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Rank {
    /// Index in the request.
    pub(crate) index: usize,
    /// Present if the request has `return_text`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) text: Option<String>,
    pub(crate) score: f32,
}

/// An item of `/rerank`'s answer to `texts`. Failed texts are last.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum RankItem {
    Done(Rank),
    /// The text failed.
    Failed {
        /// Index in the request.
        index: usize,
        #[serde(flatten)]
        error: TeiError,
    },
}

model_request! {
    /// `POST /similarity`.
    pub(crate) struct SimilarityRequest {
        pub(crate) inputs: SimilarityInput,
        pub(crate) parameters: Option<SimilarityParameters>,
    } + model, timeout_ms, priority, partial
}

model_request! {
    /// Options of `/similarity`.
    #[derive(Default)]
    pub(crate) struct SimilarityParameters {
        pub(crate) prompt_name: Option<String>,
    } + truncate, truncation_direction, chunk, partial
}

/// One token.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SimpleToken<'a> {
    pub(crate) id: u32,
    pub(crate) text: Cow<'a, str>,
    pub(crate) special: bool,
    /// Index of the first character; null for special tokens.
    pub(crate) start: Option<usize>,
    /// Index after the last character; null for special tokens.
    pub(crate) stop: Option<usize>,
}

impl<'a> From<TokenPiece<'a>> for SimpleToken<'a> {
    fn from(TokenPiece { id, text, special, span }: TokenPiece<'a>) -> SimpleToken<'a> {
        let (start, stop) = span.map_or((None, None), |span| (Some(span.start), Some(span.end)));
        SimpleToken { id, text, special, start, stop }
    }
}

/// The tokens of a text, made when they are written: there may be a million.
pub(crate) struct SimpleTokens<'a> {
    pub(crate) tokenizer: &'a Tokenizer,
    pub(crate) text: &'a str,
    pub(crate) tokens: &'a Tokens,
}

impl Serialize for SimpleTokens<'_> {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let pieces = self.tokenizer.pieces(self.text, self.tokens);
        to.collect_seq(pieces.map(SimpleToken::from))
    }
}

model_request! {
    /// `POST /decode`.
    pub(crate) struct DecodeRequest {
        pub(crate) ids: Ids,
        /// True if absent.
        pub(crate) skip_special_tokens: Option<bool>,
    } + model
}

/// Token ids, or several lists of them.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(untagged, expecting = "expected an array of token ids or an array of such arrays")]
pub(crate) enum Ids {
    One(Vec<u32>),
    Many(Vec<Vec<u32>>),
}

/// `GET /info`: the first model and the limits; `models` lists all models.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Info {
    pub(crate) model_id: String,
    pub(crate) model_sha: Option<String>,
    /// `float32`, `bfloat16` or `float16`.
    pub(crate) model_dtype: &'static str,
    pub(crate) model_type: ModelType,
    /// Maximum inputs in flight per model.
    pub(crate) max_concurrent_requests: usize,
    /// Maximum tokens per input.
    pub(crate) max_input_length: usize,
    /// Maximum tokens per batch.
    pub(crate) max_batch_tokens: usize,
    /// Maximum sequences per batch.
    pub(crate) max_batch_requests: Option<usize>,
    /// Maximum inputs per request of this dialect.
    pub(crate) max_client_batch_size: usize,
    pub(crate) auto_truncate: bool,
    pub(crate) tokenization_workers: usize,
    pub(crate) version: &'static str,
    pub(crate) sha: Option<&'static str>,
    pub(crate) docker_label: Option<&'static str>,
    pub(crate) models: Vec<ModelInfo>,
}

/// One of the models; not in the original.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ModelInfo {
    /// The name by which requests choose it.
    pub(crate) name: String,
    /// The `SOURCE` that `--model` gave.
    pub(crate) source: String,
    /// `embedding`, `masked_lm`, `classifier`, `reranker` or `token_classifier`.
    pub(crate) kind: &'static str,
    pub(crate) device: String,
    pub(crate) dtype: &'static str,
    pub(crate) max_input_length: usize,
    pub(crate) max_batch_tokens: usize,
    /// Labels in the order of their ids; empty for embeddings.
    pub(crate) labels: Vec<String>,
    /// Names of the prompts.
    pub(crate) prompts: Vec<String>,
}

/// What a model computes. The last variant is not the original's.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ModelType {
    Embedding { pooling: &'static str },
    Classifier(LabelMaps),
    Reranker(LabelMaps),
    TokenClassifier(LabelMaps),
}

/// Labels by id, and ids by label.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LabelMaps {
    pub(crate) id2label: BTreeMap<usize, String>,
    pub(crate) label2id: BTreeMap<String, usize>,
}

/// The body of a refusal.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TeiError {
    /// One line for a person.
    error: String,
    /// `Validation`, `Empty`, `Overloaded`, `Backend`, `Unhealthy` or `Unauthorized`.
    error_type: &'static str,
}

impl From<&Refusal> for TeiError {
    fn from(refusal: &Refusal) -> TeiError {
        let (_, error_type) = status_and_type(refusal);
        TeiError { error: refusal.message(), error_type }
    }
}

/// Renders a refusal as text-embeddings-inference's clients read it.
pub(super) fn render_refusal(refusal: &Refusal) -> Response {
    let (status, _) = status_and_type(refusal);
    (status, Json(TeiError::from(refusal))).into_response()
}

fn status_and_type(refusal: &Refusal) -> (StatusCode, &'static str) {
    use StatusCode as S;
    match refusal {
        Refusal::Syntax(_) | Refusal::Host(_) => (S::BAD_REQUEST, "Validation"),
        Refusal::Empty(_) => (S::BAD_REQUEST, "Empty"),
        Refusal::Unauthorized => (S::UNAUTHORIZED, "Unauthorized"),
        Refusal::UnknownModel { .. }
        | Refusal::NoRoute { .. }
        | Refusal::UnknownDetector { .. } => (S::NOT_FOUND, "Validation"),
        Refusal::Method { .. } => (S::METHOD_NOT_ALLOWED, "Validation"),
        Refusal::SlowBody { .. } => (S::REQUEST_TIMEOUT, "Validation"),
        Refusal::TooLarge { .. } | Refusal::Ratio { .. } | Refusal::NeedsMemory { .. } => {
            (S::PAYLOAD_TOO_LARGE, "Validation")
        }
        Refusal::ContentType | Refusal::Encoding => (S::UNSUPPORTED_MEDIA_TYPE, "Validation"),
        Refusal::Shape(_) | Refusal::Invalid(_) | Refusal::TooLong(_) | Refusal::TooMany { .. } => {
            (S::UNPROCESSABLE_ENTITY, "Validation")
        }
        Refusal::WrongKind(_) | Refusal::Backend(_) => (S::FAILED_DEPENDENCY, "Backend"),
        Refusal::Overloaded { .. }
        | Refusal::OverShare { .. }
        | Refusal::DeadlineTooShort { .. } => (S::TOO_MANY_REQUESTS, "Overloaded"),
        Refusal::Late { .. } | Refusal::DeadlinePassed(_) => (S::SERVICE_UNAVAILABLE, "Overloaded"),
        Refusal::Unavailable(_) => (S::SERVICE_UNAVAILABLE, "Unhealthy"),
    }
}

/// The refusals of an endpoint, for the OpenAPI document.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "read by the document's macro only")]
pub(crate) enum TeiErrors {
    /// The body is not JSON, or an input is missing or empty
    #[response(status = 400)]
    Empty(TeiError),
    /// The API key is missing or unknown
    #[response(status = 401)]
    Unauthorized(TeiError),
    /// No model has this name
    #[response(status = 404)]
    UnknownModel(TeiError),
    /// The path does not support this method
    #[response(status = 405)]
    Method(TeiError),
    /// The body did not arrive within --body-timeout
    #[response(status = 408)]
    SlowBody(TeiError),
    /// The body is larger than --payload-limit or --compressed-limit
    #[response(status = 413)]
    TooLarge(TeiError),
    /// The content type is not application/json, or the content-encoding is not supported
    #[response(status = 415)]
    ContentType(TeiError),
    /// Too many tokens or inputs, or a field of a wrong type or value
    #[response(status = 422)]
    Validation(TeiError),
    /// The model has no head for this task, or the device failed
    #[response(status = 424)]
    Backend(TeiError),
    /// The queue is full; retry after Retry-After seconds
    #[response(status = 429)]
    Overloaded(TeiError),
    /// The answer is late, the device is lost, or the server is stopping; retry after Retry-After seconds
    #[response(status = 503)]
    Unhealthy(TeiError),
}
