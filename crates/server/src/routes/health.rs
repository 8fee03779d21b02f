//! Health checks: whether the server can answer (`/health`, `/ping`), and whether it should get requests
//! (`/ready`).
//!
//! A health check does not wait in the queue. A device is healthy if a batch ended recently, or if the
//! running batch has taken at most ten times its predicted time. An idle device proves its health by a
//! forward pass of its own. A device that hangs, or is lost, fails all three.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use bigbatch_engine::{Engine, Pulse};

use crate::app::App;
use crate::lifecycle::Phase;
use crate::options::Options;

pub(super) const HEALTH: &str = "/health";
pub(super) const PING: &str = "/ping";
pub(super) const READY: &str = "/ready";

/// Seconds until the next check: health may recover with the next batch, and these answers are cheap.
const RETRY_AFTER_SECONDS: HeaderValue = HeaderValue::from_static("1");

/// Maximum time of a running batch over its predicted time.
const STUCK_FACTOR: u32 = 10;

/// Maximum time of the first batch, which has no prediction.
const FIRST_BATCH: Duration = Duration::from_secs(120);

#[utoipa::path(get, path = "/health", tag = "text-embeddings-inference",
    responses((status = 200, description = "The server can answer"), (status = 503, description = "The model that is not healthy, and the reason")))]
/// Reports whether every device works.
pub(crate) async fn health(State(app): State<Arc<App>>) -> Response {
    for served in app.models.iter() {
        if let Err(why) = check(&served.engine, &app.options).await {
            tracing::error!(model = served.name, why, "health check failed");
            return unhealthy(format!("{}: {why}\n", served.name));
        }
    }
    match app.life.phase() {
        Phase::Loading => unhealthy(LOADING.into()),
        _ => (StatusCode::OK, "ok\n").into_response(),
    }
}

#[utoipa::path(get, path = "/ready", tag = "bigbatch",
    responses((status = 200, description = "The server takes requests"), (status = 503, description = "Models are loading, the server is draining, or its device is lost")))]
/// Reports whether the server should get requests.
pub(crate) async fn ready(State(app): State<Arc<App>>) -> Response {
    match app.life.phase() {
        Phase::Ready => (StatusCode::OK, "ready\n").into_response(),
        Phase::Loading => unhealthy(LOADING.into()),
        Phase::Lost => unhealthy("the device is lost\n".into()),
        Phase::Draining | Phase::Closing => unhealthy("draining\n".into()),
    }
}

const LOADING: &str = "models are still loading\n";

/// Returns the answer of the health paths while models load; `None` for any other path.
pub(crate) fn loading(path: &str) -> Option<Response> {
    [HEALTH, PING, READY].contains(&path).then(|| unhealthy(LOADING.into()))
}

/// Returns a 503 in plain text, for supervisors and load balancers.
fn unhealthy(why: String) -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, [(RETRY_AFTER, RETRY_AFTER_SECONDS)], why).into_response()
}

/// Checks that the device of an engine works, by a forward pass if it is idle.
///
/// # Errors
/// What is wrong with it.
pub(crate) async fn check(engine: &Engine, options: &Options) -> Result<(), String> {
    if let Some(verdict) = judge(&engine.pulse(), options) {
        return verdict;
    }
    let probe = engine.probe().map_err(|error| error.to_string())?;
    match tokio::time::timeout(options.health_wait, probe.into_future()).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(error.to_string()),
        // Requests may have been queued before the probe: then their batches are judged.
        Err(_) => judge(&engine.pulse(), options).unwrap_or_else(|| {
            Err(format!(
                "the idle device did not finish a forward pass within {} s",
                options.health_wait.as_secs_f64()
            ))
        }),
    }
}

/// Judges the device by its batches; `None` if it is idle and its last batch is too old.
fn judge(pulse: &Pulse, options: &Options) -> Option<Result<(), String>> {
    if let Some(lost) = &pulse.lost {
        return Some(Err(lost.clone()));
    }
    if pulse.finished.is_some_and(|at| at.elapsed() < options.health_fresh) {
        return Some(Ok(()));
    }
    let batch = pulse.running?;
    let limit = batch.predicted.map_or(FIRST_BATCH, |predicted| predicted * STUCK_FACTOR);
    let took = batch.since.elapsed();
    Some(if took > limit {
        Err(format!(
            "a batch of {} tokens has run for {:.1} s; predicted were {:.1} s",
            batch.tokens,
            took.as_secs_f64(),
            batch.predicted.unwrap_or(FIRST_BATCH).as_secs_f64()
        ))
    } else {
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use bigbatch_engine::RunningBatch;

    use super::*;

    #[test]
    fn a_batch_is_stuck_at_ten_times_its_prediction() {
        let options = Options::default();
        let ago = |seconds: u64| Instant::now().checked_sub(Duration::from_secs(seconds));
        let running = |seconds, predicted| RunningBatch {
            since: ago(seconds).expect("the machine has been up for minutes"),
            sequences: 1,
            tokens: 8192,
            predicted: Some(Duration::from_secs(predicted)),
        };
        let judged = |pulse: Pulse| judge(&pulse, &options).map(|verdict| verdict.is_ok());
        let idle = Pulse::default();
        assert_eq!(judged(idle.clone()), None);
        assert_eq!(judged(Pulse { finished: ago(11), ..idle.clone() }), None);
        assert_eq!(judged(Pulse { finished: ago(9), ..idle.clone() }), Some(true));
        let slow = Pulse { running: Some(running(19, 2)), ..idle.clone() };
        assert_eq!(judged(slow), Some(true));
        let stuck = Pulse { running: Some(running(21, 2)), ..idle.clone() };
        assert_eq!(judged(stuck.clone()), Some(false));
        assert_eq!(judged(Pulse { finished: ago(9), ..stuck }), Some(true));
        let lost = Pulse { lost: Some("gone".into()), finished: ago(1), ..idle };
        assert_eq!(judged(lost), Some(false));
    }
}
