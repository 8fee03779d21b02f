//! Compiled kernels on disk, so that only the first start compiles.
//!
//! One file per kernel source under `$XDG_CACHE_HOME/bigbatch` (or `~/.cache/bigbatch`), which only its owner
//! may enter, because its files run on the device. A file holds its key and a checksum, and appears by
//! rename, so that a reader sees all of it or nothing. Failures are harmless: a cache that cannot be read or
//! written acts as an empty one.

use std::fs::{DirBuilder, File};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::PathBuf;

const MAGIC: &[u8; 8] = b"bbcubin1";

/// A folder of compiled kernels, or none.
#[derive(Debug, Clone)]
pub struct Cache {
    folder: Option<PathBuf>,
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
        Cache { folder: base.map(|base| base.join("bigbatch")) }
    }

    /// Returns a cache in the given folder; `None` for one that stores nothing.
    #[cfg(test)]
    pub(super) fn new(folder: Option<PathBuf>) -> Cache {
        Cache { folder }
    }

    /// Returns the bytes stored under this name and key; `None` if they are missing or damaged.
    pub fn get(&self, name: &str, key: Key) -> Option<Vec<u8>> {
        let path = self.private_folder()?.join(file_name(name, key));
        let file = std::fs::read(path).ok()?;
        let (magic, rest) = file.split_first_chunk::<8>()?;
        let (stored_key, rest) = rest.split_first_chunk::<16>()?;
        let (checksum, body) = rest.split_first_chunk::<16>()?;
        let whole = magic == MAGIC
            && u128::from_le_bytes(*stored_key) == key.0
            && u128::from_le_bytes(*checksum) == Key::of(&[body]).0;
        whole.then(|| body.to_vec())
    }

    /// Stores the bytes and returns whether that succeeded.
    pub fn put(&self, name: &str, key: Key, body: &[u8]) -> bool {
        self.create_folder();
        let Some(folder) = self.private_folder() else { return false };
        let temporary = folder.join(format!(".{}.{}", file_name(name, key), std::process::id()));
        let written = write_file(&temporary, key, body)
            .and_then(|()| std::fs::rename(&temporary, folder.join(file_name(name, key))));
        if written.is_err() {
            let _ = std::fs::remove_file(&temporary);
        }
        written.is_ok()
    }

    fn create_folder(&self) {
        if let Some(folder) = &self.folder {
            // An error here shows later as a missing folder.
            let _ = DirBuilder::new().recursive(true).mode(0o700).create(folder);
        }
    }

    /// Returns the folder, unless another user may write to it.
    fn private_folder(&self) -> Option<&PathBuf> {
        let folder = self.folder.as_ref()?;
        let metadata = std::fs::metadata(folder).ok()?;
        (metadata.is_dir() && metadata.mode() & 0o022 == 0).then_some(folder)
    }
}

fn file_name(name: &str, key: Key) -> String {
    format!("{name}-{:032x}.cubin", key.0)
}

fn write_file(path: &PathBuf, key: Key, body: &[u8]) -> std::io::Result<()> {
    let mut file: File =
        File::options().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(MAGIC)?;
    file.write_all(&key.0.to_le_bytes())?;
    file.write_all(&Key::of(&[body]).0.to_le_bytes())?;
    file.write_all(body)?;
    file.sync_all()
}

/// FNV-1a, 128 bits: no attacker writes to this folder, only accidents do.
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

    #[test]
    fn what_was_put_comes_back_and_only_under_its_key() {
        let cache = Cache::new(Some(scratch("roundtrip")));
        let (key, other) = (Key::of(&[b"one"]), Key::of(&[b"two"]));
        assert_eq!(cache.get("norm", key), None);
        assert!(cache.put("norm", key, b"code"));
        assert_eq!(cache.get("norm", key).as_deref(), Some(&b"code"[..]));
        assert_eq!(cache.get("norm", other), None);
        let folder = cache.folder.clone().unwrap();
        assert_eq!(std::fs::metadata(&folder).unwrap().mode() & 0o777, 0o700);
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1, "no temporary file stays");
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_damaged_or_truncated_file_is_not_used() {
        let cache = Cache::new(Some(scratch("damage")));
        let key = Key::of(&[b"one"]);
        assert!(cache.put("norm", key, &[7; 100]));
        let folder = cache.folder.clone().unwrap();
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
    fn a_folder_others_may_write_to_is_not_used() {
        let cache = Cache::new(Some(scratch("shared")));
        let key = Key::of(&[b"one"]);
        assert!(cache.put("norm", key, b"code"));
        let folder = cache.folder.clone().unwrap();
        std::fs::set_permissions(&folder, PermissionsExt::from_mode(0o770)).unwrap();
        assert_eq!(cache.get("norm", key), None);
        assert!(!cache.put("norm", key, b"code"));
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn no_folder_is_no_error() {
        let cache = Cache::new(None);
        let key = Key::of(&[b"one"]);
        assert!(!cache.put("norm", key, b"code"));
        assert_eq!(cache.get("norm", key), None);
        let under_a_file = Cache::new(Some(PathBuf::from("/dev/null/bigbatch")));
        assert!(!under_a_file.put("norm", key, b"code"));
    }
}
