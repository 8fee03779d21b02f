//! `libcandle_semantic_router.so`: the C symbols that the Go package `candle-binding` of vllm-project/semantic-router
//! calls, answered by bigbatch. Mounted in place of the file of that name, it serves a released router unchanged.
//!
//! `../capi/symbols/candle.txt` has the names of every release. Served are the classifiers, token classifiers and
//! embedders of the ModernBERT family. Every other function is here, fails in the form of its type, and says so once on
//! standard error. `docs/router.md` lists them; what they compute is in `bigbatch-capi`.
//!
//! | module | what |
//! |---|---|
//! | `classifiers.rs` | classes of texts |
//! | `tokens.rs` | entities |
//! | `embeddings.rs` | vectors and similarities |
//! | `unserved.rs`, `failures.rs` | everything else, and what it returns |

mod classifiers;
mod embeddings;
mod failures;
mod tokens;
mod unserved;

use bigbatch_capi::{CText, Head, guarded, load};

/// Loads a model into a slot; true if it is there.
fn init(symbol: &'static str, slot: &str, head: Head, path: CText<'_>, use_cpu: bool) -> bool {
    let body = || load(slot, head, path.read("model_id")?, use_cpu).map(|()| true);
    guarded(symbol, body, |_| false)
}
