//! The prose from which prompts are cut: embedded, or a directory of text files.

use std::fs;
use std::path::Path;

use crate::error::Error;

const EMBEDDED: &str = include_str!("../../corpus/prose.txt");
/// Fewest words of a corpus; with fewer, prompts would be nearly equal.
const WORDS_MIN: usize = 1000;

/// Prose from which prompts are cut.
#[derive(Debug, Clone)]
pub struct Corpus {
    origin: String,
    text: String,
}

impl Corpus {
    /// Returns the public-domain prose of `corpus/prose.txt`.
    pub fn embedded() -> Corpus {
        Corpus { origin: "embedded".into(), text: concatenate(&[EMBEDDED]) }
    }

    /// Takes prose as text; reports name it `origin`.
    ///
    /// # Errors
    /// [`Error::CorpusTooSmall`] below 1000 words.
    pub fn from_text(origin: impl Into<String>, text: &str) -> Result<Corpus, Error> {
        Corpus { origin: origin.into(), text: concatenate(&[text]) }.require_words()
    }

    /// Reads every `.txt` file of a directory, in the order of their names.
    ///
    /// # Errors
    /// [`Error::CorpusUnreadable`], or [`Error::CorpusTooSmall`] below 1000 words.
    pub fn from_directory(directory: &Path) -> Result<Corpus, Error> {
        let unreadable = |path: &Path| {
            let path = path.to_owned();
            move |source| Error::CorpusUnreadable { path, source }
        };
        let mut paths = Vec::new();
        for entry in fs::read_dir(directory).map_err(unreadable(directory))? {
            let path = entry.map_err(unreadable(directory))?.path();
            if path.extension().is_some_and(|extension| extension == "txt") {
                paths.push(path);
            }
        }
        paths.sort();
        let mut texts = Vec::new();
        for path in &paths {
            texts.push(fs::read_to_string(path).map_err(unreadable(path))?);
        }
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        Corpus { origin: directory.display().to_string(), text: concatenate(&texts) }
            .require_words()
    }

    /// Returns the name in reports: the directory, or `embedded`.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Returns the prose. It ends in an empty line, so that it can be repeated.
    pub fn text(&self) -> &str {
        &self.text
    }

    fn require_words(self) -> Result<Corpus, Error> {
        let words = self.text.split_whitespace().count();
        if words < WORDS_MIN {
            return Err(Error::CorpusTooSmall { origin: self.origin, words, needed: WORDS_MIN });
        }
        Ok(self)
    }
}

fn concatenate(texts: &[&str]) -> String {
    let mut all = String::with_capacity(texts.iter().map(|text| text.len() + 2).sum());
    for text in texts {
        all.push_str(text.trim());
        all.push_str("\n\n");
    }
    all
}
