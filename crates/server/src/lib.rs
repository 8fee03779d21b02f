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

pub mod error;
mod jobs;
mod json;
pub mod keys;
pub mod lifecycle;
mod middleware;
pub mod models;
pub mod observe;
pub mod openapi;
pub mod options;
mod pages;
mod routes;
pub mod serve;
pub mod startup;
mod timing;
mod tokenizer_pool;
mod wire;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

pub use keys::Keys;
pub use lifecycle::{Life, Phase};
pub use models::{Models, Served};
pub use observe::Observed;
pub use options::{Options, Origin, Transport};
pub use routes::{endpoints, router};
use wire::vllm::{List, Usage};

/// What every route sees.
pub struct App {
    /// The models.
    pub models: Models,
    /// The limits.
    pub options: Options,
    /// The counters.
    pub observe: Arc<Observed>,
    /// Who may ask.
    pub keys: Arc<Keys>,
    /// Whether requests are taken.
    pub life: Arc<Life>,
    tokenizer_pool: tokenizer_pool::TokenizerPool,
    started_unix_s: u64,
    answers: AtomicU64,
}

impl App {
    /// An application over these models, open to all and ready at once.
    pub fn new(models: Models, options: Options) -> Arc<App> {
        let life = Arc::new(Life::default());
        life.enter(Phase::Ready);
        App::guarded(models, options, Arc::default(), life)
    }

    /// An application that asks for keys and has a life of its own.
    pub fn guarded(models: Models, options: Options, keys: Arc<Keys>, life: Arc<Life>) -> Arc<App> {
        let observe = Arc::new(Observed::default());
        for served in models.iter() {
            observe.watch(&served.name, &served.engine, life.clone());
        }
        let tokenizer_pool = tokenizer_pool::TokenizerPool::like(&models.first().engine);
        Arc::new(App {
            models,
            options,
            observe,
            keys,
            life,
            tokenizer_pool,
            started_unix_s: unix_s(),
            answers: AtomicU64::new(0),
        })
    }

    /// What vLLM's routes answer with: `data` under the head that all of them have.
    fn list<T>(&self, kind: &str, served: &Served, data: Vec<T>, tokens: usize) -> List<T> {
        List {
            id: self.answer_id(kind),
            object: "list",
            created: unix_s(),
            model: served.name.clone(),
            data,
            usage: Usage::of(tokens),
        }
    }

    /// A name for an answer, unique in this process and hardly ever seen from another.
    fn answer_id(&self, prefix: &str) -> String {
        let count = self.answers.fetch_add(1, Ordering::Relaxed);
        format!("{prefix}-{:x}-{count:x}", self.started_unix_s)
    }
}

/// Seconds since 1970.
fn unix_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
