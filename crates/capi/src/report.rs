//! Lines on standard error, which is where the bindings wrote too: a library of C functions has no other log.
//!
//! A standard error that is closed is no reason to fail a call, so nothing here prints by a macro that panics.

use std::collections::BTreeSet;
use std::io::{Write, stderr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::error::CallError;

/// Failures that are printed per second. A router under load can make thousands.
const LINES_PER_SECOND: u32 = 10;

static FAILURES: Mutex<Limiter> = Mutex::new(Limiter { began: None, lines: 0, left_out: 0 });
static UNSERVED: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());

/// How many lines were printed in this second.
struct Limiter {
    began: Option<Instant>,
    lines: u32,
    left_out: u64,
}

/// What becomes of a line.
#[derive(Debug, PartialEq)]
enum Verdict {
    /// It is printed, after a line about this many that were not.
    Print {
        left_out: u64,
    },
    LeaveOut,
}

impl Limiter {
    fn judge(&mut self, now: Instant) -> Verdict {
        let second = Duration::from_secs(1);
        if self.began.is_none_or(|began| now.saturating_duration_since(began) >= second) {
            let left_out = std::mem::take(&mut self.left_out);
            (self.began, self.lines) = (Some(now), 1);
            return Verdict::Print { left_out };
        }
        if self.lines < LINES_PER_SECOND {
            self.lines += 1;
            return Verdict::Print { left_out: 0 };
        }
        self.left_out += 1;
        Verdict::LeaveOut
    }
}

fn print(line: &str) {
    let _ = writeln!(stderr(), "bigbatch: {line}");
}

/// Prints why a call failed.
pub(crate) fn failure(symbol: &str, error: &CallError) {
    let verdict = FAILURES.lock().unwrap_or_else(PoisonError::into_inner).judge(Instant::now());
    let Verdict::Print { left_out } = verdict else { return };
    if left_out > 0 {
        print(&format!("{left_out} more failures were not printed"));
    }
    print(&format!("{symbol}: {error}"));
}

/// Prints that a function is not served, when it is called for the first time.
pub(crate) fn unserved(symbol: &'static str) {
    if UNSERVED.lock().unwrap_or_else(PoisonError::into_inner).insert(symbol) {
        print(&format!(
            "{symbol} is not served: bigbatch runs ModernBERT classifiers and embedders (docs/router.md); \
             every call of it fails"
        ));
    }
}

/// Prints that a model is loaded.
pub(crate) fn loaded(slot: &str, what: &str) {
    print(&format!("loaded {what} as '{slot}'"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_a_second_are_bounded_and_the_others_counted() {
        let mut limiter = Limiter { began: None, lines: 0, left_out: 0 };
        let start = Instant::now();
        let mut judge = |milliseconds| limiter.judge(start + Duration::from_millis(milliseconds));
        for _ in 0..LINES_PER_SECOND {
            assert_eq!(judge(0), Verdict::Print { left_out: 0 });
        }
        assert_eq!([judge(1), judge(999)], [Verdict::LeaveOut, Verdict::LeaveOut]);
        assert_eq!(judge(1000), Verdict::Print { left_out: 2 });
        assert_eq!(judge(1001), Verdict::Print { left_out: 0 });
    }
}
