//! The models of this process, by name.

use std::sync::Arc;

use bigbatch_engine::engine::Engine;
use bigbatch_engine::model::Head;
use bigbatch_engine::task::Task;

use crate::error::Refusal;

/// What a model is for, as `/info` says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ModelKind {
    /// Vectors.
    Embedding,
    /// Vectors, and tokens for masked places.
    MaskedLm,
    /// Labels of a text.
    Classifier,
    /// One score of a query and a text.
    Reranker,
    /// Labels of tokens.
    TokenClassifier,
}

impl ModelKind {
    /// As it is written on the wire.
    pub fn name(self) -> &'static str {
        match self {
            ModelKind::Embedding => "embedding",
            ModelKind::MaskedLm => "masked_lm",
            ModelKind::Classifier => "classifier",
            ModelKind::Reranker => "reranker",
            ModelKind::TokenClassifier => "token_classifier",
        }
    }

    /// Returns the task of `/v1/analyze`, with its usual options.
    pub(crate) fn default_task(self) -> Task {
        match self {
            ModelKind::Embedding | ModelKind::MaskedLm => {
                Task::Embed { pooling: None, normalize: true, dimensions: None }
            }
            ModelKind::Classifier | ModelKind::Reranker => Task::Classify { raw_scores: false },
            ModelKind::TokenClassifier => Task::Tag,
        }
    }

    /// Whether it gives vectors.
    pub fn embeds(self) -> bool {
        matches!(self, ModelKind::Embedding | ModelKind::MaskedLm)
    }
}

/// One model and its engine.
pub struct ServedModel {
    /// What requests call it.
    pub name: String,
    /// Where it came from.
    pub source: String,
    /// What it is for.
    pub kind: ModelKind,
    /// What runs it.
    pub engine: Engine,
}

impl ServedModel {
    /// A model under a name. `source` is what its user asked for.
    pub fn new(name: impl Into<String>, source: impl Into<String>, engine: Engine) -> ServedModel {
        let kind = match &engine.model().config.head {
            Head::Base => ModelKind::Embedding,
            Head::MaskedLm { .. } => ModelKind::MaskedLm,
            Head::Sequence { .. } if engine.model().labels.len() == 1 => ModelKind::Reranker,
            Head::Sequence { .. } => ModelKind::Classifier,
            Head::Token => ModelKind::TokenClassifier,
        };
        ServedModel { name: name.into(), source: source.into(), kind, engine }
    }

    /// Returns the prompt of this name, or the model's default one, if it has one.
    pub(crate) fn prompt(&self, name: Option<&str>) -> Result<Option<&str>, Refusal> {
        Ok(self.engine.model().prompts.get(name)?)
    }
}

/// All models; at least one, the first being the default.
pub struct Models {
    list: Vec<Arc<ServedModel>>,
}

impl Models {
    /// The models in the order given; `None` without any, or if two have one name.
    pub fn new(list: Vec<ServedModel>) -> Option<Models> {
        let twice = |(index, served): (usize, &ServedModel)| {
            list[..index].iter().any(|other| other.name == served.name)
        };
        (!list.is_empty() && !list.iter().enumerate().any(twice))
            .then(|| Models { list: list.into_iter().map(Arc::new).collect() })
    }

    /// The one that is meant where none is named.
    pub fn first(&self) -> &Arc<ServedModel> {
        &self.list[0]
    }

    /// In the order given.
    pub fn iter(&self) -> impl Iterator<Item = &ServedModel> {
        self.list.iter().map(Arc::as_ref)
    }

    /// The model of this name, or the first where none is named. With one model any name means it, because
    /// clients send whatever name they were configured with.
    ///
    /// # Errors
    /// [`Refusal::UnknownModel`] where there are several and none has that name.
    pub fn get(&self, name: Option<&str>) -> Result<&Arc<ServedModel>, Refusal> {
        let Some(name) = name else { return Ok(&self.list[0]) };
        if self.list.len() == 1 {
            return Ok(&self.list[0]);
        }
        self.named(name)
    }

    /// The model of just this name.
    ///
    /// # Errors
    /// [`Refusal::UnknownModel`] where none has it.
    pub fn named(&self, name: &str) -> Result<&Arc<ServedModel>, Refusal> {
        self.list.iter().find(|served| served.name == name).ok_or_else(|| {
            let known = self.list.iter().map(|served| served.name.as_str());
            Refusal::UnknownModel {
                asked: name.into(),
                known: known.collect::<Vec<_>>().join(", "),
            }
        })
    }
}
