//! Where a model's files come from: a directory, the Hugging Face Hub, or the caller's memory.

pub(crate) mod hints;
mod hub;
mod mapped_file;
mod tensors;

use std::borrow::Cow;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::error::LoadError;

pub(crate) use mapped_file::MappedFile;
pub use tensors::{Tensor, TensorSpec, Weights};

/// The files of one model under their standard names.
pub struct Checkpoint {
    name: String,
    files: Files,
}

enum Files {
    Directory(PathBuf),
    Memory(Vec<(String, Cow<'static, [u8]>)>),
}

/// The bytes of a file, mapped or in memory.
#[derive(Debug)]
pub enum FileBytes {
    /// Mapped from disk.
    Mapped(MappedFile),
    /// Held by the caller's program, or made by it.
    Held(Cow<'static, [u8]>),
}

impl std::ops::Deref for FileBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            FileBytes::Mapped(file) => file,
            FileBytes::Held(bytes) => bytes,
        }
    }
}

/// Upper limit on a file that is read whole.
const MAX_JSON_BYTES: u64 = 256 << 20;

impl Checkpoint {
    /// Resolves SOURCE: a directory, or a Hub id such as `answerdotai/ModernBERT-base` (honours
    /// `HF_HOME`, `HF_TOKEN`, `HF_HUB_OFFLINE`).
    ///
    /// # Errors
    /// [`LoadError::UnknownSource`] when it is neither, [`LoadError::Source`] when it is one of them and
    /// cannot be used.
    pub fn resolve(source: &str) -> Result<Checkpoint, LoadError> {
        Checkpoint::find(source, hub::fetch)
    }

    /// Resolves SOURCE as [`Checkpoint::resolve`] does, for its tokenizer alone: only tokenizer files are
    /// fetched from the Hub, and a directory needs no weights.
    ///
    /// # Errors
    /// As [`Checkpoint::resolve`].
    pub fn resolve_tokenizer(source: &str) -> Result<Checkpoint, LoadError> {
        Checkpoint::find(source, hub::fetch_tokenizer)
    }

    fn find(
        source: &str,
        fetch: fn(&str) -> Result<Checkpoint, LoadError>,
    ) -> Result<Checkpoint, LoadError> {
        let path = Path::new(source);
        if path.is_dir() {
            return Ok(Checkpoint::directory(path));
        }
        if path.exists() {
            return Err(no_source(
                source,
                "it is a file; give the directory that holds config.json",
            ));
        }
        if looks_like_hub_id(source) {
            return fetch(source);
        }
        Err(LoadError::UnknownSource { given: source.into() })
    }

    /// Opens a directory on disk. Its files are read when they are asked for.
    pub fn directory(path: &Path) -> Checkpoint {
        Checkpoint { name: path.display().to_string(), files: Files::Directory(path.to_path_buf()) }
    }

    /// Wraps files that are in memory.
    pub fn memory(name: impl Into<String>, files: Vec<(String, Cow<'static, [u8]>)>) -> Checkpoint {
        Checkpoint { name: name.into(), files: Files::Memory(files) }
    }

    /// Names the checkpoint as the user named it.
    fn named(self, name: &str) -> Checkpoint {
        Checkpoint { name: name.into(), ..self }
    }

    /// Returns the name that messages use: the path, or the Hub id.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Reads a whole file of up to 256 MiB; `None` if the checkpoint lacks it.
    ///
    /// # Errors
    /// [`LoadError::Io`] if the file exists and cannot be read, or is larger; [`LoadError::Source`] if something
    /// else stands in its place, such as a Git LFS pointer.
    pub fn read(&self, file: &str) -> Result<Option<Cow<'static, [u8]>>, LoadError> {
        let bytes = self.read_any(file)?;
        self.reject_stand_in(file, bytes.as_deref())?;
        Ok(bytes)
    }

    fn read_any(&self, file: &str) -> Result<Option<Cow<'static, [u8]>>, LoadError> {
        match &self.files {
            Files::Memory(files) => {
                Ok(files.iter().find(|(name, _)| name == file).map(|(_, bytes)| bytes.clone()))
            }
            Files::Directory(dir) => {
                let path = dir.join(file);
                let io = |source| LoadError::Io { path: path.clone(), source };
                match std::fs::metadata(&path) {
                    Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
                    Err(e) => return Err(io(e)),
                    Ok(meta) if meta.len() > MAX_JSON_BYTES => {
                        return Err(io(ErrorKind::FileTooLarge.into()));
                    }
                    Ok(_) => {}
                }
                std::fs::read(&path).map(|bytes| Some(Cow::Owned(bytes))).map_err(io)
            }
        }
    }

    /// Reads a whole file that the checkpoint must have.
    ///
    /// # Errors
    /// [`LoadError::Source`] if it is missing, else as [`Checkpoint::read`].
    pub fn require(&self, file: &str) -> Result<Cow<'static, [u8]>, LoadError> {
        self.read(file)?.ok_or_else(|| no_source(&self.name, &self.explain_absence(file)))
    }

    /// Explains that the checkpoint lacks a file, by what it has instead.
    pub(crate) fn explain_absence(&self, file: &str) -> String {
        let adapter = self.read("adapter_config.json").ok().flatten();
        hints::absent(file, &self.file_names(), adapter.as_deref())
    }

    /// Returns the names of all files, of a directory's only those at most two folders down.
    pub(crate) fn file_names(&self) -> Vec<String> {
        let mut names = Vec::new();
        match &self.files {
            Files::Memory(files) => names.extend(files.iter().map(|(name, _)| name.clone())),
            Files::Directory(dir) => list(dir, "", 2, &mut names),
        }
        names.sort_unstable();
        names
    }

    fn reject_stand_in(&self, file: &str, bytes: Option<&[u8]>) -> Result<(), LoadError> {
        match bytes.and_then(hints::stand_in) {
            None => Ok(()),
            Some(what) => Err(no_source(&self.name, &format!("{file} {what}"))),
        }
    }

    /// Maps a file of any size; `None` if the checkpoint lacks it.
    ///
    /// # Errors
    /// [`LoadError::Io`] if the file exists and cannot be mapped; [`LoadError::Source`] as [`Checkpoint::read`].
    pub fn map(&self, file: &str) -> Result<Option<FileBytes>, LoadError> {
        let bytes = match &self.files {
            Files::Memory(_) => self.read(file)?.map(FileBytes::Held),
            Files::Directory(dir) => {
                let path = dir.join(file);
                match MappedFile::open(&path) {
                    Ok(map) => Some(FileBytes::Mapped(map)),
                    Err(e) if e.kind() == ErrorKind::NotFound => None,
                    Err(source) => return Err(LoadError::Io { path, source }),
                }
            }
        };
        self.reject_stand_in(file, bytes.as_deref())?;
        Ok(bytes)
    }
}

/// Adds the files of a directory and of `depth` levels below it. What cannot be read is left out: the names are
/// for a message about a file that is missing already.
fn list(dir: &Path, prefix: &str, depth: usize, names: &mut Vec<String>) {
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        let path = entry.path();
        if !path.is_dir() {
            names.push(name);
        } else if depth > 0 {
            list(&path, &format!("{name}/"), depth - 1, names);
        }
    }
}

pub(crate) fn no_source(given: &str, reason: &str) -> LoadError {
    LoadError::Source { given: given.into(), reason: reason.into() }
}

fn looks_like_hub_id(source: &str) -> bool {
    let part = |p: &str| {
        !p.is_empty()
            && !p.starts_with('.')
            && p.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
    };
    matches!(source.split_once('/'), Some((owner, name)) if part(owner) && part(name))
}
