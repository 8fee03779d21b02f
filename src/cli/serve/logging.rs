//! The log of `serve`: lines on standard error through a writer that never blocks, and panics among them.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::error::Error;
use std::io::{IsTerminal, Write, stderr};
use std::panic;
use std::time::Duration;

use bigbatch_server::observe::LogWriter;
use tracing_subscriber::EnvFilter;

use super::args::{LogFormat, Serve};
use crate::cli::terminal::escape_lines;

/// Maximum time that the process waits at its end for a reader that has stopped.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);

/// The log, written out when it is dropped.
pub(super) struct Log(LogWriter);

impl Log {
    /// Sends log lines and panics to standard error; standard output is for the address and `--print-config`.
    pub(super) fn init(args: &Serve) -> Result<Log, Box<dyn Error>> {
        let filter = parse_filter(&args.log_level)?;
        let writer = LogWriter::start(stderr(), args.log_buffer as usize)
            .map_err(|error| format!("cannot start the thread that writes the log: {error}"))?;
        let lines = writer.clone();
        let lines = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(move || lines.clone())
            // The writer never fails.
            .log_internal_errors(false)
            .with_ansi(stderr().is_terminal());
        match args.log_format {
            LogFormat::Text => lines.init(),
            LogFormat::Json => lines.json().flatten_event(true).init(),
        }
        log_panics();
        Ok(Log(writer))
    }

    /// The writer behind the log, which counts the lines that it drops.
    pub(super) fn writer(&self) -> LogWriter {
        self.0.clone()
    }

    /// Writes the line of an error that ends the process. Standard error may block, so this goes through the log.
    pub(super) fn print_error(&mut self, line: &str) {
        // Never fails: what cannot be written is counted.
        let _ = self.0.write_all(format!("{}\n", escape_lines(line)).as_bytes());
    }
}

/// Parses `--log-level`. To the library a word that is no level is a target, so that a misspelt level would silence
/// everything.
fn parse_filter(text: &str) -> Result<EnvFilter, String> {
    let levels = ["off", "error", "warn", "info", "debug", "trace"];
    let is_level = |word: &str| levels.iter().any(|level| level.eq_ignore_ascii_case(word.trim()));
    let unknown = text.split(',').find(|part| !part.contains(['=', '[']) && !is_level(part));
    let reason = match unknown {
        Some(word) => format!("{word:?} is no level"),
        None => match EnvFilter::try_new(text) {
            Ok(filter) => return Ok(filter),
            Err(error) => error.to_string(),
        },
    };
    let levels = levels.join(", ");
    Err(format!(
        "--log-level {text}: {reason}; use {levels}, or a filter such as info,bigbatch_server=debug"
    ))
}

impl Drop for Log {
    fn drop(&mut self) {
        self.0.drain(DRAIN_TIMEOUT);
    }
}

/// Replaces the hook that writes panics to standard error itself: a thread that panics would wait for its reader,
/// and hold what it has locked.
fn log_panics() {
    panic::set_hook(Box::new(|panic| {
        let thread = std::thread::current();
        let thread = thread.name().unwrap_or("unnamed");
        // Only with RUST_BACKTRACE.
        let backtrace = Backtrace::capture();
        let backtrace =
            (backtrace.status() == BacktraceStatus::Captured).then(|| backtrace.to_string());
        tracing::error!(thread, backtrace, "{}", panic.to_string().replace('\n', " "));
    }));
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use super::*;

    /// Lines of a log.
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("no holder panics").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_misspelt_level_is_refused() {
        for good in ["info", "WARN", "off", "info,bigbatch_server=debug", "bigbatch_server=trace"] {
            assert!(parse_filter(good).is_ok(), "{good}");
        }
        for (bad, word) in
            [("inof", "inof"), ("warning", "warning"), ("info,debgu", "debgu"), ("", "\"\"")]
        {
            let error = parse_filter(bad).err().unwrap_or_default();
            assert!(error.contains(word) && error.contains("trace, or a filter"), "{bad}: {error}");
        }
    }

    #[test]
    fn a_panic_is_one_line_of_the_log() {
        let lines = Lines::default();
        let writer = lines.clone();
        let log = tracing_subscriber::fmt().with_writer(move || writer.clone()).with_ansi(false);
        let before = panic::take_hook();
        log_panics();
        // Only this thread logs there.
        let caught = tracing::subscriber::with_default(log.finish(), || {
            panic::catch_unwind(|| panic!("first\nsecond"))
        });
        panic::set_hook(before);
        assert!(caught.is_err());
        let written = lines.0.lock().expect("no holder panics").clone();
        let written = String::from_utf8(written).expect("text");
        assert_eq!(written.lines().count(), 1, "{written}");
        for part in ["ERROR", "logging.rs", "first second", "thread="] {
            assert!(written.contains(part), "{part} in {written}");
        }
    }
}
