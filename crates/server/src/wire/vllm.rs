//! vLLM's pooling endpoints: `/classify`, `/pooling`, `/score`, `/rerank`.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::inputs::Inputs;
use super::openai::{EncodingFormat, Numbers};
use super::overlong::Chunk;

/// Tokens read, as vLLM counts them.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
pub(crate) struct Usage {
    pub(crate) prompt_tokens: usize,
    pub(crate) total_tokens: usize,
    pub(crate) completion_tokens: usize,
    pub(crate) prompt_tokens_details: Option<()>,
}

impl Usage {
    pub(crate) fn of(tokens: usize) -> Usage {
        Usage {
            prompt_tokens: tokens,
            total_tokens: tokens,
            completion_tokens: 0,
            prompt_tokens_details: None,
        }
    }
}

/// What all of these answers look like.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct List<T> {
    pub(crate) id: String,
    pub(crate) object: &'static str,
    /// Seconds since 1970.
    pub(crate) created: u64,
    pub(crate) model: String,
    pub(crate) data: Vec<T>,
    pub(crate) usage: Usage,
}

/// A text's class.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Class {
    pub(crate) index: usize,
    /// The likeliest.
    pub(crate) label: String,
    /// In the order of the labels' ids.
    pub(crate) probs: Vec<f32>,
    pub(crate) num_classes: usize,
}

/// `POST /pooling`.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct PoolingRequest {
    pub(crate) input: Inputs,
    pub(crate) model: Option<String>,
    /// By the model's kind where it is left out.
    pub(crate) task: Option<PoolingTask>,
    #[serde(default)]
    pub(crate) encoding_format: EncodingFormat,
    pub(crate) dimensions: Option<usize>,
    /// Scaled vectors, probabilities instead of logits; true where it is left out.
    #[serde(alias = "activation", alias = "normalize", alias = "softmax")]
    pub(crate) use_activation: Option<bool>,
    pub(crate) truncate: Option<bool>,
    pub(crate) truncate_prompt_tokens: Option<i64>,
    pub(crate) chunk: Option<Chunk>,
}

/// What is pooled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum PoolingTask {
    /// A vector.
    Embed,
    /// The scores of all labels.
    Classify,
    /// A vector a token.
    TokenEmbed,
    /// The scores of all labels, for each token.
    TokenClassify,
}

/// One input's numbers: a list, or a list of them for each token.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Pooled {
    pub(crate) index: usize,
    pub(crate) object: &'static str,
    pub(crate) data: Numbers,
}

/// `POST /score`: one query and many documents, or as many of each.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct ScoreRequest {
    #[serde(alias = "text_1", alias = "data_1")]
    pub(crate) queries: super::inputs::Texts,
    #[serde(alias = "text_2", alias = "data_2")]
    pub(crate) documents: super::inputs::Texts,
    pub(crate) model: Option<String>,
    #[serde(alias = "activation")]
    pub(crate) use_activation: Option<bool>,
    pub(crate) truncate: Option<bool>,
    pub(crate) truncate_prompt_tokens: Option<i64>,
    /// Of a model of embeddings; a reranker, which reads pairs, refuses it.
    pub(crate) chunk: Option<Chunk>,
}

/// One pair's score.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Score {
    pub(crate) index: usize,
    pub(crate) object: &'static str,
    pub(crate) score: f32,
}

/// A document of `/rerank`.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(untagged, expecting = "expected a string or an object with a text")]
pub(crate) enum Document {
    Plain(String),
    Object { text: String },
}

impl Document {
    pub(crate) fn text(self) -> String {
        match self {
            Document::Plain(text) | Document::Object { text } => text,
        }
    }
}

/// The answer of `/rerank` to `documents`.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Reranked {
    pub(crate) id: String,
    pub(crate) model: String,
    pub(crate) usage: RerankUsage,
    /// Best first.
    pub(crate) results: Vec<RerankResult>,
}

/// Tokens read.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RerankUsage {
    pub(crate) prompt_tokens: usize,
    pub(crate) total_tokens: usize,
}

/// One document against the query.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RerankResult {
    /// Place in the request.
    pub(crate) index: usize,
    /// Unless `return_documents` is false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) document: Option<RerankDocument>,
    pub(crate) relevance_score: f32,
}

/// Its text.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RerankDocument {
    pub(crate) text: String,
}
