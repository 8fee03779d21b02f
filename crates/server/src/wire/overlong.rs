//! What a request asks for inputs that are too long: an error (the default), a cut, or windows.

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

/// `chunk`: a text is read in windows, and their answers are merged into one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Chunk {
    /// Tokens per window, special ones included; as many as the model takes if absent.
    size: Option<usize>,
    /// Tokens that a window shares with the one before it.
    #[serde(default)]
    overlap: usize,
    /// How the windows' probabilities of a label become one.
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

/// The fields of one request on inputs that are too long. A dialect has some of them; the others are `None`.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct LengthFields {
    pub(crate) truncate: Option<bool>,
    pub(crate) truncation_direction: Option<Direction>,
    pub(crate) truncate_prompt_tokens: Option<i64>,
    pub(crate) chunk: Option<Chunk>,
}

impl LengthFields {
    /// Drops vLLM's field, from a body that two dialects share.
    pub(crate) fn of_tei(self) -> LengthFields {
        LengthFields { truncate_prompt_tokens: None, ..self }
    }

    /// Drops text-embeddings-inference's field, from a body that two dialects share.
    pub(crate) fn of_vllm(self) -> LengthFields {
        LengthFields { truncation_direction: None, ..self }
    }

    /// Returns what the fields ask for. `auto_truncate` is the server's default, `max_tokens` the model's
    /// length.
    pub(crate) fn resolve(
        self,
        auto_truncate: bool,
        max_tokens: usize,
    ) -> Result<Overlong, Refusal> {
        let truncate = match self.truncate_prompt_tokens {
            None => self.truncate,
            Some(-1) => Some(true),
            Some(tokens) if usize::try_from(tokens) == Ok(max_tokens) => Some(true),
            Some(tokens) => {
                return Err(Refusal::Invalid(format!(
                    "truncate_prompt_tokens is {tokens}; it may be -1 or {max_tokens}, the model's length"
                )));
            }
        };
        match (truncate, self.chunk) {
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
            (truncate, None) => Ok(Overlong::Truncate(match self.truncation_direction {
                _ if !truncate.unwrap_or(auto_truncate) => Truncate::No,
                Some(Direction::Left) => Truncate::Left,
                Some(Direction::Right) | None => Truncate::Right,
            })),
        }
    }
}
