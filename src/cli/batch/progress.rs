//! Progress on a terminal: a bar with the rate and the time left where the length of the input is known, else a count.

use std::io::{IsTerminal, stderr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// Time between two updates of the line.
const UPDATE_EVERY: Duration = Duration::from_millis(100);

/// The progress of a job; nothing where standard error is no terminal.
pub(super) struct Progress {
    bar: Option<Bar>,
}

struct Bar {
    bar: ProgressBar,
    read_bytes: Arc<AtomicU64>,
    begun: Instant,
    updated: Instant,
}

impl Progress {
    /// Begins a display of the bytes read of an input.
    pub(super) fn begin(read_bytes: Arc<AtomicU64>, total_bytes: Option<u64>) -> Progress {
        if !stderr().is_terminal() {
            return Progress::hidden();
        }
        let (bar, template) = match total_bytes {
            Some(total) => (ProgressBar::new(total), "{wide_bar} {percent}% {msg}, {eta} left"),
            None => (ProgressBar::no_length(), "{spinner} {msg}"),
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        let now = Instant::now();
        Progress { bar: Some(Bar { bar, read_bytes, begun: now, updated: now }) }
    }

    /// Shows nothing.
    pub(super) fn hidden() -> Progress {
        Progress { bar: None }
    }

    /// Shows how many rows of this run are done.
    pub(super) fn update(&mut self, rows: usize) {
        let Some(bar) = &mut self.bar else { return };
        if bar.updated.elapsed() < UPDATE_EVERY {
            return;
        }
        bar.updated = Instant::now();
        let rate = rows as f64 / bar.begun.elapsed().as_secs_f64();
        bar.bar.set_position(bar.read_bytes.load(Ordering::Relaxed));
        bar.bar.set_message(format!("{rows} rows, {rate:.0} rows/s"));
    }

    /// Counts time from now on, after rows that an earlier run did.
    pub(super) fn restart(&mut self) {
        if let Some(bar) = &mut self.bar {
            bar.bar.set_position(bar.read_bytes.load(Ordering::Relaxed));
            bar.bar.reset_eta();
            bar.begun = Instant::now();
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.bar.finish_and_clear();
        }
    }
}
