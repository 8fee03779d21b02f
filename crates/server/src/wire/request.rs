//! The parts that requests to a model share: the dialect, the model, and the fields on inputs that are too long.
//!
//! The shared fields are declared once, by [`model_request!`], which writes them into each struct with their
//! documentation. `#[serde(flatten)]` would share them too, but it buffers the body, and errors would lose their
//! line and column. Answers and the fields of one dialect are in the dialect's file.

use bigbatch_engine::{Chunking, Merge, Overlong, Truncate};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use utoipa::ToSchema;

use crate::error::Refusal;

/// The dialect that an endpoint speaks. The route table names one per endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// text-embeddings-inference.
    Tei,
    /// OpenAI's embeddings.
    OpenAi,
    /// vLLM's pooling endpoints.
    Vllm,
    /// `huggingface_hub`'s `InferenceClient`.
    HubClient,
    /// Endpoints that no other server has.
    Native,
}

/// A request body that is answered by one model.
pub(crate) trait ModelRequest: DeserializeOwned + Send {
    /// Returns the model that the body names.
    fn model(&self) -> Option<&str> {
        None
    }

    /// Returns the dialect of the body, which is that of the path unless two dialects share the path.
    fn dialect(&self, of_path: Dialect) -> Result<Dialect, Refusal> {
        Ok(of_path)
    }

    /// Returns whether inputs may fail without failing the request.
    fn partial(&self) -> bool {
        false
    }

    /// Returns the fields on inputs that are too long.
    fn length(&self) -> LengthFields {
        LengthFields::default()
    }
}

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
    pub(crate) fn without_vllm_fields(self) -> LengthFields {
        LengthFields { truncate_prompt_tokens: None, ..self }
    }

    /// Drops text-embeddings-inference's field, from a body that two dialects share.
    pub(crate) fn without_tei_fields(self) -> LengthFields {
        LengthFields { truncation_direction: None, ..self }
    }

    /// Resolves the fields to the treatment of inputs that are too long. `auto_truncate` is the server's default, `max_tokens` the model's
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
                    "truncate_prompt_tokens is {tokens}; it must be -1 or {max_tokens}, the model's length"
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

/// Declares a request with fields of its own, and after `+` the shared ones that its dialect has: `model`,
/// `truncate`, `truncation_direction`, `truncate_prompt_tokens`, `chunk` and `partial`. With `dialect_by_body` the struct
/// has a method of that name, for a path that two dialects share.
macro_rules! model_request {
    (
        $(#[$attribute:meta])*
        pub(crate) struct $request:ident { $($own:tt)* } + $($shared:ident),+
    ) => {
        model_request!(@add [$($shared)+] [$(#[$attribute])* $request] {} [] { $($own)* });
    };
    (@add [model $($rest:ident)*] $head:tt { $($model:tt)* } $length:tt { $($fields:tt)* }) => {
        model_request!(@add [$($rest)*] $head { $($model)*
            fn model(&self) -> Option<&str> {
                self.model.as_deref()
            }
        } $length { $($fields)*
            /// Name of the model; the first one if absent. A model in the path wins.
            pub(crate) model: Option<String>,
        });
    };
    (@add [dialect_by_body $($rest:ident)*] $head:tt { $($model:tt)* } $length:tt $fields:tt) => {
        model_request!(@add [$($rest)*] $head { $($model)*
            fn dialect(
                &self,
                of_path: $crate::wire::request::Dialect,
            ) -> Result<$crate::wire::request::Dialect, $crate::error::Refusal> {
                self.dialect_by_body(of_path)
            }
        } $length $fields);
    };
    (@add [truncate $($rest:ident)*] $head:tt $model:tt [$($length:ident)*] { $($fields:tt)* }) => {
        model_request!(@add [$($rest)*] $head $model [$($length)* truncate] { $($fields)*
            /// Cuts inputs that are too long; the server's `--auto-truncate` if absent.
            pub(crate) truncate: Option<bool>,
        });
    };
    (@add [truncation_direction $($rest:ident)*] $head:tt $model:tt [$($length:ident)*] { $($fields:tt)* }) => {
        model_request!(@add [$($rest)*] $head $model [$($length)* truncation_direction] { $($fields)*
            /// The end that `truncate` cuts off; right if absent.
            pub(crate) truncation_direction: Option<$crate::wire::request::Direction>,
        });
    };
    (@add [truncate_prompt_tokens $($rest:ident)*] $head:tt $model:tt [$($length:ident)*] { $($fields:tt)* }) => {
        model_request!(@add [$($rest)*] $head $model [$($length)* truncate_prompt_tokens] { $($fields)*
            /// vLLM's name for `truncate`: -1 or the model's length.
            pub(crate) truncate_prompt_tokens: Option<i64>,
        });
    };
    (@add [chunk $($rest:ident)*] $head:tt $model:tt [$($length:ident)*] { $($fields:tt)* }) => {
        model_request!(@add [$($rest)*] $head $model [$($length)* chunk] { $($fields)*
            /// Reads inputs in windows and merges their answers. Rejected where answers cannot be merged:
            /// pairs, token ids, rows per token, masks.
            pub(crate) chunk: Option<$crate::wire::request::Chunk>,
        });
    };
    (@add [partial $($rest:ident)*] $head:tt { $($model:tt)* } $length:tt { $($fields:tt)* }) => {
        model_request!(@add [$($rest)*] $head { $($model)*
            fn partial(&self) -> bool {
                self.partial.unwrap_or(false)
            }
        } $length { $($fields)*
            /// Answers the inputs that can be answered, and reports why the others failed; false if absent, so that
            /// one failed input fails the request.
            pub(crate) partial: Option<bool>,
        });
    };
    (
        @add [] [$(#[$attribute:meta])* $request:ident] { $($model:tt)* } [$($length:ident)*]
        { $($fields:tt)* }
    ) => {
        $(#[$attribute])*
        #[derive(Debug, serde::Deserialize, utoipa::ToSchema)]
        pub(crate) struct $request { $($fields)* }

        impl $crate::wire::request::ModelRequest for $request {
            $($model)*

            fn length(&self) -> $crate::wire::request::LengthFields {
                let length = $crate::wire::request::LengthFields::default();
                $(let length = $crate::wire::request::LengthFields { $length: self.$length, ..length };)*
                length
            }
        }
    };
}
pub(crate) use model_request;
