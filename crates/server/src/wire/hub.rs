//! Requests and answers of `huggingface_hub`'s `InferenceClient` at a model's own URL, `POST /`.
//!
//! Options come in `parameters`; those of feature extraction come beside `inputs`. Errors are those of
//! text-embeddings-inference, which the client reads.

use std::fmt;

use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

use super::fields::{NoEffect, contradiction};
use super::inputs::{Inputs, SimilarityInput};
use super::partial::Items;
use super::request::model_request;
use super::shared::{MaskFill, Prediction};
pub(super) use super::tei::render_refusal;
use crate::error::Refusal;

/// Declares the options once, and with them the request, which takes them in `parameters` and beside `inputs`.
/// `#[serde(flatten)]` would do so too, but the names of unknown fields would be lost.
macro_rules! hub_request {
    (
        $(#[$attribute:meta])*
        pub(crate) struct HubParameters {
            $($(#[$doc:meta])* pub(crate) $own:ident: Option<$type:ty>,)*
        } + $($shared:ident),+
    ) => {
        model_request! {
            $(#[$attribute])*
            #[derive(Default)]
            pub(crate) struct HubParameters {
                $($(#[$doc])* pub(crate) $own: Option<$type>,)*
            } + $($shared),+
        }

        model_request! {
            /// `POST /` and `POST /invocations`: the task follows from the model's kind.
            pub(crate) struct HubRequest {
                pub(crate) inputs: Option<HubInputs>,
                /// For a reranker.
                pub(crate) query: Option<String>,
                /// For a reranker.
                pub(crate) texts: Option<Vec<String>>,
                /// Options; they may also stand beside `inputs`.
                pub(crate) parameters: Option<HubParameters>,
                /// No effect: those of the Hub's first API, such as `wait_for_model`.
                #[expect(dead_code, reason = "it has no effect")]
                pub(crate) options: Option<NoEffect>,
                $($(#[$doc])* pub(crate) $own: Option<$type>,)*
            } + model, timeout_ms, priority, $($shared),+
        }

        impl HubRequest {
            /// Takes the options out of `parameters` and from beside `inputs`.
            pub(crate) fn take_parameters(&mut self) -> Result<HubParameters, Refusal> {
                let inner = self.parameters.take().unwrap_or_default();
                Ok(HubParameters {
                    $($own: merged(stringify!($own), inner.$own, self.$own.take())?,)*
                    $($shared: merged(stringify!($shared), inner.$shared, self.$shared.take())?,)+
                })
            }
        }

        impl HubParameters {
            /// Rejects an option that `task` does not have: its own are `known`, besides those on long inputs.
            pub(crate) fn check(&self, task: &str, known: &[&str]) -> Result<(), Refusal> {
                let given = [$((stringify!($own), self.$own.is_some())),*];
                let mut unknown = given.iter().filter(|(name, given)| *given && !known.contains(name));
                match unknown.next() {
                    None => Ok(()),
                    Some((name, _)) => Err(Refusal::Invalid(format!(
                        "`{name}` is no option of {task}, the task of this request; leave it out"
                    ))),
                }
            }
        }
    };
}

/// Returns the value of an option that a request may have in two places.
fn merged<T: PartialEq>(
    name: &str,
    inner: Option<T>,
    beside: Option<T>,
) -> Result<Option<T>, Refusal> {
    match (inner, beside) {
        (Some(inner), Some(beside)) if inner != beside => {
            Err(contradiction(&format!("parameters.{name}"), name))
        }
        (inner, beside) => Ok(inner.or(beside)),
    }
}

hub_request! {
    /// Options of every task.
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
    } + truncate, truncation_direction, chunk, partial
}

/// Texts, or for sentence similarity one sentence and those it is compared with.
#[derive(Debug, ToSchema)]
#[serde(untagged)]
pub(crate) enum HubInputs {
    Similarity(SimilarityInput),
    Texts(Inputs),
}

/// Not serde's `untagged`, which buffers objects: their unknown fields and the paths in their errors would be lost.
impl<'de> Deserialize<'de> for HubInputs {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<HubInputs, D::Error> {
        struct HubInputsVisitor;

        impl<'de> Visitor<'de> for HubInputsVisitor {
            type Value = HubInputs;

            fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
                to.write_str(
                    "a string, an array of strings or of token ids, or an object with source_sentence and \
                     sentences",
                )
            }

            fn visit_str<E>(self, text: &str) -> Result<HubInputs, E> {
                Ok(HubInputs::Texts(Inputs::Text(text.into())))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<HubInputs, A::Error> {
                Inputs::deserialize(SeqAccessDeserializer::new(items)).map(HubInputs::Texts)
            }

            fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<HubInputs, A::Error> {
                SimilarityInput::deserialize(MapAccessDeserializer::new(fields))
                    .map(HubInputs::Similarity)
            }
        }

        from.deserialize_any(HubInputsVisitor)
    }
}

/// Labels to choose from.
#[derive(Debug, PartialEq, Deserialize, ToSchema)]
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
    Vectors(Items<Vec<f32>>),
    /// A cosine per sentence.
    Similarities(Items<f32>),
    /// Candidate labels of one text, likeliest first.
    Candidates(Vec<Prediction>),
    /// Labels of each text, or its candidate labels.
    Labels(Items<Vec<Prediction>>),
    /// Entities of one text.
    Entities(Vec<HubEntity>),
    /// Entities of each text.
    EntitiesOfMany(Items<Vec<HubEntity>>),
    /// Candidates for the one mask of one text.
    Fills(Vec<MaskFill>),
    /// Candidates for each mask.
    FillsOfMany(Items<Vec<MaskFill>>),
}
