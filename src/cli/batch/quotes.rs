//! Rejects quotes and line ends of CSV and TSV that the `csv` crate accepts: it reads a quote without an end, or text after
//! the end of a quote, as a part of the field, so that one stray quote swallows all rows up to the next one; and it takes a
//! carriage return inside of a text for the end of the row.

use std::io::{self, Read};

use super::input::Bytes;

/// Passes bytes on up to the last record before a quote or a line end that cannot be right, and then fails. No record after
/// it has a certain end.
pub(super) struct QuoteCheck {
    reader: Bytes,
    delimiter: u8,
    state: State,
    /// Line of the next byte, from 1.
    line: u64,
    /// Line in which the last quote opened.
    opened: u64,
    fault: Option<String>,
}

/// Where in a record the next byte is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    FieldStart,
    Plain,
    Quoted,
    /// After a quote inside of quotes: the end of the field, or the first of two.
    Quote,
    /// After a carriage return outside of quotes.
    Return,
}

impl QuoteCheck {
    pub(super) fn new(reader: Bytes, delimiter: u8) -> QuoteCheck {
        QuoteCheck { reader, delimiter, state: State::FieldStart, line: 1, opened: 1, fault: None }
    }

    /// Checks bytes and returns how many of them belong to records without a fault.
    fn check(&mut self, bytes: &[u8]) -> usize {
        let mut whole = 0;
        for (at, byte) in bytes.iter().enumerate() {
            self.state = match (self.state, *byte) {
                (State::Return, b'\n') => State::FieldStart,
                (State::Return, _) => {
                    self.fault = Some(format!(
                        "line {} has a carriage return without a line feed; quote the field, or end lines in LF or CRLF",
                        self.line
                    ));
                    return whole;
                }
                (State::Quoted, b'"') => State::Quote,
                (State::Quoted, _) => State::Quoted,
                (State::Quote, b'"') => State::Quoted,
                (State::FieldStart, b'"') => {
                    self.opened = self.line;
                    State::Quoted
                }
                (_, b'\r') => State::Return,
                (_, byte) if byte == self.delimiter || byte == b'\n' => State::FieldStart,
                (State::Quote, _) => {
                    let (opened, line) = (self.opened, self.line);
                    self.fault = Some(format!(
                        "the quote that opens in line {opened} is followed by text where it ends, in line {line}; \
                         double the quotes inside of a field"
                    ));
                    return whole;
                }
                (State::FieldStart | State::Plain, _) => State::Plain,
            };
            self.line += u64::from(*byte == b'\n');
            if *byte == b'\n' && self.state == State::FieldStart {
                whole = at + 1;
            }
        }
        bytes.len()
    }
}

impl Read for QuoteCheck {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut passed = 0;
        if self.fault.is_none() {
            let read = self.reader.read(buffer)?;
            if read == 0 && !buffer.is_empty() && self.state == State::Quoted {
                self.fault = Some(format!(
                    "the quote that opens in line {} has no end; double the quotes inside of a field",
                    self.opened
                ));
            }
            passed = self.check(&buffer[..read]);
        }
        match &self.fault {
            Some(reason) if passed == 0 => Err(io::Error::other(reason.clone())),
            _ => Ok(passed),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    /// Reads everything in pieces, and returns what was passed on and the error.
    fn read(csv: &'static str, piece: usize) -> (String, Option<String>) {
        let mut reader = QuoteCheck::new(Box::new(Cursor::new(csv)), b',');
        let (mut passed, mut buffer) = (String::new(), vec![0; piece]);
        loop {
            match reader.read(&mut buffer) {
                Ok(0) => return (passed, None),
                Ok(read) => passed += str::from_utf8(&buffer[..read]).expect("it is ASCII"),
                Err(error) => return (passed, Some(error.to_string())),
            }
        }
    }

    #[test]
    fn quotes_that_are_right_pass() {
        for csv in [
            "",
            "a,b\n\"1\",\"two\nlines \"\"q\"\", and\"\r\n3\"x\",y\"\n\"\",\"\"",
            "\n\n\"a\"",
            "a\r\n\r\n\"b\rc\"\r",
        ] {
            for piece in [1, 2, 100] {
                assert_eq!(read(csv, piece), (csv.to_owned(), None));
            }
        }
    }

    #[test]
    fn a_fault_names_its_line_after_the_records_before_it() {
        let open = "the quote that opens in line 3 has no end";
        let text = "the quote that opens in line 3 is followed by text where it ends, in line 4";
        let end = "line 3 has a carriage return without a line feed";
        for (csv, says) in [
            ("a,b\n1,2\n3,4\r5,6\n", end),
            ("a,b\n1,2\n3,\"4\"\r\r\n", end),
            ("a,b\n1,2\n3,\"4\n5,6\n", open),
            ("a,b\n1,2\n3,\"4\n5,\"6\"\n", text),
            ("a,b\n1,2\n3,\"4\n\"5,6\n", text),
        ] {
            for piece in [1, 2, 100] {
                let (passed, error) = read(csv, piece);
                assert!(error.is_some_and(|error| error.starts_with(says)), "{csv:?} {piece}");
                assert!(passed.starts_with("a,b\n1,2\n"), "{passed:?}");
            }
        }
        assert_eq!(read("a,b\n1,2\n3,\"4\n\"5,6\n", 100).0, "a,b\n1,2\n");
    }
}
