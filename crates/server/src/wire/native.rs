//! What no other server has: tags with places in the text, masks, several models over one text.

use std::collections::BTreeMap;

use bigbatch_engine::task::Entity;
use serde::Serialize;
use utoipa::ToSchema;

use super::inputs::Texts;
use super::openai::OpenAiError;
use super::request::model_request;
use super::shared::{MaskFill, Prediction, five};
pub(super) use super::tei::render_refusal;

model_request! {
    /// `POST /tag`.
    pub(crate) struct TagRequest {
        pub(crate) inputs: Texts,
        /// The label of every token too, special ones included.
        #[serde(default)]
        pub(crate) all_tokens: bool,
    } + model, truncate, truncation_direction, chunk
}

/// A labelled stretch of a text.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EntitySpan {
    pub(crate) label: String,
    /// First character of the whole text.
    pub(crate) start: usize,
    /// Character after the last.
    pub(crate) end: usize,
    pub(crate) text: String,
    /// Mean probability of its tokens' labels.
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
    /// Tokens read, special ones included once.
    pub(crate) tokens: usize,
    /// Whether it was cut.
    pub(crate) truncated: bool,
    /// Windows it was read in, where `chunk` was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) chunks: Option<usize>,
}

/// The tags of one text.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TagAnswer {
    /// In order of place.
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
        /// Candidates for each mask.
        #[serde(default = "five")]
        pub(crate) top_k: usize,
    } + model, truncate, truncation_direction, chunk
}

/// The candidates of one text.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FillMaskAnswer {
    /// For each mask its candidates, likeliest first.
    pub(crate) masks: Vec<Vec<MaskFill>>,
    #[serde(flatten)]
    pub(crate) read: InputStats,
}

/// Of one text its answer, of an array a list of them.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum OneOrMany<T> {
    One(T),
    Many(Vec<T>),
}

model_request! {
    /// `POST /v1/analyze`: several models over one text.
    pub(crate) struct AnalyzeRequest {
        #[serde(alias = "inputs", alias = "input")]
        pub(crate) text: String,
        /// By name; all of them without it.
        pub(crate) models: Option<Vec<String>>,
    } + truncate, truncation_direction, chunk
}

/// Each model's result or error, by its name.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Analysis {
    pub(crate) object: &'static str,
    /// How often the text was tokenized: once for each tokenizer that differs.
    pub(crate) tokenizations: usize,
    pub(crate) results: BTreeMap<String, ModelResult>,
}

/// What one model says of the text.
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

/// By the model's kind.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Finding {
    /// Of a classifier: all labels, likeliest first.
    Labels(Vec<Prediction>),
    /// Of a token classifier.
    Entities(Vec<EntitySpan>),
    /// Of the others.
    Embedding(Vec<f32>),
}
