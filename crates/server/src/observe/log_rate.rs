//! Rates of log lines about refusals: a client that is refused a thousand times per second must not fill a disk.

use std::mem;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::RequestOutcome;
use crate::error::REASONS;

/// Admits a number of log lines per second and counts the others.
#[derive(Debug)]
pub struct LogRate {
    per_second: u32,
    window: Mutex<Window>,
}

/// The second that began with the first line after the one before.
#[derive(Debug)]
struct Window {
    start: Option<Instant>,
    admitted: u32,
    left_out: u64,
}

impl LogRate {
    /// Returns a rate of `per_second` lines; 0 admits none.
    pub const fn new(per_second: u32) -> LogRate {
        let window = Window { start: None, admitted: 0, left_out: 0 };
        LogRate { per_second, window: Mutex::new(window) }
    }

    /// Asks for a line. Returns the number of lines left out since the last one that was admitted, or `None` if
    /// this one is left out too.
    pub fn admit(&self) -> Option<u64> {
        self.admit_at(Instant::now())
    }

    fn admit_at(&self, now: Instant) -> Option<u64> {
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        let over = |start| now.duration_since(start) >= Duration::from_secs(1);
        if window.start.is_none_or(over) {
            window.start = Some(now);
            window.admitted = 0;
        }
        if window.admitted == self.per_second {
            window.left_out += 1;
            return None;
        }
        window.admitted += 1;
        Some(mem::take(&mut window.left_out))
    }
}

/// One rate per reason of a refusal, and one for clients that disconnect.
#[derive(Debug)]
pub(crate) struct OutcomeRates {
    refused: [LogRate; REASONS.len()],
    abandoned: LogRate,
}

impl OutcomeRates {
    /// Returns rates of `per_second` lines each.
    pub(crate) fn new(per_second: u32) -> OutcomeRates {
        let rate = |_| LogRate::new(per_second);
        OutcomeRates { refused: std::array::from_fn(rate), abandoned: LogRate::new(per_second) }
    }

    /// As [`LogRate::admit`], for the rate of this outcome. Answered requests have none.
    pub(crate) fn admit(&self, outcome: RequestOutcome) -> Option<u64> {
        let rate = match outcome {
            RequestOutcome::Ok => return Some(0),
            RequestOutcome::Abandoned => &self.abandoned,
            RequestOutcome::Refused(_, reason) => {
                // The last reason is `other`.
                let index = REASONS.iter().position(|known| *known == reason);
                &self.refused[index.unwrap_or(REASONS.len() - 1)]
            }
        };
        rate.admit()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_beyond_the_rate_are_counted_in_the_next_one() {
        let (rate, start) = (LogRate::new(2), Instant::now());
        let at = |ms| rate.admit_at(start + Duration::from_millis(ms));
        assert_eq!([at(0), at(1), at(2), at(999)], [Some(0), Some(0), None, None]);
        assert_eq!([at(1000), at(1001), at(1002)], [Some(2), Some(0), None]);
        assert_eq!(at(60_000), Some(1));
        assert_eq!(LogRate::new(0).admit(), None);
    }

    #[test]
    fn each_reason_has_a_rate_of_its_own() {
        let rates = OutcomeRates::new(1);
        let (first, second) =
            (RequestOutcome::Refused(429, REASONS[0]), RequestOutcome::Refused(400, REASONS[1]));
        assert_eq!([rates.admit(first), rates.admit(first)], [Some(0), None]);
        assert_eq!([rates.admit(second), rates.admit(second)], [Some(0), None]);
        let gone = RequestOutcome::Abandoned;
        assert_eq!([rates.admit(gone), rates.admit(gone)], [Some(0), None]);
    }
}
