//! The endpoints, one file per family, and the table of all.
//!
//! A handler gets the request and its model from [`call`] and returns an answer or a refusal; the dialect that
//! its row names renders the refusal. Nothing here listens, checks keys or bounds bodies: `router` puts the
//! table behind `middleware`. The document of the table is `openapi`'s, which adds its own two rows.

pub(crate) mod analyze;
mod call;
pub(crate) mod cohere;
pub(crate) mod embed;
mod entities;
pub(crate) mod health;
pub(crate) mod hub;
pub(crate) mod info;
pub(crate) mod metrics;
pub(crate) mod native;
pub(crate) mod openai;
pub(crate) mod pooling;
pub(crate) mod predict;
pub(crate) mod rerank;
pub(crate) mod tokens;
mod zero_shot;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, LazyLock};

use axum::extract::{Request, State};
use axum::handler::Handler;
use axum::response::Response;
use axum::routing::{MethodRouter, get, post};

use self::call::{Call, MODEL_PARAMETER};
use crate::app::App;
use crate::error::Refusal;
use crate::wire::Dialect::{self, Cohere, HubClient, Native, OpenAi, Tei, Vllm};
use crate::wire::ability::Needs;
use crate::wire::request::ModelRequest;

/// Returns all endpoints but the OpenAPI document's and the pages.
pub(crate) fn table() -> Vec<Route> {
    vec![
        Route::model(HubClient, "/", hub::hub),
        Route::model(HubClient, "/invocations", hub::hub).alias_of("/"),
        Route::model(Tei, "/embed", embed::embed),
        Route::model(Tei, "/embed_all", embed::embed_all),
        Route::model(Tei, "/similarity", embed::similarity),
        Route::model(Tei, "/predict", predict::predict),
        // Also vLLM's, recognised by the body; a body of neither is refused as text-embeddings-inference does.
        Route::model(Tei, "/classify", predict::classify),
        Route::model(Tei, "/rerank", rerank::rerank),
        Route::model(Vllm, "/v1/rerank", rerank::rerank_v1),
        Route::model(Vllm, "/v2/rerank", rerank::rerank_v1).alias_of("/v1/rerank"),
        Route::model(Vllm, "/score", rerank::score),
        Route::model(Vllm, "/v1/score", rerank::score).alias_of("/score"),
        Route::model(Vllm, "/pooling", pooling::pooling),
        // Also vLLM's, recognised by the body.
        Route::model(Tei, "/tokenize", tokens::tokenize),
        Route::model(Tei, "/decode", tokens::decode),
        Route::model(Vllm, "/detokenize", tokens::detokenize),
        Route::model(OpenAi, "/v1/embeddings", openai::embeddings),
        Route::model(OpenAi, "/embeddings", openai::embeddings).alias_of("/v1/embeddings"),
        Route::model(Cohere, "/v2/embed", cohere::embed_v2),
        Route::model(Cohere, "/v1/embed", cohere::embed_v1),
        Route::model(Native, "/tag", native::tag),
        Route::model(Native, "/fill_mask", native::fill_mask),
        // Ours, with OpenAI's errors as everything below /v1.
        Route::models(OpenAi, "/v1/analyze", analyze::analyze),
        Route::get(Tei, "/info", info::info),
        Route::get(OpenAi, "/v1/models", info::models),
        // Its refusals have never been OpenAI's.
        Route::get(Tei, "/models", info::models).alias_of("/v1/models"),
        Route::get(OpenAi, "/v1/models/{name}", info::model),
        Route::get(Tei, health::HEALTH, health::health).open(),
        Route::get(Native, health::PING, health::health).alias_of(health::HEALTH).open(),
        Route::get(Native, health::READY, health::ready).open(),
        Route::get(Tei, "/metrics", metrics::metrics).open(),
    ]
}

/// Returns the dialect of a path, for refusals before or without a handler. A path that is not in the
/// table is OpenAI's if it has a version, else text-embeddings-inference's.
pub(crate) fn dialect_of(path: &str) -> Dialect {
    static DIALECTS: LazyLock<HashMap<&str, Dialect>> =
        LazyLock::new(|| table().iter().map(|route| (route.path, route.dialect)).collect());
    let path = match path.strip_prefix("/models/") {
        Some(rest) => rest.find('/').map_or("", |at| &rest[at..]),
        None => path,
    };
    let versioned = path.starts_with("/v1/") || path.starts_with("/v2/");
    let unknown = if versioned { OpenAi } else { Tei };
    DIALECTS.get(path).copied().unwrap_or(unknown)
}

/// Returns whether a path is one that needs no key: health checks and metrics.
pub(crate) fn is_open(path: &str) -> bool {
    static OPEN: LazyLock<HashSet<&str>> = LazyLock::new(|| {
        table().iter().filter(|route| route.open).map(|route| route.path).collect()
    });
    OPEN.contains(path)
}

/// A row of the table: a path, its dialect, and what answers it.
pub(crate) struct Route {
    /// `get` or `post`, as OpenAPI spells it.
    pub(crate) method: &'static str,
    pub(crate) path: &'static str,
    /// The dialect in which refusals are rendered.
    pub(crate) dialect: Dialect,
    /// The path that the OpenAPI document describes in its place.
    pub(crate) alias_of: Option<&'static str>,
    /// Whether it also exists below `/models/NAME`.
    pub(crate) per_model: bool,
    /// Whether it needs no API key and is answered while the server closes.
    pub(crate) open: bool,
    pub(crate) handler: MethodRouter<Arc<App>>,
}

impl Route {
    /// A POST that one model answers, also below `/models/NAME`.
    pub(crate) fn model<T, F, Fut>(dialect: Dialect, path: &'static str, handler: F) -> Route
    where
        T: ModelRequest + Needs,
        F: Fn(Call, T) -> Fut + Copy + Send + Sync + 'static,
        Fut: Future<Output = Result<Response, Refusal>> + Send,
    {
        Route { per_model: true, ..Route::models(dialect, path, handler) }
    }

    /// A POST that several models answer.
    pub(crate) fn models<T, F, Fut>(dialect: Dialect, path: &'static str, handler: F) -> Route
    where
        T: ModelRequest + Needs,
        F: Fn(Call, T) -> Fut + Copy + Send + Sync + 'static,
        Fut: Future<Output = Result<Response, Refusal>> + Send,
    {
        let answer = move |State(app): State<Arc<App>>, request: Request| {
            call::answer(app, request, dialect, handler)
        };
        Route::new("post", dialect, path, post(answer))
    }

    /// A GET about the server or its models.
    pub(crate) fn get<H, T>(dialect: Dialect, path: &'static str, handler: H) -> Route
    where
        H: Handler<T, Arc<App>>,
        T: 'static,
    {
        Route::new("get", dialect, path, get(handler))
    }

    /// Marks a second path of an endpoint that is documented at `path`.
    pub(crate) fn alias_of(self, path: &'static str) -> Route {
        Route { alias_of: Some(path), ..self }
    }

    /// Lets everyone in, without a key: supervisors, load balancers and metrics collectors have none.
    pub(crate) fn open(self) -> Route {
        Route { open: true, ..self }
    }

    /// Returns the path below `/models/NAME`, if there is one.
    pub(crate) fn model_path(&self) -> Option<String> {
        let path = self.path.trim_end_matches('/');
        self.per_model.then(|| format!("/models/{{{MODEL_PARAMETER}}}{path}"))
    }

    fn new(
        method: &'static str,
        dialect: Dialect,
        path: &'static str,
        handler: MethodRouter<Arc<App>>,
    ) -> Route {
        Route { method, path, dialect, alias_of: None, per_model: false, open: false, handler }
    }
}
