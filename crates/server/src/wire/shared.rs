//! Bodies and answers that several dialects share.
//!
//! The dialect of a body on a path of two dialects follows from its fields.

use std::ops::Range;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bigbatch_engine::LabelScore;
use serde::{Deserialize, Serialize};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use super::fields::{NotSupported, agreed, contradiction};
use super::inputs::{Document, Inputs, Texts};
use super::request::Dialect;
use super::request::model_request;
use crate::error::Refusal;

/// Number of candidates per mask in a request without `top_k`.
pub(crate) const DEFAULT_TOP_K: usize = 5;

model_request! {
    /// `POST /classify`: `inputs` for labels in a flat list, `input` for vLLM's answer.
    pub(crate) struct ClassifyRequest {
        /// text-embeddings-inference's field; the answer is a flat list for one text, a list of lists for an array.
        pub(crate) inputs: Option<Texts>,
        /// vLLM's field.
        pub(crate) input: Option<Inputs>,
        /// For a grounded classifier, with `inputs`: what it judges each text by.
        pub(crate) parameters: Option<Grounding>,
        /// Logits instead of probabilities: the opposite of `use_activation`.
        pub(crate) raw_scores: Option<bool>,
    } + dialect_by_body, model, timeout_ms, priority, truncate, truncation_direction, truncate_prompt_tokens, add_special_tokens,
        chunk, activation, vllm, chat, partial
}

/// What a text should follow from: a grounded classifier marks the parts that do not.
#[derive(Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
pub(crate) struct Grounding {
    /// Required.
    pub(crate) context: Option<String>,
    /// What the text answers.
    pub(crate) question: Option<String>,
}

impl ClassifyRequest {
    /// Returns whether logits are due instead of probabilities.
    pub(crate) fn logits(&self) -> Result<bool, Refusal> {
        logits(self.raw_scores, self.activation()?)
    }

    fn dialect_by_body(&self, _: Dialect) -> Result<Dialect, Refusal> {
        match (&self.inputs, &self.input) {
            (Some(_), None) => Ok(Dialect::Tei),
            (None, Some(_)) => Ok(Dialect::Vllm),
            _ => Err(Refusal::Shape("give either `inputs` or `input`".into())),
        }
    }
}

model_request! {
    /// `POST /rerank`: `texts` for text-embeddings-inference's answer, `documents` for vLLM's and Jina's.
    pub(crate) struct RerankRequest {
        pub(crate) query: String,
        pub(crate) texts: Option<Vec<String>>,
        pub(crate) documents: Option<Vec<Document>>,
        /// Logits instead of probabilities: the opposite of `use_activation`.
        pub(crate) raw_scores: Option<bool>,
        /// Repeats the texts in the answer; false for `texts` and true for `documents` if absent.
        pub(crate) return_text: Option<bool>,
        /// Another name for `return_text`.
        pub(crate) return_documents: Option<bool>,
        /// The number of best ones to return; all if absent or 0.
        pub(crate) top_n: Option<usize>,
        /// Cohere's: `text` is the only field of a document that is read.
        #[expect(dead_code, reason = "only what is computed is accepted")]
        pub(crate) rank_fields: Option<Vec<RankField>>,
        /// Not supported: give `truncate_prompt_tokens` or `truncate`.
        #[expect(dead_code, reason = "any value that matters is refused")]
        pub(crate) max_chunks_per_doc: Option<NotSupported>,
    } + dialect_by_body, model, timeout_ms, priority, truncate, truncation_direction, truncate_prompt_tokens, chunk, activation,
        vllm, scoring, partial
}

impl RerankRequest {
    /// Returns whether logits are due instead of probabilities.
    pub(crate) fn logits(&self) -> Result<bool, Refusal> {
        logits(self.raw_scores, self.activation()?)
    }

    /// Returns whether the answer repeats the texts.
    pub(crate) fn repeated(&self, default: bool) -> Result<bool, Refusal> {
        let names =
            [("return_text", self.return_text), ("return_documents", self.return_documents)];
        Ok(agreed(&names)?.unwrap_or(default))
    }

    /// Returns the maximum number of results.
    pub(crate) fn best(&self) -> usize {
        self.top_n.filter(|&n| n > 0).unwrap_or(usize::MAX)
    }

    /// vLLM's own paths take `documents` only.
    fn dialect_by_body(&self, of_path: Dialect) -> Result<Dialect, Refusal> {
        match (of_path, &self.texts, &self.documents) {
            (Dialect::Vllm, _, None) => Err(Refusal::Shape("missing field `documents`".into())),
            (Dialect::Vllm, ..) | (_, None, Some(_)) => Ok(Dialect::Vllm),
            (_, Some(_), None) => Ok(Dialect::Tei),
            _ => Err(Refusal::Shape("give either `texts` or `documents`".into())),
        }
    }
}

model_request! {
    /// `POST /tokenize`: `inputs` for text-embeddings-inference's answer, `prompt` for vLLM's.
    pub(crate) struct TokenizeRequest {
        /// text-embeddings-inference's field: one text or several.
        pub(crate) inputs: Option<Texts>,
        /// vLLM's field: one text.
        pub(crate) prompt: Option<String>,
        /// True if absent.
        pub(crate) add_special_tokens: Option<bool>,
        /// Name of a prompt of the model, put before each text; none if absent.
        pub(crate) prompt_name: Option<String>,
        /// vLLM's: returns the tokens as the vocabulary writes them; false if absent. Only with `prompt`.
        pub(crate) return_token_strs: Option<bool>,
    } + dialect_by_body, model, chat
}

impl TokenizeRequest {
    fn dialect_by_body(&self, _: Dialect) -> Result<Dialect, Refusal> {
        match (&self.inputs, &self.prompt, self.return_token_strs) {
            (Some(_), None, Some(true)) => Err(contradiction("inputs", "return_token_strs")),
            (Some(_), None, _) => Ok(Dialect::Tei),
            (None, Some(_), _) => Ok(Dialect::Vllm),
            _ => Err(Refusal::Shape("give either `inputs` or `prompt`".into())),
        }
    }
}

/// Returns whether logits are due instead of probabilities, by text-embeddings-inference's flag and vLLM's.
fn logits(raw_scores: Option<bool>, activation: Option<bool>) -> Result<bool, Refusal> {
    let names =
        [("raw_scores", raw_scores), ("use_activation", activation.map(|activation| !activation))];
    Ok(agreed(&names)?.unwrap_or(false))
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

/// A candidate for a mask.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct MaskFill {
    pub(crate) score: f32,
    /// Id of the token.
    pub(crate) token: u32,
    pub(crate) token_str: String,
    /// The text with the token in place of the mask.
    #[schema(value_type = String)]
    pub(crate) sequence: FilledText,
}

/// A text with a token in place of a mask, put together when it is written: an answer may have thousands.
#[derive(Debug)]
pub(crate) struct FilledText {
    pub(crate) text: Arc<str>,
    /// The bytes of the text that the token replaces.
    pub(crate) replaced: Range<usize>,
    pub(crate) token: String,
}

impl Serialize for FilledText {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let FilledText { text, replaced, token } = self;
        let (before, after) = (&text[..replaced.start], &text[replaced.end..]);
        to.collect_str(&format_args!("{before}{token}{after}"))
    }
}

/// A field of a document that a reranker reads.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum RankField {
    Text,
}

/// The element type of vectors in base64.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum EmbedDtype {
    Float32,
}

/// The byte order of vectors in base64.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Endianness {
    /// That of all machines that vLLM runs on.
    Native,
    Little,
}

/// How vectors are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum EncodingFormat {
    /// Numbers.
    #[default]
    Float,
    /// Little-endian f32 in base64.
    Base64,
}

/// Numbers, rows of them, or either in base64.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum Numbers {
    Floats(Vec<f32>),
    Rows(Matrix),
    Base64(String),
}

/// Rows of one width, written as an array of arrays.
#[derive(Debug)]
pub(crate) struct Matrix {
    pub(crate) rows: Vec<f32>,
    pub(crate) width: usize,
}

impl Serialize for Matrix {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(self.rows.chunks(self.width.max(1)))
    }
}

impl PartialSchema for Matrix {
    fn schema() -> RefOr<Schema> {
        <Vec<Vec<f32>> as PartialSchema>::schema()
    }
}

impl ToSchema for Matrix {}

impl From<(Vec<f32>, usize)> for Matrix {
    fn from((rows, width): (Vec<f32>, usize)) -> Matrix {
        Matrix { rows, width }
    }
}

impl EncodingFormat {
    /// Encodes a vector.
    pub(crate) fn encode_vector(self, vector: Vec<f32>) -> Numbers {
        match self {
            EncodingFormat::Float => Numbers::Floats(vector),
            EncodingFormat::Base64 => Numbers::Base64(base64(&vector)),
        }
    }

    /// Encodes rows; in base64 one after another, without their width.
    pub(crate) fn encode_rows(self, rows: Matrix) -> Numbers {
        match self {
            EncodingFormat::Float => Numbers::Rows(rows),
            EncodingFormat::Base64 => Numbers::Base64(base64(&rows.rows)),
        }
    }
}

/// Encodes numbers as little-endian f32 in base64.
pub(crate) fn base64(numbers: &[f32]) -> String {
    let bytes: Vec<u8> = numbers.iter().flat_map(|x| x.to_le_bytes()).collect();
    BASE64_STANDARD.encode(bytes)
}
