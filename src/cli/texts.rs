//! Where texts come from: the command line, a JSON file, or standard input a line each.

use std::error::Error;
use std::io::{BufRead, BufReader, stdin};
use std::path::PathBuf;

use clap::Args;

/// The texts of a command.
#[derive(Args, Clone)]
pub(crate) struct TextOptions {
    /// The texts; without any, standard input is read, one text a line
    #[arg(value_name = "TEXT", conflicts_with = "input")]
    texts: Vec<String>,
    /// A JSON array of texts
    #[arg(long, value_name = "FILE.json")]
    input: Option<PathBuf>,
}

/// An error that names the text it belongs to.
pub(crate) type TextResult = Result<String, Box<dyn Error>>;

impl TextOptions {
    /// All texts in order. Standard input is read as it is asked for, not before.
    pub(crate) fn iter(self) -> Result<Box<dyn Iterator<Item = TextResult>>, Box<dyn Error>> {
        if let Some(path) = self.input {
            let at = path.display();
            let json = std::fs::read(&path).map_err(|e| format!("cannot read {at}: {e}"))?;
            let texts: Vec<String> = serde_json::from_slice(&json)
                .map_err(|e| format!("{at} is not a JSON array of texts: {e}"))?;
            return Ok(Box::new(texts.into_iter().map(Ok)));
        }
        if !self.texts.is_empty() {
            return Ok(Box::new(self.texts.into_iter().map(Ok)));
        }
        let lines = BufReader::new(stdin()).split(b'\n').enumerate();
        Ok(Box::new(lines.map(|(index, line)| {
            let number = index + 1;
            let mut line = line.map_err(|e| format!("standard input: {e}"))?;
            if line.last() == Some(&b'\r') {
                line.pop();
            }
            String::from_utf8(line)
                .map_err(|_| format!("line {number} of standard input is not valid UTF-8").into())
        })))
    }
}
