//! What each request needs of the model that answers it.
//!
//! Which kind of model has which ability is in [`ModelKind::can`](crate::models::ModelKind::can).

use bigbatch_engine::Task;

use super::cohere::CohereEmbedRequest;
use super::hub::{HubInputs, HubRequest};
use super::native::{AnalyzeRequest, FillMaskRequest, TagRequest};
use super::openai::EmbeddingsRequest;
use super::shared::{ClassifyRequest, RerankRequest, TokenizeRequest};
use super::tei::{DecodeRequest, EmbedAllRequest, EmbedRequest, PredictRequest, SimilarityRequest};
use super::vllm::{DetokenizeRequest, PoolingRequest, PoolingTask, ScoreRequest};

/// What a model can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ability {
    /// Vectors of texts or tokens.
    Embed,
    /// Candidates for masks.
    FillMask,
    /// Labels of texts, or one score per text.
    Classify,
    /// Labels of texts, or of tokens where a token classifier is named or comes first.
    ClassifyOrTag,
    /// Labels of tokens.
    Tag,
    /// One score per pair of query and text.
    Rerank,
    /// A score per pair, by a reranker or as the cosine of two vectors.
    Compare,
}

impl Ability {
    /// Returns the ability of a model that is chosen for a request which names none.
    pub(crate) fn preferred(self) -> Ability {
        match self {
            Ability::ClassifyOrTag => Ability::Classify,
            other => other,
        }
    }

    /// Returns a task that only a model with this ability does; `None` for those that no single task tells.
    pub(crate) fn task(self) -> Option<Task> {
        match self {
            Ability::Embed => Some(Task::EmbedAll),
            Ability::FillMask => Some(Task::FillMask { top_k: 1 }),
            Ability::Classify | Ability::ClassifyOrTag => {
                Some(Task::Classify { raw_scores: false })
            }
            Ability::Tag => Some(Task::Tag),
            Ability::Rerank | Ability::Compare => None,
        }
    }
}

/// A request that says what it needs of a model.
pub(crate) trait Needs {
    /// Returns the ability that the request needs; `None` if any model can answer it.
    fn needs(&self) -> Option<Ability>;
}

/// Declares what requests need, whatever their fields.
macro_rules! needs {
    ($($request:ty => $ability:expr),+ $(,)?) => {
        $(impl Needs for $request {
            fn needs(&self) -> Option<Ability> {
                $ability
            }
        })+
    };
}

needs! {
    CohereEmbedRequest => Some(Ability::Embed),
    EmbedRequest => Some(Ability::Embed),
    EmbedAllRequest => Some(Ability::Embed),
    SimilarityRequest => Some(Ability::Embed),
    EmbeddingsRequest => Some(Ability::Embed),
    PredictRequest => Some(Ability::Classify),
    ScoreRequest => Some(Ability::Compare),
    TagRequest => Some(Ability::Tag),
    FillMaskRequest => Some(Ability::FillMask),
    TokenizeRequest => None,
    DecodeRequest => None,
    DetokenizeRequest => None,
    AnalyzeRequest => None,
}

impl Needs for ClassifyRequest {
    fn needs(&self) -> Option<Ability> {
        Some(if self.inputs.is_some() { Ability::ClassifyOrTag } else { Ability::Classify })
    }
}

impl Needs for RerankRequest {
    fn needs(&self) -> Option<Ability> {
        Some(if self.texts.is_some() && self.documents.is_none() {
            Ability::Rerank
        } else {
            Ability::Compare
        })
    }
}

impl Needs for PoolingRequest {
    fn needs(&self) -> Option<Ability> {
        self.task.map(|task| match task {
            PoolingTask::Embed | PoolingTask::TokenEmbed => Ability::Embed,
            PoolingTask::Classify => Ability::Classify,
            PoolingTask::TokenClassify => Ability::Tag,
        })
    }
}

impl Needs for HubRequest {
    fn needs(&self) -> Option<Ability> {
        match &self.inputs {
            _ if self.query.is_some() && self.texts.is_some() => Some(Ability::Rerank),
            Some(HubInputs::Similarity(_)) => Some(Ability::Embed),
            // The task follows from the model.
            _ => None,
        }
    }
}
