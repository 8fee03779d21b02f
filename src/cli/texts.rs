//! Reads the texts of a command: from its arguments, a JSON file, or standard input, one per line.

use std::error::Error;
use std::io::{BufRead, BufReader, stdin};
use std::path::PathBuf;

use clap::Args;

/// The texts of a command, or where to read them.
#[derive(Args, Clone)]
pub(crate) struct TextOptions {
    /// Texts; without any, reads standard input, one text per line
    #[arg(value_name = "TEXT", conflicts_with = "input")]
    texts: Vec<String>,
    /// Read the texts from a JSON array of strings
    #[arg(long, value_name = "FILE.json")]
    input: Option<PathBuf>,
}

/// A text, or an error that names the file or line that could not be read.
pub(crate) type TextResult = Result<String, Box<dyn Error>>;

impl TextOptions {
    /// Iterates over the texts in order. Standard input is read one line at a time, as the iterator advances.
    ///
    /// # Errors
    /// A file of `--input` that cannot be read or is not a JSON array of strings.
    pub(crate) fn iter(self) -> Result<Box<dyn Iterator<Item = TextResult>>, Box<dyn Error>> {
        if let Some(path) = self.input {
            let at = path.display();
            let json = std::fs::read(&path).map_err(|e| format!("cannot read {at}: {e}"))?;
            let texts: Vec<String> = serde_json::from_slice(&json)
                .map_err(|e| format!("{at} is not a JSON array of strings: {e}"))?;
            return Ok(Box::new(texts.into_iter().map(Ok)));
        }
        if !self.texts.is_empty() {
            return Ok(Box::new(self.texts.into_iter().map(Ok)));
        }
        let lines = BufReader::new(stdin()).split(b'\n').enumerate();
        Ok(Box::new(lines.map(|(index, line)| {
            let number = index + 1;
            let mut line = line.map_err(|e| format!("cannot read standard input: {e}"))?;
            if line.last() == Some(&b'\r') {
                line.pop();
            }
            String::from_utf8(line).map_err(|_| {
                format!("line {number} of standard input is not valid UTF-8; convert it first")
                    .into()
            })
        })))
    }
}
