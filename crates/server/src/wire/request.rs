//! The fields that requests to a model share, declared once.
//!
//! `#[serde(flatten)]` would share them too, but it buffers the body, and errors would lose their line and
//! column. So [`model_request!`] writes the fields into each struct, with their documentation.

use serde::de::DeserializeOwned;

use super::dialect::Dialect;
use super::overlong::LengthFields;
use crate::error::Refusal;

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

    /// Returns the fields on inputs that are too long.
    fn length(&self) -> LengthFields {
        LengthFields::default()
    }
}

/// Declares a request with fields of its own, and after `+` the shared ones that its dialect has: `model`,
/// `truncate`, `truncation_direction`, `truncate_prompt_tokens` and `chunk`. With `dialect_by_body` the struct
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
                of_path: $crate::wire::dialect::Dialect,
            ) -> Result<$crate::wire::dialect::Dialect, $crate::error::Refusal> {
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
            pub(crate) truncation_direction: Option<$crate::wire::overlong::Direction>,
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
            pub(crate) chunk: Option<$crate::wire::overlong::Chunk>,
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

            fn length(&self) -> $crate::wire::overlong::LengthFields {
                let length = $crate::wire::overlong::LengthFields::default();
                $(let length = $crate::wire::overlong::LengthFields { $length: self.$length, ..length };)*
                length
            }
        }
    };
}
pub(crate) use model_request;
