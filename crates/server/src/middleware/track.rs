//! The outermost layer: gives each request an id, counts it and logs it, however it ends.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method};
use axum::middleware::Next;
use axum::response::Response;

use crate::app::App;
use crate::error::{OTHER_REASON, PublicMessage, Reason};
use crate::lifecycle::Phase;
use crate::observe::{Endpoint, OTHER, RequestOutcome};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Maximum length of a client's request id; a longer one is replaced, because it would only fill the logs.
const LONGEST_ID: usize = 128;

/// Counts the request when it is answered, or when its future is dropped because the client has disconnected.
pub(crate) async fn track(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let path = request.extensions().get::<MatchedPath>();
    let route = path.map_or(OTHER, MatchedPath::as_str).to_owned();
    let id = request_id(request.headers());
    let endpoint = Endpoint { method: method(request.method()), route };
    let mut recorder = RequestRecorder::new(&app, endpoint, id.clone());
    let mut response = next.run(request).await;
    recorder.outcome = match (response.status(), response.extensions().get::<Reason>()) {
        (status, _) if status.as_u16() < 400 => RequestOutcome::Ok,
        (status, Some(Reason(reason))) => RequestOutcome::Refused(status.as_u16(), reason),
        (status, None) => RequestOutcome::Refused(status.as_u16(), OTHER_REASON),
    };
    if let Some(PublicMessage(message)) = response.extensions_mut().remove() {
        recorder.message = message;
    }
    if let Ok(id) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

fn method(method: &Method) -> &'static str {
    let known = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    known.into_iter().find(|known| *known == method.as_str()).unwrap_or(OTHER)
}

/// Returns the client's `x-request-id` if it is short and printable, else a new id.
fn request_id(headers: &HeaderMap) -> String {
    let given = headers.get(REQUEST_ID).and_then(|id| id.to_str().ok());
    let plain = |id: &&str| {
        (1..=LONGEST_ID).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic())
    };
    given.filter(plain).map_or_else(|| format!("{:032x}", fastrand::u128(..)), str::to_owned)
}

/// Records the end of a request when it is dropped.
struct RequestRecorder<'a> {
    app: &'a App,
    endpoint: Endpoint,
    request_id: String,
    started: Instant,
    outcome: RequestOutcome,
    /// Of a refusal, without the client's text.
    message: String,
}

impl<'a> RequestRecorder<'a> {
    fn new(app: &'a App, endpoint: Endpoint, request_id: String) -> RequestRecorder<'a> {
        app.observe.begin_request();
        let (started, outcome) = (Instant::now(), RequestOutcome::Abandoned);
        RequestRecorder { app, endpoint, request_id, started, outcome, message: String::new() }
    }
}

impl Drop for RequestRecorder<'_> {
    fn drop(&mut self) {
        let latency = self.started.elapsed();
        let RequestRecorder { app, endpoint, request_id, outcome, message, .. } = &*self;
        app.observe.record_request(endpoint, request_id, *outcome, message, latency);
        self.log(latency);
    }
}

impl RequestRecorder<'_> {
    /// Logs the outcome. Only answers get a line each, at `info` with `--access-log`; `left_out` is the number of lines
    /// of this reason since its last one.
    fn log(&self, latency: Duration) {
        let RequestRecorder { app, endpoint, request_id, outcome, .. } = self;
        let Some(left_out) = app.log_rates.admit(*outcome) else { return };
        let left_out = (left_out > 0).then_some(left_out);
        let Endpoint { method, route } = endpoint;
        let latency_ms = (latency.as_secs_f64() * 1e5).round() / 1e2;
        match *outcome {
            RequestOutcome::Ok if app.options.access_log && endpoint.computes() => {
                tracing::info!(request_id, method, route, latency_ms, "answered");
            }
            // Among them health checks and scrapes, which come every few seconds.
            RequestOutcome::Ok => {
                tracing::debug!(request_id, method, route, latency_ms, "answered");
            }
            RequestOutcome::Refused(status, reason) if status < 500 => {
                tracing::info!(
                    request_id, method, route, status, reason, latency_ms, left_out, "refused"
                );
            }
            // A probe is told that the server drains or loads; what has failed has a line of its own.
            RequestOutcome::Refused(status, reason)
                if !endpoint.computes() && app.life.phase() != Phase::Ready =>
            {
                tracing::debug!(request_id, method, route, status, reason, latency_ms, "unhealthy");
            }
            RequestOutcome::Refused(status, reason) => {
                tracing::warn!(
                    request_id, method, route, status, reason, latency_ms, left_out, "failed"
                );
            }
            RequestOutcome::Abandoned => {
                tracing::info!(
                    request_id,
                    method,
                    route,
                    latency_ms,
                    left_out,
                    "client disconnected"
                );
            }
        }
    }
}
