//! text-embeddings-inference 1.9: <https://github.com/huggingface/text-embeddings-inference>.
//!
//! Fields of our own in these requests are `model` and `chunk`; answers have the original's fields only.

use std::collections::BTreeMap;

use bigbatch_engine::task::LabelScore;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::inputs::{Inputs, PredictInputs, Texts};
use super::overlong::{Chunk, Direction};

pub(crate) fn yes() -> bool {
    true
}

/// `POST /embed`.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct EmbedRequest {
    pub(crate) inputs: Inputs,
    /// Cut what is too long; without it the server's `--auto-truncate` holds.
    pub(crate) truncate: Option<bool>,
    pub(crate) truncation_direction: Option<Direction>,
    /// One of the model's prompts, put before each text; without it the model's default, if it has one.
    pub(crate) prompt_name: Option<String>,
    /// Scale to unit length.
    #[serde(default = "yes")]
    pub(crate) normalize: bool,
    /// Keep the first so many (Matryoshka).
    pub(crate) dimensions: Option<usize>,
    pub(crate) chunk: Option<Chunk>,
    pub(crate) model: Option<String>,
}

/// `POST /embed_all`.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct EmbedAllRequest {
    pub(crate) inputs: Inputs,
    pub(crate) truncate: Option<bool>,
    pub(crate) truncation_direction: Option<Direction>,
    pub(crate) prompt_name: Option<String>,
    /// Refused: a token's row depends on the window that it is read in.
    pub(crate) chunk: Option<Chunk>,
    pub(crate) model: Option<String>,
}

/// `POST /predict`.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct PredictRequest {
    pub(crate) inputs: PredictInputs,
    pub(crate) truncate: Option<bool>,
    pub(crate) truncation_direction: Option<Direction>,
    /// Logits instead of probabilities.
    #[serde(default)]
    pub(crate) raw_scores: bool,
    pub(crate) chunk: Option<Chunk>,
    pub(crate) model: Option<String>,
}

/// A label and its score.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Prediction {
    pub(crate) score: f32,
    pub(crate) label: String,
}

impl From<LabelScore> for Prediction {
    fn from(LabelScore { label, score, .. }: LabelScore) -> Prediction {
        Prediction { score, label }
    }
}

/// Of one input its labels, of a batch a list of them.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum Predictions {
    One(Vec<Prediction>),
    Many(Vec<Vec<Prediction>>),
}

/// One text against the query.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Rank {
    /// Place in the request.
    pub(crate) index: usize,
    /// Where `return_text` asked for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) text: Option<String>,
    pub(crate) score: f32,
}

/// `POST /similarity`.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct SimilarityRequest {
    pub(crate) inputs: SimilarityInput,
    pub(crate) parameters: Option<SimilarityParameters>,
    pub(crate) model: Option<String>,
}

/// One sentence and those it is compared with.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct SimilarityInput {
    pub(crate) source_sentence: String,
    pub(crate) sentences: Vec<String>,
}

/// Options of `/similarity`.
#[derive(Debug, Default, Deserialize, ToSchema)]
pub(crate) struct SimilarityParameters {
    pub(crate) truncate: Option<bool>,
    pub(crate) truncation_direction: Option<Direction>,
    pub(crate) prompt_name: Option<String>,
    pub(crate) chunk: Option<Chunk>,
}

/// `POST /tokenize`.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct TokenizeRequest {
    pub(crate) inputs: Texts,
    #[serde(default = "yes")]
    pub(crate) add_special_tokens: bool,
    pub(crate) prompt_name: Option<String>,
    pub(crate) model: Option<String>,
}

/// One token.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SimpleToken {
    pub(crate) id: u32,
    pub(crate) text: String,
    pub(crate) special: bool,
    /// First character; null for special tokens.
    pub(crate) start: Option<usize>,
    /// Character after the last.
    pub(crate) stop: Option<usize>,
}

/// `POST /decode`.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct DecodeRequest {
    pub(crate) ids: Ids,
    #[serde(default = "yes")]
    pub(crate) skip_special_tokens: bool,
    pub(crate) model: Option<String>,
}

/// Token ids, or several lists of them.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(untagged, expecting = "expected an array of token ids or an array of such arrays")]
pub(crate) enum Ids {
    One(Vec<u32>),
    Many(Vec<Vec<u32>>),
}

/// `GET /info`: of the first model, and `models` of all of them.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Info {
    pub(crate) model_id: String,
    pub(crate) model_sha: Option<String>,
    /// `float32`, `bfloat16` or `float16`.
    pub(crate) model_dtype: &'static str,
    pub(crate) model_type: ModelType,
    /// Requests admitted at once.
    pub(crate) max_concurrent_requests: usize,
    /// Tokens of one input.
    pub(crate) max_input_length: usize,
    /// Tokens of one batch.
    pub(crate) max_batch_tokens: usize,
    /// Sequences of one batch.
    pub(crate) max_batch_requests: Option<usize>,
    /// Inputs of one request.
    pub(crate) max_client_batch_size: usize,
    pub(crate) auto_truncate: bool,
    pub(crate) tokenization_workers: usize,
    pub(crate) version: &'static str,
    pub(crate) sha: Option<&'static str>,
    pub(crate) docker_label: Option<&'static str>,
    pub(crate) models: Vec<ModelInfo>,
}

/// Ours: one of the models.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ModelInfo {
    /// What requests call it.
    pub(crate) name: String,
    /// Where it came from.
    pub(crate) source: String,
    /// `embedding`, `masked_lm`, `classifier`, `reranker` or `token_classifier`.
    pub(crate) kind: &'static str,
    pub(crate) device: String,
    pub(crate) dtype: &'static str,
    pub(crate) max_input_length: usize,
    pub(crate) max_batch_tokens: usize,
    /// In the order of their ids; empty for embeddings.
    pub(crate) labels: Vec<String>,
    /// Names of its prompts.
    pub(crate) prompts: Vec<String>,
}

/// What a model is for. The last two are not the original's.
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
