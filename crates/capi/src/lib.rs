//! The engine behind the C symbols of the semantic router's two bindings.
//!
//! vllm-project/semantic-router called its models through two native libraries, candle-binding and onnx-binding, until
//! it moved to HTTP. Seven functions have one name and two signatures there, so the symbols of the two cannot be in one
//! library: `crates/capi-candle` and `crates/capi-onnx` build one each, and both are thin over this crate. It exports
//! no symbol itself.
//!
//! | module | what |
//! |---|---|
//! | `border.rs` | what crosses the border to C: texts, places for results, owned memory. All `unsafe` of the libraries |
//! | `call.rs` | one call from C: panics and errors become the value that C takes for a failure |
//! | `error.rs`, `report.rs` | why a call fails; the lines on standard error |
//! | `slots.rs`, `settings.rs` | the models that are loaded, by the name that a symbol stands for; their options |
//! | `answers.rs` | what is computed: classes, entities, vectors |
//! | `vectors.rs` | the functions on vectors that both libraries have, and their structs |

mod answers;
mod border;
mod call;
mod error;
mod report;
mod settings;
mod slots;
mod vectors;

pub use answers::{
    Classification, Entity, Vector, classify, classify_all, embed_all, entities, saturate,
};
pub use border::{COutput, COutputs, CText, CTexts, OwnedArray, OwnedText, count};
pub use call::{guarded, unserved};
pub use error::CallError;
pub use slots::{Head, Loaded};
pub use slots::{is_loaded, load, loaded};
pub use vectors::{
    Candidates, EMBEDDER, Embedding, Match, Matches, Similarity, VectorOptions, exceeds_window,
    free_matches, milliseconds, put_embedding, put_embeddings, put_matches, put_similarity,
};
