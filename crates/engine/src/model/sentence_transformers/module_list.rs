//! `modules.json`: the modules of a sentence-transformers model, in the order in which they run.

use serde::Deserialize;

use crate::error::LoadError;
use crate::model::config_file::SettingsFiles;

pub(super) const FILE: &str = "modules.json";

/// The kinds of module that are computed here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ModuleKind {
    Transformer,
    Pooling,
    Dense,
    Normalize,
    Dropout,
}

/// One module: what it is, and the folder of its files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ModuleEntry {
    pub(super) kind: ModuleKind,
    /// As the file names it: `sentence_transformers.models.Pooling`.
    pub(super) class: String,
    pub(super) folder: String,
}

impl ModuleEntry {
    /// Returns the path of a file of this module.
    pub(super) fn file(&self, name: &str) -> String {
        if self.folder.is_empty() { name.into() } else { format!("{}/{name}", self.folder) }
    }
}

/// Returns an error about `modules.json`.
pub(super) fn bad(reason: impl Into<String>) -> LoadError {
    LoadError::Config { file: FILE.into(), reason: reason.into() }
}

/// Reads the list; `None` if the checkpoint has none.
pub(super) fn read(files: &SettingsFiles<'_>) -> Result<Option<Vec<ModuleEntry>>, LoadError> {
    files.read(FILE)?.map(|json| parse(&json)).transpose()
}

/// Parses the list. sentence-transformers runs modules in the order of the file and ignores `idx`; where the two
/// differ, the file is refused.
fn parse(json: &[u8]) -> Result<Vec<ModuleEntry>, LoadError> {
    #[derive(Deserialize)]
    struct Raw {
        #[serde(default)]
        idx: i64,
        #[serde(default)]
        name: String,
        path: String,
        #[serde(rename = "type")]
        class: String,
    }
    let raw: Vec<Raw> = serde_json::from_slice(json).map_err(|e| bad(e.to_string()))?;
    if raw.windows(2).any(|pair| pair[0].idx > pair[1].idx) {
        return Err(bad("its modules are not in the order of their idx; sort them"));
    }
    let twice = |(n, module): (usize, &Raw)| raw[..n].iter().any(|one| one.name == module.name);
    if let Some((_, module)) = raw.iter().enumerate().find(|&pair| twice(pair)) {
        return Err(bad(format!("two modules have the name '{}'; rename one", module.name)));
    }
    let entry = |module: &Raw| {
        Ok(ModuleEntry {
            kind: kind(&module.class)?,
            class: module.class.clone(),
            folder: folder(&module.path)?,
        })
    };
    raw.iter().map(entry).collect()
}

/// Returns the kind of a class, whose path differs between releases:
/// `sentence_transformers.models.Pooling`, `sentence_transformers.sentence_transformer.modules.pooling.Pooling`.
fn kind(class: &str) -> Result<ModuleKind, LoadError> {
    let name =
        class.strip_prefix("sentence_transformers.").and_then(|rest| rest.rsplit('.').next());
    Ok(match name {
        Some("Transformer") => ModuleKind::Transformer,
        Some("Pooling") => ModuleKind::Pooling,
        Some("Dense") => ModuleKind::Dense,
        Some("Normalize") => ModuleKind::Normalize,
        Some("Dropout") => ModuleKind::Dropout,
        _ => {
            return Err(bad(format!(
                "it has {class}, which is not computed; known are Transformer, Pooling, Dense, Normalize and \
                 Dropout of sentence_transformers"
            )));
        }
    })
}

/// Checks that a path stays within the checkpoint.
fn folder(path: &str) -> Result<String, LoadError> {
    let path = path.trim_end_matches('/');
    let inside = |part: &str| !part.is_empty() && part != "." && part != "..";
    if path.contains('\\') || !(path.is_empty() || path.split('/').all(inside)) {
        return Err(bad(format!(
            "the path '{path}' is not a folder of the checkpoint; name it relative to modules.json"
        )));
    }
    Ok(path.into())
}
