//! A recorded load for `replay` scenarios: when each request arrived, and its length.

use std::fs;
use std::path::Path;

use crate::error::Error;
use crate::plan::{REQUESTS_MAX, SECONDS_MAX, TOKENS_MAX};

/// One request of a [`Trace`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TraceLine {
    /// Seconds since the first line.
    pub seconds: f64,
    /// Length in tokens, special tokens included.
    pub tokens: usize,
}

/// The requests of a file of `seconds,tokens` lines in order of time. A first line with those two words,
/// empty lines and lines that begin with `#` are ignored. Only differences of time count, so the seconds
/// may have any origin.
#[derive(Debug, Clone, PartialEq)]
pub struct Trace {
    lines: Vec<TraceLine>,
}

impl Trace {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// [`Error::TraceUnreadable`], or those of [`Trace::parse`].
    pub fn load(path: &Path) -> Result<Trace, Error> {
        let text = fs::read_to_string(path)
            .map_err(|source| Error::TraceUnreadable { path: path.to_owned(), source })?;
        Trace::parse(&text, &path.display().to_string())
    }

    /// Parses and checks the text of a file; errors name it `origin`.
    ///
    /// # Errors
    /// [`Error::TraceSyntax`] with the first line that is malformed, out of order or out of range, or if
    /// there is no request.
    pub fn parse(text: &str, origin: &str) -> Result<Trace, Error> {
        let fault = |line, message| Error::TraceSyntax { origin: origin.to_owned(), line, message };
        let mut lines: Vec<TraceLine> = Vec::new();
        let mut first_seconds = None;
        for (number, line) in text.lines().enumerate().map(|(index, line)| (index + 1, line.trim()))
        {
            let heading = first_seconds.is_none() && line.replace(' ', "") == "seconds,tokens";
            if line.is_empty() || line.starts_with('#') || heading {
                continue;
            }
            let (seconds, tokens) = parse_line(line).map_err(|message| fault(number, message))?;
            let since = seconds - *first_seconds.get_or_insert(seconds);
            if lines.last().is_some_and(|last| since < last.seconds) {
                return Err(fault(
                    number,
                    "the time is before that of the line above; sort the lines by time".into(),
                ));
            }
            if since > SECONDS_MAX || lines.len() == REQUESTS_MAX {
                let most = format!("{SECONDS_MAX} seconds or {REQUESTS_MAX} lines");
                return Err(fault(
                    number,
                    format!("a replay has at most {most}; end the file here"),
                ));
            }
            lines.push(TraceLine { seconds: since, tokens });
        }
        if lines.is_empty() {
            return Err(fault(1, "there is no line of seconds,tokens; give at least one".into()));
        }
        Ok(Trace { lines })
    }

    /// Returns the requests in order of time; there is at least one.
    pub fn lines(&self) -> &[TraceLine] {
        &self.lines
    }

    /// Returns the mean arrivals per second, or 1 if all times are equal.
    pub fn rate_per_second(&self) -> f64 {
        match self.lines.last() {
            Some(last) if last.seconds > 0.0 => (self.lines.len() - 1) as f64 / last.seconds,
            _ => 1.0,
        }
    }
}

fn parse_line(line: &str) -> Result<(f64, usize), String> {
    let expected = || "expected seconds,tokens, such as 12.5,1024".to_owned();
    let (seconds, tokens) = line.split_once(',').ok_or_else(expected)?;
    let seconds: f64 = seconds.trim().parse().map_err(|_| expected())?;
    let tokens: usize = tokens.trim().parse().map_err(|_| expected())?;
    if !seconds.is_finite() {
        return Err(format!("{seconds} is not a time; give seconds as a finite number"));
    }
    if !(1..=TOKENS_MAX).contains(&tokens) {
        return Err(format!("{tokens} tokens are out of range; give 1 to {TOKENS_MAX}"));
    }
    Ok((seconds, tokens))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_from_its_first_time_on() {
        let text = "seconds,tokens\n# a comment\n1700000000.25, 10\n\n1700000000.75,20\n";
        let trace = Trace::parse(text, "t.csv").expect("valid");
        let lines: Vec<_> = trace.lines().iter().map(|line| (line.seconds, line.tokens)).collect();
        assert_eq!(lines, [(0.0, 10), (0.5, 20)]);
        assert_eq!(trace.rate_per_second(), 2.0);
    }

    #[test]
    fn faults_name_their_line() {
        for (text, expected) in [
            ("0,10\n1;20\n", "t.csv:2: expected seconds,tokens"),
            ("0,10\nseconds,tokens\n", "t.csv:2: expected seconds,tokens"),
            ("0,0\n", "t.csv:1: 0 tokens are out of range"),
            ("0,-5\n", "t.csv:1: expected"),
            ("nan,5\n", "t.csv:1: NaN is not a time"),
            ("1,5\n0.5,5\n", "t.csv:2: the time is before"),
            ("0,5\n1e9,5\n", "t.csv:2: a replay has at most"),
            ("seconds,tokens\n", "t.csv:1: there is no line"),
        ] {
            let error = Trace::parse(text, "t.csv").expect_err("refused").to_string();
            assert!(error.starts_with(expected), "{text:?}: {error}");
            assert_eq!(error.lines().count(), 1);
        }
    }
}
