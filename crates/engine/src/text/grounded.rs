//! Joins the tokens that a grounded classifier marks into labelled ranges of the answer.
//!
//! A token is marked if its probability passes the threshold of the model's operating point, whatever its likeliest label
//! is. Labels with a tagging scheme are [`super::entities`]'s.

use std::ops::Range;

use super::characters::Characters;
use super::entities::Entity;

/// Returns the runs of tokens whose probability passes, each with the largest of its run, under the name `label`. In order,
/// not empty, no two on one character. Tokens without a part of the text neither extend nor end a run.
pub(crate) fn marked_runs(
    text: &str,
    label: &str,
    tokens: impl IntoIterator<Item = (Range<usize>, f32)>,
    passes: impl Fn(f32) -> bool,
) -> Vec<Entity> {
    let mut runs: Vec<(Range<usize>, f32)> = Vec::new();
    let mut is_open = false;
    for (span, probability) in tokens.into_iter().filter(|(span, _)| !span.is_empty()) {
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
            _ => runs.push((span, probability)),
        }
        is_open = true;
    }
    let characters = Characters::new(text);
    let entity = |(span, score): (Range<usize>, f32)| Entity {
        label: label.into(),
        text: characters.slice(&span).into(),
        span,
        score,
    };
    runs.into_iter().map(entity).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(spans: &[Range<usize>], probabilities: &[f32]) -> Vec<(Range<usize>, String, f32)> {
        let tokens = spans.iter().cloned().zip(probabilities.iter().copied());
        let runs = marked_runs("a\u{1f600}cde fg", "hallucinated", tokens, |p| p > 0.5);
        runs.into_iter().map(|Entity { span, text, score, .. }| (span, text, score)).collect()
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
