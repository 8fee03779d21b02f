//! The progress display of a run: a bar on a terminal, one line per cell elsewhere.

use std::io::{IsTerminal, Write, stderr};

use indicatif::{ProgressBar, ProgressStyle};

use super::{Event, Progress};
use crate::figures::{Cell, Status};
use crate::format::{bytes, time};
use crate::load::LoadProgress;
use crate::plan::CellSpec;
use crate::system::MemorySample;

/// Prints a run's events on standard error.
pub struct Terminal {
    bar: Option<ProgressBar>,
}

impl Terminal {
    /// Creates the display, with a bar if standard error is a terminal.
    pub fn new() -> Terminal {
        let style = ProgressStyle::with_template("{prefix} {wide_bar} {pos}/{len} {per_sec} {msg}");
        let bar = style.ok().filter(|_| stderr().is_terminal()).map(|style| {
            let bar = ProgressBar::new(0);
            bar.set_style(style);
            bar
        });
        Terminal { bar }
    }

    fn print_line(&self, line: String) {
        match &self.bar {
            Some(bar) => bar.println(line),
            // A run is worth more than its progress.
            None => drop(writeln!(stderr(), "{line}")),
        }
    }
}

impl Progress for Terminal {
    fn event(&self, event: Event<'_>) {
        match event {
            Event::Preflight { findings } => {
                findings.iter().for_each(|finding| self.print_line(finding.line()));
            }
            Event::Preparing { tokens, scenarios } => {
                self.print_line(preparing_line(tokens, scenarios));
            }
            Event::Resumed { cells } => {
                self.print_line(format!("resuming: {cells} finished cells are in the journal"));
            }
            Event::JournalFailed { reason } => self.print_line(format!(
                "cannot write a finished cell to the journal, it will be written with the next: {reason}"
            )),
            Event::CellsStarted { index, of, specs } => {
                if let Some(bar) = &self.bar {
                    bar.set_prefix(prefix(index, of, specs));
                    bar.set_length(0);
                    bar.reset();
                }
            }
            Event::CellsProgressed { progress, memory, .. } => {
                if let Some(bar) = &self.bar {
                    let sum = |of: fn(&LoadProgress) -> usize| {
                        progress.iter().map(|(_, progress)| of(progress) as u64).sum()
                    };
                    bar.set_length(sum(|progress| progress.wanted));
                    bar.set_position(sum(|progress| progress.ended));
                    bar.set_message(status_message(progress, &memory));
                }
            }
            Event::CellFinished { cell } => self.print_line(finished_line(cell)),
        }
    }
}

/// Lists the lengths and scenarios whose prompts are cut: `cutting prompts: 512, 1024 tokens; 2 scenarios`.
fn preparing_line(tokens: &[usize], scenarios: usize) -> String {
    let lengths: Vec<String> = tokens.iter().map(usize::to_string).collect();
    let lengths = (!lengths.is_empty()).then(|| format!("{} tokens", lengths.join(", ")));
    let scenarios = (scenarios > 0).then(|| format!("{scenarios} scenarios"));
    let parts: Vec<String> = lengths.into_iter().chain(scenarios).collect();
    format!("cutting prompts: {}", parts.join("; "))
}

/// Names the cells that run, of several the scenario whose classes they are.
fn prefix(index: usize, of: usize, specs: &[CellSpec]) -> String {
    match specs {
        [spec] => format!("cell {}/{of}: {}", index + 1, spec.label()),
        _ => {
            let scenario = specs.first().and_then(|spec| spec.scenario.as_deref());
            let last = index + specs.len();
            format!("cells {} to {last}/{of}: {}", index + 1, scenario.unwrap_or_default())
        }
    }
}

/// Returns the text beside the bar of running cells: latency and failures of each so far, and memory.
fn status_message(progress: &[(&CellSpec, LoadProgress)], memory: &MemorySample) -> String {
    let ms = |us: Option<u64>| us.map(|us| time(us as f64 / 1e3));
    let warm = progress.iter().all(|(_, progress)| progress.measuring);
    let mut parts: Vec<String> = (!warm).then(|| "warm-up".into()).into_iter().collect();
    for (spec, progress) in progress {
        let class = spec.class.as_ref().map_or(String::new(), |class| format!("{class} "));
        parts.extend(ms(progress.latency_us_p50).map(|p50| format!("{class}p50 {p50}")));
        parts.extend(ms(progress.latency_us_p95).map(|p95| format!("p95 {p95}")));
        let failed = (progress.failed > 0).then(|| format!("{} failed", progress.failed));
        parts.extend(failed);
    }
    parts.extend(memory.device_used_bytes.or(memory.rss_bytes).map(bytes));
    parts.join(", ")
}

fn finished_line(cell: &Cell) -> String {
    let at = match cell.spec.matrix_position() {
        Some((tokens, concurrency)) => format!("{tokens:>6} tokens C={concurrency:<4}"),
        None => cell.spec.label(),
    };
    match &cell.status {
        Status::NotRun { reason } => format!("{at} not run: {reason}"),
        Status::Run { figures } if figures.requests == 0 => {
            format!("{at} {}", figures.note.as_deref().unwrap_or("no request was measured"))
        }
        Status::Run { figures } => format!(
            "{at} {}/{} answered, {:.0} tokens/s, {:.1} requests/s, p50 {}, p95 {}{}{}",
            figures.successes,
            figures.requests,
            figures.tokens_per_second,
            figures.requests_per_second,
            figures.latency.p50.label(),
            figures.latency.p95.label(),
            peak_memory(cell),
            figures.note.as_ref().map_or(String::new(), |note| format!("; {note}"))
        ),
    }
}

/// Returns the target's peak memory in the cell, if it reports any.
fn peak_memory(cell: &Cell) -> String {
    let most = |of: fn(&MemorySample) -> Option<u64>| {
        cell.memory.iter().filter_map(|point| of(&point.sample)).max()
    };
    let device = most(|sample| sample.device_used_bytes).map(|most| ("device memory", most));
    let peak = device.or_else(|| Some(("resident memory", most(|sample| sample.rss_bytes)?)));
    peak.map_or(String::new(), |(what, most)| format!(", {what} up to {}", bytes(most)))
}

impl Default for Terminal {
    fn default() -> Self {
        Terminal::new()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_shows_latency_failures_and_memory() {
        let mut memory = MemorySample { rss_bytes: Some(300 << 20), ..MemorySample::default() };
        let spec = CellSpec::matrix(64, 1);
        let message =
            |progress, memory: &MemorySample| status_message(&[(&spec, progress)], memory);
        assert_eq!(message(LoadProgress::default(), &memory), "warm-up, 300 MiB");
        let mut progress = LoadProgress {
            measuring: true,
            latency_us_p50: Some(12_300),
            latency_us_p95: Some(1_500_000),
            ..LoadProgress::default()
        };
        memory.device_used_bytes = Some(2 << 30);
        assert_eq!(message(progress, &memory), "p50 12.3 ms, p95 1.50 s, 2.00 GiB");
        progress.failed = 3;
        let failed = message(progress, &MemorySample::default());
        assert_eq!(failed, "p50 12.3 ms, p95 1.50 s, 3 failed");
        let class = |name: &str| CellSpec { class: Some(name.into()), ..CellSpec::matrix(64, 1) };
        let (short, long) = (class("short"), class("long"));
        let both = [(&short, progress), (&long, LoadProgress { failed: 0, ..progress })];
        assert_eq!(
            status_message(&both, &MemorySample::default()),
            "short p50 12.3 ms, p95 1.50 s, 3 failed, long p50 12.3 ms, p95 1.50 s"
        );
    }
}
