//! Where a model's files come from: a directory, the Hugging Face Hub, or the caller's memory.

mod digest;
pub(crate) mod hints;
mod hub;
mod new_directory;
mod tensors;
mod weights_file;

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fs::Metadata;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use self::hub::HubRepo;
use crate::error::LoadError;

pub(crate) use digest::sha256;
pub use hub::HubOptions;
pub(crate) use new_directory::NewDirectory;
pub use tensors::{Tensor, TensorSpec, Weights};
pub use weights_file::WeightsFile;

/// The files of one model under their standard names.
pub struct Checkpoint {
    name: String,
    files: Files,
    /// Names of the files that were read or opened, for [`Checkpoint::digest_of_reads`].
    reads: Mutex<BTreeSet<String>>,
}

enum Files {
    Directory(PathBuf),
    Hub(Box<HubRepo>),
    Memory(Vec<(String, Cow<'static, [u8]>)>),
}

/// Upper limit on a file that is read whole.
const MAX_JSON_BYTES: u64 = 256 << 20;

/// Bytes from whose start [`hints::stand_in`] recognises what is no model's file.
const STAND_IN_BYTES: u64 = 64;

impl Checkpoint {
    /// Resolves SOURCE: a directory, or a Hub id such as `answerdotai/ModernBERT-base`, which may have a revision:
    /// `answerdotai/ModernBERT-base@main`. The files of a Hub id are fetched when they are read.
    ///
    /// # Errors
    /// [`LoadError::UnknownSource`] when it is neither, [`LoadError::Source`] when it is one of them and
    /// cannot be used.
    pub fn resolve(source: &str, hub: &HubOptions) -> Result<Checkpoint, LoadError> {
        Checkpoint::find(source, "config.json", hub)
    }

    /// Resolves SOURCE as [`Checkpoint::resolve`] does, for its tokenizer alone: the repository needs no config
    /// and a directory no weights.
    ///
    /// # Errors
    /// As [`Checkpoint::resolve`].
    pub fn resolve_tokenizer(source: &str, hub: &HubOptions) -> Result<Checkpoint, LoadError> {
        Checkpoint::find(source, "tokenizer.json", hub)
    }

    fn find(source: &str, first: &str, hub: &HubOptions) -> Result<Checkpoint, LoadError> {
        let path = Path::new(source);
        let option = hub.revision.as_deref();
        let option = option.map(|revision| format!("--revision {revision} (or REVISION)"));
        if path.is_dir() {
            return match option {
                None => Ok(Checkpoint::directory(path)),
                Some(option) => Err(no_revision(source, &option)),
            };
        }
        if path.exists() {
            return Err(no_source(
                source,
                "it is a file; give the directory that holds config.json",
            ));
        }
        let (id, revision) = match source.rsplit_once('@') {
            Some((id, revision)) => (id, Some(revision)),
            None => (source, None),
        };
        if let Some(revision) = revision.filter(|_| Path::new(id).is_dir()) {
            return Err(no_revision(id, &format!("@{revision}")));
        }
        if !looks_like_hub_id(id) {
            return Err(LoadError::UnknownSource { given: source.into() });
        }
        let revision = match (revision, hub.revision.as_deref()) {
            (Some(one), Some(other)) if one != other => {
                let both = format!("it names revision {one}, --revision names {other}; give one");
                return Err(no_source(source, &both));
            }
            (named, option) => named.or(option),
        };
        let files = Files::Hub(Box::new(HubRepo::open(id, revision, first, hub)?));
        Ok(Checkpoint::new(source.into(), files))
    }

    /// Opens a directory on disk. Its files are read when they are asked for.
    pub fn directory(path: &Path) -> Checkpoint {
        Checkpoint::new(path.display().to_string(), Files::Directory(path.to_path_buf()))
    }

    /// Wraps files that are in memory.
    pub fn memory(name: impl Into<String>, files: Vec<(String, Cow<'static, [u8]>)>) -> Checkpoint {
        Checkpoint::new(name.into(), Files::Memory(files))
    }

    fn new(name: String, files: Files) -> Checkpoint {
        Checkpoint { name, files, reads: Mutex::default() }
    }

    /// Returns the name that messages use: the path, or the Hub id.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Reads a whole file of up to 256 MiB; `None` if the checkpoint lacks it.
    ///
    /// # Errors
    /// [`LoadError::Io`] if the file exists and cannot be read, or is larger; [`LoadError::Source`] if it cannot
    /// be fetched, or if something else stands in its place, such as a Git LFS pointer.
    pub fn read(&self, file: &str) -> Result<Option<Cow<'static, [u8]>>, LoadError> {
        let bytes = match &self.files {
            Files::Memory(files) => {
                files.iter().find(|(name, _)| name == file).map(|(_, bytes)| bytes.clone())
            }
            _ => self.path(file)?.map_or(Ok(None), |path| read_whole(&path))?,
        };
        self.reject_stand_in(file, bytes.as_deref())?;
        self.record_read(file, bytes.is_some());
        Ok(bytes)
    }

    /// Reads a whole file as [`Checkpoint::read`] does, but takes it for absent if it cannot be asked for. For
    /// files that no other program reads, which a cache that another program filled cannot know of.
    ///
    /// # Errors
    /// As [`Checkpoint::read`].
    pub(crate) fn read_if_known(
        &self,
        file: &str,
    ) -> Result<Option<Cow<'static, [u8]>>, LoadError> {
        match &self.files {
            Files::Hub(repo) => {
                let path = repo.path_if_known(file)?;
                let bytes = path.map_or(Ok(None), |path| read_whole(&path))?;
                self.record_read(file, bytes.is_some());
                Ok(bytes)
            }
            _ => self.read(file),
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
            Files::Hub(repo) => names = repo.list(),
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

    /// Opens a file of any size, whose bytes are read where they are needed; `None` if the checkpoint lacks it.
    ///
    /// # Errors
    /// [`LoadError::Io`] if the file exists and cannot be read; [`LoadError::Source`] as [`Checkpoint::read`].
    pub fn open(&self, file: &str) -> Result<Option<WeightsFile>, LoadError> {
        if let Files::Memory(_) = &self.files {
            return Ok(self.read(file)?.map(WeightsFile::memory));
        }
        let Some(path) = self.path(file)? else { return Ok(None) };
        let opened = match WeightsFile::open(&path) {
            Ok(opened) => opened,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(LoadError::Io { path, source }),
        };
        let mut start = vec![0; opened.bytes().min(STAND_IN_BYTES) as usize];
        opened.read_at(0, &mut start)?;
        self.reject_stand_in(file, Some(&start))?;
        self.record_read(file, true);
        Ok(Some(opened))
    }

    /// Returns where a file is or would be on disk; `None` if it is known to be absent.
    fn path(&self, file: &str) -> Result<Option<PathBuf>, LoadError> {
        match &self.files {
            Files::Memory(_) => Ok(None),
            Files::Directory(dir) => Ok(Some(dir.join(file))),
            Files::Hub(repo) => repo.path(file),
        }
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

fn read_whole(path: &Path) -> Result<Option<Cow<'static, [u8]>>, LoadError> {
    let io = |source| LoadError::Io { path: path.to_path_buf(), source };
    match std::fs::metadata(path) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(io(e)),
        Ok(meta) if meta.len() > MAX_JSON_BYTES => {
            return Err(io(ErrorKind::FileTooLarge.into()));
        }
        Ok(meta) => require_regular(&meta).map_err(io)?,
    }
    std::fs::read(path).map(|bytes| Some(Cow::Owned(bytes))).map_err(io)
}

/// Rejects what has no end or no bytes of its own: a directory, a pipe, a device.
fn require_regular(file: &Metadata) -> io::Result<()> {
    match file.is_file() {
        true => Ok(()),
        false => Err(io::Error::new(ErrorKind::InvalidInput, "it is not a regular file")),
    }
}

fn no_revision(directory: &str, revision: &str) -> LoadError {
    let reason = format!(
        "it is a directory, which has no revisions; remove {revision}, or name a Hub id that is not a directory here"
    );
    no_source(directory, &reason)
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
