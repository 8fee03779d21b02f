//! Whether the server can answer (`/health`, `/ping`), and whether it should be sent anything (`/ready`).
//!
//! A health check never stands in the queue. A device whose batch ended lately is well. One that runs a batch
//! is well until the batch has taken ten times what its size predicts. An idle one shows with a forward pass of
//! its own that it works; a device that hangs, or is lost, cannot.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use bigbatch_engine::engine::{Engine, Pulse};

use crate::app::App;
use crate::lifecycle::Phase;
use crate::options::Options;

pub(super) const HEALTH: &str = "/health";
pub(super) const PING: &str = "/ping";
pub(super) const READY: &str = "/ready";

/// Seconds after which to ask again: health may come back from one batch to the next, and these answers cost
/// nothing.
const RETRY_AFTER_SECONDS: HeaderValue = HeaderValue::from_static("1");

/// How many times what its size predicts a batch may take.
const STUCK_FACTOR: u32 = 10;

/// What a batch may take that nothing predicts, because it is the first.
const FIRST_BATCH: Duration = Duration::from_secs(120);

#[utoipa::path(get, path = "/health", tag = "text-embeddings-inference",
    responses((status = 200, description = "It can"), (status = 503, description = "It cannot: why")))]
/// Whether the server can answer.
pub(crate) async fn health(State(app): State<Arc<App>>) -> Response {
    for served in app.models.iter() {
        if let Err(why) = check(&served.engine, &app.options).await {
            tracing::error!(model = served.name, why, "not healthy");
            return unwell(format!("{}: {why}\n", served.name));
        }
    }
    match app.life.phase() {
        Phase::Loading => unwell(LOADING.into()),
        _ => (StatusCode::OK, "ok\n").into_response(),
    }
}

#[utoipa::path(get, path = "/ready", tag = "bigbatch",
    responses((status = 200, description = "Send it requests"), (status = 503, description = "Loading or draining")))]
/// Whether it should be sent requests.
pub(crate) async fn ready(State(app): State<Arc<App>>) -> Response {
    match app.life.phase() {
        Phase::Ready => (StatusCode::OK, "ready\n").into_response(),
        Phase::Loading => unwell(LOADING.into()),
        Phase::Lost => unwell("the device is lost\n".into()),
        Phase::Draining | Phase::Closing => unwell("draining\n".into()),
    }
}

const LOADING: &str = "models are being loaded\n";

/// Returns the answer of the health paths while models load; `None` for any other path.
pub(crate) fn loading(path: &str) -> Option<Response> {
    [HEALTH, PING, READY].contains(&path).then(|| unwell(LOADING.into()))
}

/// A 503 for whoever looks after the server.
fn unwell(why: String) -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, [(RETRY_AFTER, RETRY_AFTER_SECONDS)], why).into_response()
}

async fn check(engine: &Engine, options: &Options) -> Result<(), String> {
    if let Some(verdict) = judge(&engine.pulse(), options) {
        return verdict;
    }
    let probe = engine.probe().map_err(|error| error.to_string())?;
    match tokio::time::timeout(options.health_wait, probe.into_future()).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(error.to_string()),
        // Requests came in between, and the probe is behind them: then they tell.
        Err(_) => judge(&engine.pulse(), options).unwrap_or_else(|| {
            Err(format!("an idle device ran nothing in {} s", options.health_wait.as_secs_f64()))
        }),
    }
}

/// `None` where the device is idle and has shown nothing lately.
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
            "a batch of {} tokens has run for {:.1} s and should have taken {:.1} s",
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

    use bigbatch_engine::engine::RunningBatch;

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
