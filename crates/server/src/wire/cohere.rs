//! Cohere's embeddings, version 1 and 2. Its rerankers are answered by `vllm`, whose answer has the same shape.

use axum::Json;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::{IntoResponses, ToSchema};

use super::fields::NotSupported;
use super::openai::status;
use super::request::model_request;
use super::shared::base64;
use crate::error::Refusal;

model_request! {
    /// `POST /v2/embed` and `/v1/embed`: `texts`, or `inputs` of one text each.
    pub(crate) struct CohereEmbedRequest {
        pub(crate) texts: Option<Vec<String>>,
        pub(crate) inputs: Option<Vec<CohereInput>>,
        /// Rejected: the models read texts only.
        pub(crate) images: Option<Vec<String>>,
        /// Chooses the model's prompt of this name, or of the name that sentence-transformers has for it; no
        /// prompt if the model has neither, its default prompt if absent.
        pub(crate) input_type: Option<CohereInputType>,
        /// `float` if absent.
        pub(crate) embedding_types: Option<Vec<CohereEmbeddingType>>,
        /// Keeps the first so many dimensions (Matryoshka).
        pub(crate) output_dimension: Option<usize>,
        /// `END` if absent.
        pub(crate) truncate: Option<CohereTruncate>,
        /// Tokens of the longest input, special ones included; the model's length if absent.
        pub(crate) max_tokens: Option<usize>,
        /// Not supported: vectors have no index by which a failed input could be left out.
        #[expect(dead_code, reason = "any value that matters is refused")]
        pub(crate) partial: Option<NotSupported>,
    } + model, timeout_ms, priority
}

/// One input of `inputs`.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct CohereInput {
    pub(crate) content: Vec<CohereContent>,
}

/// A part of an input: `{"type": "text", "text": ...}`.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct CohereContent {
    pub(crate) r#type: String,
    pub(crate) text: Option<String>,
}

/// What the vectors are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum CohereInputType {
    SearchQuery,
    SearchDocument,
    Classification,
    Clustering,
}

impl CohereInputType {
    /// Returns the names of its prompt, the first that the model has wins.
    pub(crate) fn prompt_names(self) -> &'static [&'static str] {
        match self {
            CohereInputType::SearchQuery => &["search_query", "query"],
            CohereInputType::SearchDocument => &["search_document", "document", "passage"],
            CohereInputType::Classification => &["classification", "Classification"],
            CohereInputType::Clustering => &["clustering", "Clustering"],
        }
    }
}

/// The end that is cut off an input that is too long.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum CohereTruncate {
    /// Inputs that are too long are an error.
    None,
    Start,
    #[default]
    End,
}

/// How vectors are written. Cohere's int8 and uint8 need calibrations that other models don't have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum CohereEmbeddingType {
    Float,
    /// Little-endian f32 in base64.
    Base64,
    /// The signs of eight dimensions per number, less 128.
    Binary,
    /// The signs of eight dimensions per number.
    Ubinary,
}

/// The vectors in each type that was asked for.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(crate) struct CohereVectors {
    #[serde(skip_serializing_if = "Option::is_none")]
    float: Option<Vec<Vec<f32>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    base64: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    binary: Option<Vec<Vec<i8>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ubinary: Option<Vec<Vec<u8>>>,
}

impl CohereVectors {
    pub(crate) fn new(types: &[CohereEmbeddingType], vectors: Vec<Vec<f32>>) -> CohereVectors {
        let wanted = |kind| types.contains(&kind);
        let each = |encode: fn(&[f32]) -> Vec<u8>| vectors.iter().map(move |vector| encode(vector));
        CohereVectors {
            base64: wanted(CohereEmbeddingType::Base64)
                .then(|| vectors.iter().map(|vector| base64(vector)).collect()),
            binary: wanted(CohereEmbeddingType::Binary).then(|| {
                let shifted = |signs: Vec<u8>| signs.into_iter().map(|byte| (byte ^ 0x80) as i8);
                each(signs).map(|signs| shifted(signs).collect()).collect()
            }),
            ubinary: wanted(CohereEmbeddingType::Ubinary).then(|| each(signs).collect()),
            float: wanted(CohereEmbeddingType::Float).then_some(vectors),
        }
    }
}

/// Packs the signs, the first dimension in the highest bit, as `numpy.packbits(vector > 0)`.
fn signs(vector: &[f32]) -> Vec<u8> {
    let byte = |eight: &[f32]| {
        eight.iter().zip((0..8).rev()).map(|(&x, bit)| u8::from(x > 0.0) << bit).sum()
    };
    vector.chunks(8).map(byte).collect()
}

/// The vectors of version 1: a list, or by type if types were asked for.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum CohereEmbeddings {
    Floats(Vec<Vec<f32>>),
    ByType(CohereVectors),
}

/// The answer of `/v2/embed` and `/v1/embed`.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CohereEmbedded {
    pub(crate) id: String,
    /// `embeddings_floats` or `embeddings_by_type`.
    pub(crate) response_type: &'static str,
    pub(crate) embeddings: CohereEmbeddings,
    pub(crate) texts: Vec<String>,
    pub(crate) meta: CohereMeta,
}

/// The version, the tokens read, and whether an input was cut.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CohereMeta {
    api_version: CohereVersion,
    billed_units: CohereUnits,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
}

#[derive(Debug, Serialize, ToSchema)]
struct CohereVersion {
    version: &'static str,
}

#[derive(Debug, Serialize, ToSchema)]
struct CohereUnits {
    input_tokens: usize,
}

impl CohereMeta {
    pub(crate) fn new(
        version: &'static str,
        input_tokens: usize,
        warnings: Vec<String>,
    ) -> CohereMeta {
        CohereMeta {
            api_version: CohereVersion { version },
            billed_units: CohereUnits { input_tokens },
            warnings,
        }
    }
}

/// The body of a refusal.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CohereError {
    /// One line for a person.
    message: String,
}

/// Renders a refusal as Cohere's clients read it, with OpenAI's statuses.
pub(super) fn render_refusal(refusal: &Refusal) -> Response {
    (status(refusal), Json(CohereError { message: refusal.message() })).into_response()
}

/// The refusals of an endpoint, for the OpenAPI document.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "read by the document's macro only")]
pub(crate) enum CohereErrors {
    /// The body is not JSON, or a field or input of it is invalid
    #[response(status = 400)]
    Invalid(CohereError),
    /// The API key is missing or unknown
    #[response(status = 401)]
    Unauthorized(CohereError),
    /// No model has this name
    #[response(status = 404)]
    UnknownModel(CohereError),
    /// The path does not support this method
    #[response(status = 405)]
    Method(CohereError),
    /// The body did not arrive within --body-timeout
    #[response(status = 408)]
    SlowBody(CohereError),
    /// The body is larger than --payload-limit or --compressed-limit
    #[response(status = 413)]
    TooLarge(CohereError),
    /// The content type is not application/json, or the content-encoding is not supported
    #[response(status = 415)]
    ContentType(CohereError),
    /// The queue is full; retry after Retry-After seconds
    #[response(status = 429)]
    Overloaded(CohereError),
    /// The device failed while it ran the batch
    #[response(status = 500)]
    Backend(CohereError),
    /// The answer is late, the device is lost, or the server is stopping; retry after Retry-After seconds
    #[response(status = 503)]
    Unhealthy(CohereError),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_are_packed_as_numpy_packs_them() {
        let vector = [0.5, -0.5, 0.0, 1.0, -1.0, -1.0, 2.0, 3.0, 0.1, -0.1];
        let types = [CohereEmbeddingType::Binary, CohereEmbeddingType::Ubinary];
        let found = CohereVectors::new(&types, vec![vector.to_vec()]);
        // numpy.packbits(vector > 0), and the same less 128.
        assert_eq!(found.ubinary, Some(vec![vec![0b1001_0011, 0b1000_0000]]));
        assert_eq!(found.binary, Some(vec![vec![19, 0]]));
        assert_eq!(found.float, None);
    }
}
