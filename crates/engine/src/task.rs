//! What can be asked of a model, and answers made of the rows that a device returns.

use std::ops::Range;

use crate::error::RequestError;
use crate::model::{Head, MAX_MASKS, Model, Pooling};
use crate::pack::Rows;
use crate::tokenize::Tokens;

/// The kinds of task, one a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaskKind {
    /// Labels of a text.
    Classify,
    /// Labels of tokens, and the entities they form.
    Tag,
    /// A vector.
    Embed,
    /// Tokens for the masked places.
    FillMask,
}

/// One request's task and its options.
#[derive(Debug, Clone, PartialEq)]
pub enum Task {
    /// Scores of all labels, highest first.
    Classify {
        /// Logits instead of probabilities.
        raw_scores: bool,
    },
    /// Entities, and the label of every token.
    Tag,
    /// A vector.
    Embed {
        /// `None`: as the checkpoint says.
        pooling: Option<Pooling>,
        /// Scale to unit length.
        normalize: bool,
        /// Keep the first so many dimensions (Matryoshka), before normalising.
        dimensions: Option<usize>,
    },
    /// The likeliest tokens at each mask.
    FillMask {
        /// How many.
        top_k: usize,
    },
}

/// A label and how sure the model is of it.
#[derive(Debug, Clone, PartialEq)]
pub struct LabelScore {
    /// From `id2label`.
    pub label: String,
    /// Probability, or the logit where raw scores were asked for.
    pub score: f32,
}

/// A labelled stretch of the text.
#[derive(Debug, Clone, PartialEq)]
pub struct Entity {
    /// Without the `B-` or `I-`.
    pub label: String,
    /// Characters of the text, without surrounding white space.
    pub span: Range<usize>,
    /// Those characters.
    pub text: String,
    /// Mean probability of its tokens' labels.
    pub score: f32,
}

/// A candidate for a masked place.
#[derive(Debug, Clone, PartialEq)]
pub struct TokenScore {
    /// As text.
    pub token: String,
    /// Its id.
    pub id: u32,
    /// Probability.
    pub score: f32,
}

/// What a task answers.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// Of [`Task::Classify`].
    Labels(Vec<LabelScore>),
    /// Of [`Task::Tag`].
    Tags {
        /// In order of place.
        entities: Vec<Entity>,
        /// One a token, special ones included.
        token_labels: Vec<LabelScore>,
    },
    /// Of [`Task::Embed`].
    Embedding(Vec<f32>),
    /// Of [`Task::FillMask`], one list a mask.
    Masks(Vec<Vec<TokenScore>>),
}

impl Task {
    /// Its kind.
    pub fn kind(&self) -> TaskKind {
        match self {
            Task::Classify { .. } => TaskKind::Classify,
            Task::Tag => TaskKind::Tag,
            Task::Embed { .. } => TaskKind::Embed,
            Task::FillMask { .. } => TaskKind::FillMask,
        }
    }

    /// Refuses a task whose head the model lacks, and options that do not fit it.
    ///
    /// # Errors
    /// [`RequestError::WrongTask`] or [`RequestError::Invalid`].
    pub fn check(&self, model: &Model) -> Result<(), RequestError> {
        let (has, fits) = match &model.config.head {
            Head::Base => ("embeddings", matches!(self, Task::Embed { .. })),
            Head::MaskedLm { .. } => (
                "embeddings and masked tokens",
                matches!(self, Task::Embed { .. } | Task::FillMask { .. }),
            ),
            Head::Sequence { .. } => {
                ("sequence classification", matches!(self, Task::Classify { .. }))
            }
            Head::Token => ("token classification", matches!(self, Task::Tag)),
        };
        if !fits {
            let asked = match self {
                Task::Classify { .. } => "sequence classification",
                Task::Tag => "token classification",
                Task::Embed { .. } => "embeddings",
                Task::FillMask { .. } => "masked tokens",
            };
            return Err(RequestError::WrongTask { asked, has });
        }
        match self {
            Task::Embed { dimensions: Some(n), .. }
                if !(1..=model.config.hidden_size).contains(n) =>
            {
                Err(RequestError::Invalid(format!(
                    "dimensions is {n}; it must lie between 1 and {}",
                    model.config.hidden_size
                )))
            }
            Task::FillMask { top_k } if !(1..=model.config.vocab_size).contains(top_k) => {
                Err(RequestError::Invalid(format!(
                    "top_k is {top_k}; it must lie between 1 and {}",
                    model.config.vocab_size
                )))
            }
            _ => Ok(()),
        }
    }

    /// Which rows of the final hidden states the task reads.
    ///
    /// # Errors
    /// [`RequestError::Invalid`] for a fill-mask text without a mask, or with too many.
    pub fn rows(&self, model: &Model, tokens: &Tokens) -> Result<Rows, RequestError> {
        match self {
            Task::Classify { .. } => match &model.config.head {
                Head::Sequence { pooling, .. } => Ok(Rows::Pooled(*pooling)),
                _ => Ok(Rows::Pooled(Pooling::Cls)),
            },
            Task::Tag => Ok(Rows::All),
            Task::Embed { pooling, .. } => {
                Ok(Rows::Pooled(pooling.unwrap_or(model.embedding_pooling)))
            }
            Task::FillMask { .. } => {
                let mask = model.tokenizer.mask_id();
                let places = tokens.ids.iter().zip(0..).filter(|(id, _)| Some(**id) == mask);
                let places: Vec<u32> = places.map(|(_, place)| place).collect();
                let token = model.tokenizer.mask_token().unwrap_or_else(|| "mask token".into());
                match places.len() {
                    0 => Err(RequestError::Invalid(format!("the text has no {token}"))),
                    n if n > MAX_MASKS => Err(RequestError::Invalid(format!(
                        "the text has {n} {token}, the limit is {MAX_MASKS}"
                    ))),
                    _ => Ok(Rows::At(places)),
                }
            }
        }
    }

    /// Makes the answer of the rows that belong to this request: [1, labels], [T, labels],
    /// [1, hidden] or [masks, vocab]. `text` is what the tokens' spans count in.
    ///
    /// # Errors
    /// [`RequestError::NotFinite`].
    pub fn answer(
        &self,
        model: &Model,
        text: &str,
        tokens: &Tokens,
        rows: &[f32],
    ) -> Result<Answer, RequestError> {
        if !rows.iter().all(|x| x.is_finite()) {
            return Err(RequestError::NotFinite);
        }
        Ok(match self {
            Task::Classify { raw_scores } => Answer::Labels(classify(model, rows, *raw_scores)),
            Task::Tag => tag(model, text, tokens, rows),
            Task::Embed { normalize, dimensions, .. } => {
                let mut vector = rows[..dimensions.unwrap_or(rows.len())].to_vec();
                if *normalize {
                    let norm =
                        vector.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>().sqrt();
                    let scale = (1.0 / norm.max(1e-12)) as f32;
                    vector.iter_mut().for_each(|x| *x *= scale);
                }
                Answer::Embedding(vector)
            }
            Task::FillMask { top_k } => {
                let masks = rows.chunks_exact(model.config.vocab_size);
                Answer::Masks(masks.map(|logits| fill(model, logits, *top_k)).collect())
            }
        })
    }
}

fn classify(model: &Model, logits: &[f32], raw_scores: bool) -> Vec<LabelScore> {
    let multi_label = matches!(model.config.head, Head::Sequence { multi_label: true, .. });
    let scores = if raw_scores {
        logits.to_vec()
    } else if multi_label || logits.len() == 1 {
        logits.iter().map(|&x| sigmoid(x)).collect()
    } else {
        softmax(logits)
    };
    let label = |(label, score): (&String, f32)| LabelScore { label: label.clone(), score };
    let mut labels: Vec<LabelScore> = model.labels.iter().zip(scores).map(label).collect();
    labels.sort_by(|a, b| b.score.total_cmp(&a.score));
    labels
}

fn tag(model: &Model, text: &str, tokens: &Tokens, logits: &[f32]) -> Answer {
    let best = |logits: &[f32]| {
        let scores = softmax(logits);
        let (index, score) = argmax(&scores);
        LabelScore { label: model.labels[index].clone(), score }
    };
    let token_labels: Vec<LabelScore> = logits.chunks_exact(model.labels.len()).map(best).collect();
    Answer::Tags { entities: entities(text, &token_labels, &tokens.spans), token_labels }
}

/// Joins tokens into entities: `B-X` begins one, `I-X` goes on with an X or begins one where there is
/// none, a label without a prefix goes on with itself, `O` is outside.
fn entities(text: &str, labels: &[LabelScore], spans: &[Range<usize>]) -> Vec<Entity> {
    let mut open: Option<OpenEntity<'_>> = None;
    let mut closed = Vec::new();
    for (LabelScore { label, score }, span) in labels.iter().zip(spans) {
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

/// An entity that may go on.
struct OpenEntity<'a> {
    label: &'a str,
    span: Range<usize>,
    total: f64,
    tokens: u32,
}

impl OpenEntity<'_> {
    /// Byte-level vocabularies put the space before a word into its token; it is no part of an entity.
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

/// A text addressed by characters.
struct Characters<'a> {
    text: &'a str,
    starts: Vec<usize>,
}

impl<'a> Characters<'a> {
    fn new(text: &'a str) -> Self {
        let ends = std::iter::once(text.len());
        Characters { text, starts: text.char_indices().map(|(at, _)| at).chain(ends).collect() }
    }

    fn slice(&self, span: &Range<usize>) -> &'a str {
        let last = self.starts.len() - 1;
        &self.text[self.starts[span.start.min(last)]..self.starts[span.end.min(last)]]
    }
}

fn fill(model: &Model, logits: &[f32], top_k: usize) -> Vec<TokenScore> {
    let scores = softmax(logits);
    let mut order: Vec<usize> = (0..scores.len()).collect();
    let by_score = |a: &usize, b: &usize| scores[*b].total_cmp(&scores[*a]).then(a.cmp(b));
    let kept = top_k.min(order.len());
    if kept < order.len() {
        order.select_nth_unstable_by(kept, by_score);
        order.truncate(kept);
    }
    order.sort_by(by_score);
    let token = |index: usize| TokenScore {
        token: model.tokenizer.decode(index as u32),
        id: index as u32,
        score: scores[index],
    };
    order.into_iter().map(token).collect()
}

fn sigmoid(x: f32) -> f32 {
    (1.0 / (1.0 + (-f64::from(x)).exp())) as f32
}

fn softmax(logits: &[f32]) -> Vec<f32> {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let weights: Vec<f64> = logits.iter().map(|&x| f64::from(x - max).exp()).collect();
    let total: f64 = weights.iter().sum();
    weights.into_iter().map(|w| (w / total) as f32).collect()
}

fn argmax(scores: &[f32]) -> (usize, f32) {
    scores.iter().copied().enumerate().fold((0, f32::NEG_INFINITY), |best, (i, score)| {
        if score > best.1 { (i, score) } else { best }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(labels: &[(&str, Range<usize>)]) -> Vec<(String, Range<usize>)> {
        let scores: Vec<_> =
            labels.iter().map(|(l, _)| LabelScore { label: (*l).into(), score: 0.5 }).collect();
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

    #[test]
    fn softmax_survives_large_logits() {
        let scores = softmax(&[1e30, 0.0, -1e30]);
        assert_eq!(scores, [1.0, 0.0, 0.0]);
    }
}
