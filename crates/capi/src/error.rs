//! Why a call from C fails.

use bigbatch_engine::{LoadError, RequestError};

/// The error of one call. Its message is the line on standard error, and where a struct has a place for it, the text
/// that C gets.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// A pointer that must not be null.
    #[error("the argument {argument} is a null pointer")]
    Null {
        /// The argument's name in the binding's declaration.
        argument: &'static str,
    },
    /// A text that is not UTF-8.
    #[error("the argument {argument} is not UTF-8")]
    NotUtf8 {
        /// The argument's name in the binding's declaration.
        argument: &'static str,
    },
    /// A number of elements that an array cannot have.
    #[error("the argument {argument} is {given}; it counts elements, and must not be negative")]
    Count {
        /// The argument's name in the binding's declaration.
        argument: &'static str,
        /// The value.
        given: i64,
    },
    /// A slot without a model.
    #[error(
        "no model is loaded as '{slot}'; call its init function first, and check that it succeeds"
    )]
    NotLoaded {
        /// The slot.
        slot: String,
    },
    /// A slot that holds another model.
    #[error(
        "'{slot}' holds {loaded} already, and a slot keeps its model; restart the process to load {given}"
    )]
    SlotTaken {
        /// The slot.
        slot: String,
        /// The path and device of the model in it.
        loaded: String,
        /// The path and device of the other one.
        given: String,
    },
    /// A kind of embedding model that cannot be loaded.
    #[error("embedding models of type '{given}' are not served; use 'mmbert'")]
    ModelType {
        /// `qwen3`, `gemma`, or anything else.
        given: String,
    },
    /// A layer that vectors cannot be taken from.
    #[error(
        "layer {given} is no exit of the model; use 0 for the whole model, or one of {layers:?}"
    )]
    Layer {
        /// The argument.
        given: i32,
        /// The exits of the model, the last of which is all of its layers.
        layers: Vec<usize>,
    },
    /// An environment variable that cannot be used.
    #[error("the environment variable {variable}: {reason}")]
    Setting {
        /// Its name.
        variable: &'static str,
        /// What is wrong with the value, and what is accepted.
        reason: String,
    },
    /// The model cannot be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The text cannot be answered.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// A defect of this library.
    #[error("a defect of bigbatch, please report it: {message}")]
    Panic {
        /// The message of the panic.
        message: String,
    },
}
