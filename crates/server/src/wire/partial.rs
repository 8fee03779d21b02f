//! The answer to a request with `partial`, some of whose inputs failed: two shapes, for all dialects.
//!
//! An answer that is an array by position has text-embeddings-inference's error in place of a failed input's item. An
//! answer that is an object, whose items have an index, lists the failed inputs beside them in `errors`. So a client
//! that doesn't know of either still reads the items of the others.

use serde::Serialize;
use utoipa::ToSchema;

use super::openai::{self, OpenAiError};
use super::tei::TeiError;
use crate::error::FailedInput;

/// An item of an array by position.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum Item<T> {
    Done(T),
    /// The input failed.
    Failed(TeiError),
}

/// An array by position.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Items<T>(pub(crate) Vec<Item<T>>);

/// Puts the error of each failed input between the items of the others, which are in the order of their inputs.
pub(crate) fn in_place<T>(items: Vec<T>, failed: &[FailedInput]) -> Items<T> {
    let mut all: Vec<Item<T>> = items.into_iter().map(Item::Done).collect();
    // In the order of the inputs, so each finds those before it in place.
    for FailedInput { index, refusal } in failed {
        all.insert(*index, Item::Failed(TeiError::from(refusal)));
    }
    Items(all)
}

/// A failed input.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct InputError {
    /// Index in the request.
    pub(crate) index: usize,
    pub(crate) error: OpenAiError,
}

/// Returns the value of `errors`.
pub(crate) fn listed(failed: &[FailedInput]) -> Vec<InputError> {
    let error = |failed: &FailedInput| InputError {
        index: failed.index,
        error: openai::error(&failed.refusal),
    };
    failed.iter().map(error).collect()
}
