//! The prose that prompts are cut from: embedded, or a directory of text files.

use std::fs;
use std::path::Path;

use crate::error::Error;

const EMBEDDED: &str = include_str!("../../corpus/prose.txt");
/// Fewer words than this would make prompts that are nearly the same.
const WORDS_MIN: usize = 1000;

/// Prose to cut prompts from.
#[derive(Debug, Clone)]
pub struct Corpus {
    origin: String,
    text: String,
}

impl Corpus {
    /// The public-domain prose that comes with the harness.
    pub fn embedded() -> Corpus {
        Corpus { origin: "embedded".into(), text: concatenate(&[EMBEDDED]) }
    }

    /// Prose given as text; `origin` is what the report calls it.
    pub fn from_text(origin: impl Into<String>, text: &str) -> Result<Corpus, Error> {
        Corpus { origin: origin.into(), text: concatenate(&[text]) }.require_words()
    }

    /// Every `.txt` file of a directory, in the order of their names.
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

    /// What the report calls it.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The prose. It ends in an empty line, so that it reads on from its end to its beginning.
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
