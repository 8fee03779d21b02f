//! A directory that appears whole or not at all.

use std::ffi::OsString;
use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use crate::error::LoadError;

/// A directory that is being written beside its final path, as `.NAME.part`. Dropping it removes what was written;
/// after a process that was killed, the next one for the same path does.
pub(crate) struct NewDirectory {
    target: PathBuf,
    part: PathBuf,
    /// Held while the directory is written, so that only what a dead process left behind is removed.
    _lock: File,
}

impl NewDirectory {
    /// Begins a directory at `target`, which must be absent or empty.
    ///
    /// # Errors
    /// [`LoadError::Write`] if it holds files, another process writes it, or the parent is not writable.
    pub(crate) fn begin(target: &Path) -> Result<NewDirectory, LoadError> {
        let failed = |source| LoadError::Write { path: target.to_path_buf(), source };
        refuse_files(target).map_err(failed)?;
        let name = target.file_name().ok_or_else(|| {
            failed(io::Error::new(ErrorKind::InvalidInput, "the path must end in a name"))
        })?;
        let mut hidden = OsString::from(".");
        hidden.push(name);
        hidden.push(".part");
        let part = target.with_file_name(hidden);
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
            entry.and_then(|entry| fs::remove_file(entry.path())).map_err(failed)?;
        }
        Ok(NewDirectory { target: target.to_path_buf(), part, _lock: lock })
    }

    /// Where to write.
    pub(crate) fn path(&self) -> &Path {
        &self.part
    }

    /// Moves the directory to its final path.
    ///
    /// # Errors
    /// [`LoadError::Write`] if the path has been taken since, or is a mount point.
    pub(crate) fn finish(self) -> Result<(), LoadError> {
        fs::rename(&self.part, &self.target)
            .map_err(|source| LoadError::Write { path: self.target.clone(), source })
    }
}

impl Drop for NewDirectory {
    fn drop(&mut self) {
        // Absent after `finish`. At worst a folder is left that the next attempt clears.
        let _ = fs::remove_dir_all(&self.part);
    }
}

fn refuse_files(target: &Path) -> io::Result<()> {
    match fs::read_dir(target).map(|mut entries| entries.next().is_some()) {
        Ok(true) => Err(io::Error::new(
            ErrorKind::DirectoryNotEmpty,
            "the directory holds files; remove it or name another",
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
        let new = NewDirectory::begin(&target).expect("nobody holds it");
        assert!(!part.join("left").exists());
        fs::write(new.path().join("config.json"), "{}").expect("writable");
        let second = NewDirectory::begin(&target).err().expect("one at a time");
        assert!(second.to_string().contains("another process"), "{second}");
        assert!(new.path().join("config.json").exists() && !target.exists());
        drop(new);
        assert_eq!(fs::read_dir(&root).expect("readable").count(), 0, "all of it is removed");
        fs::create_dir(&target).expect("writable");
        let new = NewDirectory::begin(&target).expect("an empty directory is no obstacle");
        fs::write(new.path().join("config.json"), "{}").expect("writable");
        new.finish().expect("it is empty");
        assert!(target.join("config.json").exists() && !part.exists());
        let full = NewDirectory::begin(&target).err().expect("it is not empty");
        assert!(full.to_string().contains("holds files"), "{full}");
        fs::remove_dir_all(root).expect("it is ours");
    }
}
