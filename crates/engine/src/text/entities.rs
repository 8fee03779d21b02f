//! Joins the labels of tokens into entities: labelled ranges of the text.
//!
//! It takes the most likely label of each token and the token's span. It does not correct the model's labels,
//! except that one which continues nothing begins an entity. [`super::tag_scheme`] says which labels begin,
//! continue and end one; the strategies of `transformers` are [`super::aggregate`]'s.

use std::ops::Range;

use super::characters::Characters;
use super::tag_scheme::{Role, Tag, TagScheme};

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
    /// Without the tag of its scheme, such as `B-`.
    pub label: String,
    /// Range in characters of the text; without surrounding white space, unless a grounded classifier marked it.
    pub span: Range<usize>,
    /// The characters of the range.
    pub text: String,
    /// Mean probability of its tokens' labels; of a grounded classifier the largest probability.
    pub score: f32,
}

/// Joins the tokens of a text, without special ones, into entities: in order, not empty, no two on one
/// character.
///
/// A byte-level vocabulary may split a character, and each of its tokens then has the whole character's span.
/// The first token decides what the character belongs to; the others only count towards its entity's score. A
/// space whose span a tokenizer trimmed to nothing has a label like any token: outside, it ends an entity.
pub(crate) fn entities(
    text: &str,
    scheme: &TagScheme,
    labels: &[LabelScore],
    spans: &[Range<usize>],
) -> Vec<Entity> {
    let mut open: Option<OpenEntity<'_>> = None;
    let mut closed = Vec::new();
    let mut read = 0;
    for (LabelScore { id, score, .. }, span) in labels.iter().zip(spans) {
        let Tag { role, name } = scheme.tag(*id);
        let within_character = !span.is_empty() && span.end <= read;
        let (start, end) = (span.start.max(read), span.end.max(read));
        read = end;
        let continues = open.as_ref().is_some_and(|open| {
            let joins = matches!(role, Role::Inside | Role::End) && !open.ended;
            open.name == name && (joins || within_character)
        });
        match &mut open {
            Some(open) if continues => {
                open.span.end = end;
                open.total += f64::from(*score);
                open.tokens += 1;
                open.ended |= *role == Role::End && !within_character;
            }
            _ if within_character => {}
            _ => {
                closed.extend(open.take());
                let (total, ended) = (f64::from(*score), matches!(role, Role::End | Role::Single));
                open = (*role != Role::Outside).then(|| OpenEntity {
                    name,
                    span: start..end,
                    total,
                    tokens: 1,
                    ended,
                });
            }
        }
    }
    closed.extend(open);
    let characters = Characters::new(text);
    closed.into_iter().filter_map(|entity| entity.close(&characters)).collect()
}

/// The entity that was begun last.
struct OpenEntity<'a> {
    name: &'a str,
    span: Range<usize>,
    total: f64,
    tokens: u32,
    /// Whether a label said that its token is the last one.
    ended: bool,
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
            label: self.name.into(),
            span,
            text: text.into(),
            score,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TEXT: &str = "0123456789abc de\u{e9}ghijklm";
    const LABELS: [&str; 8] = ["O", "B-PER", "I-PER", "E-PER", "S-PER", "B-LOC", "I-LOC", "MISC"];

    fn found(text: &str, tokens: &[(usize, Range<usize>)]) -> Vec<Entity> {
        let scheme = TagScheme::read(&LABELS.map(str::to_owned));
        let label = |id: usize| LabelScore { id, label: LABELS[id].into(), score: 0.5 };
        let labels: Vec<_> = tokens.iter().map(|(id, _)| label(*id)).collect();
        let spans: Vec<_> = tokens.iter().map(|(_, span)| span.clone()).collect();
        entities(text, &scheme, &labels, &spans)
    }

    #[track_caller]
    fn check(tokens: &[(&str, Range<usize>)], expected: &[(&str, Range<usize>)]) {
        let id = |label| LABELS.iter().position(|&known| known == label).unwrap();
        let tokens: Vec<_> =
            tokens.iter().map(|(label, span)| (id(*label), span.clone())).collect();
        let found: Vec<_> = found(TEXT, &tokens).into_iter().map(|e| (e.label, e.span)).collect();
        let expected: Vec<_> = expected.iter().map(|(l, s)| (l.to_string(), s.clone())).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn labels_join_into_entities() {
        check(
            &[
                ("B-PER", 0..3),
                ("I-PER", 3..9),
                ("B-PER", 9..12),
                ("I-LOC", 13..15),
                ("I-LOC", 15..17),
                ("O", 17..18),
                ("MISC", 18..20),
                ("MISC", 20..22),
            ],
            &[("PER", 0..9), ("PER", 9..12), ("LOC", 14..17), ("MISC", 18..22)],
        );
    }

    #[test]
    fn an_end_ends_and_a_single_token_stands_alone() {
        check(
            &[
                ("B-PER", 0..1),
                ("E-PER", 1..2),
                ("I-PER", 2..3),
                ("E-PER", 3..4),
                ("E-PER", 4..5),
                ("S-PER", 5..6),
                ("S-PER", 6..7),
                ("I-PER", 7..8),
                ("E-PER", 8..9),
                ("I-LOC", 9..10),
                ("E-PER", 10..11),
            ],
            &[
                ("PER", 0..2),
                ("PER", 2..4),
                ("PER", 4..5),
                ("PER", 5..6),
                ("PER", 6..7),
                ("PER", 7..9),
                ("LOC", 9..10),
                ("PER", 10..11),
            ],
        );
    }

    #[test]
    fn the_first_token_of_a_character_decides_for_it() {
        for (first, second, label) in [
            ("B-PER", "B-PER", Some("PER")),
            ("B-PER", "O", Some("PER")),
            ("B-PER", "I-LOC", Some("PER")),
            ("S-PER", "I-PER", Some("PER")),
            ("O", "B-PER", None),
        ] {
            let expected: Vec<_> =
                label.into_iter().map(|label| (label, 16..17)).chain([("LOC", 17..18)]).collect();
            check(&[(first, 16..17), (second, 16..17), ("B-LOC", 17..18)], &expected);
        }
        // Nor do they part it from what follows.
        for second in ["B-PER", "O", "S-PER", "B-LOC"] {
            check(&[("B-PER", 16..17), (second, 16..17), ("I-PER", 17..18)], &[("PER", 16..18)]);
        }
        // Tokens that share a character but go on after it.
        check(&[("B-PER", 0..2), ("B-LOC", 1..3)], &[("PER", 0..2), ("LOC", 2..3)]);
        check(&[("B-PER", 0..2), ("I-PER", 1..3)], &[("PER", 0..3)]);
    }

    #[test]
    fn a_trimmed_space_has_a_label_and_no_characters() {
        let around = |label| [("I-LOC", 10..13), (label, 14..14), ("I-LOC", 14..16)];
        check(&around("I-LOC"), &[("LOC", 10..16)]);
        check(&around("O"), &[("LOC", 10..13), ("LOC", 14..16)]);
        check(&around("B-PER"), &[("LOC", 10..13), ("LOC", 14..16)]);
        check(&[("S-PER", 14..14)], &[]);
    }

    proptest! {
        /// Whatever a tokenizer and a model return, entities are in order, not empty, apart, and in the text.
        #[test]
        fn entities_are_in_order_and_apart(
            tokens in proptest::collection::vec((0..LABELS.len(), 0usize..24, 0usize..4), 0..24),
        ) {
            let tokens: Vec<_> =
                tokens.into_iter().map(|(id, start, len)| (id, start..start + len)).collect();
            let mut end = 0;
            for Entity { span, text, .. } in found(TEXT, &tokens) {
                prop_assert!(end <= span.start && span.start < span.end, "{end} {span:?}");
                let slice: String = TEXT.chars().skip(span.start).take(span.len()).collect();
                prop_assert_eq!(text, slice);
                end = span.end;
            }
        }

        /// Trimming of offsets by the tokenizer changes no entity.
        #[test]
        fn trimmed_spans_give_the_same_entities(
            words in proptest::collection::vec((0..LABELS.len(), prop_oneof![
                Just(" a"), Just("b"), Just(" "), Just("c "), Just("  ")]), 1..16),
        ) {
            let text: String = words.iter().map(|(_, word)| *word).collect();
            let mut start = 0;
            let (mut whole, mut trimmed) = (Vec::new(), Vec::new());
            for (id, word) in words {
                let end = start + word.len();
                whole.push((id, start..end));
                let left = end - word.trim_start().len();
                trimmed.push((id, left..left.max(start + word.trim_end().len())));
                start = end;
            }
            prop_assert_eq!(found(&text, &whole), found(&text, &trimmed));
        }
    }
}
