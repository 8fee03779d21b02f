//! How fast a client takes an answer, and until when the server waits for it to take more.
//!
//! Only time in which the server waits for the client counts, so a slow handler costs the client nothing. The
//! same rule holds for a connection, whose socket does not take more bytes (`timer`), and for a stream of
//! HTTP/2, whose window is empty (`streams`).

use std::time::Duration;

use tokio::time::Instant;

use crate::options::Transport;

/// The limits on a client that takes its answer slowly.
#[derive(Debug, Clone, Copy)]
pub(super) struct PaceLimits {
    stall: Duration,
    bytes_per_second: u64,
}

impl PaceLimits {
    pub(super) fn new(limits: &Transport) -> PaceLimits {
        let bytes_per_second = limits.min_response_data_rate.max(1);
        PaceLimits { stall: limits.stall_timeout, bytes_per_second }
    }
}

/// What a client has taken of an answer, and how long the server has waited for it.
#[derive(Debug, Default)]
pub(super) struct Pace {
    taken_bytes: u64,
    /// Sum of the waits that have ended.
    waited: Duration,
    waiting_since: Option<Instant>,
}

impl Pace {
    /// Marks that the client has to take bytes before the server can continue.
    pub(super) fn wait(&mut self, now: Instant) {
        self.waiting_since.get_or_insert(now);
    }

    /// Adds bytes that the client has taken, and ends the wait.
    pub(super) fn take(&mut self, bytes: usize, now: Instant) {
        self.taken_bytes += bytes as u64;
        if let Some(since) = self.waiting_since.take() {
            self.waited += now.saturating_duration_since(since);
        }
    }

    /// Returns whether the server waits for the client.
    pub(super) fn is_waiting(&self) -> bool {
        self.waiting_since.is_some()
    }

    /// Returns until when the client has to take more; `None` while it is not waited for. One wait is at most
    /// the stall timeout, and all waits together at most that and the time that the bytes taken are worth.
    pub(super) fn deadline(&self, limits: PaceLimits) -> Option<Instant> {
        let since = self.waiting_since?;
        let earned =
            Duration::from_secs_f64(self.taken_bytes as f64 / limits.bytes_per_second as f64);
        let left = (limits.stall + earned).saturating_sub(self.waited);
        Some(since + left.min(limits.stall))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: PaceLimits =
        PaceLimits { stall: Duration::from_secs(30), bytes_per_second: 1000 };

    #[test]
    fn small_bites_do_not_extend_the_deadline_for_ever() {
        let mut now = Instant::now();
        let mut pace = Pace::default();
        assert_eq!(pace.deadline(LIMITS), None, "nothing was sent");
        pace.wait(now);
        assert_eq!(pace.deadline(LIMITS), Some(now + LIMITS.stall));
        // A byte every ten seconds.
        for _ in 0..3 {
            now += Duration::from_secs(10);
            pace.take(1, now);
            assert_eq!(pace.deadline(LIMITS), None);
            pace.wait(now);
        }
        let left = pace.deadline(LIMITS).expect("it waits") - now;
        assert_eq!(left, Duration::from_millis(3), "what the bytes are worth");
    }

    #[test]
    fn a_client_at_the_minimum_rate_is_waited_for() {
        let mut now = Instant::now();
        let mut pace = Pace::default();
        for _ in 0..1000 {
            pace.wait(now);
            now += Duration::from_secs(1);
            pace.take(1000, now);
        }
        pace.wait(now);
        assert_eq!(pace.deadline(LIMITS), Some(now + LIMITS.stall));
        // What it has earned does not let it stop for longer than anyone else.
        pace.take(1 << 30, now);
        pace.wait(now);
        assert_eq!(pace.deadline(LIMITS), Some(now + LIMITS.stall));
    }

    #[test]
    fn time_in_which_the_server_has_nothing_to_send_is_not_counted() {
        let mut now = Instant::now();
        let mut pace = Pace::default();
        for _ in 0..100 {
            pace.wait(now);
            pace.take(1, now + Duration::from_millis(1));
            now += Duration::from_secs(60);
        }
        pace.wait(now);
        assert_eq!(pace.deadline(LIMITS), Some(now + LIMITS.stall));
    }
}
