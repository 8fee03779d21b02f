//! `inputs`: a text, several, token ids, several lists of them.

use bigbatch_engine::tokenize::Input;
use serde::Deserialize;

/// What the embedding endpoints take.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(
    untagged,
    expecting = "expected a string, an array of strings, an array of token ids or an array of such arrays"
)]
pub(crate) enum Inputs {
    /// One text.
    Text(String),
    /// Several, ids among them.
    Many(Vec<TextOrIds>),
}

/// An element of an array.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged)]
pub(crate) enum TextOrIds {
    Id(u32),
    Text(String),
    Ids(Vec<u32>),
}

impl Inputs {
    /// Whether it is one input and not an array of them: some answers are then not nested.
    pub(crate) fn is_single(&self) -> bool {
        match self {
            Inputs::Text(_) => true,
            Inputs::Many(items) => matches!(items.first(), Some(TextOrIds::Id(_))),
        }
    }

    /// The engine's inputs, and the characters of all texts. `Err` where ids and texts are mixed.
    pub(crate) fn into_engine(self) -> Result<(Vec<Input>, usize), String> {
        let mixed = || "an array mixes token ids with texts or arrays".to_owned();
        let items = match self {
            Inputs::Text(text) => {
                let characters = text.chars().count();
                return Ok((vec![Input::Text(text)], characters));
            }
            Inputs::Many(items) => items,
        };
        if matches!(items.first(), Some(TextOrIds::Id(_))) {
            let id = |item| if let TextOrIds::Id(id) = item { Ok(id) } else { Err(mixed()) };
            let ids = items.into_iter().map(id).collect::<Result<Vec<u32>, _>>()?;
            return Ok((vec![Input::Ids(ids)], 0));
        }
        let mut characters = 0;
        let input = |item| match item {
            TextOrIds::Text(text) => {
                characters += text.chars().count();
                Ok(Input::Text(text))
            }
            TextOrIds::Ids(ids) => Ok(Input::Ids(ids)),
            TextOrIds::Id(_) => Err(mixed()),
        };
        let inputs = items.into_iter().map(input).collect::<Result<Vec<Input>, _>>()?;
        Ok((inputs, characters))
    }
}
