//! What a model computes from its hidden states, and how logits become scores.

use crate::batch::LogitRows;
use crate::pooling::Pooling;

/// The head of a model, which computes its outputs from hidden states.
#[derive(Debug, Clone, PartialEq)]
pub enum Head {
    /// Hidden states only (`ModernBertModel`): embeddings.
    Base,
    /// A tied decoder over the vocabulary (`ModernBertForMaskedLM`); embeds too.
    MaskedLm {
        /// `decoder_bias`.
        decoder_bias: bool,
        /// `tie_word_embeddings`: the decoder's weight is the embedding.
        tied: bool,
    },
    /// One row of labels per sequence (`ModernBertForSequenceClassification`).
    Sequence {
        /// `classifier_pooling`.
        pooling: Pooling,
        /// How logits become scores.
        scoring: Scoring,
    },
    /// One row of labels per token (`ModernBertForTokenClassification`).
    Token,
    /// The first token's hidden state, scored on the host by a [`PairScorers`](crate::PairScorers) head
    /// (`ModernBertModel` beside `classification_heads.safetensors`).
    PairScorers,
}

impl Head {
    /// Returns which rows of a batch this head computes logits for.
    pub fn logit_rows(&self) -> LogitRows {
        match self {
            Head::Base | Head::PairScorers => LogitRows::None,
            Head::MaskedLm { .. } => LogitRows::Masks,
            Head::Sequence { .. } => LogitRows::Segments,
            Head::Token => LogitRows::Tokens,
        }
    }
}

/// How the logits of a sequence become scores, as in the `text-classification` pipeline of transformers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scoring {
    /// One label of several.
    Softmax,
    /// Each label by itself: `problem_type` is multi-label, or there is one label.
    Sigmoid,
    /// The logits are the answer: `problem_type` is regression.
    None,
}

impl Scoring {
    /// Returns its name in `function_to_apply`.
    pub fn name(self) -> &'static str {
        match self {
            Scoring::Softmax => "softmax",
            Scoring::Sigmoid => "sigmoid",
            Scoring::None => "none",
        }
    }
}
