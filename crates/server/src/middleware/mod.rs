//! The layers that every request passes before its handler.
//!
//! Outermost first: requests are counted and logged (`track`), answers are charged until they are sent (`hold`), requests
//! without a host are rejected, CORS preflights are answered, and a draining server announces that it closes the
//! connection. Routes that are not open also need a key, are refused once the server closes, have their head charged and
//! their body read within its limits (`body`), and have a deadline for their answer.
//! Which routes are open is in the route table; connections and their timeouts are in `serve`.

mod body;
mod hold;
mod track;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{ACCESS_CONTROL_REQUEST_METHOD, CONNECTION, HOST, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, Method, Version};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::Response;
use tokio::time::Instant;
use tower::{Layer, ServiceExt};
use tower_http::cors::{AllowHeaders, AllowOrigin, Any, CorsLayer};

use self::body::read_body;
pub(crate) use self::body::take_body;
pub(crate) use self::hold::Charged;
use self::hold::hold_answer;
use self::track::track;
use crate::app::App;
use crate::error::Refusal;
use crate::lifecycle::Phase;
use crate::observe::Cut;
use crate::options::Origin;
use crate::wire::Dialect;

/// What differs between the listeners.
#[derive(Clone, Copy)]
pub(crate) struct ListenerRules {
    /// Returns the dialect in which refusals on a path are rendered.
    pub(crate) dialect_of: fn(&str) -> Dialect,
    /// Whether guarded routes need a key, where the server has any.
    pub(crate) asks_for_key: bool,
    /// Maximum bytes per body after decompression.
    pub(crate) payload_limit_bytes: usize,
}

impl ListenerRules {
    fn dialect(&self, request: &Request) -> Dialect {
        (self.dialect_of)(request.uri().path())
    }
}

/// What a listener answers without its routes.
#[derive(Clone, Copy)]
pub(crate) struct Refusals {
    /// Answers a request to a path while models load.
    pub(crate) while_loading: fn(&str) -> Response,
    /// Answers a request on a reserved connection, unless its route is open.
    pub(crate) while_full: fn(&str, Cut) -> Option<Response>,
}

/// Returns the refusal of a request on a reserved connection.
pub(crate) fn no_connection(cut: Cut) -> Refusal {
    let message = match cut {
        Cut::ClientFull => {
            "this client has too many open connections (--max-connections-per-client); \
             reuse connections, or retry later"
        }
        _ => "all connections of the server are in use (--max-connections); retry later",
    };
    Refusal::Unavailable(message.into())
}

/// Puts the guard before routes that are not open.
pub(crate) fn with_guard(
    routes: Router<Arc<App>>,
    app: &Arc<App>,
    rules: ListenerRules,
) -> Router<Arc<App>> {
    let app = app.clone();
    routes.layer(from_fn(move |request, next| guard(app.clone(), rules, request, next)))
}

/// Puts before all routes the layers that open ones pass too.
pub(crate) fn with_middleware(routes: Router, app: &Arc<App>, rules: ListenerRules) -> Router {
    let mut all = routes.layer(from_fn_with_state(app.clone(), announce_drain));
    let origins = &app.options.cors_allow_origin;
    if !origins.is_empty() {
        let cors = cors(origins);
        all = all.layer(from_fn(move |request, next| cross_origin(cors.clone(), request, next)));
    }
    all.layer(from_fn(move |request, next| check_host(rules, request, next)))
        .layer(from_fn_with_state(app.clone(), hold_answer))
        .layer(from_fn_with_state(app.clone(), track))
}

/// Refuses a request of HTTP/1.1 without a `Host` header or with several: a proxy may have chosen another one.
async fn check_host(rules: ListenerRules, request: Request, next: Next) -> Response {
    let hosts = request.headers().get_all(HOST).iter().count();
    if request.version() == Version::HTTP_11 && hosts != 1 {
        let dialect = rules.dialect(&request);
        return close(dialect.render(&Refusal::Host(hosts)));
    }
    next.run(request).await
}

/// Adds `connection: close` to answers while the server drains: a client that kept its connection would send
/// its next request into a closed one.
async fn announce_drain(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let http_1 = is_http_1(&request);
    let response = next.run(request).await;
    // HTTP/2 has a frame for this, which the server sends when it closes.
    if http_1 && app.life.phase() >= Phase::Draining { close(response) } else { response }
}

/// Checks the key, refuses while the server closes, reads the body and bounds the time of the handler.
async fn guard(app: Arc<App>, rules: ListenerRules, request: Request, next: Next) -> Response {
    let dialect = rules.dialect(&request);
    if rules.asks_for_key && !app.keys.allow(request.headers()) {
        return unauthorized(dialect);
    }
    if app.life.phase() >= Phase::Closing {
        let message = "the server is stopping; send the request to another replica";
        return dialect.render(&Refusal::Unavailable(message.into()));
    }
    let http_1 = is_http_1(&request);
    let request = match read_body(&app, rules.payload_limit_bytes, request).await {
        Ok(request) => request,
        // The rest of the body may still arrive, so no later request on this connection can be parsed.
        Err(refusal) if http_1 => return close(dialect.render(&refusal)),
        Err(refusal) => return dialect.render(&refusal),
    };
    let limit = app.options.request_timeout;
    let started = Instant::now();
    match tokio::time::timeout(limit, next.run(request)).await {
        // No success is sent late, also if it was ready just as the time was over.
        Ok(answer) if started.elapsed() < limit || !answer.status().is_success() => answer,
        _ => refuse_late(limit, dialect),
    }
}

/// Returns whether the `connection` header has a meaning: before HTTP/2.
fn is_http_1(request: &Request) -> bool {
    request.version() < Version::HTTP_2
}

fn unauthorized(dialect: Dialect) -> Response {
    let mut response = dialect.render(&Refusal::Unauthorized);
    response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    response
}

fn refuse_late(limit: Duration, dialect: Dialect) -> Response {
    dialect.render(&Refusal::Late { seconds: limit.as_secs() })
}

fn close(mut response: Response) -> Response {
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

/// Passes requests through the CORS layer. The layer answers every OPTIONS, but only preflights are for it, so
/// others bypass it.
async fn cross_origin(cors: CorsLayer, request: Request, next: Next) -> Response {
    let is_preflight = request.headers().contains_key(ACCESS_CONTROL_REQUEST_METHOD);
    if request.method() == Method::OPTIONS && !is_preflight {
        return next.run(request).await;
    }
    let answer: Result<Response, Infallible> = cors.layer(next).oneshot(request).await;
    match answer {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

fn cors(origins: &[Origin]) -> CorsLayer {
    let layer = CorsLayer::new()
        .allow_methods([Method::GET, Method::POST])
        // Not `*`, which leaves Authorization out.
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers(Any);
    if origins.iter().any(Origin::is_any) {
        return layer.allow_origin(Any);
    }
    layer.allow_origin(AllowOrigin::list(origins.iter().map(Origin::value)))
}
