//! The bytes of weights: read from disk where they are needed, or already in memory.
//!
//! Files are read, not mapped. A mapped file stays open to every program that may write to it: one that shortens
//! it ends this process by SIGBUS, and one that overwrites it changes the answers. Bytes that were read are this
//! process's own, and it runs on whatever happens to the file.

use std::borrow::Cow;
use std::fs::{File, Metadata};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use crate::error::LoadError;

/// A file of weights.
#[derive(Debug)]
pub struct WeightsFile(Source);

#[derive(Debug)]
enum Source {
    Disk {
        file: File,
        path: PathBuf,
        version: Version,
    },
    /// Held by the caller's program, or made by it.
    Memory(Cow<'static, [u8]>),
}

/// What tells that a file is still as it was when it was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Version {
    bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Version {
    fn of(file: &Metadata) -> Version {
        Version {
            bytes: file.len(),
            modified: (file.mtime(), file.mtime_nsec()),
            changed: (file.ctime(), file.ctime_nsec()),
        }
    }
}

impl WeightsFile {
    /// Opens a file on disk and reads none of it.
    ///
    /// # Errors
    /// The operating system's error; [`ErrorKind::InvalidInput`] for a directory, a pipe or a device.
    pub(super) fn open(path: &Path) -> io::Result<WeightsFile> {
        super::require_regular(&std::fs::metadata(path)?)?;
        let file = File::open(path)?;
        let version = Version::of(&file.metadata()?);
        Ok(WeightsFile(Source::Disk { file, path: path.into(), version }))
    }

    /// Wraps bytes that are in memory.
    pub(super) fn memory(bytes: Cow<'static, [u8]>) -> WeightsFile {
        WeightsFile(Source::Memory(bytes))
    }

    /// Returns the size in bytes.
    pub(super) fn bytes(&self) -> u64 {
        match &self.0 {
            Source::Disk { version, .. } => version.bytes,
            Source::Memory(bytes) => bytes.len() as u64,
        }
    }

    /// Borrows the bytes, unless they are on disk.
    pub(super) fn in_memory(&self) -> Option<&[u8]> {
        match &self.0 {
            Source::Disk { .. } => None,
            Source::Memory(bytes) => Some(bytes),
        }
    }

    /// Reads as many bytes as `into` holds, from `offset` on.
    ///
    /// # Errors
    /// [`LoadError::Io`] if the file ends before, cannot be read, or was written to since it was opened.
    pub(super) fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<(), LoadError> {
        match &self.0 {
            Source::Memory(bytes) => {
                let rest = bytes.get(offset as usize..).unwrap_or_default();
                let len = into.len();
                let found = rest.get(..len).ok_or_else(|| LoadError::Io {
                    path: PathBuf::from("the weights in memory"),
                    source: ErrorKind::UnexpectedEof.into(),
                })?;
                into.copy_from_slice(found);
                Ok(())
            }
            Source::Disk { file, path, version } => {
                let read = file.read_exact_at(into, offset);
                let unchanged = file.metadata().map(|now| Version::of(&now) == *version);
                let checked = match (read, unchanged) {
                    (_, Ok(false)) => Err(io::Error::other(
                        "it changed while it was read; start again when it is complete",
                    )),
                    (Err(error), _) | (Ok(()), Err(error)) => Err(error),
                    (Ok(()), Ok(true)) => Ok(()),
                };
                checked.map_err(|source| LoadError::Io { path: path.clone(), source })
            }
        }
    }
}
