//! SHA-256 of a model's files: which files a load has read, and one digest for the bytes of all of them.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::sync::{MutexGuard, PoisonError};

use ring::digest::{Context, Digest, SHA256, digest};

use super::{Checkpoint, WeightsFile, no_source};
use crate::error::LoadError;

/// Bytes that are read from a file at once.
const PIECE_BYTES: usize = 1 << 20;

/// Returns the digest of some bytes in lower-case hexadecimal.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    hexadecimal(digest(&SHA256, bytes))
}

fn hexadecimal(digest: Digest) -> String {
    digest.as_ref().iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

impl Checkpoint {
    /// No code panics while it holds the lock, so a poisoned one is still whole.
    fn reads(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.reads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records that a file was read, if the checkpoint has it.
    pub(super) fn record_read(&self, file: &str, found: bool) {
        if found {
            self.reads().insert(file.to_owned());
        }
    }

    /// Forgets which files were read.
    pub(crate) fn forget_reads(&self) {
        self.reads().clear();
    }

    /// Returns the SHA-256 of the names and the digests of all files that were read since
    /// [`Checkpoint::forget_reads`], as `sha256sum` lists them in order of name. Reads all of them again.
    ///
    /// # Errors
    /// As [`Checkpoint::open`]; [`LoadError::Source`] for a file that was removed since.
    pub(crate) fn digest_of_reads(&self) -> Result<String, LoadError> {
        let files = self.reads().clone();
        let mut list = String::new();
        for file in files {
            let opened = self.open(&file)?.ok_or_else(|| {
                no_source(self.name(), &format!("{file} was removed while the model was loaded"))
            })?;
            list.push_str(&format!("{}  {file}\n", digest_of(&opened)?));
        }
        Ok(sha256(list.as_bytes()))
    }
}

fn digest_of(file: &WeightsFile) -> Result<String, LoadError> {
    if let Some(bytes) = file.in_memory() {
        return Ok(sha256(bytes));
    }
    let mut context = Context::new(&SHA256);
    let mut piece = vec![0; PIECE_BYTES];
    let mut at = 0;
    while at < file.bytes() {
        let bytes = &mut piece[..PIECE_BYTES.min((file.bytes() - at) as usize)];
        file.read_at(at, bytes)?;
        context.update(bytes);
        at += bytes.len() as u64;
    }
    Ok(hexadecimal(context.finish()))
}
