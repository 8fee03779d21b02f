//! Endpoints that no other server has: `/tag`, `/fill_mask`, `/v1/analyze`.
//!
//! Errors are text-embeddings-inference's, except below `/v1`, where the route table names OpenAI's.

use std::collections::BTreeMap;

use bigbatch_engine::Entity;
use serde::Serialize;
use utoipa::ToSchema;

use super::inputs::{TagInputs, Texts};
use super::openai::OpenAiError;
use super::partial::Items;
use super::request::model_request;
use super::shared::{MaskFill, Prediction};
pub(super) use super::tei::render_refusal;

model_request! {
    /// `POST /tag`.
    pub(crate) struct TagRequest {
        /// In a pair, the context comes first: labels and offsets are those of the second text.
        pub(crate) inputs: TagInputs,
        /// Adds the label of every token, special ones included; of a pair, of the second text's tokens;
        /// false if absent.
        pub(crate) all_tokens: Option<bool>,
        /// `none`, `simple`, `first`, `average` or `max`: entities as the pipeline of `transformers` finds them.
        pub(crate) aggregation_strategy: Option<String>,
        /// Labels of which no entity is returned; `["O"]` if absent.
        pub(crate) ignore_labels: Option<Vec<String>>,
    } + model, timeout_ms, priority, truncate, truncation_direction, chunk, partial
}

/// A labelled span of a text.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EntitySpan {
    pub(crate) label: String,
    /// Index of the first character in the whole text.
    pub(crate) start: usize,
    /// Index after the last character.
    pub(crate) end: usize,
    pub(crate) text: String,
    /// Mean probability of the labels of its tokens.
    pub(crate) score: f32,
}

impl From<Entity> for EntitySpan {
    fn from(Entity { label, span, text, score }: Entity) -> EntitySpan {
        EntitySpan { label, start: span.start, end: span.end, text, score }
    }
}

/// How a text was read.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
pub(crate) struct InputStats {
    /// Number of tokens read; the special tokens around windows count once.
    pub(crate) tokens: usize,
    /// Whether the text was truncated.
    pub(crate) truncated: bool,
    /// Number of windows, if the request has `chunk`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) chunks: Option<usize>,
}

/// The tags of one text.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TagAnswer {
    /// In the order of the text.
    pub(crate) entities: Vec<EntitySpan>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) token_labels: Option<Vec<String>>,
    #[serde(flatten)]
    pub(crate) read: InputStats,
}

model_request! {
    /// `POST /fill_mask`.
    pub(crate) struct FillMaskRequest {
        pub(crate) inputs: Texts,
        /// Number of candidates per mask; 5 if absent.
        pub(crate) top_k: Option<usize>,
    } + model, timeout_ms, priority, truncate, truncation_direction, chunk, partial
}

/// The candidates of one text.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FillMaskAnswer {
    /// The candidates per mask, likeliest first.
    pub(crate) masks: Vec<Vec<MaskFill>>,
    #[serde(flatten)]
    pub(crate) read: InputStats,
}

/// The answer to a single text, or a list of answers.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum OneOrMany<T> {
    One(T),
    Many(Items<T>),
}

model_request! {
    /// `POST /v1/analyze`: several models over one text.
    pub(crate) struct AnalyzeRequest {
        /// Required under one of its names.
        pub(crate) text: Option<String>,
        /// Another name for `text`.
        pub(crate) inputs: Option<String>,
        /// Another name for `text`.
        pub(crate) input: Option<String>,
        /// Names of the models; all models if absent.
        pub(crate) models: Option<Vec<String>>,
    } + timeout_ms, priority, truncate, truncation_direction, chunk
}

/// The result or error of each model, by its name.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Analysis {
    pub(crate) object: &'static str,
    /// Number of times the text was tokenized: once per distinct tokenizer and prompt.
    pub(crate) tokenizations: usize,
    pub(crate) results: BTreeMap<String, ModelResult>,
}

/// The result or error of one model.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum ModelResult {
    Done {
        /// As in `/info`.
        kind: &'static str,
        #[serde(flatten)]
        finding: Finding,
        #[serde(flatten)]
        read: InputStats,
    },
    Failed {
        error: OpenAiError,
    },
}

/// The result, by the model's kind.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Finding {
    /// All labels, likeliest first: for a classifier or a reranker.
    Labels(Vec<Prediction>),
    /// For a token classifier.
    Entities(Vec<EntitySpan>),
    /// For the other kinds.
    Embedding(Vec<f32>),
}
