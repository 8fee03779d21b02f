//! Assembles the router: the route table, the OpenAPI document and the pages, behind the middleware.
//!
//! It has no endpoint of its own: those are rows of the table in `routes`.

use std::sync::Arc;

use axum::Router;
use axum::http::Uri;
use axum::response::Response;

use crate::app::App;
use crate::error::{DOCUMENT, Refusal};
use crate::middleware::{ListenerRules, Refusals, no_connection};
use crate::observe::Cut;
use crate::routes::{Route, health};
use crate::wire::Dialect;
use crate::{guardrails, middleware, openapi, pages, routes};

/// Returns the method and path of every endpoint, the pages excepted.
pub fn endpoints() -> Vec<(&'static str, String)> {
    let paths = |route: Route| {
        let own = (route.method, route.path.to_owned());
        [Some(own), route.model_path().map(|path| (route.method, path))]
    };
    table().flat_map(paths).flatten().collect()
}

/// Returns the router of an application.
pub fn router(app: Arc<App>) -> Router {
    let (open, guarded): (Vec<Route>, Vec<Route>) = table().partition(|route| route.open);
    let guarded = guarded.into_iter().fold(pages::data(), with_route);
    let open = open.into_iter().fold(pages::files(), with_route);
    let method = async |uri: Uri| refuse(&uri, |path| Refusal::Method { path, document: DOCUMENT });
    let payload_limit_bytes = app.options.payload_limit_bytes;
    let rules = ListenerRules { dialect_of, asks_for_key: true, payload_limit_bytes };
    let guarded = guarded
        .merge(guardrails::routes(&app.options.guardrails))
        .fallback(async |uri: Uri| {
            refuse(&uri, |path| Refusal::NoRoute { path, document: DOCUMENT })
        })
        .method_not_allowed_fallback(method);
    let routes = open
        .merge(middleware::with_guard(guarded, &app, rules))
        // For open paths; the others already have it, behind the guard.
        .method_not_allowed_fallback(method)
        .with_state(app.clone());
    middleware::with_middleware(routes, &app, rules)
}

/// Returns the dialect of a path, for refusals before or without a handler.
fn dialect_of(path: &str) -> Dialect {
    if path == guardrails::FMS_PATH { Dialect::Fms } else { routes::dialect_of(path) }
}

/// What is answered without the router.
pub(crate) const REFUSALS: Refusals =
    Refusals { while_loading: refuse_while_loading, while_full: refuse_while_full };

fn refuse_while_loading(path: &str) -> Response {
    health::loading(path).unwrap_or_else(|| {
        let message = "models are still loading; retry once /ready answers 200";
        dialect_of(path).render(&Refusal::Unavailable(message.into()))
    })
}

fn refuse_while_full(path: &str, cut: Cut) -> Option<Response> {
    (!routes::is_open(path)).then(|| dialect_of(path).render(&no_connection(cut)))
}

fn with_route(router: Router<Arc<App>>, route: Route) -> Router<Arc<App>> {
    let router = match route.model_path() {
        Some(path) => router.route(&path, route.handler.clone()),
        None => router,
    };
    router.route(route.path, route.handler)
}

fn table() -> impl Iterator<Item = Route> {
    routes::table().into_iter().chain(openapi::routes())
}

/// Refuses a request that no handler takes. The path is the client's text, so only that client sees it again.
fn refuse(uri: &Uri, refusal: fn(String) -> Refusal) -> Response {
    dialect_of(uri.path()).render(&refusal(uri.path().to_owned()))
}
