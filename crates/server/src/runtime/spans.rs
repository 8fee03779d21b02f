//! Labelled spans of a text, in Unicode code points, from the probabilities of its tokens.

use std::ops::Range;

use bigbatch_engine::Entity;
use serde::Serialize;

/// A labelled part of a text.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Span {
    pub(super) label: String,
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) text: String,
    pub(super) probability: f32,
}

/// The probabilities of all labels at one token.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct TokenRow {
    start: usize,
    end: usize,
    probabilities: Vec<f32>,
}

impl From<Entity> for Span {
    fn from(Entity { label, span: Range { start, end }, text, score }: Entity) -> Span {
        Span { label, start, end, text, probability: score }
    }
}

/// Returns the row of each token that stands for a part of the text.
pub(super) fn token_rows(spans: &[Range<usize>], rows: &[f32], labels: usize) -> Vec<TokenRow> {
    let own = spans.iter().zip(rows.chunks_exact(labels)).filter(|(span, _)| !span.is_empty());
    let row = |(span, row): (&Range<usize>, &[f32])| TokenRow {
        start: span.start,
        end: span.end,
        probabilities: row.to_vec(),
    };
    own.map(row).collect()
}
