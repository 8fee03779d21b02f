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
    pub(super) grounded: Option<Grounded>,
    /// One per label, where the checkpoint has calibrated ones.
    pub(super) thresholds: Option<Vec<f32>>,
    /// Whether a score that equals its threshold passes.
    pub(super) inclusive: bool,
    /// Tokens and overlap of the windows that the checkpoint is read in.
    pub(super) window: Option<(usize, usize)>,
    /// The budget of the checkpoint, if it has one.
    pub(super) max_tokens: Option<usize>,
}

/// Which tokens of an answer a grounded head marks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Grounded {
    pub(super) threshold: f32,
    /// The id of the label that marks.
    pub(super) positive: usize,
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
        let plain = Head {
            kind,
            grounded: None,
            thresholds: None,
            inclusive: true,
            window: None,
            max_tokens: None,
        };
        Some(match &served.engine.model().operating_point {
            None => plain,
            Some(OperatingPoint::Scores { thresholds, inclusive, window, max_document_tokens }) => {
                let thresholds = thresholds.iter().map(|&threshold| threshold as f32).collect();
                Head {
                    thresholds: Some(thresholds),
                    inclusive: *inclusive,
                    window: *window,
                    max_tokens: *max_document_tokens,
                    ..plain
                }
            }
            Some(OperatingPoint::Grounded {
                token_threshold,
                inclusive,
                max_input_tokens,
                positive,
                ..
            }) => {
                let threshold = *token_threshold as f32;
                Head {
                    grounded: Some(Grounded { threshold, positive: *positive }),
                    inclusive: *inclusive,
                    max_tokens: Some(*max_input_tokens),
                    ..plain
                }
            }
        })
    }

    /// Returns whether its answers are spans.
    pub(super) fn finds_spans(&self) -> bool {
        self.kind == HeadKind::Token
    }

    /// Returns the forms of input that it reads.
    pub(super) fn inputs(&self) -> &'static [&'static str] {
        match (&self.grounded, self.kind) {
            (Some(_), _) => &["grounded"],
            (None, HeadKind::Token) => &["text"],
            (None, _) => &["text", "pair"],
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
        match (self.grounded.is_some(), self.kind) {
            (true, _) => None,
            (false, HeadKind::Token) => Some("span_union"),
            (false, _) => Some("max"),
        }
    }

    /// Returns whether a score passes its threshold.
    pub(super) fn passes(&self, score: f32, threshold: f32) -> bool {
        if self.inclusive { score >= threshold } else { score > threshold }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_score_that_equals_its_threshold_passes_where_the_package_says_so() {
        let head = |inclusive| Head {
            kind: HeadKind::Scores,
            grounded: None,
            thresholds: None,
            inclusive,
            window: None,
            max_tokens: None,
        };
        assert!(head(true).passes(0.5, 0.5) && !head(false).passes(0.5, 0.5));
        assert!(head(false).passes(0.6, 0.5) && !head(true).passes(0.4, 0.5));
    }
}
