//! Compiled kernels on disk, so that only the first start compiles.
//!
//! One file per kernel source under `$XDG_CACHE_HOME/bigbatch` (or `~/.cache/bigbatch`). Their code runs on the
//! device, so the folder and each file must belong to this user, be writable by nobody else and be no links. All else
//! is ignored with a line in the log, and the kernel is compiled. A file holds its key and a checksum, and appears by
//! rename, so that a reader sees all of it or nothing. Failures are harmless: a cache that cannot be read or written
//! acts as an empty one.

use std::fs::{DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, openat, renameat, unlinkat};
use rustix::process::geteuid;

const MAGIC: &[u8; 8] = b"bbcubin1";

/// A folder of compiled kernels, or none.
#[derive(Debug, Clone)]
pub struct Cache {
    folder: Option<Arc<Folder>>,
}

/// An open folder. Files are opened relative to it, so that nobody can put another one in its place.
#[derive(Debug)]
struct Folder {
    path: PathBuf,
    opened: File,
}

/// A hash of everything that decides a compiled kernel's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key(u128);

impl Key {
    /// Hashes the parts in order, each with its length.
    pub fn of(parts: &[&[u8]]) -> Key {
        let mut hash = Fnv::new();
        for part in parts {
            hash.add(&(part.len() as u64).to_le_bytes());
            hash.add(part);
        }
        Key(hash.0)
    }
}

impl Cache {
    /// Returns the cache of this user; an empty one if neither variable names an absolute folder.
    pub fn for_user() -> Cache {
        let absolute = |name: &str| {
            std::env::var_os(name).map(PathBuf::from).filter(|folder| folder.is_absolute())
        };
        let base =
            absolute("XDG_CACHE_HOME").or_else(|| absolute("HOME").map(|h| h.join(".cache")));
        Cache::open(base.map(|base| base.join("bigbatch")))
    }

    /// Opens the given folder, and creates it if it is missing; `None` for a cache that stores nothing.
    pub(super) fn open(path: Option<PathBuf>) -> Cache {
        let open = |path: PathBuf| {
            // An error here shows as a missing folder.
            let _ = DirBuilder::new().recursive(true).mode(0o700).create(&path);
            match open_private(CWD, &path, OFlags::DIRECTORY) {
                Ok(opened) => Some(Arc::new(Folder { path, opened })),
                Err(error) => {
                    report_unused(&path, &error);
                    None
                }
            }
        };
        Cache { folder: path.and_then(open) }
    }

    /// Returns the bytes stored under this name and key; `None` if they are missing, damaged or not this user's.
    pub fn get(&self, name: &str, key: Key) -> Option<Vec<u8>> {
        let folder = self.folder.as_ref()?;
        let file = match folder.read(&file_name(name, key)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                report_unused(&folder.path.join(file_name(name, key)), &error);
                return None;
            }
        };
        let (magic, rest) = file.split_first_chunk::<8>()?;
        let (stored_key, rest) = rest.split_first_chunk::<16>()?;
        let (checksum, body) = rest.split_first_chunk::<16>()?;
        let whole = magic == MAGIC
            && u128::from_le_bytes(*stored_key) == key.0
            && u128::from_le_bytes(*checksum) == Key::of(&[body]).0;
        whole.then(|| body.to_vec())
    }

    /// Stores the bytes and returns whether that succeeded. What was there under this name and key is replaced.
    pub fn put(&self, name: &str, key: Key, body: &[u8]) -> bool {
        let Some(folder) = &self.folder else { return false };
        folder.write(&file_name(name, key), key, body).is_ok()
    }
}

impl Folder {
    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        open_private(&self.opened, Path::new(name), OFlags::empty())?.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn write(&self, name: &str, key: Key, body: &[u8]) -> io::Result<()> {
        let temporary = format!(".{name}.{}", std::process::id());
        // Of a process that had the same id and was killed.
        let _ = unlinkat(&self.opened, &temporary, AtFlags::empty());
        let written = self
            .write_new(&temporary, key, body)
            .and_then(|()| Ok(renameat(&self.opened, &temporary, &self.opened, name)?));
        if written.is_err() {
            let _ = unlinkat(&self.opened, &temporary, AtFlags::empty());
        }
        written
    }

    fn write_new(&self, name: &str, key: Key, body: &[u8]) -> io::Result<()> {
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut file = File::from(openat(&self.opened, name, flags, Mode::RUSR | Mode::WUSR)?);
        file.write_all(MAGIC)?;
        file.write_all(&key.0.to_le_bytes())?;
        file.write_all(&Key::of(&[body]).0.to_le_bytes())?;
        file.write_all(body)?;
        file.sync_all()
    }
}

/// Opens a file or folder for reading if it belongs to this user, nobody else may write to it, and it is no link.
fn open_private(folder: impl AsFd, path: &Path, flags: OFlags) -> io::Result<File> {
    // Opening a pipe would else wait until somebody writes to it.
    let flags = flags | OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let opened = File::from(openat(folder, path, flags, Mode::empty())?);
    let metadata = opened.metadata()?;
    check_owner(metadata.uid(), metadata.mode())?;
    Ok(opened)
}

fn check_owner(uid: u32, mode: u32) -> io::Result<()> {
    let reason = match mode & 0o022 {
        _ if uid != geteuid().as_raw() => "another user owns it",
        0 => return Ok(()),
        _ => "other users may write to it",
    };
    Err(io::Error::new(io::ErrorKind::PermissionDenied, reason))
}

fn report_unused(path: &Path, reason: &io::Error) {
    tracing::warn!(
        path = %path.display(),
        %reason,
        "compiled kernels are not kept here; it must be no link, and only this user may own it and write to it; \
         set XDG_CACHE_HOME to keep them elsewhere"
    );
}

fn file_name(name: &str, key: Key) -> String {
    format!("{name}-{:032x}.cubin", key.0)
}

/// FNV-1a, 128 bits: nobody else writes to this folder, so it only has to find accidents.
struct Fnv(u128);

impl Fnv {
    fn new() -> Fnv {
        Fnv(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d)
    }

    fn add(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 =
                (self.0 ^ u128::from(byte)).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn scratch(name: &str) -> PathBuf {
        let folder =
            std::env::temp_dir().join(format!("bigbatch-cache-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        let _ = std::fs::remove_file(&folder);
        folder
    }

    #[test]
    fn hash_is_fnv_1a() {
        let mut hash = Fnv::new();
        hash.add(b"foobar");
        assert_eq!(hash.0, 0x343e_1662_793c_64bf_6f0d_3597_ba44_6f18, "the published test vector");
    }

    #[test]
    fn parts_do_not_run_together() {
        assert_ne!(Key::of(&[b"ab", b"c"]), Key::of(&[b"a", b"bc"]));
    }

    /// An empty folder's path, and a cache in it.
    fn scratch_cache(name: &str) -> (PathBuf, Cache) {
        let folder = scratch(name);
        (folder.clone(), Cache::open(Some(folder)))
    }

    fn set_mode(path: &Path, mode: u32) {
        std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    }

    #[test]
    fn what_was_put_comes_back_and_only_under_its_key() {
        let (folder, cache) = scratch_cache("roundtrip");
        let (key, other) = (Key::of(&[b"one"]), Key::of(&[b"two"]));
        assert_eq!(cache.get("norm", key), None);
        assert!(cache.put("norm", key, b"code"));
        assert_eq!(cache.get("norm", key).as_deref(), Some(&b"code"[..]));
        assert_eq!(cache.get("norm", other), None);
        let mode = |path: &Path| std::fs::metadata(path).unwrap().mode() & 0o777;
        assert_eq!((mode(&folder), mode(&folder.join(file_name("norm", key)))), (0o700, 0o600));
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1, "no temporary file stays");
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_damaged_or_truncated_file_is_not_used() {
        let (folder, cache) = scratch_cache("damage");
        let key = Key::of(&[b"one"]);
        assert!(cache.put("norm", key, &[7; 100]));
        let path = folder.join(file_name("norm", key));
        let good = std::fs::read(&path).unwrap();
        for position in [0, 8, 24, 40, good.len() - 1] {
            let mut bad = good.clone();
            bad[position] ^= 1;
            std::fs::write(&path, bad).unwrap();
            assert_eq!(cache.get("norm", key), None, "byte {position}");
        }
        std::fs::write(&path, &good[..good.len() - 1]).unwrap();
        assert_eq!(cache.get("norm", key), None, "truncated");
        std::fs::write(&path, &good).unwrap();
        assert!(cache.get("norm", key).is_some());
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_folder_that_others_may_write_to_is_not_used() {
        let (folder, cache) = scratch_cache("shared");
        let key = Key::of(&[b"one"]);
        assert!(cache.put("norm", key, b"code"));
        for mode in [0o770, 0o702] {
            set_mode(&folder, mode);
            let cache = Cache::open(Some(folder.clone()));
            assert_eq!(cache.get("norm", key), None, "{mode:o}");
            assert!(!cache.put("norm", key, b"code"), "{mode:o}");
        }
        set_mode(&folder, 0o755);
        assert!(Cache::open(Some(folder.clone())).get("norm", key).is_some());
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_file_that_others_may_write_to_is_compiled_anew() {
        let (folder, cache) = scratch_cache("file");
        let key = Key::of(&[b"one"]);
        assert!(cache.put("norm", key, b"code"));
        set_mode(&folder.join(file_name("norm", key)), 0o620);
        assert_eq!(cache.get("norm", key), None);
        assert!(cache.put("norm", key, b"code"));
        assert!(cache.get("norm", key).is_some(), "it was replaced");
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn links_are_not_followed() {
        let (folder, cache) = scratch_cache("links");
        let key = Key::of(&[b"one"]);
        assert!(cache.put("norm", key, b"code"));
        let (path, elsewhere) = (folder.join(file_name("norm", key)), folder.join("elsewhere"));
        std::fs::rename(&path, &elsewhere).unwrap();
        std::os::unix::fs::symlink(&elsewhere, &path).unwrap();
        assert_eq!(cache.get("norm", key), None, "a file");
        assert!(cache.put("norm", key, b"new"));
        assert_eq!(cache.get("norm", key).as_deref(), Some(&b"new"[..]), "the link was replaced");
        let link = scratch("link");
        std::os::unix::fs::symlink(&folder, &link).unwrap();
        let linked = Cache::open(Some(link.clone()));
        assert_eq!(linked.get("norm", key), None, "a folder");
        assert!(!linked.put("norm", key, b"code"));
        std::fs::remove_file(link).unwrap();
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_pipe_is_not_waited_for() {
        let (folder, cache) = scratch_cache("pipe");
        let key = Key::of(&[b"one"]);
        let path = folder.join(file_name("norm", key));
        let made = std::process::Command::new("mkfifo").args(["-m", "600"]).arg(&path).status();
        assert!(made.expect("mkfifo runs").success());
        assert_eq!(cache.get("norm", key), None);
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn only_this_user_s_files_are_used() {
        let own = geteuid().as_raw();
        assert!(check_owner(own, 0o100_755).is_ok());
        assert!(check_owner(own.wrapping_add(1), 0o100_700).is_err());
    }

    #[test]
    fn no_folder_is_no_error() {
        let cache = Cache::open(None);
        let key = Key::of(&[b"one"]);
        assert!(!cache.put("norm", key, b"code"));
        assert_eq!(cache.get("norm", key), None);
        let under_a_file = Cache::open(Some(PathBuf::from("/dev/null/bigbatch")));
        assert!(!under_a_file.put("norm", key, b"code"));
    }
}
