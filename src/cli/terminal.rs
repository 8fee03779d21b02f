//! Printing: errors of standard output are returned, those of standard error ignored, and text from models, requests
//! and files never controls the terminal that shows it.

use std::borrow::Cow;
use std::fmt;
use std::io::{self, Write};

use serde_json::ser::Formatter;

/// Prints a line to standard output; unlike `println!`, returns a write error instead of panicking.
macro_rules! say {
    ($($arg:tt)*) => { $crate::cli::terminal::print(format_args!($($arg)*))? };
}
pub(crate) use say;

/// Prints a line to standard error; unlike `eprintln!`, does not panic if nobody can read it.
macro_rules! note {
    ($($arg:tt)*) => { $crate::cli::terminal::print_note(format_args!($($arg)*)) };
}
pub(crate) use note;

/// Writes a line of `say!`.
pub(crate) fn print(line: fmt::Arguments<'_>) -> io::Result<()> {
    writeln!(io::stdout(), "{}", escape_lines(&line.to_string()))
}

/// Writes a line of `note!`.
pub(crate) fn print_note(line: fmt::Arguments<'_>) {
    // There is nowhere left to report a failure.
    let _ = writeln!(io::stderr(), "{}", escape_lines(&line.to_string()));
}

/// Escapes control characters and those that reorder text (`\u{1b}`), so that a name stays within its line.
pub(crate) fn escape(name: &str) -> Cow<'_, str> {
    escape_if(name, controls_terminal)
}

/// As [`escape`], but keeps the ends of lines and tabs.
pub(crate) fn escape_lines(text: &str) -> Cow<'_, str> {
    escape_if(text, |c| !matches!(c, '\n' | '\t') && controls_terminal(c))
}

fn escape_if(text: &str, escaped: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(&escaped) {
        return text.into();
    }
    let mut safe = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if escaped(c) { safe.extend(c.escape_unicode()) } else { safe.push(c) }
    }
    safe.into()
}

/// Returns whether a terminal obeys the character instead of showing it: C0, DEL and C1, marks, embeddings,
/// overrides and isolates of bidirectional text, and Unicode's separators of lines.
fn controls_terminal(c: char) -> bool {
    let reorders = matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    c.is_control() || reorders || matches!(c, '\u{2028}' | '\u{2029}')
}

/// Compact JSON whose strings escape what [`escape`] does. JSON itself requires that of C0 only.
pub(crate) struct TerminalJson;

impl Formatter for TerminalJson {
    fn write_string_fragment<W: ?Sized + Write>(
        &mut self,
        out: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut rest = fragment;
        while let Some((at, c)) = rest.char_indices().find(|(_, c)| controls_terminal(*c)) {
            // All of them are in the basic plane.
            write!(out, "{}\\u{:04x}", &rest[..at], u32::from(c))?;
            rest = &rest[at + c.len_utf8()..];
        }
        out.write_all(rest.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use serde::Serialize;

    use super::*;

    const HOSTILE: &str = "a\u{1b}[2J\u{7f}\u{9b}31m\u{202e}b\u{2066}\n\té";

    #[test]
    fn names_stay_within_their_line() {
        let safe = r"a\u{1b}[2J\u{7f}\u{9b}31m\u{202e}b\u{2066}\u{a}\u{9}é";
        assert_eq!(escape(HOSTILE), safe);
        assert_eq!(escape_lines("one\n\ttwo\r"), "one\n\ttwo\\u{d}");
        assert!(matches!(escape("O'Neil \\ \"é\""), Cow::Borrowed("O'Neil \\ \"é\"")));
    }

    #[test]
    fn json_means_the_same() {
        let mut json = Vec::new();
        let mut to = serde_json::Serializer::with_formatter(&mut json, TerminalJson);
        HOSTILE.serialize(&mut to).expect("a string is JSON");
        let json = String::from_utf8(json).expect("JSON is UTF-8");
        assert_eq!(json, r#""a\u001b[2J\u007f\u009b31m\u202eb\u2066\n\té""#);
        assert_eq!(serde_json::from_str::<String>(&json).expect("it is JSON"), HOSTILE);
    }
}
