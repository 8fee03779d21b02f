//! Tasks: the questions that a request can put to a model, and their answers, computed from a device's rows.
//!
//! A [`Task`] says which rows of its sequence it reads ([`Task::rows`]) and turns them into an [`Answer`].
//! It runs nothing: [`crate::engine`] does. `merge.rs` adds texts that are read in windows.

mod merge;

use std::ops::Range;

use crate::batch::{MAX_MASKS, Rows};
use crate::error::RequestError;
use crate::model::{
    Head, Model, OperatingPoint, PairScorers, Scoring, mean_without, to_unit_length,
};
use crate::pooling::Pooling;
use crate::text::aggregate::{Aggregation, Aggregator, Group};
use crate::text::entities::{Entity, LabelScore, entities};
use crate::text::grounded::marked_runs;
use crate::text::input::Tokens;

/// The kinds of task: one per command of the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaskKind {
    /// Labels of a text.
    Classify,
    /// Labels of tokens, and the entities they form.
    Tag,
    /// A vector per text.
    Embed,
    /// Tokens for the masked positions.
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
    /// Entities, and the label of every token. A grounded classifier marks by its operating point.
    Tag,
    /// Entities as `transformers`' pipeline finds them.
    Aggregate {
        /// How the labels of tokens become entities.
        strategy: Aggregation,
        /// Labels of which no entity is returned. `O` is a label like any other.
        ignore_labels: Vec<String>,
    },
    /// The scores of all labels at every token.
    TokenScores {
        /// Logits instead of probabilities.
        raw_scores: bool,
    },
    /// A vector per text.
    Embed {
        /// `None`: as the checkpoint asks, else the mean.
        pooling: Option<Pooling>,
        /// Scales the vector to unit length, after the checkpoint's own modules.
        normalize: bool,
        /// Keeps only this many first dimensions (Matryoshka), before normalising; `None`: as many as the
        /// checkpoint asks, else all.
        dimensions: Option<usize>,
        /// Stops after this many layers, one of the model's [`Exits`](crate::Exits); `None`: after the last.
        layer: Option<usize>,
    },
    /// The logit of a pair, by the scorer of one of the model's [`PairScorers`](crate::PairScorers).
    Rank {
        /// Layers that run; `None`: all.
        layer: Option<usize>,
        /// Elements of the row that the scorer reads; `None`: all.
        dimensions: Option<usize>,
    },
    /// The final hidden state of every token.
    EmbedAll,
    /// The likeliest tokens at each mask.
    FillMask {
        /// Tokens per mask.
        top_k: usize,
    },
}

/// A candidate for a masked position.
#[derive(Debug, Clone, PartialEq)]
pub struct TokenScore {
    /// The token as text.
    pub token: String,
    /// Id in the vocabulary.
    pub id: u32,
    /// Probability.
    pub score: f32,
}

/// The answer of a task.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// For [`Task::Classify`]: every label, highest score first. For [`Task::Rank`]: the logit, as the score of the only
    /// label.
    Labels(Vec<LabelScore>),
    /// For [`Task::Tag`].
    Tags {
        /// In order of their spans.
        entities: Vec<Entity>,
        /// The likeliest label of each token, special ones included; of a pair, of the second text's tokens.
        token_labels: Vec<LabelScore>,
    },
    /// For [`Task::Aggregate`]: in order of their spans.
    Groups(Vec<Group>),
    /// For [`Task::Embed`].
    Embedding(Vec<f32>),
    /// For [`Task::EmbedAll`] and [`Task::TokenScores`]: one row per token, special ones included.
    Rows {
        /// [tokens, width], row-major.
        rows: Vec<f32>,
        /// Elements per row: the hidden size, or the number of labels.
        width: usize,
    },
    /// For [`Task::FillMask`]: one list per mask, highest score first.
    Masks(Vec<Vec<TokenScore>>),
}

impl Task {
    /// Returns the task that a head is for, with default options, as health checks, benchmarks and
    /// `/v1/analyze` use it.
    pub fn default_for(head: &Head) -> Task {
        match head {
            Head::Base | Head::MaskedLm { .. } => {
                Task::Embed { pooling: None, normalize: true, dimensions: None, layer: None }
            }
            Head::Sequence { .. } | Head::PairScorers => Task::Classify { raw_scores: false },
            Head::Token => Task::Tag,
        }
    }

    /// Returns the kind of the task.
    pub fn kind(&self) -> TaskKind {
        match self {
            Task::Classify { .. } | Task::Rank { .. } => TaskKind::Classify,
            Task::Tag | Task::Aggregate { .. } | Task::TokenScores { .. } => TaskKind::Tag,
            Task::Embed { .. } | Task::EmbedAll => TaskKind::Embed,
            Task::FillMask { .. } => TaskKind::FillMask,
        }
    }

    /// Returns the layers that run for the task; `None` for all.
    pub fn layers(&self) -> Option<usize> {
        match self {
            Task::Embed { layer, .. } | Task::Rank { layer, .. } => *layer,
            _ => None,
        }
    }

    /// Rejects a task that the model's head cannot do, and options out of the model's range.
    ///
    /// # Errors
    /// [`RequestError::WrongTask`] or [`RequestError::Invalid`].
    pub fn check(&self, model: &Model) -> Result<(), RequestError> {
        let asked = self.kind();
        let (has, fits) = match &model.config.head {
            Head::Base => ("embeddings", asked == TaskKind::Embed),
            Head::MaskedLm { .. } => (
                "embeddings and masked tokens",
                matches!(asked, TaskKind::Embed | TaskKind::FillMask),
            ),
            Head::Sequence { .. } => {
                ("sequence classification", matches!(self, Task::Classify { .. }))
            }
            Head::PairScorers => ("scores of pairs", asked == TaskKind::Classify),
            Head::Token => ("token classification", asked == TaskKind::Tag),
        };
        if !fits {
            let asked = match asked {
                _ if matches!(self, Task::Rank { .. }) => "scores of pairs at exits",
                TaskKind::Classify => "sequence classification",
                TaskKind::Tag => "token classification",
                TaskKind::Embed => "embeddings",
                TaskKind::FillMask => "masked tokens",
            };
            return Err(RequestError::WrongTask { asked, has });
        }
        match self {
            Task::Embed { dimensions: Some(n), .. } if !(1..=model.embedding.width).contains(n) => {
                Err(RequestError::Invalid(format!(
                    "dimensions is {n}; it must lie between 1 and {}",
                    model.embedding.width
                )))
            }
            Task::Embed { layer: Some(n), .. } if !model.exits.layers.contains(n) => {
                let list = |numbers: &[usize]| {
                    numbers.iter().map(usize::to_string).collect::<Vec<_>>().join(", ")
                };
                let known = list(&model.exits.layers);
                Err(RequestError::Invalid(format!("layer is {n}; the model offers {known}")))
            }
            Task::Rank { layer, dimensions } => rank_exit(model, *layer, *dimensions).map(drop),
            Task::FillMask { top_k } if !(1..=model.config.vocab_size).contains(top_k) => {
                Err(RequestError::Invalid(format!(
                    "top_k is {top_k}; it must lie between 1 and {}",
                    model.config.vocab_size
                )))
            }
            _ => Ok(()),
        }
    }

    /// Returns which rows of the final hidden states the task reads.
    ///
    /// # Errors
    /// [`RequestError::Invalid`] for a fill-mask text without a mask, or with too many.
    pub fn rows(&self, model: &Model, tokens: &Tokens) -> Result<Rows, RequestError> {
        match self {
            Task::Classify { .. } => match &model.config.head {
                Head::Sequence { pooling, .. } => Ok(Rows::Pooled(*pooling)),
                _ => Ok(Rows::Pooled(Pooling::Cls)),
            },
            Task::Rank { layer, dimensions } => {
                let (layers, _) = rank_exit(model, *layer, *dimensions)?;
                Ok(pooled(model, Pooling::Cls, Some(layers)))
            }
            Task::Tag | Task::Aggregate { .. } | Task::TokenScores { .. } => Ok(Rows::All),
            Task::EmbedAll => Ok(Rows::Hidden),
            Task::Embed { pooling, layer, .. } => {
                match (pooling.unwrap_or(model.embedding.pooling), tokens.prompt) {
                    (pooling, 0) => Ok(pooled(model, pooling, *layer)),
                    // The mean over a part of the tokens is computed from the rows of all.
                    (Pooling::Mean, _) => Ok(Rows::Hidden),
                    (Pooling::Cls, _) => Err(RequestError::Invalid(
                        "pooling is cls, but the model leaves prompts out (include_prompt is false); use mean"
                            .into(),
                    )),
                }
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

    /// Computes the answer from the request's own rows: [1, labels], [T, labels],
    /// [1, hidden], [T, hidden] or [masks, vocab]. `text` is what the tokens' spans count in.
    ///
    /// # Errors
    /// [`RequestError::NotFinite`] if a row holds an infinity or NaN.
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
            Task::Classify { raw_scores } => match &model.pair_scorers {
                None => Answer::Labels(classify(model, rows, *raw_scores)),
                Some(scorers) => {
                    let logit = pair_logit(model, scorers.default_exit(), rows)?;
                    Answer::Labels(classify(model, &[logit], *raw_scores))
                }
            },
            Task::Rank { layer, dimensions } => {
                let exit = rank_exit(model, *layer, *dimensions)?;
                Answer::Labels(classify(model, &[pair_logit(model, exit, rows)?], true))
            }
            Task::Tag => tag(model, text, tokens, rows),
            Task::Aggregate { strategy, ignore_labels } => {
                let aggregator = aggregator(model, text, *strategy, ignore_labels);
                Answer::Groups(aggregator.groups(tokens, &probabilities(model, rows)))
            }
            Task::TokenScores { raw_scores } => token_scores(model, rows, *raw_scores),
            Task::Embed { normalize, dimensions, .. } => {
                let pooled = match tokens.prompt {
                    0 => rows.to_vec(),
                    prompt => mean_without(rows, model.config.hidden_size, prompt),
                };
                let mut vector = model.embedding.vector(pooled, *dimensions);
                if *normalize {
                    to_unit_length(&mut vector);
                }
                Answer::Embedding(vector)
            }
            Task::EmbedAll => Answer::Rows { rows: rows.to_vec(), width: model.config.hidden_size },
            Task::FillMask { top_k } => {
                let masks = rows.chunks_exact(model.config.vocab_size);
                Answer::Masks(masks.map(|logits| top_tokens(model, logits, *top_k)).collect())
            }
        })
    }
}

/// Returns the rows of a task that reads one pooled row after some layers, or after all of them.
fn pooled(model: &Model, pooling: Pooling, layer: Option<usize>) -> Rows {
    match layer.filter(|&layers| layers < model.config.layers.len()) {
        Some(layers) => Rows::Exit { layers, pooling },
        None => Rows::Pooled(pooling),
    }
}

/// Returns the exit of a [`Task::Rank`].
fn rank_exit(
    model: &Model,
    layer: Option<usize>,
    dimensions: Option<usize>,
) -> Result<(usize, usize), RequestError> {
    let exit = |scorers: &PairScorers| {
        scorers.exit(layer, dimensions).ok_or_else(|| {
            let known: Vec<String> =
                scorers.exits().map(|(layer, width)| format!("{layer}/{width}")).collect();
            let (layers, width) = scorers.default_exit();
            RequestError::Invalid(format!(
                "layer {} with {} dimensions has no scorer; there are {}",
                layer.unwrap_or(layers),
                dimensions.unwrap_or(width),
                known.join(", ")
            ))
        })
    };
    let none = || RequestError::Invalid("the model has no scorers of pairs".into());
    model.pair_scorers.as_ref().map_or_else(|| Err(none()), exit)
}

/// Computes the logit of a pair at an exit.
fn pair_logit(model: &Model, exit: (usize, usize), row: &[f32]) -> Result<f32, RequestError> {
    let logit = model.pair_scorers.as_ref().and_then(|scorers| scorers.logit(exit, row));
    logit.filter(|logit| logit.is_finite()).ok_or(RequestError::NotFinite)
}

fn classify(model: &Model, logits: &[f32], raw_scores: bool) -> Vec<LabelScore> {
    let scores = match model.scoring() {
        Scoring::Softmax if !raw_scores => softmax(logits),
        Scoring::Sigmoid if !raw_scores => logits.iter().map(|&x| sigmoid(x)).collect(),
        _ => logits.to_vec(),
    };
    let label =
        |(id, score): (usize, f32)| LabelScore { id, label: model.labels[id].clone(), score };
    let mut labels: Vec<LabelScore> = (0..model.labels.len()).zip(scores).map(label).collect();
    labels.sort_by(|a, b| b.score.total_cmp(&a.score));
    labels
}

/// Finds the entities of a text by the probabilities of its tokens' labels, [tokens, labels]: those of
/// [`Task::TokenScores`]. `spans` are the tokens' places in the text; special tokens are in neither. In order, not empty, no
/// two on one character. `threshold` replaces that of a grounded classifier, and is the least score of other entities.
pub fn find_entities(
    model: &Model,
    text: &str,
    spans: &[Range<usize>],
    probabilities: &[f32],
    threshold: Option<f32>,
) -> Vec<Entity> {
    let Some(point @ OperatingPoint::Grounded { token_threshold, positive, .. }) =
        &model.operating_point
    else {
        let mut found = entities(text, &model.tags, &likeliest_labels(model, probabilities), spans);
        found.retain(|entity| threshold.is_none_or(|least| entity.score >= least));
        return found;
    };
    let threshold = threshold.unwrap_or(*token_threshold as f32);
    let rows = probabilities.chunks_exact(model.labels.len()).map(|row| row[*positive]);
    let tokens = spans.iter().cloned().zip(rows);
    marked_runs(text, &model.labels[*positive], tokens, |p| point.passes(p, threshold))
}

/// Returns the likeliest label of each token; of several the first.
fn likeliest_labels(model: &Model, probabilities: &[f32]) -> Vec<LabelScore> {
    let best = |scores: &[f32]| {
        let (id, score) = argmax(scores);
        LabelScore { id, label: model.labels[id].clone(), score }
    };
    probabilities.chunks_exact(model.labels.len()).map(best).collect()
}

fn tag(model: &Model, text: &str, tokens: &Tokens, logits: &[f32]) -> Answer {
    let (width, own) = (model.labels.len(), tokens.own.clone());
    let probabilities = probabilities(model, logits);
    let mut token_labels = likeliest_labels(model, &probabilities);
    let own_rows = &probabilities[own.start * width..own.end * width];
    let entities = find_entities(model, text, &tokens.spans[own.clone()], own_rows, None);
    // Another text was read before this one.
    if own.start > model.tokenizer.frame().before.len() {
        token_labels = token_labels.drain(own).collect();
    }
    Answer::Tags { entities, token_labels }
}

fn aggregator<'a>(
    model: &'a Model,
    text: &'a str,
    strategy: Aggregation,
    ignored: &'a [String],
) -> Aggregator<'a> {
    let Model { tokenizer, labels, .. } = model;
    Aggregator { tokenizer, labels, strategy, ignored, text }
}

fn token_scores(model: &Model, logits: &[f32], raw_scores: bool) -> Answer {
    let width = model.labels.len();
    let rows = if raw_scores { logits.to_vec() } else { probabilities(model, logits) };
    Answer::Rows { rows, width }
}

/// Returns the softmax of each token's logits.
fn probabilities(model: &Model, logits: &[f32]) -> Vec<f32> {
    logits.chunks_exact(model.labels.len()).flat_map(softmax).collect()
}

fn top_tokens(model: &Model, logits: &[f32], top_k: usize) -> Vec<TokenScore> {
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

    #[test]
    fn softmax_survives_large_logits() {
        let scores = softmax(&[1e30, 0.0, -1e30]);
        assert_eq!(scores, [1.0, 0.0, 0.0]);
    }
}
