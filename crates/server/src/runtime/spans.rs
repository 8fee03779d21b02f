//! Labelled spans of a text, in Unicode code points, from the probabilities of its tokens.

use std::ops::Range;

use bigbatch_engine::{Entity, Model, find_entities};
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

/// Returns the spans that the labels of a BIO head mark. `rows` are probabilities, [tokens, labels].
pub(super) fn entities(
    model: &Model,
    text: &str,
    spans: &[Range<usize>],
    rows: &[f32],
) -> Vec<Span> {
    let span = |Entity { label, span: Range { start, end }, text, score }: Entity| Span {
        label,
        start,
        end,
        text,
        probability: score,
    };
    find_entities(model, text, spans, rows).into_iter().map(span).collect()
}

/// Returns the runs of tokens whose probability of the label `positive` passes. Each has the maximum of its run. Tokens
/// without a part of the text neither extend nor end a run.
pub(super) fn grounded_spans(
    text: &str,
    spans: &[Range<usize>],
    rows: &[f32],
    labels: usize,
    positive: usize,
    passes: impl Fn(f32) -> bool,
    names: &[String],
) -> Vec<Span> {
    let mut runs: Vec<(Range<usize>, f32)> = Vec::new();
    let mut is_open = false;
    for (span, row) in spans.iter().zip(rows.chunks_exact(labels)) {
        if span.is_empty() {
            continue;
        }
        let probability = row[positive];
        if !passes(probability) {
            is_open = false;
            continue;
        }
        match runs.last_mut() {
            // The tokens of one character share its span, of which another run may have the first.
            Some((run, largest)) if is_open || span.start < run.end => {
                run.end = run.end.max(span.end);
                *largest = largest.max(probability);
            }
            _ => runs.push((span.clone(), probability)),
        }
        is_open = true;
    }
    let characters: Vec<usize> =
        text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
    let span = |(Range { start, end }, probability): (Range<usize>, f32)| Span {
        label: names[positive].clone(),
        start,
        end,
        text: text[characters[start]..characters[end]].to_owned(),
        probability,
    };
    runs.into_iter().map(span).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    fn found(spans: &[Range<usize>], positive: &[f32]) -> Vec<(Range<usize>, String, f32)> {
        let rows: Vec<f32> = positive.iter().flat_map(|p| [1.0 - p, *p]).collect();
        let names = ["supported", "hallucinated"].map(str::to_owned);
        let passes = |p: f32| p > 0.5;
        let found = grounded_spans("a\u{1f600}cde fg", spans, &rows, 2, 1, passes, &names);
        found.into_iter().map(|span| (span.start..span.end, span.text, span.probability)).collect()
    }

    #[test]
    fn runs_of_passing_tokens_are_spans() {
        let spans = [0..1, 1..2, 2..4, 0..0, 4..5, 5..6, 6..8];
        let runs = found(&spans, &[0.9, 0.6, 0.1, 0.9, 0.7, 0.5, 0.8]);
        let expected = [
            (0..2, "a\u{1f600}".to_owned(), 0.9),
            (4..5, "e".to_owned(), 0.7),
            (6..8, "fg".to_owned(), 0.8),
        ];
        assert_eq!(runs, expected);
        // A token without a part of the text ends no run.
        assert_eq!(found(&spans[2..5], &[0.6, 0.0, 0.7]), [(2..5, "cde".to_owned(), 0.7)]);
    }

    #[test]
    fn spans_over_the_tokens_of_one_character_do_not_overlap() {
        let runs = found(&[0..1, 1..2, 1..2, 2..3], &[0.0, 0.9, 0.1, 0.0]);
        assert_eq!(runs, [(1..2, "\u{1f600}".to_owned(), 0.9)]);
        let runs = found(&[1..2, 1..2, 1..2], &[0.9, 0.1, 0.8]);
        assert_eq!(runs, [(1..2, "\u{1f600}".to_owned(), 0.9)]);
    }
}
