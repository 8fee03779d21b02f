//! The inputs of a request: texts, pairs of texts or lists of token ids, as each endpoint takes them.

use std::fmt;

use bigbatch_engine::Input;
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use utoipa::ToSchema;

use super::partial::{Items, in_place};
use crate::error::FailedInput;

/// The inputs of the embedding endpoints.
#[derive(Debug, Clone, PartialEq, Deserialize, ToSchema)]
#[serde(
    untagged,
    expecting = "expected a string, an array of strings, an array of token ids or an array of such arrays"
)]
pub(crate) enum Inputs {
    /// One text.
    Text(String),
    /// Several texts, one list of token ids, or several such lists.
    Many(Vec<TextOrIds>),
}

/// An element of an array: a text, a list of token ids, or one id of a single list.
#[derive(Debug, Clone, PartialEq, Deserialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum TextOrIds {
    Id(u32),
    Text(String),
    Ids(Vec<u32>),
}

/// The inputs for the engine, the number of characters of all texts, and whether the request held a single
/// input instead of an array.
#[derive(Debug, Default)]
pub(crate) struct InputBatch {
    pub(crate) inputs: Vec<Input>,
    pub(crate) characters: usize,
    pub(crate) single: bool,
}

/// Unwraps the list if the request held a single input; else puts the errors of `failed` inputs in place.
pub(crate) fn one_or_many<T, Out>(
    mut answers: Vec<T>,
    failed: &[FailedInput],
    single: bool,
    one: fn(T) -> Out,
    many: fn(Items<T>) -> Out,
) -> Out {
    match answers.pop() {
        Some(answer) if single && answers.is_empty() => one(answer),
        last => {
            answers.extend(last);
            many(in_place(answers, failed))
        }
    }
}

impl Inputs {
    /// Iterates over the inputs that are texts.
    pub(crate) fn texts(&self) -> impl Iterator<Item = &str> {
        let (one, many) = match self {
            Inputs::Text(text) => (Some(text.as_str()), &[][..]),
            Inputs::Many(items) => (None, items.as_slice()),
        };
        one.into_iter().chain(many.iter().filter_map(|item| match item {
            TextOrIds::Text(text) => Some(text.as_str()),
            _ => None,
        }))
    }

    /// Converts to the inputs of a task that reads texts only.
    ///
    /// # Errors
    /// Token ids; `reader` begins the sentence that says so.
    pub(crate) fn into_texts(self, reader: &str) -> Result<Texts, String> {
        let text = |item| match item {
            TextOrIds::Text(text) => Ok(text),
            _ => Err(format!("{reader} texts, not token ids; send texts")),
        };
        match self {
            Inputs::Text(text) => Ok(Texts::One(text)),
            Inputs::Many(items) => {
                items.into_iter().map(text).collect::<Result<_, _>>().map(Texts::Many)
            }
        }
    }

    /// Converts to inputs for the engine, with a prompt before every text.
    ///
    /// # Errors
    /// Ids mixed with texts, or a prompt with ids.
    pub(crate) fn into_batch(self, prompt: Option<&str>) -> Result<InputBatch, String> {
        let mixed = || {
            "an array mixes token ids with texts or arrays; send them in separate requests"
                .to_owned()
        };
        let mut characters = 0;
        let mut text = |text: String| {
            characters += text.chars().count();
            Input::prompted(prompt, text)
        };
        let ids = |ids: Vec<u32>| match prompt {
            Some(_) => Err("a prompt cannot be put before token ids; send texts".to_owned()),
            None => Ok(Input::Ids(ids)),
        };
        let (inputs, single) = match self {
            Inputs::Text(one) => (vec![text(one)], true),
            Inputs::Many(items) if matches!(items.first(), Some(TextOrIds::Id(_))) => {
                let id = |item| if let TextOrIds::Id(id) = item { Ok(id) } else { Err(mixed()) };
                (vec![ids(items.into_iter().map(id).collect::<Result<_, _>>()?)?], true)
            }
            Inputs::Many(items) => {
                let input = |item| match item {
                    TextOrIds::Text(one) => Ok(text(one)),
                    TextOrIds::Ids(list) => ids(list),
                    TextOrIds::Id(_) => Err(mixed()),
                };
                (items.into_iter().map(input).collect::<Result<_, _>>()?, false)
            }
        };
        Ok(InputBatch { inputs, characters, single })
    }
}

/// One text or several.
#[derive(Debug, Clone, PartialEq, Deserialize, ToSchema)]
#[serde(untagged, expecting = "expected a string or an array of strings")]
pub(crate) enum Texts {
    One(String),
    Many(Vec<String>),
}

impl Texts {
    /// Returns the texts, and whether the request held a single one.
    pub(crate) fn into_vec(self) -> (Vec<String>, bool) {
        match self {
            Texts::One(text) => (vec![text], true),
            Texts::Many(texts) => (texts, false),
        }
    }

    /// Converts to inputs for the engine.
    pub(crate) fn into_batch(self) -> InputBatch {
        let (texts, single) = self.into_vec();
        let characters = texts.iter().map(|text| text.chars().count()).sum();
        InputBatch { inputs: texts.into_iter().map(Input::Text).collect(), characters, single }
    }
}

/// The inputs of `/predict`: a text, a pair, or a batch of either.
#[derive(Debug, Clone, PartialEq, Deserialize, ToSchema)]
#[serde(
    untagged,
    expecting = "expected a string, a pair of strings, or an array of arrays of one or two strings"
)]
pub(crate) enum PredictInputs {
    /// One text.
    Text(String),
    /// One text or one pair.
    Pair(Vec<String>),
    /// A batch of texts and pairs.
    Batch(Vec<Vec<String>>),
}

impl PredictInputs {
    /// Converts to inputs for the engine.
    ///
    /// # Errors
    /// An array that holds neither one string nor two.
    pub(crate) fn into_batch(self) -> Result<InputBatch, String> {
        let mut characters = 0;
        let mut sequence = |mut strings: Vec<String>| {
            characters += strings.iter().map(|text| text.chars().count()).sum::<usize>();
            match (strings.pop(), strings.pop(), strings.len()) {
                (Some(second), Some(first), 0) => Ok(Input::Pair(first.into(), second)),
                (Some(text), None, _) => Ok(Input::Text(text)),
                _ => Err(
                    "an array of strings is one text or a pair; a batch is an array of such arrays"
                        .to_owned(),
                ),
            }
        };
        let (inputs, single) = match self {
            PredictInputs::Text(text) => (vec![sequence(vec![text])?], true),
            PredictInputs::Pair(strings) if strings.is_empty() => (Vec::new(), true),
            PredictInputs::Pair(strings) => (vec![sequence(strings)?], true),
            PredictInputs::Batch(batch) => {
                (batch.into_iter().map(sequence).collect::<Result<_, _>>()?, false)
            }
        };
        Ok(InputBatch { inputs, characters, single })
    }
}

/// A document of `/rerank`: a text, or an object that has one.
#[derive(Debug, Clone, ToSchema)]
#[serde(untagged)]
pub(crate) enum Document {
    Plain(String),
    Object(TextDocument),
}

/// A document as an object. Its other fields are unknown.
#[derive(Debug, Clone, Deserialize, ToSchema)]
pub(crate) struct TextDocument {
    text: String,
}

impl Document {
    pub(crate) fn into_text(self) -> String {
        match self {
            Document::Plain(text) | Document::Object(TextDocument { text }) => text,
        }
    }
}

/// Not serde's `untagged`, which buffers objects: their unknown fields and the paths in their errors would be lost.
impl<'de> Deserialize<'de> for Document {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Document, D::Error> {
        struct DocumentVisitor;

        impl<'de> Visitor<'de> for DocumentVisitor {
            type Value = Document;

            fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
                to.write_str("a string or an object with a text")
            }

            fn visit_str<E>(self, text: &str) -> Result<Document, E> {
                Ok(Document::Plain(text.into()))
            }

            fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<Document, A::Error> {
                TextDocument::deserialize(MapAccessDeserializer::new(fields)).map(Document::Object)
            }
        }

        from.deserialize_any(DocumentVisitor)
    }
}

/// The inputs of `/tag`: a text, or an array of texts and pairs.
#[derive(Debug, Clone, PartialEq, Deserialize, ToSchema)]
#[serde(
    untagged,
    expecting = "expected a string or an array of strings and of pairs of strings, the context before the text"
)]
pub(crate) enum TagInputs {
    /// One text.
    One(String),
    /// Several texts, each alone or after its context.
    Many(Vec<TextOrPair>),
}

/// A text, or a context and the text that is read after it.
#[derive(Debug, Clone, PartialEq, Deserialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum TextOrPair {
    Text(String),
    /// Labels and offsets are those of the second text.
    Pair([String; 2]),
}

impl TagInputs {
    /// Converts to inputs for the engine.
    pub(crate) fn into_batch(self) -> InputBatch {
        let (items, single) = match self {
            TagInputs::One(text) => (vec![TextOrPair::Text(text)], true),
            TagInputs::Many(items) => (items, false),
        };
        let mut characters = 0;
        let mut count = |text: &str| characters += text.chars().count();
        let mut input = |item| match item {
            TextOrPair::Text(text) => {
                count(&text);
                Input::Text(text)
            }
            TextOrPair::Pair([context, text]) => {
                count(&context);
                count(&text);
                Input::InContext { context: context.into(), text }
            }
        };
        let inputs = items.into_iter().map(&mut input).collect();
        InputBatch { inputs, characters, single }
    }
}

/// A sentence, and the sentences to compare it with.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct SimilarityInput {
    pub(crate) source_sentence: String,
    pub(crate) sentences: Vec<String>,
}
