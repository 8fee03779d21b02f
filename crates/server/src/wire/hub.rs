//! Requests and answers of `huggingface_hub`'s `InferenceClient` at a model's own URL, `POST /`.
//!
//! Options come in `parameters`; those of feature extraction come beside `inputs`. Errors are those of
//! text-embeddings-inference, which the client reads.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::inputs::{Inputs, SimilarityInput};
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
        /// `none`, `simple`, `first`, `average` or `max`: entities as the pipeline of `transformers` finds them.
        pub(crate) aggregation_strategy: Option<String>,
        /// Labels of which no entity is returned; `["O"]` if absent.
        pub(crate) ignore_labels: Option<Vec<String>>,
        /// Tags long texts in windows of the model's length that share this many tokens.
        pub(crate) stride: Option<usize>,
        /// Zero-shot classification by a classifier with a label of entailment.
        pub(crate) candidate_labels: Option<CandidateLabels>,
        /// With `candidate_labels`: the sentence about a label, which stands at `{}`; `This example is {}.` if absent.
        pub(crate) hypothesis_template: Option<String>,
        /// With `candidate_labels`: each label has a probability of its own.
        pub(crate) multi_label: Option<bool>,
        /// Candidates to choose from: not supported.
        pub(crate) targets: Option<Vec<String>>,
        pub(crate) raw_scores: Option<bool>,
        pub(crate) return_text: Option<bool>,
    } + truncate, truncation_direction, chunk
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
            ignore_labels: self.ignore_labels.or(other.ignore_labels),
            stride: self.stride.or(other.stride),
            candidate_labels: self.candidate_labels.or(other.candidate_labels),
            hypothesis_template: self.hypothesis_template.or(other.hypothesis_template),
            multi_label: self.multi_label.or(other.multi_label),
            targets: self.targets.or(other.targets),
            raw_scores: self.raw_scores.or(other.raw_scores),
            return_text: self.return_text.or(other.return_text),
            chunk: self.chunk.or(other.chunk),
        }
    }
}

/// Labels to choose from.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(untagged, expecting = "expected an array of strings, or a string of labels between commas")]
pub(crate) enum CandidateLabels {
    /// Between commas.
    Joined(String),
    List(Vec<String>),
}

impl CandidateLabels {
    pub(crate) fn into_vec(self) -> Vec<String> {
        match self {
            CandidateLabels::List(labels) => labels,
            CandidateLabels::Joined(labels) => {
                let labels = labels.split(',').map(str::trim).filter(|label| !label.is_empty());
                labels.map(str::to_owned).collect()
            }
        }
    }
}

/// An entity as `huggingface_hub` reads it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct HubEntity {
    /// For `aggregation_strategy` none: the label of the token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) entity: Option<String>,
    /// Else: the label of the group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) entity_group: Option<String>,
    pub(crate) score: f32,
    /// For `aggregation_strategy` none: which token it is, special ones counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) index: Option<usize>,
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
    Vectors(Vec<Vec<f32>>),
    /// A cosine per sentence.
    Similarities(Vec<f32>),
    /// Candidate labels of one text, likeliest first.
    Candidates(Vec<Prediction>),
    /// Labels of each text, or its candidate labels.
    Labels(Vec<Vec<Prediction>>),
    /// Entities of one text.
    Entities(Vec<HubEntity>),
    /// Entities of each text.
    EntitiesOfMany(Vec<Vec<HubEntity>>),
    /// Candidates for the one mask of one text.
    Fills(Vec<MaskFill>),
    /// Candidates for each mask.
    FillsOfMany(Vec<Vec<MaskFill>>),
}
