//! What the served functions compute: classes, entities and vectors of texts, by the model of a slot.
//!
//! Every call goes through the engine's queue, so calls from many threads at once share batches. A text is read whole
//! or rejected; the bindings' own libraries cut it, most of them at 512 tokens.

use std::convert::Infallible;

use bigbatch_engine::{Answer, Engine, LabelScore, Model, Task, TextAnswer};

use crate::error::CallError;
use crate::slots;

/// The class of a text.
#[derive(Debug, Clone, PartialEq)]
pub struct Classification {
    /// Index of the likeliest label in the model's `id2label`.
    pub class: i32,
    /// The label's name.
    pub label: String,
    /// The label's probability.
    pub confidence: f32,
    /// Probability of every label, by index.
    pub probabilities: Vec<f32>,
}

/// A labelled range of a text.
#[derive(Debug, Clone, PartialEq)]
pub struct Entity {
    /// The label without the tag of its scheme, such as `B-`.
    pub label: String,
    /// First byte.
    pub start: i32,
    /// The byte after the last one.
    pub end: i32,
    /// The bytes of the range.
    pub text: String,
    /// Mean probability of its tokens' labels.
    pub confidence: f32,
}

/// The vector of a text.
#[derive(Debug, Clone, PartialEq)]
pub struct Vector {
    /// Of unit length.
    pub values: Vec<f32>,
    /// Tokens of the text, special ones included.
    pub tokens: i32,
}

/// Classifies a text by the model of a slot.
///
/// # Errors
/// [`CallError::NotLoaded`], [`CallError::Request`].
pub fn classify(slot: &str, text: &str) -> Result<Classification, CallError> {
    let loaded = slots::loaded(slot)?;
    one(&loaded.engine, Task::Classify { raw_scores: false }, text).and_then(classification)
}

/// Classifies texts, which share batches. A text that cannot be read has an error of its own.
///
/// # Errors
/// [`CallError::NotLoaded`], and [`CallError::Request`] for what would reject every text.
pub fn classify_all(
    slot: &str,
    texts: &[&str],
) -> Result<Vec<Result<Classification, CallError>>, CallError> {
    let loaded = slots::loaded(slot)?;
    let answers = all(&loaded.engine, Task::Classify { raw_scores: false }, texts)?;
    Ok(answers.into_iter().map(|answer| answer.and_then(classification)).collect())
}

/// Returns the entities of a text, by the model of a slot, in order of their ranges.
///
/// # Errors
/// [`CallError::NotLoaded`], [`CallError::Request`].
pub fn entities(slot: &str, text: &str) -> Result<Vec<Entity>, CallError> {
    let loaded = slots::loaded(slot)?;
    match one(&loaded.engine, Task::Tag, text)?.answer {
        Answer::Tags { entities, .. } => Ok(in_bytes(text, entities)),
        other => unreachable!("{other:?} of tags"),
    }
}

/// Embeds texts, which share batches, by the model of a slot. A `layer` or a number of `dimensions` up to 0 stands for
/// all of them.
///
/// # Errors
/// [`CallError::NotLoaded`], [`CallError::Layer`], [`CallError::Request`].
pub fn embed_all(
    slot: &str,
    texts: &[&str],
    layer: i32,
    dimensions: i32,
) -> Result<Vec<Vector>, CallError> {
    let loaded = slots::loaded(slot)?;
    let task = embedding_task(loaded.engine.model(), layer, dimensions)?;
    all(&loaded.engine, task, texts)?.into_iter().map(|answer| answer.map(vector)).collect()
}

/// Returns the task of vectors after so many layers; 0 and less mean all of them.
fn embedding_task(model: &Model, layer: i32, dimensions: i32) -> Result<Task, CallError> {
    let positive = |number: i32| usize::try_from(number).ok().filter(|&number| number > 0);
    let (given, layer) = (layer, positive(layer));
    if layer.is_some_and(|layer| !model.exits.layers.contains(&layer)) {
        return Err(CallError::Layer { given, layers: model.exits.layers.clone() });
    }
    let dimensions = positive(dimensions);
    Ok(Task::Embed { pooling: None, normalize: true, dimensions, layer })
}

fn one(engine: &Engine, task: Task, text: &str) -> Result<TextAnswer, CallError> {
    let mut answers = all(engine, task, &[text])?;
    answers.pop().expect("every text has an answer")
}

/// Waits for the answers to all texts. The calling thread waits for its turn where the queue is full: it could do no
/// better with an error.
fn all(
    engine: &Engine,
    task: Task,
    texts: &[&str],
) -> Result<Vec<Result<TextAnswer, CallError>>, CallError> {
    let texts = texts.iter().map(|text| Ok::<_, Infallible>(((), (*text).to_owned())));
    let answers = engine.answer_all(task.into(), texts)?;
    Ok(answers.map(|Ok(((), answer))| answer.map_err(CallError::from)).collect())
}

fn classification(answer: TextAnswer) -> Result<Classification, CallError> {
    let Answer::Labels(labels) = answer.answer else { unreachable!("it is a classification") };
    let mut probabilities = vec![0.0; labels.len()];
    for LabelScore { id, score, .. } in &labels {
        probabilities[*id] = *score;
    }
    let best = labels.into_iter().next().expect("a classifier has labels");
    let LabelScore { id, label, score } = best;
    Ok(Classification { class: saturate(id), label, confidence: score, probabilities })
}

fn vector(answer: TextAnswer) -> Vector {
    let Answer::Embedding(values) = answer.answer else { unreachable!("it is an embedding") };
    Vector { values, tokens: saturate(answer.tokens) }
}

/// Converts the ranges of entities, which follow one another, from characters to bytes.
fn in_bytes(text: &str, entities: Vec<bigbatch_engine::Entity>) -> Vec<Entity> {
    let mut places = text.char_indices().map(|(byte, _)| byte).enumerate();
    let mut byte_of = |character: usize| {
        let place = places.by_ref().find(|(index, _)| *index == character);
        place.map_or(text.len(), |(_, byte)| byte)
    };
    let convert = |entity: bigbatch_engine::Entity| {
        let start = byte_of(entity.span.start);
        let end = start + entity.text.len();
        let (start, end) = (saturate(start), saturate(end));
        Entity { label: entity.label, start, end, text: entity.text, confidence: entity.score }
    };
    entities.into_iter().map(convert).collect()
}

/// Converts a size for C. A text of more than 2 GiB is rejected long before.
pub fn saturate(size: usize) -> i32 {
    i32::try_from(size).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_entities_are_in_bytes() {
        let text = "\u{e9}\u{1f600} Ann, \u{4e2d} Bo";
        let entity = |span: std::ops::Range<usize>| bigbatch_engine::Entity {
            label: "NAME".into(),
            text: text.chars().skip(span.start).take(span.len()).collect(),
            span,
            score: 0.5,
        };
        let found = in_bytes(text, vec![entity(0..2), entity(3..6), entity(10..12)]);
        for entity in &found {
            assert_eq!(&text[entity.start as usize..entity.end as usize], entity.text);
        }
        assert_eq!(
            found.iter().map(|e| e.text.as_str()).collect::<Vec<_>>(),
            ["\u{e9}\u{1f600}", "Ann", "Bo"]
        );
    }
}
