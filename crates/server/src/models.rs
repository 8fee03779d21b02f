//! The models of this process by name, each with its engine.
//!
//! How they are loaded under one memory budget is in [`startup`](crate::startup).

use std::sync::Arc;

use bigbatch_engine::{Engine, Head};

use crate::error::Refusal;

/// What a model computes, by its head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ModelKind {
    /// Vectors of texts.
    Embedding,
    /// Vectors of texts, and candidates for masked tokens.
    MaskedLm,
    /// Labels of texts.
    Classifier,
    /// One score per pair of query and text.
    Reranker,
    /// Labels of tokens.
    TokenClassifier,
}

impl ModelKind {
    /// Returns the name that `/info` and `/v1/models` give it.
    pub fn name(self) -> &'static str {
        match self {
            ModelKind::Embedding => "embedding",
            ModelKind::MaskedLm => "masked_lm",
            ModelKind::Classifier => "classifier",
            ModelKind::Reranker => "reranker",
            ModelKind::TokenClassifier => "token_classifier",
        }
    }

    /// Returns whether the model computes vectors of texts.
    pub fn embeds(self) -> bool {
        matches!(self, ModelKind::Embedding | ModelKind::MaskedLm)
    }
}

/// A model with its engine.
pub struct ServedModel {
    /// The name by which requests choose it.
    pub name: String,
    /// The `SOURCE` that `--model` gave.
    pub source: String,
    /// What it computes.
    pub kind: ModelKind,
    /// The engine that runs it.
    pub engine: Engine,
}

impl ServedModel {
    /// Returns a model under a name. `source` is the `SOURCE` that `--model` gave.
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

    /// Returns the prompt of this name, or without a name the model's default prompt, if there is one.
    pub(crate) fn prompt(&self, name: Option<&str>) -> Result<Option<&str>, Refusal> {
        Ok(self.engine.model().prompts.get(name)?)
    }

    /// Counts the first tokens that pooling leaves out for the default prompt: 0 unless the checkpoint asks for that.
    pub(crate) fn default_prompt_left_out(&self) -> Result<usize, Refusal> {
        let model = self.engine.model();
        match self.prompt(None)? {
            Some(prompt) if !model.embedding.include_prompt => {
                Ok(model.tokenizer.prompt_tokens(prompt, self.engine.max_tokens())?)
            }
            _ => Ok(0),
        }
    }
}

/// All models; at least one. The first is the default.
pub struct Models {
    list: Vec<Arc<ServedModel>>,
}

impl Models {
    /// Returns the models in the order given; `None` for an empty list, or if two share a name.
    pub fn new(list: Vec<ServedModel>) -> Option<Models> {
        let twice = |(index, served): (usize, &ServedModel)| {
            list[..index].iter().any(|other| other.name == served.name)
        };
        (!list.is_empty() && !list.iter().enumerate().any(twice))
            .then(|| Models { list: list.into_iter().map(Arc::new).collect() })
    }

    /// Returns the default model: the first.
    pub fn first(&self) -> &Arc<ServedModel> {
        &self.list[0]
    }

    /// Iterates over the models in the order given.
    pub fn iter(&self) -> impl Iterator<Item = &ServedModel> {
        self.list.iter().map(Arc::as_ref)
    }

    /// Returns the model of this name, or the first without a name. A server with one model answers to any
    /// name, because clients send whatever name they were configured with.
    ///
    /// # Errors
    /// [`Refusal::UnknownModel`] if there are several models and none has this name.
    pub fn get(&self, name: Option<&str>) -> Result<&Arc<ServedModel>, Refusal> {
        let Some(name) = name else { return Ok(&self.list[0]) };
        if self.list.len() == 1 {
            return Ok(&self.list[0]);
        }
        self.named(name)
    }

    /// Returns the model of exactly this name.
    ///
    /// # Errors
    /// [`Refusal::UnknownModel`] if no model has it.
    pub fn named(&self, name: &str) -> Result<&Arc<ServedModel>, Refusal> {
        self.list.iter().find(|served| served.name == name).ok_or_else(|| {
            let known = self.list.iter().map(|served| served.name.as_str());
            Refusal::UnknownModel { name: name.into(), known: known.collect::<Vec<_>>().join(", ") }
        })
    }
}
