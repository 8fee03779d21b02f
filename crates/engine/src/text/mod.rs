//! Text to tokens with character spans, and tokens back to stretches of text.
//!
//! [`tokenize`] reads one text, [`chunk`] reads a text longer than the model in windows and merges their answers,
//! [`entities`] joins labelled tokens. Nothing here runs a model: [`crate::task`] reads its
//! output, [`crate::engine`] calls both.

pub(crate) mod characters;
pub(crate) mod chunk;
pub(crate) mod entities;
pub(crate) mod tokenize;
