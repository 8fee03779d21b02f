//! What every request passes before its route, outermost first: it is counted, pages of other origins are
//! told whether they may call, a key is asked for, a server that stops refuses, the body is taken in within
//! its limits, and the answer may take only so long.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{CONNECTION, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, Method, Version};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use tower_http::cors::{AllowOrigin, Any, CorsLayer};

use crate::error::{Dialect, Refusal};
use crate::intake::intake;
use crate::life::Phase;
use crate::observe::track;
use crate::{App, pages};

/// Paths that need no key: a supervisor, a load balancer and a metrics collector have none. The pages, in
/// which a key can be typed, need none either.
const OPEN: [&str; 4] = ["/health", "/ready", "/ping", "/metrics"];

/// The routes with everything around them.
pub(crate) fn around(routes: Router, app: &Arc<App>) -> Router {
    routes
        .layer(from_fn_with_state(app.clone(), guard))
        .layer(cors(&app.options.cors_allow_origin))
        .layer(from_fn_with_state(app.clone(), track))
}

async fn guard(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let dialect = Dialect::of(path);
    let open = OPEN.contains(&path) || pages::is_public(path);
    let open = open && request.method() == Method::GET;
    if !open && !app.keys.allow(request.headers()) {
        return unauthorized(dialect);
    }
    if open {
        return next.run(request).await;
    }
    if app.life.phase() >= Phase::Closing {
        let said = "the server is stopping; send this to another replica";
        return close(Refusal::Unavailable(said.into()).answer(dialect));
    }
    let old = request.version() < Version::HTTP_2;
    let request = match intake(&app.options, request).await {
        Ok(request) => request,
        // The rest of the body may still be on its way: nothing after it on this connection can be read.
        Err(refusal) if old => return close(refusal.answer(dialect)),
        Err(refusal) => return refusal.answer(dialect),
    };
    let limit = app.options.request_timeout;
    tokio::time::timeout(limit, next.run(request)).await.unwrap_or_else(|_| late(limit, dialect))
}

fn unauthorized(dialect: Dialect) -> Response {
    let mut response = Refusal::Unauthorized.answer(dialect);
    response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    response
}

fn late(limit: Duration, dialect: Dialect) -> Response {
    Refusal::Late { seconds: limit.as_secs() }.answer(dialect)
}

fn close(mut response: Response) -> Response {
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

fn cors(origins: &[String]) -> CorsLayer {
    let layer = CorsLayer::new()
        .allow_methods([Method::GET, Method::POST])
        .allow_headers(Any)
        .expose_headers(Any);
    if origins.is_empty() {
        return CorsLayer::new();
    }
    if origins.iter().any(|origin| origin == "*") {
        return layer.allow_origin(Any);
    }
    let origins = origins.iter().filter_map(|origin| HeaderValue::from_str(origin).ok());
    layer.allow_origin(AllowOrigin::list(origins))
}
