//! Text to tokens with character spans, and tokens back to stretches of text.
//!
//! [`tokenize`] reads one text, [`chunk`] cuts a text longer than the model into windows, [`entities`] joins
//! labelled tokens. Nothing here runs a model: [`crate::task`] reads its output and merges the answers to
//! windows, and [`crate::engine`] calls both.

pub(crate) mod characters;
pub(crate) mod chunk;
pub(crate) mod entities;
pub(crate) mod tokenize;
