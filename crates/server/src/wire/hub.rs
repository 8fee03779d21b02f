//! What `huggingface_hub`'s `InferenceClient` posts to a model's own URL, `POST /`, and reads back.
//!
//! Options come in `parameters`, those of feature extraction beside `inputs`.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::inputs::Inputs;
use super::overlong::{Chunk, Direction};
use super::tei::{Prediction, SimilarityInput};

/// `POST /` and `POST /invocations`: what is done depends on the model's kind.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct HubRequest {
    pub(crate) inputs: Option<HubInputs>,
    /// A reranker's.
    pub(crate) query: Option<String>,
    /// A reranker's.
    pub(crate) texts: Option<Vec<String>>,
    pub(crate) parameters: Option<HubParameters>,
    /// The same options, beside `inputs`.
    #[serde(flatten)]
    pub(crate) beside: HubParameters,
    pub(crate) model: Option<String>,
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

/// Options of every task.
#[derive(Debug, Default, Deserialize, ToSchema)]
pub(crate) struct HubParameters {
    pub(crate) normalize: Option<bool>,
    pub(crate) dimensions: Option<usize>,
    pub(crate) prompt_name: Option<String>,
    pub(crate) truncate: Option<bool>,
    pub(crate) truncation_direction: Option<Direction>,
    /// Labels, or candidates for a mask.
    pub(crate) top_k: Option<usize>,
    /// `none` for logits; else what the model does anyway.
    pub(crate) function_to_apply: Option<String>,
    /// `simple`.
    pub(crate) aggregation_strategy: Option<String>,
    /// Candidates to choose from: not supported.
    pub(crate) targets: Option<Vec<String>>,
    pub(crate) raw_scores: Option<bool>,
    pub(crate) return_text: Option<bool>,
    pub(crate) chunk: Option<Chunk>,
}

impl HubParameters {
    /// These, and where one is missing the other's.
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
        }
    }
}

/// An entity as `huggingface_hub` reads it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EntityGroup {
    pub(crate) entity_group: String,
    pub(crate) score: f32,
    pub(crate) word: String,
    /// First character.
    pub(crate) start: usize,
    /// Character after the last.
    pub(crate) end: usize,
}

/// A candidate for a mask as `huggingface_hub` reads it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct MaskFill {
    pub(crate) score: f32,
    /// Its id.
    pub(crate) token: u32,
    pub(crate) token_str: String,
    /// The text with the token in the mask's place.
    pub(crate) sequence: String,
}

/// What `POST /` answers, by the model's kind.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum HubAnswer {
    /// Vectors.
    Vectors(Vec<Vec<f32>>),
    /// Similarities.
    Similarities(Vec<f32>),
    /// Labels of each text.
    Labels(Vec<Vec<Prediction>>),
    /// Entities of one text.
    Entities(Vec<EntityGroup>),
    /// Entities of each text.
    EntitiesOfMany(Vec<Vec<EntityGroup>>),
    /// Candidates for the one mask of one text.
    Fills(Vec<MaskFill>),
    /// Candidates for each mask, or for each text's.
    FillsOfMany(Vec<Vec<MaskFill>>),
}
