//! OpenAI's embeddings, and what vLLM's pooling endpoints have in common with them.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use super::inputs::Inputs;
use super::overlong::Chunk;

/// `POST /v1/embeddings`. `truncate`, `chunk` and `truncate_prompt_tokens` (vLLM's) are not OpenAI's.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct EmbeddingsRequest {
    pub(crate) input: Inputs,
    pub(crate) model: Option<String>,
    #[serde(default)]
    pub(crate) encoding_format: EncodingFormat,
    pub(crate) dimensions: Option<usize>,
    pub(crate) prompt_name: Option<String>,
    pub(crate) truncate: Option<bool>,
    pub(crate) truncate_prompt_tokens: Option<i64>,
    pub(crate) chunk: Option<Chunk>,
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
    Rows(RowsOf),
    Base64(String),
}

/// Rows of one width, written as arrays.
#[derive(Debug)]
pub(crate) struct RowsOf {
    pub(crate) rows: Vec<f32>,
    pub(crate) width: usize,
}

impl Serialize for RowsOf {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(self.rows.chunks(self.width.max(1)))
    }
}

impl PartialSchema for RowsOf {
    fn schema() -> RefOr<Schema> {
        <Vec<Vec<f32>> as PartialSchema>::schema()
    }
}

impl ToSchema for RowsOf {}

impl EncodingFormat {
    /// A vector in this format.
    pub(crate) fn vector(self, vector: Vec<f32>) -> Numbers {
        match self {
            EncodingFormat::Float => Numbers::Floats(vector),
            EncodingFormat::Base64 => Numbers::Base64(base64(&vector)),
        }
    }

    /// Rows in this format; in base64 one after another.
    pub(crate) fn rows(self, rows: RowsOf) -> Numbers {
        match self {
            EncodingFormat::Float => Numbers::Rows(rows),
            EncodingFormat::Base64 => Numbers::Base64(base64(&rows.rows)),
        }
    }
}

fn base64(numbers: &[f32]) -> String {
    let bytes: Vec<u8> = numbers.iter().flat_map(|x| x.to_le_bytes()).collect();
    BASE64_STANDARD.encode(bytes)
}

/// Of `/v1/embeddings`.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Embeddings {
    pub(crate) object: &'static str,
    pub(crate) data: Vec<Embedding>,
    pub(crate) model: String,
    pub(crate) usage: EmbeddingUsage,
}

/// One vector.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Embedding {
    pub(crate) object: &'static str,
    pub(crate) embedding: Numbers,
    pub(crate) index: usize,
}

/// Tokens read.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
pub(crate) struct EmbeddingUsage {
    pub(crate) prompt_tokens: usize,
    pub(crate) total_tokens: usize,
}

/// Of `/v1/models`.
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
    /// Where it came from.
    pub(crate) root: String,
    /// Tokens of one input.
    pub(crate) max_model_len: usize,
    /// Ours: as in `/info`.
    pub(crate) kind: &'static str,
}
