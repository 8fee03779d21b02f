//! The closed loop: clients that each send, wait for the answer, and send again.
//!
//! The intended start of a request is the time at which its client is free to send it: right after the
//! previous answer, or after the pause that follows a failure. Time that the generator loses between the
//! intended start and sending is part of the latency, and is reported as the generator's lag.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::cell::LoadContext;
use super::send::{Attempt, send};

/// Runs one client until the cell is done.
pub(super) async fn run_client(shared: Arc<LoadContext>, client: usize) {
    loop {
        let intended = Instant::now();
        let Some(ticket) = shared.phases.issue(intended) else { return };
        let prompt = shared.prompts.prompt(ticket.ordinal);
        let attempt = send(&*shared.target, &prompt, intended, shared.timeout).await;
        let pause = pause_after(&attempt, shared.failure_pause);
        shared.complete(client, ticket, &prompt, intended, attempt);
        if let Some(pause) = pause {
            tokio::time::sleep(pause).await;
        }
        // Without it, the client of a target that answers at once would never yield its thread.
        tokio::task::coop::consume_budget().await;
    }
}

fn pause_after(attempt: &Attempt, failure_pause: Duration) -> Option<Duration> {
    let failure = attempt.outcome.as_ref().err()?;
    Some(failure.retry_after.unwrap_or(failure_pause))
}
