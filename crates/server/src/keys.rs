//! API keys: which requests may pass.
//!
//! A key file holds one key per line; empty lines and lines that begin with `#` are skipped. White space around
//! a key is not part of it, because mounted secrets often end in a newline; nor is a byte order mark. Only digests
//! are kept, and each is compared in constant time, so that the time of a refusal reveals neither the length nor the beginning of a key. Keys
//! are never printed or logged. Which paths need a key is in the route table.

use std::path::PathBuf;
use std::sync::{PoisonError, RwLock};

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use ring::digest::{SHA256, digest};
use subtle::{Choice, ConstantTimeEq};

type Digest = [u8; 32];

/// The keys that the server accepts. Without any, it accepts every request.
#[derive(Default)]
pub struct Keys {
    /// From the command line or the environment.
    single: Option<Digest>,
    file: Option<PathBuf>,
    from_file: RwLock<Vec<Digest>>,
}

/// An error while reading keys.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// The key file cannot be read.
    #[error("--api-key-file: cannot read {path}: {source}", path = path.display())]
    Io {
        /// The key file.
        path: PathBuf,
        /// The error of the operating system.
        source: std::io::Error,
    },
    /// The key is empty, which is almost certainly a misconfigured secret.
    #[error("--api-key or API_KEY: the key is empty; give one, or leave the option out")]
    EmptyKey,
    /// The file holds no key, so no request could pass.
    #[error("--api-key-file: {path} holds no key; write one key per line", path = path.display())]
    Empty {
        /// The key file.
        path: PathBuf,
    },
}

impl Keys {
    /// Reads a single key, a key file, or both.
    ///
    /// # Errors
    /// An empty key, an unreadable file, or a file without a key.
    pub fn load(single: Option<&str>, file: Option<PathBuf>) -> Result<Keys, KeysError> {
        let single = match single.map(str::trim) {
            Some("") => return Err(KeysError::EmptyKey),
            key => key.map(|key| hash(key.as_bytes())),
        };
        let keys = Keys { single, file, from_file: RwLock::default() };
        keys.reload()?;
        Ok(keys)
    }

    /// Reads the key file again. On an error the keys stay as they are.
    ///
    /// # Errors
    /// An unreadable file, or a file without a key.
    pub fn reload(&self) -> Result<(), KeysError> {
        let Some(path) = self.file.clone() else { return Ok(()) };
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(source) => return Err(KeysError::Io { path, source }),
        };
        // Editors of Windows begin a file with a byte order mark.
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
        let lines = text.lines().map(str::trim);
        let keys: Vec<Digest> = lines
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .map(|key| hash(key.as_bytes()))
            .collect();
        if keys.is_empty() {
            return Err(KeysError::Empty { path });
        }
        *self.from_file.write().unwrap_or_else(PoisonError::into_inner) = keys;
        Ok(())
    }

    /// Returns whether requests need a key.
    pub fn required(&self) -> bool {
        self.single.is_some() || self.file.is_some()
    }

    /// Returns whether these headers carry a known key, or no key is needed.
    pub fn allow(&self, headers: &HeaderMap) -> bool {
        if !self.required() {
            return true;
        }
        let Some(given) = sent_key(headers) else { return false };
        let given = hash(given);
        let from_file = self.from_file.read().unwrap_or_else(PoisonError::into_inner);
        let known = from_file.iter().chain(&self.single);
        known.fold(Choice::from(0), |found, key| found | key.ct_eq(&given)).into()
    }

    /// Returns a number that distinguishes the request's key from others; `None` if no key is needed. The key must be
    /// known to be one: see [`Keys::allow`].
    pub(crate) fn share(&self, headers: &HeaderMap) -> Option<u64> {
        let given = sent_key(headers).filter(|_| self.required())?;
        hash(given).first_chunk().copied().map(u64::from_le_bytes)
    }
}

/// Returns the key of `Authorization: Bearer KEY`, without one that of `x-api-key`, in which LiteLLM's guardrails send theirs.
fn sent_key(headers: &HeaderMap) -> Option<&[u8]> {
    let bare = || headers.get("x-api-key").map(|key| key.as_bytes().trim_ascii());
    bearer(headers).or_else(bare)
}

/// Returns the key of `Authorization: Bearer KEY`; the scheme may be in any case.
fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let value = headers.get(AUTHORIZATION)?.as_bytes();
    let (scheme, key) = value.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| key.trim_ascii())
}

fn hash(key: &[u8]) -> Digest {
    let mut own = Digest::default();
    own.copy_from_slice(digest(&SHA256, key).as_ref());
    own
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(value: &str) -> HeaderMap {
        [(AUTHORIZATION, value.parse().expect("a header"))].into_iter().collect()
    }

    #[test]
    fn only_a_whole_key_opens() {
        let keys = Keys::load(Some("secret"), None).expect("loads");
        assert!(keys.required());
        for good in ["Bearer secret", "bearer secret", "BEARER  secret "] {
            assert!(keys.allow(&given(good)), "{good}");
        }
        for bad in
            ["Bearer secre", "Bearer secrets", "Bearer ", "Bearer", "secret", "Basic secret", ""]
        {
            assert!(!keys.allow(&given(bad)), "{bad}");
        }
        assert!(!keys.allow(&HeaderMap::new()));
        assert!(Keys::default().allow(&HeaderMap::new()));
    }

    #[test]
    fn space_around_a_key_is_not_part_of_it_and_one_of_nothing_else_is_refused() {
        let keys = Keys::load(Some(" secret\n"), None).expect("loads");
        assert!(keys.allow(&given("Bearer secret")));
        for empty in ["", "\n", "  "] {
            assert!(matches!(Keys::load(Some(empty), None), Err(KeysError::EmptyKey)), "{empty:?}");
        }
    }

    #[test]
    fn a_file_holds_several_and_a_bad_one_changes_nothing() {
        let path = std::env::temp_dir().join(format!("bigbatch-keys-{}", std::process::id()));
        std::fs::write(&path, "# team a\n first \n\nsecond\n").expect("writable");
        let keys = Keys::load(None, Some(path.clone())).expect("loads");
        let opens = |key: &str| keys.allow(&given(&format!("Bearer {key}")));
        assert!(opens("first") && opens("second") && !opens("# team a") && !opens(""));
        std::fs::write(&path, "\u{feff}first\nsecond\n").expect("writable");
        keys.reload().expect("loads");
        assert!(opens("first") && opens("second"));
        std::fs::write(&path, "# nobody\n").expect("writable");
        assert!(matches!(keys.reload(), Err(KeysError::Empty { .. })));
        assert!(opens("first"));
        std::fs::write(&path, "third\n").expect("writable");
        keys.reload().expect("loads");
        assert!(opens("third") && !opens("first"));
        std::fs::remove_file(&path).expect("it is ours");
        assert!(matches!(keys.reload(), Err(KeysError::Io { .. })));
        assert!(opens("third"));
    }
}
