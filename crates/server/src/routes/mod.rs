//! The endpoints, one file a family, and the table that the router and the document are both made of.

pub(crate) mod analyze;
mod call;
pub(crate) mod docs;
pub(crate) mod embed;
pub(crate) mod health;
pub(crate) mod hub;
pub(crate) mod info;
pub(crate) mod metrics;
pub(crate) mod native;
pub(crate) mod openai;
pub(crate) mod predict;
pub(crate) mod rerank;
pub(crate) mod tokens;

use std::sync::Arc;

use axum::Router;
use axum::http::Uri;
use axum::response::Response;
use axum::routing::{MethodRouter, get, post};

use crate::error::{Dialect, Refusal};
use crate::middleware::{around, guard_all};
use crate::{App, pages};
pub(crate) use health::loading;

type Route = (&'static str, MethodRouter<Arc<App>>);

/// Everything that asks a model, each also there as `/models/NAME/...`. All of it by POST.
fn inference() -> Vec<Route> {
    vec![
        ("/", post(hub::hub)),
        ("/invocations", post(hub::hub)),
        ("/embed", post(embed::embed)),
        ("/embed_all", post(embed::embed_all)),
        ("/similarity", post(embed::similarity)),
        ("/predict", post(predict::predict)),
        ("/classify", post(predict::classify)),
        ("/rerank", post(rerank::rerank)),
        ("/v1/rerank", post(rerank::rerank_v1)),
        ("/v2/rerank", post(rerank::rerank_v1)),
        ("/score", post(rerank::score)),
        ("/tokenize", post(tokens::tokenize)),
        ("/decode", post(tokens::decode)),
        ("/embeddings", post(openai::embeddings)),
        ("/v1/embeddings", post(openai::embeddings)),
        ("/pooling", post(openai::pooling)),
        ("/tag", post(native::tag)),
        ("/fill_mask", post(native::fill_mask)),
    ]
}

/// The rest: across all models, or about the server.
fn others() -> Vec<(&'static str, Route)> {
    vec![
        ("post", ("/v1/analyze", post(analyze::analyze))),
        ("get", ("/info", get(info::info))),
        ("get", ("/models", get(info::models))),
        ("get", ("/v1/models", get(info::models))),
        ("get", ("/v1/models/{name}", get(info::model))),
        ("get", ("/openapi.json", get(docs::openapi))),
        ("get", ("/api-doc/openapi.json", get(docs::openapi))),
    ]
}

/// What needs no key, all of it by GET: a supervisor, a load balancer and a metrics collector have none.
fn open() -> Vec<Route> {
    vec![
        (health::HEALTH, get(health::health)),
        (health::PING, get(health::health)),
        (health::READY, get(health::ready)),
        ("/metrics", get(metrics::metrics)),
    ]
}

/// Paths that mean another: the document tells of the other one, and repeats it for these.
pub(crate) const ALIASES: [(&str, &str); 6] = [
    ("/ping", "/health"),
    ("/invocations", "/"),
    ("/embeddings", "/v1/embeddings"),
    ("/v2/rerank", "/v1/rerank"),
    ("/models", "/v1/models"),
    ("/api-doc/openapi.json", "/openapi.json"),
];

/// A path of [`inference`] for the model that it names.
pub(crate) fn of_model(path: &str) -> String {
    format!("/models/{{{}}}{}", call::MODEL_PARAMETER, path.trim_end_matches('/'))
}

/// Paths that ask a model.
pub(crate) fn inference_paths() -> Vec<&'static str> {
    inference().into_iter().map(|(path, _)| path).collect()
}

/// Method and path of everything that is served, but for the pages for people.
pub fn endpoints() -> Vec<(&'static str, String)> {
    let of_inference = inference_paths().into_iter();
    let of_inference =
        of_inference.flat_map(|path| [("post", path.to_owned()), ("post", of_model(path))]);
    let rest = others().into_iter().map(|(method, (path, _))| (method, path.to_owned()));
    let open = open().into_iter().map(|(path, _)| ("get", path.to_owned()));
    of_inference.chain(rest).chain(open).collect()
}

/// Everything that is served.
pub fn router(app: Arc<App>) -> Router {
    let mut guarded = pages::data();
    for (path, method) in inference() {
        guarded = guarded.route(&of_model(path), method.clone()).route(path, method);
    }
    for (_, (path, method)) in others() {
        guarded = guarded.route(path, method);
    }
    let method = async |uri: Uri| refuse(&uri, Refusal::Method);
    let guarded = guarded
        .fallback(async |uri: Uri| refuse(&uri, Refusal::NoRoute))
        .method_not_allowed_fallback(method);
    let routes = open()
        .into_iter()
        .fold(pages::files(), |open, (path, method)| open.route(path, method))
        .merge(guard_all(guarded, &app))
        // Of those that are open; the others have it already, behind the guard.
        .method_not_allowed_fallback(method)
        .with_state(app.clone());
    around(routes, &app)
}

/// In the dialect of paths of this kind.
fn refuse(uri: &Uri, refusal: fn(String) -> Refusal) -> Response {
    let dialect = Dialect::of(uri.path());
    // A path is a client's own words: none of it goes further than back to that client.
    refusal(uri.path().to_owned()).answer(dialect)
}
