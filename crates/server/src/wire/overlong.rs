//! What a request says of inputs that are too long: refuse (the default), cut, or read in windows.

use bigbatch_engine::chunk::{Chunking, Merge, Overlong};
use bigbatch_engine::tokenize::Truncate;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::error::Refusal;

/// The end that is cut off.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Direction {
    #[serde(alias = "Left")]
    Left,
    #[default]
    #[serde(alias = "Right")]
    Right,
}

/// `chunk`: a text is read in windows, and their answers are made into one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Chunk {
    /// Tokens of a window, special ones included; as many as the model takes where it is left out.
    size: Option<usize>,
    /// Tokens that a window shares with the one before.
    #[serde(default)]
    overlap: usize,
    /// What becomes of a label's probabilities in several windows.
    #[serde(default)]
    merge: MergeName,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum MergeName {
    #[default]
    Mean,
    Max,
}

/// What a request's three fields mean; `auto` is the server's `--auto-truncate`.
pub(crate) fn overlong(
    truncate: Option<bool>,
    direction: Option<Direction>,
    chunk: Option<Chunk>,
    auto: bool,
) -> Result<Overlong, Refusal> {
    match (truncate, chunk) {
        (Some(true), Some(_)) => {
            Err(Refusal::Invalid("give `truncate` or `chunk`, not both".into()))
        }
        (_, Some(Chunk { size, overlap, merge })) => {
            let merge = match merge {
                MergeName::Mean => Merge::Mean,
                MergeName::Max => Merge::Max,
            };
            Ok(Overlong::Chunk(Chunking { size, overlap, merge }))
        }
        (truncate, None) => Ok(Overlong::Truncate(match direction.unwrap_or_default() {
            _ if !truncate.unwrap_or(auto) => Truncate::No,
            Direction::Left => Truncate::Left,
            Direction::Right => Truncate::Right,
        })),
    }
}
