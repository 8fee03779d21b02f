//! Text to tokens with character spans, and tokens back to stretches of text.
//!
//! [`encode`] reads one [`input`] by way of [`tokenize`], long ones in [`pieces`], and puts [`special_tokens`] around it.
//! The tokens are [`bpe`]'s or the library's. [`chunk`] cuts a text longer than the model into windows, [`entities`] joins labelled tokens by the model's [`tag_scheme`], [`aggregate`] as `transformers`
//! does. Nothing here runs a model: [`crate::task`] reads its output and merges the answers to windows, and
//! [`crate::engine`] calls both.

pub(crate) mod aggregate;
mod bpe;
pub(crate) mod characters;
pub(crate) mod chunk;
mod encode;
mod encoded;
pub(crate) mod entities;
pub(crate) mod grounded;
pub(crate) mod input;
pub(crate) mod pieces;
mod special_tokens;
pub(crate) mod tag_scheme;
pub(crate) mod tokenize;
