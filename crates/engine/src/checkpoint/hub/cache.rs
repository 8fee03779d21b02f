//! The cache that all programs of the Hub share: `refs/`, `snapshots/`, `blobs/`, and `.no_exist/` for files that
//! a commit is known to lack. Nothing here uses the network.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use serde::Deserialize;

/// The folder of one repository in the cache.
pub(super) struct RepoCache {
    folder: PathBuf,
    locks: PathBuf,
}

/// What the cache knows of a file.
#[derive(Debug, PartialEq)]
pub(super) enum Known {
    Present(PathBuf),
    /// The commit has no such file.
    Absent,
    /// The file may exist and was never asked for.
    Unknown,
}

/// The listing of a commit's files that `huggingface_hub` keeps from version 1.30 on.
#[derive(Deserialize)]
struct Tree {
    format_version: u32,
    files: BTreeMap<String, serde::de::IgnoredAny>,
}

impl RepoCache {
    pub(super) fn new(cache_dir: &Path, id: &str) -> RepoCache {
        let name = format!("models--{}", id.replace('/', "--"));
        RepoCache { locks: cache_dir.join(".locks").join(&name), folder: cache_dir.join(name) }
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Returns the commit that a branch or tag had when it was last looked up, or the revision itself if it is
    /// a commit with a snapshot.
    pub(super) fn commit_of(&self, revision: &str) -> Option<String> {
        if let Ok(commit) = fs::read_to_string(self.folder.join("refs").join(revision)) {
            let commit = commit.trim();
            return is_plain_name(commit).then(|| commit.to_string());
        }
        let snapshot = is_plain_name(revision) && self.snapshot(revision).is_dir();
        snapshot.then(|| revision.to_string())
    }

    /// Records which commit a branch or tag has now.
    pub(super) fn remember_commit(&self, revision: &str, commit: &str) -> io::Result<()> {
        if revision == commit || self.commit_of(revision).as_deref() == Some(commit) {
            return Ok(());
        }
        let path = self.folder.join("refs").join(revision);
        create_parent(&path)?;
        fs::write(path, commit)
    }

    /// Records that a commit lacks a file.
    pub(super) fn remember_absence(&self, commit: &str, file: &str) -> io::Result<()> {
        let path = self.folder.join(".no_exist").join(commit).join(file);
        create_parent(&path)?;
        fs::OpenOptions::new().create(true).append(true).open(path).map(drop)
    }

    /// Looks a file up in the snapshot and in the marks of absent files.
    pub(super) fn look_up(&self, commit: &str, file: &str) -> Known {
        let path = self.snapshot(commit).join(file);
        if path.is_file() {
            Known::Present(path)
        } else if self.folder.join(".no_exist").join(commit).join(file).is_file() {
            Known::Absent
        } else {
            Known::Unknown
        }
    }

    /// Returns the files of a commit as a download of the whole repository listed them.
    pub(super) fn listing(&self, commit: &str) -> Option<Vec<String>> {
        let path = self.folder.join("trees").join(format!("{commit}.json"));
        let tree: Tree = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
        (tree.format_version == 1).then(|| tree.files.into_keys().collect())
    }

    /// Returns whether the snapshot looks like one of the whole repository. The Hub puts a `.gitattributes` into every
    /// repository, and only a download of all files fetches it.
    pub(super) fn is_whole(&self, commit: &str) -> bool {
        self.snapshot(commit).join(".gitattributes").is_file()
    }

    pub(super) fn snapshot(&self, commit: &str) -> PathBuf {
        self.folder.join("snapshots").join(commit)
    }

    pub(super) fn blob(&self, etag: &str) -> PathBuf {
        self.folder.join("blobs").join(etag)
    }

    /// The file that a download of this blob locks, as `huggingface_hub` does.
    pub(super) fn lock_path(&self, etag: &str) -> PathBuf {
        self.locks.join(format!("{etag}.lock"))
    }

    /// Puts a blob into a snapshot: by a relative link, or by moving it where links are not possible.
    pub(super) fn link(&self, commit: &str, file: &str, etag: &str) -> io::Result<PathBuf> {
        let path = self.snapshot(commit).join(file);
        create_parent(&path)?;
        // Up from the file's folder to the repository's.
        let up: PathBuf =
            std::iter::repeat_n("..", 1 + Path::new(file).components().count()).collect();
        let target = up.join("blobs").join(etag);
        // A link whose blob is gone.
        if path.is_symlink() && !path.exists() {
            fs::remove_file(&path)?;
        }
        match symlink(&target, &path) {
            Ok(()) => {}
            // Another process was faster.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(_) => fs::rename(self.blob(etag), &path)?,
        }
        Ok(path)
    }
}

#[cfg(unix)]
fn symlink(target: &Path, link: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(target, link)
}

#[cfg(not(unix))]
fn symlink(_: &Path, _: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

pub(super) fn create_parent(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), fs::create_dir_all)
}

/// Returns whether a text from the network can be the name of a file: a commit or an etag.
pub(super) fn is_plain_name(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    !text.is_empty() && text.len() <= 200 && !text.starts_with('.') && text.chars().all(plain)
}

/// Returns whether a path stays within the folder that it is relative to.
pub(super) fn is_inside(path: &str) -> bool {
    !path.is_empty() && Path::new(path).components().all(|c| matches!(c, Component::Normal(_)))
}
