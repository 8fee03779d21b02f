//! The parts that requests to a model share: the dialect, the model, and the fields on inputs that are too long.
//!
//! The shared fields are declared once, by [`model_request!`], which writes them into each struct with their
//! documentation. `#[serde(flatten)]` would share them too, but it buffers the body, and errors would lose their
//! line and column, and unknown fields their names. Answers and the fields of one dialect are in the dialect's file.

use bigbatch_engine::{Chunking, Merge, Overlong, Priority, Truncate};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use utoipa::ToSchema;

use super::fields::{TimeoutMs, agreed, contradiction};
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
    /// Cohere's embeddings.
    Cohere,
    /// `huggingface_hub`'s `InferenceClient`.
    HubClient,
    /// Endpoints that no other server has.
    Native,
    /// The detector API of FMS guardrails.
    Fms,
    /// The model-runtime contract, on its own listener.
    Runtime,
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

    /// Returns the time limit that the body has.
    fn timeout(&self) -> Option<TimeoutMs> {
        None
    }

    /// Returns the priority that the body has.
    fn priority(&self) -> Option<Priority> {
        None
    }

    /// Returns the fields on how inputs are tokenized and cut.
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
    /// Tokens that a window shares with the one before it; none if absent.
    overlap: Option<usize>,
    /// How the windows' probabilities of a label become one; by their mean if absent.
    merge: Option<MergeName>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum MergeName {
    #[default]
    Mean,
    Max,
}

/// vLLM's `padding`: nothing is padded here, which `max_length` would ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Padding {
    DoNotPad,
}

/// The maximum number of tokens that are read of each query and of each document, without special ones.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct PairCuts {
    pub(crate) query: Option<usize>,
    pub(crate) document: Option<usize>,
}

/// The fields of one request on how its inputs are tokenized and cut. A dialect has some of them; the others are
/// `None`.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct LengthFields {
    pub(crate) truncate: Option<bool>,
    pub(crate) truncation_direction: Option<Direction>,
    pub(crate) truncate_prompt_tokens: Option<i64>,
    pub(crate) truncation_side: Option<Direction>,
    pub(crate) add_special_tokens: Option<bool>,
    pub(crate) chunk: Option<Chunk>,
}

impl LengthFields {
    /// Resolves the fields to the treatment of inputs that are too long. `auto_truncate` is the server's default,
    /// `max_tokens` the model's length.
    pub(crate) fn resolve(
        self,
        auto_truncate: bool,
        max_tokens: usize,
    ) -> Result<Overlong, Refusal> {
        let direction = agreed(&[
            ("truncation_direction", self.truncation_direction),
            ("truncation_side", self.truncation_side),
        ])?;
        let limit = self.limit(max_tokens)?;
        if limit.is_some() && self.truncate == Some(false) {
            return Err(contradiction("truncate_prompt_tokens", "truncate"));
        }
        if let Some(Chunk { size, overlap, merge }) = self.chunk {
            if limit.is_some() || self.truncate == Some(true) {
                return Err(Refusal::Invalid("give `truncate` or `chunk`, not both".into()));
            }
            if self.add_special_tokens == Some(false) {
                return Err(contradiction("chunk", "add_special_tokens"));
            }
            let merge = match merge.unwrap_or_default() {
                MergeName::Mean => Merge::Mean,
                MergeName::Max => Merge::Max,
            };
            let overlap = overlap.unwrap_or_default();
            return Ok(Overlong::Chunk(Chunking { size, overlap, merge }));
        }
        let truncate = limit.is_some() || self.truncate.unwrap_or(auto_truncate);
        Ok(Overlong::Truncate(match (truncate, direction.unwrap_or_default(), limit) {
            (false, ..) => Truncate::No,
            (true, Direction::Left, None) => Truncate::Left,
            (true, Direction::Left, Some(tokens)) => Truncate::LeftTo(tokens),
            (true, Direction::Right, None) => Truncate::Right,
            (true, Direction::Right, Some(tokens)) => Truncate::RightTo(tokens),
        }))
    }

    /// Returns the number of tokens that `truncate_prompt_tokens` keeps.
    fn limit(self, max_tokens: usize) -> Result<Option<usize>, Refusal> {
        match self.truncate_prompt_tokens {
            None => Ok(None),
            Some(-1) => Ok(Some(max_tokens)),
            Some(tokens) => match usize::try_from(tokens) {
                Ok(tokens) if (1..=max_tokens).contains(&tokens) => Ok(Some(tokens)),
                _ => Err(Refusal::Invalid(format!(
                    "truncate_prompt_tokens is {tokens}; it must be from 1 to {max_tokens}, the model's length, \
                     or -1 for that length"
                ))),
            },
        }
    }
}

/// Declares a request with fields of its own, and after `+` the shared ones that its dialect has: `model`,
/// `timeout_ms`, `priority`,
/// `truncate`, `truncation_direction`, `truncate_prompt_tokens` (with `truncation_side`), `add_special_tokens`,
/// `chunk` and `partial`; `activation` for vLLM's names of one flag, with a method of that name; `encoding` for the forms of
/// vectors; `scoring` for those of pairs, with the method `cuts`; `vllm` and `chat` for vLLM's fields that are known and not
/// computed. With `dialect_by_body` the struct has a method of that name, for a path that two dialects share.
///
/// Every optional field must be an `Option`: `crates/server/tests/wire/nulls.rs` sends `null` for each.
macro_rules! model_request {
    (
        $(#[$attribute:meta])*
        pub(crate) struct $request:ident { $($own:tt)* } + $($shared:ident),+
    ) => {
        model_request!(@add [$($shared)+] [$(#[$attribute])* $request] {} {} [] { $($own)* });
    };
    (@add [model $($rest:ident)*] $head:tt { $($model:tt)* } $methods:tt $length:tt { $($fields:tt)* }) => {
        model_request!(@add [$($rest)*] $head { $($model)*
            fn model(&self) -> Option<&str> {
                self.model.as_deref()
            }
        } $methods $length { $($fields)*
            /// Name of the model; the first one if absent. A model in the path wins.
            pub(crate) model: Option<String>,
        });
    };
    (@add [timeout_ms $($rest:ident)*] $head:tt { $($model:tt)* } $methods:tt $length:tt { $($fields:tt)* }) => {
        model_request!(@add [$($rest)*] $head { $($model)*
            fn timeout(&self) -> Option<$crate::wire::fields::TimeoutMs> {
                self.timeout_ms
            }
        } $methods $length { $($fields)*
            /// Milliseconds after which the answer is of no use, from 1 to 86400000. The shorter of this, the header
            /// `x-request-timeout-ms` and the server's `--request-timeout` counts.
            #[schema(value_type = Option<u64>, minimum = 1, maximum = 86_400_000)]
            pub(crate) timeout_ms: Option<$crate::wire::fields::TimeoutMs>,
        });
    };
    (@add [priority $($rest:ident)*] $head:tt { $($model:tt)* } $methods:tt $length:tt { $($fields:tt)* }) => {
        model_request!(@add [$($rest)*] $head { $($model)*
            fn priority(&self) -> Option<bigbatch_engine::Priority> {
                self.priority.map($crate::wire::fields::PriorityField::priority)
            }
        } $methods $length { $($fields)*
            /// `batch` gives way to other requests; `interactive` if absent. Also vLLM's and Cohere's integer: more than
            /// 0 is `batch`. The header `x-priority` may say `batch`, too.
            pub(crate) priority: Option<$crate::wire::fields::PriorityField>,
        });
    };
    (@add [dialect_by_body $($rest:ident)*] $head:tt { $($model:tt)* } $methods:tt $length:tt $fields:tt) => {
        model_request!(@add [$($rest)*] $head { $($model)*
            fn dialect(
                &self,
                of_path: $crate::wire::request::Dialect,
            ) -> Result<$crate::wire::request::Dialect, $crate::error::Refusal> {
                self.dialect_by_body(of_path)
            }
        } $methods $length $fields);
    };
    (@add [truncate $($rest:ident)*] $head:tt $model:tt $methods:tt [$($length:ident)*] { $($fields:tt)* }) => {
        model_request!(@add [$($rest)*] $head $model $methods [$($length)* truncate] { $($fields)*
            /// Cuts inputs that are too long; the server's `--auto-truncate` if absent.
            pub(crate) truncate: Option<bool>,
        });
    };
    (@add [truncation_direction $($rest:ident)*] $head:tt $model:tt $methods:tt [$($length:ident)*] { $($fields:tt)* }) => {
        model_request!(@add [$($rest)*] $head $model $methods [$($length)* truncation_direction] { $($fields)*
            /// The end that `truncate` cuts off; right if absent.
            pub(crate) truncation_direction: Option<$crate::wire::request::Direction>,
        });
    };
    (@add [truncate_prompt_tokens $($rest:ident)*] $head:tt $model:tt $methods:tt [$($length:ident)*] { $($fields:tt)* }) => {
        model_request!(@add [$($rest)*] $head $model $methods [$($length)* truncate_prompt_tokens truncation_side] { $($fields)*
            /// vLLM's: cuts inputs to so many tokens, special ones included; -1 for the model's length.
            pub(crate) truncate_prompt_tokens: Option<i64>,
            /// vLLM's name for `truncation_direction`.
            pub(crate) truncation_side: Option<$crate::wire::request::Direction>,
        });
    };
    (@add [add_special_tokens $($rest:ident)*] $head:tt $model:tt $methods:tt [$($length:ident)*] { $($fields:tt)* }) => {
        model_request!(@add [$($rest)*] $head $model $methods [$($length)* add_special_tokens] { $($fields)*
            /// Puts the special tokens around texts that the model expects; true if absent. Rejected for pairs and
            /// with `chunk`. Token ids are read as they are.
            pub(crate) add_special_tokens: Option<bool>,
        });
    };
    (@add [chunk $($rest:ident)*] $head:tt $model:tt $methods:tt [$($length:ident)*] { $($fields:tt)* }) => {
        model_request!(@add [$($rest)*] $head $model $methods [$($length)* chunk] { $($fields)*
            /// Reads inputs in windows and merges their answers. Rejected where answers cannot be merged:
            /// pairs, token ids, rows per token, masks.
            pub(crate) chunk: Option<$crate::wire::request::Chunk>,
        });
    };
    (@add [activation $($rest:ident)*] $head:tt $model:tt { $($methods:tt)* } $length:tt { $($fields:tt)* }) => {
        model_request!(@add [$($rest)*] $head $model { $($methods)*
            /// Returns the flag that has several names.
            pub(crate) fn activation(&self) -> Result<Option<bool>, $crate::error::Refusal> {
                $crate::wire::fields::agreed(&[
                    ("use_activation", self.use_activation),
                    ("activation", self.activation),
                    ("softmax", self.softmax),
                    ("normalize", self.normalize),
                ])
            }
        } $length { $($fields)*
            /// Scales vectors to unit length and scores to probabilities; true if absent.
            pub(crate) use_activation: Option<bool>,
            /// Another name for `use_activation`.
            pub(crate) activation: Option<bool>,
            /// Another name for `use_activation`.
            pub(crate) softmax: Option<bool>,
            /// Another name for `use_activation`.
            pub(crate) normalize: Option<bool>,
        });
    };
    (@add [encoding $($rest:ident)*] $head:tt $model:tt $methods:tt $length:tt { $($fields:tt)* }) => {
        model_request!(@add [$($rest)*] $head $model $methods $length { $($fields)*
            /// How vectors are written; as numbers if absent.
            pub(crate) encoding_format: Option<$crate::wire::shared::EncodingFormat>,
            /// The element type of base64.
            #[expect(dead_code, reason = "only what is computed is accepted")]
            pub(crate) embed_dtype: Option<$crate::wire::shared::EmbedDtype>,
            /// The byte order of base64, which is little.
            #[expect(dead_code, reason = "only what is computed is accepted")]
            pub(crate) endianness: Option<$crate::wire::shared::Endianness>,
        });
    };
    (@add [vllm $($rest:ident)*] $head:tt $model:tt $methods:tt $length:tt { $($fields:tt)* }) => {
        model_request!(@add [$($rest)*] $head $model $methods $length { $($fields)*
            /// No effect.
            #[expect(dead_code, reason = "it has no effect")]
            pub(crate) user: Option<$crate::wire::fields::NoEffect>,
            /// No effect; send the header `x-request-id`.
            #[expect(dead_code, reason = "it has no effect")]
            pub(crate) request_id: Option<$crate::wire::fields::NoEffect>,
            /// No effect: there is no cache of prefixes.
            #[expect(dead_code, reason = "it has no effect")]
            pub(crate) cache_salt: Option<$crate::wire::fields::NoEffect>,
            /// Nothing is padded.
            #[expect(dead_code, reason = "only what is computed is accepted")]
            pub(crate) padding: Option<$crate::wire::request::Padding>,
            /// Not supported: models read text only.
            #[expect(dead_code, reason = "any value that matters is refused")]
            pub(crate) mm_processor_kwargs: Option<$crate::wire::fields::NotSupported>,
        });
    };
    (@add [scoring $($rest:ident)*] $head:tt $model:tt { $($methods:tt)* } $length:tt { $($fields:tt)* }) => {
        model_request!(@add [$($rest)*] $head $model { $($methods)*
            /// Returns how many tokens of each text are read.
            pub(crate) fn cuts(&self) -> $crate::wire::request::PairCuts {
                let limit = |tokens: Option<usize>| tokens.filter(|&tokens| tokens > 0);
                $crate::wire::request::PairCuts {
                    query: limit(self.max_tokens_per_query),
                    document: limit(self.max_tokens_per_doc),
                }
            }
        } $length { $($fields)*
            /// Not supported.
            #[expect(dead_code, reason = "any value that matters is refused")]
            pub(crate) instruction: Option<$crate::wire::fields::NotSupported>,
            /// Not supported.
            #[expect(dead_code, reason = "any value that matters is refused")]
            pub(crate) chat_template_kwargs: Option<$crate::wire::fields::NotSupported>,
            /// vLLM's: reads the first so many tokens of each query; all if absent or 0.
            pub(crate) max_tokens_per_query: Option<usize>,
            /// vLLM's and Cohere's: reads the first so many tokens of each document; all if absent or 0.
            pub(crate) max_tokens_per_doc: Option<usize>,
        });
    };
    (@add [chat $($rest:ident)*] $head:tt $model:tt $methods:tt $length:tt { $($fields:tt)* }) => {
        model_request!(@add [$($rest)*] $head $model $methods $length { $($fields)*
            /// Not supported: send `input`.
            #[expect(dead_code, reason = "any value that matters is refused")]
            pub(crate) messages: Option<$crate::wire::fields::NotSupported>,
            /// Not supported.
            #[expect(dead_code, reason = "any value that matters is refused")]
            pub(crate) chat_template: Option<$crate::wire::fields::NotSupported>,
            /// Not supported.
            #[expect(dead_code, reason = "any value that matters is refused")]
            pub(crate) chat_template_kwargs: Option<$crate::wire::fields::NotSupported>,
            /// Not supported.
            #[expect(dead_code, reason = "any value that matters is refused")]
            pub(crate) add_generation_prompt: Option<$crate::wire::fields::NotSupported>,
            /// Not supported.
            #[expect(dead_code, reason = "any value that matters is refused")]
            pub(crate) continue_final_message: Option<$crate::wire::fields::NotSupported>,
            /// Not supported.
            #[expect(dead_code, reason = "any value that matters is refused")]
            pub(crate) media_io_kwargs: Option<$crate::wire::fields::NotSupported>,
        });
    };
    (@add [partial $($rest:ident)*] $head:tt { $($model:tt)* } $methods:tt $length:tt { $($fields:tt)* }) => {
        model_request!(@add [$($rest)*] $head { $($model)*
            fn partial(&self) -> bool {
                self.partial.unwrap_or(false)
            }
        } $methods $length { $($fields)*
            /// Answers the inputs that can be answered, and reports why the others failed; false if absent, so that
            /// one failed input fails the request.
            pub(crate) partial: Option<bool>,
        });
    };
    (
        @add [] [$(#[$attribute:meta])* $request:ident] { $($model:tt)* } { $($methods:tt)* }
        [$($length:ident)*] { $($fields:tt)* }
    ) => {
        $(#[$attribute])*
        #[derive(Debug, serde::Deserialize, utoipa::ToSchema)]
        pub(crate) struct $request { $($fields)* }

        impl $request { $($methods)* }

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
