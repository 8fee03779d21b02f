//! Requests and answers of `huggingface_hub`'s `InferenceClient` at a model's own URL, `POST /`.
//!
//! Options come in `parameters`; those of feature extraction come beside `inputs`. Errors are those of
//! text-embeddings-inference, which the client reads.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::inputs::{Inputs, SimilarityInput};
use super::partial::Items;
use super::request::{ModelRequest, model_request};
use super::shared::{MaskFill, Prediction};
pub(super) use super::tei::render_refusal;

/// `POST /` and `POST /invocations`: the task follows from the model's kind.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct HubRequest {
    pub(crate) inputs: Option<HubInputs>,
    /// For a reranker.
    pub(crate) query: Option<String>,
    /// For a reranker.
    pub(crate) texts: Option<Vec<String>>,
    pub(crate) parameters: Option<HubParameters>,
    /// The same options, beside `inputs`.
    #[serde(flatten)]
    pub(crate) beside: HubParameters,
    pub(crate) model: Option<String>,
}

impl ModelRequest for HubRequest {
    fn model(&self) -> Option<&str> {
        self.model.as_deref()
    }

    fn partial(&self) -> bool {
        let inside = self.parameters.as_ref().and_then(|parameters| parameters.partial);
        inside.or(self.beside.partial).unwrap_or(false)
    }
}

/// Texts, or for sentence similarity one sentence and those it is compared with.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(
    untagged,
    expecting = "expected a string, an array of strings or of token ids, or an object with source_sentence and sentences"
)]
pub(crate) enum HubInputs {
    Similarity(SimilarityInput),
    Texts(Inputs),
}

model_request! {
    /// Options of every task.
    #[derive(Default)]
    pub(crate) struct HubParameters {
        pub(crate) normalize: Option<bool>,
        pub(crate) dimensions: Option<usize>,
        pub(crate) prompt_name: Option<String>,
        /// Number of labels, or of candidates per mask.
        pub(crate) top_k: Option<usize>,
        /// `none` for logits, or the name of the function that the model applies anyway.
        pub(crate) function_to_apply: Option<String>,
        /// `simple`.
        pub(crate) aggregation_strategy: Option<String>,
        /// Candidates to choose from: not supported.
        pub(crate) targets: Option<Vec<String>>,
        pub(crate) raw_scores: Option<bool>,
        pub(crate) return_text: Option<bool>,
    } + truncate, truncation_direction, chunk, partial
}

impl HubParameters {
    /// Fills the options that are missing here from `other`.
    pub(crate) fn or(self, other: HubParameters) -> HubParameters {
        HubParameters {
            normalize: self.normalize.or(other.normalize),
            dimensions: self.dimensions.or(other.dimensions),
            prompt_name: self.prompt_name.or(other.prompt_name),
            truncate: self.truncate.or(other.truncate),
            truncation_direction: self.truncation_direction.or(other.truncation_direction),
            top_k: self.top_k.or(other.top_k),
            function_to_apply: self.function_to_apply.or(other.function_to_apply),
            aggregation_strategy: self.aggregation_strategy.or(other.aggregation_strategy),
            targets: self.targets.or(other.targets),
            raw_scores: self.raw_scores.or(other.raw_scores),
            return_text: self.return_text.or(other.return_text),
            chunk: self.chunk.or(other.chunk),
            partial: self.partial.or(other.partial),
        }
    }
}

/// An entity as `huggingface_hub` reads it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EntityGroup {
    pub(crate) entity_group: String,
    pub(crate) score: f32,
    pub(crate) word: String,
    /// Index of the first character.
    pub(crate) start: usize,
    /// Index after the last character.
    pub(crate) end: usize,
}

/// The answer of `POST /`, by the model's kind.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum HubAnswer {
    /// A vector per input.
    Vectors(Items<Vec<f32>>),
    /// A cosine per sentence.
    Similarities(Items<f32>),
    /// Labels of each text.
    Labels(Items<Vec<Prediction>>),
    /// Entities of one text.
    Entities(Vec<EntityGroup>),
    /// Entities of each text.
    EntitiesOfMany(Items<Vec<EntityGroup>>),
    /// Candidates for the one mask of one text.
    Fills(Vec<MaskFill>),
    /// Candidates for each mask.
    FillsOfMany(Items<Vec<MaskFill>>),
}
