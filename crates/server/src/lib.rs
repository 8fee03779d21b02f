//! HTTP around the engine: what clients of text-embeddings-inference, OpenAI's embeddings and vLLM's pooling
//! already send, answered as they expect.
//!
//! A request reads in one direction:
//!
//! ```text
//! bytes -> [json] -> [wire] types -> [models]: which engine -> [run]: submit, await -> [wire] types -> bytes
//! ```
//!
//! - [`models`]: the models of this process, by name, each with its engine; one memory budget over all.
//! - `wire`: what goes over the wire, one file a dialect. Types here live nowhere else.
//! - `routes`: one file an endpoint or a family of them; thin.
//! - `run`: from inputs to answers, all or nothing.
//! - `tokenizing`: reading texts apart from their engines, on a bounded pool.
//! - [`openapi`]: all of it as a document.
//! - [`error`]: every refusal, and how each dialect spells it.
//! - [`options`]: every limit, with its default.
//! - `layers`, `intake`: what every request passes before its route.
//! - [`serve`]: connections, TLS, an orderly end; [`life`]: loading, ready, draining; [`keys`]: who may ask.
//! - [`startup`]: several models under one memory budget.
//! - [`observe`]: every counter; `/metrics` and the live page read it.
//! - `pages`: the live page, the playground, the viewer of the API's description.
//!
//! What it is not: it does not tokenize, batch or compute, it keeps no state between requests, and it never
//! logs what a request contains.

mod app;
pub mod error;
mod jobs;
pub mod keys;
pub mod lifecycle;
mod middleware;
pub mod models;
pub mod observe;
pub mod openapi;
pub mod options;
mod pages;
mod router;
mod routes;
pub mod serve;
pub mod startup;
mod tokenizer_pool;
mod wire;

pub use app::App;
pub use keys::Keys;
pub use lifecycle::{Lifecycle, Phase};
pub use models::{Models, ServedModel};
pub use observe::Counters;
pub use options::{Options, Origin, Transport};
pub use router::{endpoints, router};
pub use wire::Dialect;
