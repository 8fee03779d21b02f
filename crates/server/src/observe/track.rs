//! The one layer around every route: counts each request, however it ends.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::Response;

use super::{Observed, Outcome};
use crate::App;
use crate::error::{OTHER_REASON, Reason};

/// Counts the request when it is answered, or when its future is dropped because the client is gone.
pub(crate) async fn track(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let path = request.extensions().get::<MatchedPath>();
    // What no route takes shares one name: a counter for each path sent would be the sender's to fill.
    let route = path.map_or_else(|| "other".to_owned(), |path| path.as_str().to_owned());
    let request_id = request
        .headers()
        .get("x-request-id")
        .and_then(|id| id.to_str().ok())
        .unwrap_or_default()
        .to_owned();
    let mut counted = Counted::new(&app.observe, route, request_id);
    let response = next.run(request).await;
    counted.outcome = match (response.status(), response.extensions().get::<Reason>()) {
        (status, _) if status.as_u16() < 400 => Outcome::Ok,
        (status, Some(Reason(reason))) => Outcome::Refused(status.as_u16(), reason),
        (status, None) => Outcome::Refused(status.as_u16(), OTHER_REASON),
    };
    response
}

/// A request between its coming and its end.
struct Counted<'a> {
    observed: &'a Observed,
    route: String,
    request_id: String,
    started: Instant,
    outcome: Outcome,
}

impl<'a> Counted<'a> {
    fn new(observed: &'a Observed, route: String, request_id: String) -> Counted<'a> {
        observed.in_flight.fetch_add(1, Ordering::Relaxed);
        let started = Instant::now();
        Counted { observed, route, request_id, started, outcome: Outcome::Abandoned }
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.observed.in_flight.fetch_sub(1, Ordering::Relaxed);
        let latency = self.started.elapsed();
        self.observed.request(&self.route, &self.request_id, self.outcome, latency);
    }
}
