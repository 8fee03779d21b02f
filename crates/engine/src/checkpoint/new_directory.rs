//! A directory of files that appears whole or not at all, and replaces another only if it is told to.

use std::ffi::OsString;
use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use crate::error::LoadError;

/// The only folder of a checkpoint that is replaced with it: that of its Pooling module.
const MODULE_FOLDER: &str = "1_Pooling";

/// A directory that is being written beside its final path, as `.NAME.part`. Dropping it removes what was written;
/// after a process that was killed, the next one for the same path does.
pub(crate) struct NewDirectory {
    target: PathBuf,
    part: PathBuf,
    replace: bool,
    /// Held while the directory is written, so that only what a dead process left behind is removed.
    _lock: File,
}

impl NewDirectory {
    /// Begins a directory at `target`, which must be absent or empty, or with `replace` a checkpoint of files only.
    ///
    /// # Errors
    /// [`LoadError::Write`] if it holds anything else, another process writes it, or the parent is not writable.
    pub(crate) fn begin(target: &Path, replace: bool) -> Result<NewDirectory, LoadError> {
        let failed = |source| LoadError::Write { path: target.to_path_buf(), source };
        let refuse = if replace { refuse_other } else { refuse_files };
        refuse(target).map_err(failed)?;
        let part = hidden(target, ".part").ok_or_else(|| {
            failed(io::Error::new(ErrorKind::InvalidInput, "the path must end in a name"))
        })?;
        let failed = |source| LoadError::Write { path: part.clone(), source };
        fs::create_dir_all(&part).map_err(failed)?;
        let lock = File::open(&part).map_err(failed)?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => {
                failed(io::Error::new(ErrorKind::ResourceBusy, "another process is writing it"))
            }
            TryLockError::Error(error) => failed(error),
        })?;
        for entry in fs::read_dir(&part).map_err(failed)? {
            let removed = entry.and_then(|entry| match entry.file_type()?.is_dir() {
                true => fs::remove_dir_all(entry.path()),
                false => fs::remove_file(entry.path()),
            });
            removed.map_err(failed)?;
        }
        Ok(NewDirectory { target: target.to_path_buf(), part, replace, _lock: lock })
    }

    /// Where to write.
    pub(crate) fn path(&self) -> &Path {
        &self.part
    }

    /// Moves the directory to its final path. A directory that it replaces is moved aside first and removed last.
    ///
    /// # Errors
    /// [`LoadError::Write`] if the path has been taken since, or is a mount point.
    pub(crate) fn finish(self) -> Result<(), LoadError> {
        let old =
            hidden(&self.target, ".replaced").filter(|_| self.replace && self.target.exists());
        let attempt = || {
            let Some(old) = &old else { return fs::rename(&self.part, &self.target) };
            if old.exists() {
                // A process was killed after it had replaced what this holds.
                fs::remove_dir_all(old)?;
            }
            fs::rename(&self.target, old)?;
            if let Err(error) = fs::rename(&self.part, &self.target) {
                // The error that the caller gets is the first one.
                let _ = fs::rename(old, &self.target);
                return Err(error);
            }
            fs::remove_dir_all(old)
        };
        attempt().map_err(|source| LoadError::Write { path: self.target.clone(), source })
    }
}

impl Drop for NewDirectory {
    fn drop(&mut self) {
        // Absent after `finish`. At worst a folder is left that the next attempt clears.
        let _ = fs::remove_dir_all(&self.part);
    }
}

/// Returns `.NAMEending` beside the target; `None` if its path does not end in a name.
fn hidden(target: &Path, ending: &str) -> Option<PathBuf> {
    let mut name = OsString::from(".");
    name.push(target.file_name()?);
    name.push(ending);
    Some(target.with_file_name(name))
}

/// Refuses to replace what is not a checkpoint: a directory without config.json, or with further directories.
fn refuse_other(target: &Path) -> io::Result<()> {
    let refuse = |reason: &str| {
        let reason = format!("{reason}; remove it yourself or name another");
        Err(io::Error::new(ErrorKind::DirectoryNotEmpty, reason))
    };
    if fs::symlink_metadata(target).is_ok_and(|metadata| metadata.is_symlink()) {
        return refuse("--force replaces no symbolic link");
    }
    let entries = match fs::read_dir(target) {
        Ok(entries) => entries.collect::<io::Result<Vec<_>>>()?,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in &entries {
        if !entry.file_type()?.is_file() && entry.file_name() != MODULE_FOLDER {
            return refuse("--force replaces only a directory of files, and this one holds more");
        }
    }
    if !entries.is_empty() && !target.join("config.json").exists() {
        return refuse("--force replaces only a checkpoint, and the directory has no config.json");
    }
    Ok(())
}

fn refuse_files(target: &Path) -> io::Result<()> {
    match fs::read_dir(target).map(|mut entries| entries.next().is_some()) {
        Ok(true) => Err(io::Error::new(
            ErrorKind::DirectoryNotEmpty,
            "the directory holds files; add --force to replace a checkpoint, or name another",
        )),
        Ok(false) => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_appears_when_it_is_finished_and_what_a_dead_process_left_is_removed() {
        let root = std::env::temp_dir().join(format!("bigbatch-new-{}", std::process::id()));
        let (target, part) = (root.join("model"), root.join(".model.part"));
        fs::create_dir_all(&part).expect("writable");
        fs::write(part.join("left"), "by a process that was killed").expect("writable");
        let new = NewDirectory::begin(&target, false).expect("nobody holds it");
        assert!(!part.join("left").exists());
        fs::write(new.path().join("config.json"), "{}").expect("writable");
        let second = NewDirectory::begin(&target, false).err().expect("one at a time");
        assert!(second.to_string().contains("another process"), "{second}");
        assert!(new.path().join("config.json").exists() && !target.exists());
        drop(new);
        assert_eq!(fs::read_dir(&root).expect("readable").count(), 0, "all of it is removed");
        fs::create_dir(&target).expect("writable");
        let new = NewDirectory::begin(&target, false).expect("an empty directory is no obstacle");
        fs::write(new.path().join("config.json"), "{}").expect("writable");
        new.finish().expect("it is empty");
        assert!(target.join("config.json").exists() && !part.exists());
        let full = NewDirectory::begin(&target, false).err().expect("it is not empty");
        assert!(full.to_string().contains("holds files"), "{full}");
        let new = NewDirectory::begin(&target, true).expect("it is a checkpoint");
        fs::write(new.path().join("config.json"), "{\"new\": true}").expect("writable");
        assert_eq!(fs::read(target.join("config.json")).expect("the old one"), b"{}");
        new.finish().expect("it may be replaced");
        let config = fs::read(target.join("config.json")).expect("the new one");
        assert_eq!((config.len(), fs::read_dir(&root).expect("readable").count()), (13, 1));
        fs::create_dir(target.join("more")).expect("writable");
        let more = NewDirectory::begin(&target, true).err().expect("it is more than a checkpoint");
        assert!(more.to_string().contains("holds more"), "{more}");
        fs::remove_dir(target.join("more")).expect("it is empty");
        fs::rename(target.join("config.json"), target.join("letter.txt")).expect("writable");
        let other = NewDirectory::begin(&target, true).err().expect("it is no checkpoint");
        assert!(other.to_string().contains("no config.json"), "{other}");
        fs::remove_dir_all(root).expect("it is ours");
    }
}
