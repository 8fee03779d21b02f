//! The parts of a result that all surfaces share: how much of an input was read, or why it has no answer.

use bigbatch_engine::RequestError;
use serde::Serialize;

/// Why one input has no answer. It fails none of its neighbours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ItemError {
    /// The input is of a form that the head does not read, empty, or not to be tokenized.
    InvalidInput,
    /// It has more tokens than `max_tokens`.
    MaxLengthExceeded,
    /// It is read in windows, and has more tokens than `max_tokens`.
    ScanBudgetExceeded,
    /// The model's numbers overflowed.
    InvalidModelOutput,
    /// The deadline passed before it was answered, or was predicted to.
    DeadlineExceeded,
}

impl ItemError {
    /// Returns the error of an item whose input or answer is at fault; `None` for an error that is none of its own.
    pub(super) fn of(error: &RequestError) -> Option<ItemError> {
        match error {
            RequestError::Empty | RequestError::Invalid(_) => Some(ItemError::InvalidInput),
            RequestError::TooLong { .. } => Some(ItemError::MaxLengthExceeded),
            RequestError::NotFinite => Some(ItemError::InvalidModelOutput),
            RequestError::DeadlinePassed => Some(ItemError::DeadlineExceeded),
            _ => None,
        }
    }
}

/// How much of an input was read: the field `input` of a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) struct InputUsage {
    /// Tokens of the whole input, special ones included.
    pub(super) tokens: usize,
    /// Tokens that the model read; in windows each token of the text counts once.
    pub(super) processed_tokens: usize,
    pub(super) truncated: bool,
    /// Whether `tokens` is a lower bound. It never is here: an input that is not counted to its end has no answer.
    pub(super) tokens_lower_bound: bool,
    pub(super) windows: usize,
}

impl InputUsage {
    /// Returns the usage of an input that was read whole.
    pub(super) fn whole(tokens: usize) -> InputUsage {
        InputUsage {
            tokens,
            processed_tokens: tokens,
            truncated: false,
            tokens_lower_bound: false,
            windows: 1,
        }
    }
}

/// A result, or the error in its place.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Item<T> {
    Done(T),
    Failed {
        #[serde(skip_serializing_if = "Option::is_none")]
        object: Option<&'static str>,
        index: usize,
        error: ItemError,
    },
}

impl<T> Item<T> {
    pub(super) fn failed(index: usize, error: ItemError) -> Item<T> {
        Item::Failed { object: None, index, error }
    }
}
