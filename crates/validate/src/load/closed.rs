//! The closed loop: clients that each send, wait for the answer, and send again.
//!
//! The intended start of a request is the time at which its client is free to send it: right after the
//! previous answer, or after the pause that follows a failure. A client that the target tells to wait past the
//! cell's time limit (`Retry-After`) sends no further request: it would neither obey nor measure anything. Time that
//! the generator loses between the intended start and sending is part of the latency, and is reported as the
//! generator's lag.

use std::sync::Arc;

use tokio::time::Instant;

use super::cell::LoadContext;
use super::send::send;

/// Runs one client until the cell is done.
pub(super) async fn run_client(shared: Arc<LoadContext>, client: usize) {
    loop {
        let intended = Instant::now();
        let Some(ticket) = shared.phases.issue(shared.class, intended) else { return };
        let prompt = shared.prompts.prompt(ticket.ordinal);
        let attempt = send(&*shared.target, &prompt, intended, &shared.rules).await;
        let failure = attempt.outcome.as_ref().err();
        let pause = failure.map(|failure| failure.retry_after.unwrap_or(shared.failure_pause));
        let told_to_wait = failure.is_some_and(|failure| failure.retry_after.is_some());
        shared.complete(client, ticket, &prompt, intended, attempt);
        if let Some(pause) = pause {
            let left = shared.limit.saturating_duration_since(Instant::now());
            if told_to_wait && pause >= left {
                shared.phases.stop_client(shared.class);
                return;
            }
            tokio::time::sleep(pause).await;
        }
        // Without it, the client of a target that answers at once would never yield its thread.
        tokio::task::coop::consume_budget().await;
    }
}
