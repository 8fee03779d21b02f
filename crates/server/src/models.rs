//! The models of this process, by name.

use std::sync::Arc;

use bigbatch_engine::{Engine, Head};

use crate::error::Refusal;

/// What a model is for, as `/info` says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
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

impl Kind {
    /// As it is written on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Embedding => "embedding",
            Kind::MaskedLm => "masked_lm",
            Kind::Classifier => "classifier",
            Kind::Reranker => "reranker",
            Kind::TokenClassifier => "token_classifier",
        }
    }

    /// Whether it gives vectors.
    pub fn embeds(self) -> bool {
        matches!(self, Kind::Embedding | Kind::MaskedLm)
    }
}

/// One model and its engine.
pub struct Served {
    /// What requests call it.
    pub name: String,
    /// Where it came from.
    pub source: String,
    /// What it is for.
    pub kind: Kind,
    /// What runs it.
    pub engine: Engine,
}

impl Served {
    /// A model under a name. `source` is what its user asked for.
    pub fn new(name: impl Into<String>, source: impl Into<String>, engine: Engine) -> Served {
        let kind = match &engine.model().config.head {
            Head::Base => Kind::Embedding,
            Head::MaskedLm { .. } => Kind::MaskedLm,
            Head::Sequence { .. } if engine.model().labels.len() == 1 => Kind::Reranker,
            Head::Sequence { .. } => Kind::Classifier,
            Head::Token => Kind::TokenClassifier,
        };
        Served { name: name.into(), source: source.into(), kind, engine }
    }
}

/// All models; at least one, the first being the default.
pub struct Models {
    list: Vec<Arc<Served>>,
}

impl Models {
    /// The models in the order given; `None` without any, or if two have one name.
    pub fn new(list: Vec<Served>) -> Option<Models> {
        let twice = |(index, served): (usize, &Served)| {
            list[..index].iter().any(|other| other.name == served.name)
        };
        (!list.is_empty() && !list.iter().enumerate().any(twice))
            .then(|| Models { list: list.into_iter().map(Arc::new).collect() })
    }

    /// The one that is meant where none is named.
    pub fn first(&self) -> &Arc<Served> {
        &self.list[0]
    }

    /// In the order given.
    pub fn iter(&self) -> impl Iterator<Item = &Served> {
        self.list.iter().map(Arc::as_ref)
    }

    /// The model of this name, or the first where none is named. With one model any name means it, because
    /// clients send whatever name they were configured with.
    ///
    /// # Errors
    /// [`Refusal::UnknownModel`] where there are several and none has that name.
    pub fn get(&self, name: Option<&str>) -> Result<&Arc<Served>, Refusal> {
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
    pub fn named(&self, name: &str) -> Result<&Arc<Served>, Refusal> {
        self.list.iter().find(|served| served.name == name).ok_or_else(|| {
            let known = self.list.iter().map(|served| served.name.as_str());
            Refusal::UnknownModel {
                asked: name.into(),
                known: known.collect::<Vec<_>>().join(", "),
            }
        })
    }
}
