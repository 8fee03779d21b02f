//! The closed loop: a number of clients that each send, wait for the answer, and send again.
//!
//! The intended start of a request is the moment its client was free to send it: right after the
//! answer before it, or after the pause that follows a failure. Whatever the generator itself loses
//! between that moment and the sending is part of the latency, and is reported as its lag.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::cell::LoadContext;
use super::send::{Attempt, send};

/// One client, until the cell is done.
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
        // A target that answers at once would otherwise keep this thread from all others.
        tokio::task::coop::consume_budget().await;
    }
}

fn pause_after(attempt: &Attempt, failure_pause: Duration) -> Option<Duration> {
    let failure = attempt.outcome.as_ref().err()?;
    Some(failure.retry_after.unwrap_or(failure_pause))
}
