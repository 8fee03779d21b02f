//! The models of this process by name, each with its engine.
//!
//! How they are loaded under one memory budget is in [`startup`](crate::startup).

use std::sync::Arc;

use bigbatch_engine::{Engine, Head};

use crate::admission::Admission;
use crate::error::Refusal;
use crate::wire::ability::Ability;

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

    /// Returns whether the model has an ability.
    pub(crate) fn can(self, ability: Ability) -> bool {
        match ability {
            Ability::Embed => self.embeds(),
            Ability::FillMask => self == ModelKind::MaskedLm,
            Ability::Classify => matches!(self, ModelKind::Classifier | ModelKind::Reranker),
            Ability::ClassifyOrTag => self.can(Ability::Classify) || self.can(Ability::Tag),
            Ability::Tag => self == ModelKind::TokenClassifier,
            Ability::Rerank => self == ModelKind::Reranker,
            Ability::Compare => self == ModelKind::Reranker || self.embeds(),
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
    /// Which inputs of requests the engine has.
    pub(crate) admission: Admission,
}

impl ServedModel {
    /// Returns a model under a name. `source` is the `SOURCE` that `--model` gave.
    pub fn new(name: impl Into<String>, source: impl Into<String>, engine: Engine) -> ServedModel {
        let kind = match &engine.model().config.head {
            Head::Base => ModelKind::Embedding,
            Head::MaskedLm { .. } => ModelKind::MaskedLm,
            Head::PairScorers => ModelKind::Reranker,
            Head::Sequence { .. } if engine.model().labels.len() == 1 => ModelKind::Reranker,
            Head::Sequence { .. } => ModelKind::Classifier,
            Head::Token => ModelKind::TokenClassifier,
        };
        let admission = Admission::new(engine.max_concurrent_requests());
        ServedModel { name: name.into(), source: source.into(), kind, engine, admission }
    }

    /// Rejects texts that a grounded classifier would read without the context that they should follow from.
    pub(crate) fn check_context(&self, has_context: bool) -> Result<(), Refusal> {
        if has_context || !self.engine.model().is_grounded() {
            return Ok(());
        }
        Err(Refusal::Invalid(format!(
            "'{}' judges a text by its context; send it to /classify with `parameters.context`",
            self.name
        )))
    }

    /// Returns the message on an ability that the model lacks.
    fn describe_lack(&self, ability: Ability) -> String {
        let task = ability.task().map(|task| task.check(self.engine.model()));
        match task {
            Some(Err(error)) => error.to_string(),
            // The beginning is text-embeddings-inference's.
            _ => format!("model is not a re-ranker model but a {}", self.kind.name()),
        }
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

    /// Returns the model for a request that names one or none, and needs this ability of it. As [`Models::get`], but
    /// where the request names none and the first cannot do it, the only model that can.
    ///
    /// # Errors
    /// As [`Models::get`]; [`Refusal::WrongKind`] for a model that cannot do it, which names those that can.
    pub(crate) fn choose(
        &self,
        name: Option<&str>,
        ability: Option<Ability>,
    ) -> Result<&Arc<ServedModel>, Refusal> {
        let served = self.get(name)?;
        let Some(ability) = ability.filter(|&ability| !served.kind.can(ability)) else {
            return Ok(served);
        };
        let preferred = ability.preferred();
        let able: Vec<_> = self.list.iter().filter(|other| other.kind.can(preferred)).collect();
        if let (None, [only]) = (name, able.as_slice()) {
            return Ok(only);
        }
        let message = served.describe_lack(ability);
        let names = able.iter().map(|served| format!("'{}'", served.name)).collect::<Vec<_>>();
        Err(Refusal::WrongKind(match able.as_slice() {
            [] => message,
            _ => format!(
                "{message} (model '{}'); choose {} by the field `model` or the path /models/NAME/...",
                served.name,
                names.join(" or ")
            ),
        }))
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
