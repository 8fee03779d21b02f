//! Entities by the strategies of `transformers`' token classification pipeline, version 5.17.
//!
//! They differ from [`super::entities`] in what callers of the pipeline rely on: a label is split at `B-` and `I-`
//! only, white space stays where the tokenizer's spans have it, `word` is decoded from tokens, and three
//! strategies give all tokens of a word one label. `python/goldens/pipelines.py` writes what the pipeline answers.

use std::ops::Range;
use std::str::FromStr;

use super::characters::Characters;
use super::entities::Entity;
use super::input::Tokens;
use super::tokenize::Tokenizer;

/// How the labels of tokens become entities.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aggregation {
    /// An entity per token.
    None,
    /// Neighbours of one type are joined; `B-` begins an entity.
    Simple,
    /// As simple, after each word got the label of its first token.
    First,
    /// As simple, after each word got the label that is likeliest on average over its tokens.
    Average,
    /// As simple, after each word got the label of its most certain token.
    Max,
}

impl FromStr for Aggregation {
    type Err = String;

    fn from_str(name: &str) -> Result<Aggregation, String> {
        match name.to_ascii_lowercase().as_str() {
            "none" => Ok(Aggregation::None),
            "simple" => Ok(Aggregation::Simple),
            "first" => Ok(Aggregation::First),
            "average" => Ok(Aggregation::Average),
            "max" => Ok(Aggregation::Max),
            _ => Err(format!(
                "aggregation_strategy is '{name}'; there are none, simple, first, average and max"
            )),
        }
    }
}

/// An entity of the pipeline.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    /// With the label of a token for [`Aggregation::None`], else of a group: without `B-` or `I-`. Its span may have
    /// white space around it, or be empty.
    pub entity: Entity,
    /// The tokens as the vocabulary writes them for [`Aggregation::None`], else decoded.
    pub word: String,
    /// For [`Aggregation::None`]: which token it is, special ones counted.
    pub index: Option<usize>,
}

/// Aggregates over one text, whole or in windows.
pub(crate) struct Aggregator<'a> {
    pub(crate) tokenizer: &'a Tokenizer,
    /// The labels of the model, by id.
    pub(crate) labels: &'a [String],
    pub(crate) strategy: Aggregation,
    pub(crate) ignored: &'a [String],
    pub(crate) text: &'a str,
}

/// A token, or the tokens of a word.
struct Piece<'a> {
    word: String,
    label: &'a str,
    score: f32,
    span: Range<usize>,
    index: usize,
}

impl<'a> Aggregator<'a> {
    /// Returns the entities of the text's own tokens. `scores` are probabilities, [tokens, labels] with the special
    /// tokens; `tokens` have spans in the text.
    pub(crate) fn groups(&self, tokens: &Tokens, scores: &[f32]) -> Vec<Group> {
        let characters = Characters::new(self.text);
        let pieces = match self.strategy {
            Aggregation::None | Aggregation::Simple => tokens
                .own
                .clone()
                .map(|at| self.piece(tokens, scores, at..at + 1, &characters))
                .collect(),
            _ => self.words(tokens, scores, &characters),
        };
        let groups: Vec<Group> = match self.strategy {
            Aggregation::None => {
                pieces.into_iter().map(|piece| token(piece, &characters)).collect()
            }
            _ => {
                let mut groups: Vec<Vec<Piece<'a>>> = Vec::new();
                for piece in pieces {
                    let (begins, name) = split_tag(piece.label);
                    match groups.last_mut() {
                        Some(group)
                            if !begins
                                && group.last().is_some_and(|p| split_tag(p.label).1 == name) =>
                        {
                            group.push(piece);
                        }
                        _ => groups.push(vec![piece]),
                    }
                }
                groups.into_iter().filter_map(|group| self.join(group, &characters)).collect()
            }
        };
        groups.into_iter().filter(|group| !self.ignored.contains(&group.entity.label)).collect()
    }

    /// Splits the tokens into words, and gives each the label that the strategy chooses.
    fn words(
        &self,
        tokens: &Tokens,
        scores: &[f32],
        characters: &Characters<'_>,
    ) -> Vec<Piece<'a>> {
        let mut words: Vec<Range<usize>> = Vec::new();
        for at in tokens.own.clone() {
            match words.last_mut() {
                Some(word) if self.is_subword(tokens, at, characters) => word.end = at + 1,
                _ => words.push(at..at + 1),
            }
        }
        words.into_iter().map(|word| self.piece(tokens, scores, word, characters)).collect()
    }

    /// Returns a range of tokens as one piece, with the label that the strategy chooses.
    fn piece(
        &self,
        tokens: &Tokens,
        scores: &[f32],
        range: Range<usize>,
        characters: &Characters<'_>,
    ) -> Piece<'a> {
        let row = |at: usize| &scores[at * self.labels.len()..][..self.labels.len()];
        let (id, score) = match self.strategy {
            Aggregation::Average => {
                let mut sums = vec![0.0; self.labels.len()];
                for at in range.clone() {
                    sums.iter_mut().zip(row(at)).for_each(|(sum, score)| *sum += score);
                }
                let (id, sum) = first_max(sums);
                (id, sum / range.len() as f32)
            }
            Aggregation::Max => {
                let best = range.clone().map(|at| first_max(row(at).iter().copied()));
                best.reduce(|a, b| if b.1 > a.1 { b } else { a }).unwrap_or_default()
            }
            _ => first_max(row(range.start).iter().copied()),
        };
        let words = range.clone().map(|at| self.word(tokens, at, characters));
        let word = match self.strategy {
            Aggregation::None | Aggregation::Simple => words.collect(),
            _ => self.tokenizer.decode_pieces(words.collect()),
        };
        let span = tokens.spans[range.start].start..tokens.spans[range.end - 1].end;
        Piece { word, label: &self.labels[id], score, span, index: range.start }
    }

    /// Returns a token as the vocabulary writes it, or the characters that it does not know.
    fn word(&self, tokens: &Tokens, at: usize, characters: &Characters<'_>) -> String {
        if self.tokenizer.unknown_id() == Some(tokens.ids[at]) {
            return characters.slice(&tokens.spans[at]).to_owned();
        }
        self.tokenizer.piece(tokens.ids[at])
    }

    /// Returns whether a token continues the word of the token before it: by the vocabulary's mark if it has one,
    /// else unless there is a space.
    fn is_subword(&self, tokens: &Tokens, at: usize, characters: &Characters<'_>) -> bool {
        let (id, span) = (tokens.ids[at], &tokens.spans[at]);
        if self.tokenizer.unknown_id() == Some(id) {
            return false;
        }
        if self.tokenizer.marks_subwords() {
            return self.tokenizer.piece(id).chars().count() != span.len();
        }
        span.start > 0 && !characters.slice(&(span.start - 1..span.start + 1)).contains(' ')
    }

    /// Joins pieces of one type; `None` of none.
    fn join(&self, pieces: Vec<Piece<'_>>, characters: &Characters<'_>) -> Option<Group> {
        let (first, last) = (pieces.first()?, pieces.last()?);
        let label = first.label.split_once('-').map_or(first.label, |(_, name)| name).to_owned();
        let span = first.span.start..last.span.end;
        let total: f64 = pieces.iter().map(|piece| f64::from(piece.score)).sum();
        let score = (total / pieces.len() as f64) as f32;
        let text = characters.slice(&span).to_owned();
        let words = pieces.into_iter().map(|piece| piece.word).collect();
        let word = self.tokenizer.decode_pieces(words);
        Some(Group { entity: Entity { label, span, text, score }, word, index: None })
    }
}

fn token(piece: Piece<'_>, characters: &Characters<'_>) -> Group {
    let Piece { word, label, score, span, index } = piece;
    let text = characters.slice(&span).to_owned();
    let entity = Entity { label: label.to_owned(), span, text, score };
    Group { entity, word, index: Some(index) }
}

/// Returns whether a label begins an entity, and its type.
fn split_tag(label: &str) -> (bool, &str) {
    match label.split_once('-') {
        Some(("B", name)) => (true, name),
        Some(("I", name)) => (false, name),
        _ => (false, label),
    }
}

/// Returns the index and the value of the highest score, the first of equals.
fn first_max(scores: impl IntoIterator<Item = f32>) -> (usize, f32) {
    let higher = |a: (usize, f32), b: (usize, f32)| if b.1 > a.1 { b } else { a };
    scores.into_iter().enumerate().reduce(higher).unwrap_or_default()
}

/// Resolves the overlaps of windows: of entities that begin within one another the longest stays, of equally long
/// ones the surest.
pub(crate) fn resolve_overlaps(mut groups: Vec<Group>) -> Vec<Group> {
    groups.sort_by_key(|group| group.entity.span.start);
    let mut kept: Vec<Group> = Vec::new();
    for group in groups {
        match kept.last_mut() {
            Some(last) if last.entity.span.contains(&group.entity.span.start) => {
                let rank = |g: &Group| (g.entity.span.len(), g.entity.score);
                if rank(&group) > rank(last) {
                    *last = group;
                }
            }
            _ => kept.push(group),
        }
    }
    kept
}
