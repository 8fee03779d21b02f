//! `libonnx_semantic_router.so`: the C symbols that the Go package `onnx-binding` of vllm-project/semantic-router
//! calls, answered by bigbatch. Mounted in place of the file of that name, it serves a released router unchanged.
//!
//! `../capi/symbols/onnx.txt` has the names of every release. Classifiers, token classifiers and the embedder are
//! served. Every other function is here, fails in the form of its type, and says so once on standard error. `docs/router.md`
//! lists them; what they compute is in `bigbatch-capi`.
//!
//! | module | what |
//! |---|---|
//! | `classifiers.rs` | classes of texts, and entities, by models that the caller names |
//! | `embeddings.rs` | vectors and similarities |
//! | `unserved.rs` | everything else |

mod classifiers;
mod embeddings;
mod unserved;
