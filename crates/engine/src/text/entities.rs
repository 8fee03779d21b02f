//! Joins the labels of tokens into entities: labelled ranges of the text.
//!
//! It takes the most likely label of each token and the token's span. It does not correct the model's labels,
//! except that an `I-` without its `B-` begins an entity.

use std::ops::Range;

use super::characters::Characters;

/// A label and its score.
#[derive(Debug, Clone, PartialEq)]
pub struct LabelScore {
    /// Index in `id2label`.
    pub id: usize,
    /// Name in `id2label`.
    pub label: String,
    /// Probability, or the logit if the task asks for raw scores.
    pub score: f32,
}

/// A labelled range of the text.
#[derive(Debug, Clone, PartialEq)]
pub struct Entity {
    /// Without the `B-` or `I-`.
    pub label: String,
    /// Range in characters of the text, without surrounding white space.
    pub span: Range<usize>,
    /// The characters of the range.
    pub text: String,
    /// Mean probability of its tokens' labels.
    pub score: f32,
}

/// Joins tokens into entities: `B-X` begins one, `I-X` continues an X or else begins one, a label without a
/// prefix continues itself, `O` is outside.
pub(crate) fn entities(text: &str, labels: &[LabelScore], spans: &[Range<usize>]) -> Vec<Entity> {
    let mut open: Option<OpenEntity<'_>> = None;
    let mut closed = Vec::new();
    for (LabelScore { label, score, .. }, span) in labels.iter().zip(spans) {
        if span.is_empty() {
            continue;
        }
        let (begins, name) = match label.split_once('-') {
            Some(("B", name)) => (true, name),
            Some(("I", name)) => (false, name),
            _ => (false, label.as_str()),
        };
        match &mut open {
            _ if label == "O" => closed.extend(open.take()),
            Some(open) if !begins && open.label == name => {
                open.span.end = span.end;
                open.total += f64::from(*score);
                open.tokens += 1;
            }
            _ => {
                closed.extend(open.take());
                let total = f64::from(*score);
                open = Some(OpenEntity { label: name, span: span.clone(), total, tokens: 1 });
            }
        }
    }
    closed.extend(open);
    let characters = Characters::new(text);
    closed.into_iter().filter_map(|entity| entity.close(&characters)).collect()
}

/// An entity that the next token may continue.
struct OpenEntity<'a> {
    label: &'a str,
    span: Range<usize>,
    total: f64,
    tokens: u32,
}

impl OpenEntity<'_> {
    /// Trims white space: byte-level vocabularies put the space before a word into its token. `None` if nothing
    /// is left.
    fn close(self, characters: &Characters<'_>) -> Option<Entity> {
        let raw = characters.slice(&self.span);
        let text = raw.trim();
        let start = self.span.start + raw[..raw.len() - raw.trim_start().len()].chars().count();
        let span = start..start + text.chars().count();
        let score = (self.total / f64::from(self.tokens)) as f32;
        (!span.is_empty()).then(|| Entity {
            label: self.label.into(),
            span,
            text: text.into(),
            score,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(labels: &[(&str, Range<usize>)]) -> Vec<(String, Range<usize>)> {
        let scores: Vec<_> = labels
            .iter()
            .map(|(l, _)| LabelScore { id: 0, label: (*l).into(), score: 0.5 })
            .collect();
        let spans: Vec<_> = labels.iter().map(|(_, span)| span.clone()).collect();
        let text = "0123456789abc de\u{e9}ghijklm";
        entities(text, &scores, &spans).into_iter().map(|e| (e.label, e.span)).collect()
    }

    #[test]
    fn bio_labels_join_into_entities() {
        let found = joined(&[
            ("B-PER", 0..0),
            ("B-PER", 0..3),
            ("I-PER", 3..9),
            ("B-PER", 9..12),
            ("I-LOC", 13..15),
            ("I-LOC", 15..17),
            ("O", 17..18),
            ("MISC", 18..20),
            ("MISC", 20..22),
            ("I-PER", 0..0),
        ]);
        let expected = [("PER", 0..9), ("PER", 9..12), ("LOC", 14..17), ("MISC", 18..22)]
            .map(|(l, s)| (l.to_string(), s));
        assert_eq!(found, expected);
    }
}
