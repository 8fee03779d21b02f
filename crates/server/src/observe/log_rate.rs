//! Bounds how often a kind of line is logged, so that clients can neither fill the log nor slow the server by it.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The length of the window in which lines are counted.
const WINDOW: Duration = Duration::from_secs(1);

/// A limit on log lines of one kind.
#[derive(Debug)]
pub(crate) struct LogRate {
    per_second: u32,
    state: Mutex<RateState>,
}

#[derive(Debug, Default)]
struct RateState {
    window: Option<Instant>,
    /// Lines admitted in this window.
    admitted: u32,
    /// Lines refused since the last admitted one.
    suppressed: u64,
}

impl LogRate {
    /// Returns a limit of so many lines per second.
    pub(crate) const fn new(per_second: u32) -> LogRate {
        let state = RateState { window: None, admitted: 0, suppressed: 0 };
        LogRate { per_second, state: Mutex::new(state) }
    }

    /// Returns the number of lines left out since the last admitted one, or `None` if this one is left out too.
    pub(crate) fn admit(&self) -> Option<u64> {
        self.admit_at(Instant::now())
    }

    fn admit_at(&self, now: Instant) -> Option<u64> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.window.is_none_or(|start| now.saturating_duration_since(start) >= WINDOW) {
            state.window = Some(now);
            state.admitted = 0;
        }
        if state.admitted >= self.per_second {
            state.suppressed += 1;
            return None;
        }
        state.admitted += 1;
        Some(std::mem::take(&mut state.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_beyond_the_rate_are_counted() {
        let rate = LogRate::new(2);
        let start = Instant::now();
        let admitted: Vec<Option<u64>> = (0..5).map(|_| rate.admit_at(start)).collect();
        assert_eq!(admitted, [Some(0), Some(0), None, None, None]);
        assert_eq!(rate.admit_at(start + WINDOW), Some(3));
        assert_eq!(rate.admit_at(start + WINDOW), Some(0));
        assert_eq!(rate.admit_at(start + WINDOW), None);
    }
}
