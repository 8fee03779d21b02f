//! The head of a classifier as its card describes it: the inputs that it reads, the form of its answers, its thresholds.

use bigbatch_engine::{OperatingPoint, Scoring};
use serde::Serialize;

use super::reading::Overflow;
use crate::models::{ModelKind, ServedModel};

/// The name of the only head of a model.
pub(super) const HEAD: &str = "default";

/// How a head answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum HeadKind {
    /// One label of several: a softmax over the labels.
    Sequence,
    /// Each label by itself.
    Scores,
    /// Labelled spans of the text.
    Token,
}

/// The head of one model, with the settings that its package brings.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Head {
    pub(super) kind: HeadKind,
    /// Whether it reads an answer after a question and its context.
    pub(super) is_grounded: bool,
    /// One per label, where the checkpoint has calibrated ones.
    pub(super) thresholds: Option<Vec<f32>>,
    /// Tokens and overlap of the windows that the checkpoint is read in.
    pub(super) window: Option<(usize, usize)>,
    /// The budget of the checkpoint, if it has one.
    pub(super) max_tokens: Option<usize>,
}

impl Head {
    /// Returns the head of a model; `None` if it has none that the contract knows: regressions, embedders, rerankers.
    pub(super) fn of(served: &ServedModel) -> Option<Head> {
        let kind = match (served.kind, served.engine.model().scoring()) {
            (ModelKind::Classifier, Scoring::Softmax) => HeadKind::Sequence,
            (ModelKind::Classifier, Scoring::Sigmoid) => HeadKind::Scores,
            (ModelKind::TokenClassifier, _) => HeadKind::Token,
            _ => return None,
        };
        let model = served.engine.model();
        let (thresholds, window, max_tokens) = match &model.operating_point {
            Some(OperatingPoint::Scores { thresholds, window, max_document_tokens, .. }) => {
                let thresholds = thresholds.iter().map(|&threshold| threshold as f32).collect();
                (Some(thresholds), *window, *max_document_tokens)
            }
            Some(OperatingPoint::Grounded { .. }) | None => (None, None, None),
        };
        Some(Head { kind, is_grounded: model.is_grounded(), thresholds, window, max_tokens })
    }

    /// Returns whether its answers are spans.
    pub(super) fn finds_spans(&self) -> bool {
        self.kind == HeadKind::Token
    }

    /// Returns the forms of input that it reads.
    pub(super) fn inputs(&self) -> &'static [&'static str] {
        match (self.is_grounded, self.kind) {
            (true, _) => &["grounded"],
            (false, HeadKind::Token) => &["text"],
            (false, _) => &["text", "pair"],
        }
    }

    /// Returns what happens to long inputs of requests that do not say.
    pub(super) fn overflow(&self) -> Overflow {
        match self.window {
            Some((tokens, overlap)) => Overflow::Window { tokens, overlap },
            None => Overflow::Reject,
        }
    }

    /// Returns how the answers to windows are joined; `None` for a head that is not read in windows.
    pub(super) fn reduction(&self) -> Option<&'static str> {
        match (self.is_grounded, self.kind) {
            (true, _) => None,
            (false, HeadKind::Token) => Some("span_union"),
            (false, _) => Some("max"),
        }
    }
}
