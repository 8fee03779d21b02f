//! Bodies of the paths that two dialects share: the field that is there decides which one it is.

use serde::Deserialize;
use utoipa::ToSchema;

use super::inputs::{Inputs, Texts};
use super::overlong::{Chunk, Direction};
use super::vllm::Document;

/// `POST /classify`: `inputs` for labels in a flat list, `input` for vLLM's answer.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct ClassifyRequest {
    /// Text-embeddings-inference's field; one text gives a flat list, an array a list of lists.
    pub(crate) inputs: Option<Texts>,
    /// vLLM's field.
    pub(crate) input: Option<Inputs>,
    pub(crate) model: Option<String>,
    #[serde(default)]
    pub(crate) raw_scores: bool,
    /// vLLM's: probabilities instead of logits; true where it is left out.
    #[serde(alias = "activation", alias = "softmax")]
    pub(crate) use_activation: Option<bool>,
    pub(crate) truncate: Option<bool>,
    pub(crate) truncation_direction: Option<Direction>,
    pub(crate) truncate_prompt_tokens: Option<i64>,
    pub(crate) chunk: Option<Chunk>,
}

/// `POST /rerank`: `texts` for text-embeddings-inference's answer, `documents` for vLLM's and Jina's.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct RerankRequest {
    pub(crate) query: String,
    pub(crate) texts: Option<Vec<String>>,
    pub(crate) documents: Option<Vec<Document>>,
    pub(crate) model: Option<String>,
    /// With `texts`: logits instead of probabilities.
    #[serde(default)]
    pub(crate) raw_scores: bool,
    /// With `texts`: repeat them in the answer.
    #[serde(default)]
    pub(crate) return_text: bool,
    /// With `documents`: the best so many; all without it.
    pub(crate) top_n: Option<usize>,
    /// With `documents`: repeat them in the answer.
    pub(crate) return_documents: Option<bool>,
    #[serde(alias = "activation")]
    pub(crate) use_activation: Option<bool>,
    pub(crate) truncate: Option<bool>,
    pub(crate) truncation_direction: Option<Direction>,
    pub(crate) truncate_prompt_tokens: Option<i64>,
    /// Of a model of embeddings; a reranker, which reads pairs, refuses it.
    pub(crate) chunk: Option<Chunk>,
}
