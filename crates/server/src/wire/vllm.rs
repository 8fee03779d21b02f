//! vLLM's pooling endpoints: `/classify`, `/pooling`, `/score`, and the answers of `/rerank` and `/tokenize`.
//!
//! Errors are OpenAI's, as vLLM's are.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::fields::{NotSupported, exactly_one};
use super::inputs::{Inputs, Texts};
use super::openai::TokenUsage;
pub(super) use super::openai::render_refusal;
use super::partial::InputError;
use super::request::model_request;
use super::shared::Numbers;
use crate::error::Refusal;

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

/// The answer of `/classify`, `/pooling` and `/score`: one item per input.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct List<T> {
    pub(crate) id: String,
    pub(crate) object: &'static str,
    /// Seconds since 1970.
    pub(crate) created: u64,
    pub(crate) model: String,
    pub(crate) data: Vec<T>,
    /// The inputs that failed, if the request has `partial`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) errors: Vec<InputError>,
    pub(crate) usage: Usage,
}

/// The class of a text.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Class {
    pub(crate) index: usize,
    /// The likeliest label.
    pub(crate) label: String,
    /// In the order of the labels' ids.
    pub(crate) probs: Vec<f32>,
    pub(crate) num_classes: usize,
}

model_request! {
    /// `POST /pooling`.
    pub(crate) struct PoolingRequest {
        pub(crate) input: Inputs,
        /// By the model's kind if absent.
        pub(crate) task: Option<PoolingTask>,
        /// Keeps the first so many dimensions (Matryoshka).
        pub(crate) dimensions: Option<usize>,
        /// Not supported: there are no plugins.
        #[expect(dead_code, reason = "any value that matters is refused")]
        pub(crate) data: Option<NotSupported>,
        /// Not supported.
        #[expect(dead_code, reason = "any value that matters is refused")]
        pub(crate) additional_data: Option<NotSupported>,
    } + model, timeout_ms, priority, truncate, truncate_prompt_tokens, add_special_tokens, chunk, encoding, activation, vllm, chat, partial
}

/// What `/pooling` computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum PoolingTask {
    /// A vector.
    Embed,
    /// The scores of all labels.
    Classify,
    /// A vector per token.
    TokenEmbed,
    /// The scores of all labels, per token.
    TokenClassify,
}

/// The numbers of one input: a list, or a list per token.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PoolingOutput {
    pub(crate) index: usize,
    pub(crate) object: &'static str,
    pub(crate) data: Numbers,
}

model_request! {
    /// `POST /score`: one query and many documents, or as many of each. Each side is required under one of its
    /// names.
    pub(crate) struct ScoreRequest {
        pub(crate) queries: Option<Texts>,
        /// Another name for `queries`.
        pub(crate) text_1: Option<Texts>,
        /// Another name for `queries`.
        pub(crate) data_1: Option<Texts>,
        pub(crate) documents: Option<Texts>,
        /// Another name for `documents`.
        pub(crate) text_2: Option<Texts>,
        /// Another name for `documents`.
        pub(crate) data_2: Option<Texts>,
        /// Another name for `documents`.
        pub(crate) items: Option<Texts>,
    } + model, timeout_ms, priority, truncate, truncate_prompt_tokens, chunk, activation, vllm, scoring, partial
}

impl ScoreRequest {
    /// Takes the queries and the documents.
    pub(crate) fn take_sides(&mut self) -> Result<(Texts, Texts), Refusal> {
        let queries = exactly_one([
            ("queries", self.queries.take()),
            ("text_1", self.text_1.take()),
            ("data_1", self.data_1.take()),
        ]);
        let documents = exactly_one([
            ("documents", self.documents.take()),
            ("text_2", self.text_2.take()),
            ("data_2", self.data_2.take()),
            ("items", self.items.take()),
        ]);
        Ok((queries?, documents?))
    }
}

/// The score of one pair.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Score {
    pub(crate) index: usize,
    pub(crate) object: &'static str,
    pub(crate) score: f32,
}

/// The answer of `/rerank` to `documents`.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DocumentRanking {
    pub(crate) id: String,
    pub(crate) model: String,
    pub(crate) usage: TokenUsage,
    /// Best first.
    pub(crate) results: Vec<RerankResult>,
    /// The documents that failed, if the request has `partial`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) errors: Vec<InputError>,
}

/// One document against the query.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RerankResult {
    /// Index in the request.
    pub(crate) index: usize,
    /// Absent if `return_documents` is false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) document: Option<RerankDocument>,
    pub(crate) relevance_score: f32,
}

/// The text of a document.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RerankDocument {
    pub(crate) text: String,
}

/// The answer of `/tokenize` to `prompt`.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TokenizedPrompt {
    /// Number of tokens.
    pub(crate) count: usize,
    /// Tokens of the longest input.
    pub(crate) max_model_len: usize,
    pub(crate) tokens: Vec<u32>,
    /// The tokens as the vocabulary writes them; null unless the request has `return_token_strs`.
    pub(crate) token_strs: Option<Vec<String>>,
}

model_request! {
    /// `POST /detokenize`.
    pub(crate) struct DetokenizeRequest {
        pub(crate) tokens: Vec<u32>,
    } + model
}

/// The answer of `/detokenize`.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DetokenizedPrompt {
    /// The text, special tokens included.
    pub(crate) prompt: String,
}
