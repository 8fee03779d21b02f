//! Everything that is served, as one router: the route table, the OpenAPI document and the pages, behind the
//! middleware.

use std::sync::Arc;

use axum::Router;
use axum::http::Uri;
use axum::response::Response;

use crate::app::App;
use crate::error::Refusal;
use crate::routes::route::Route;
use crate::routes::{dialect_of, health};
use crate::{middleware, openapi, pages, routes};

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
    let method = async |uri: Uri| refuse(&uri, Refusal::Method);
    let guarded = guarded
        .fallback(async |uri: Uri| refuse(&uri, Refusal::NoRoute))
        .method_not_allowed_fallback(method);
    let routes = open
        .merge(middleware::with_guard(guarded, &app))
        // Of those that are open; the others have it already, behind the guard.
        .method_not_allowed_fallback(method)
        .with_state(app.clone());
    middleware::with_middleware(routes, &app)
}

/// Returns the answer to every path while models load.
pub(crate) fn refuse_while_loading(path: &str) -> Response {
    health::loading(path).unwrap_or_else(|| {
        let message = "models are being loaded; /ready tells when they are";
        dialect_of(path).render(&Refusal::Unavailable(message.into()))
    })
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

/// Refuses a path that has no handler. The path is the client's own words: they go back to that client only.
fn refuse(uri: &Uri, refusal: fn(String) -> Refusal) -> Response {
    dialect_of(uri.path()).render(&refusal(uri.path().to_owned()))
}
