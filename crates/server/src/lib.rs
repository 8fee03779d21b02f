//! HTTP around the engine: what clients of text-embeddings-inference, OpenAI's embeddings, vLLM's pooling models
//! and `huggingface_hub` already send, answered as they expect.
//!
//! A request passes these, top to bottom; each imports only from those below it:
//!
//! - [`serve`]: the listener, connections, TLS, the shutdown.
//! - [`router()`]: the route table, the OpenAPI document and the pages, behind the middleware.
//! - `middleware`: counting, CORS, API keys, the body within its limits, the deadline of the answer.
//! - [`openapi`]: the document of all endpoints, with `examples` for the models of this server.
//! - `routes`: the table, and the handlers, one file per family. The table names the dialect of each endpoint.
//! - `pages`: what runs here, the dashboard, the playground and the API's documentation.
//! - `jobs`: from inputs to outputs: checks, windows, submission to the engine.
//! - [`App`]: the state that all of these share.
//! - [`observe`]: the counters, their last hour, and `/metrics`.
//! - `tokenizer_pool`: tokenizing outside the engines, for windows, `/v1/analyze`, `/tokenize`, `/decode` and `/detokenize`.
//! - [`models`]: the models by name, each with its engine; [`startup`] starts them under one memory budget.
//! - `footprint`, [`memory`], `free_memory`: what a request could hold in the host's memory, the budget that it is
//!   charged to, and freed memory given back.
//! - `answer`, `offload`: JSON in pieces; work on large data beside the async threads.
//! - `admission`, `shares`: which requests are accepted, and how many of their inputs are in flight; slots per client.
//! - `terms`: when a request's answer is late, its priority, and whose it is.
//! - `wire`: requests, answers and refusals on the wire, one file per [`Dialect`].
//! - [`error`]: why a request is refused, independent of the dialect; [`options`]: every limit; [`keys`]: API keys;
//!   [`lifecycle`]: the phase of the server.
//!
//! It does not batch or compute: the engine does. It keeps no state between requests but counters, and never logs
//! the content of a request, names of unknown fields excepted.

mod admission;
mod answer;
mod app;
pub mod error;
mod examples;
mod footprint;
mod free_memory;
mod guardrail_options;
mod guardrails;
mod jobs;
pub mod keys;
pub mod lifecycle;
pub mod memory;
mod middleware;
pub mod models;
pub mod observe;
mod offload;
pub mod openapi;
pub mod options;
mod pages;
mod router;
mod routes;
pub mod runtime;
pub mod serve;
mod shares;
pub mod startup;
mod terms;
mod tokenizer_pool;
mod wire;

pub use app::App;
pub use guardrail_options::{Action, Guardrail};
pub use guardrails::check as check_guardrails;
pub use keys::Keys;
pub use lifecycle::{Lifecycle, Phase};
pub use models::{Models, ServedModel};
pub use observe::Counters;
pub use options::{Options, Origin, Transport, UnknownFieldPolicy};
pub use router::{endpoints, router};
pub use wire::Dialect;
