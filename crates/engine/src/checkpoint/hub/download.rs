//! The download of one file into the cache. It can be interrupted at any time and is resumed by the next run; of
//! several processes one downloads and the others wait.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};

use indicatif::{ProgressBar, ProgressStyle};
use ring::digest::{Context, SHA256};

use super::cache::{RepoCache, create_parent};
use super::client::{Answer, Client, Failure, RemoteFile};

/// Files of this size and larger are announced in the log where there is no terminal for a progress bar.
const LARGE_BYTES: u64 = 10 << 20;

/// Why a file did not come.
pub(super) enum DownloadError {
    Hub(Failure),
    /// The cache, or the connection after the Hub's answer.
    Io(io::Error),
    /// The repository got a new commit meanwhile.
    Changed,
    /// The bytes are not those that the Hub promised, and are deleted.
    Damaged {
        /// Whether some of them were there before this run.
        resumed: bool,
    },
}

impl From<io::Error> for DownloadError {
    fn from(error: io::Error) -> Self {
        DownloadError::Io(error)
    }
}

/// Puts a file that the Hub is about to send into the snapshot and returns its path.
pub(super) fn store(
    cache: &RepoCache,
    client: &Client,
    file: &str,
    remote: RemoteFile,
) -> Result<PathBuf, DownloadError> {
    let (commit, etag) = (remote.commit.clone(), remote.etag.clone());
    let blob = cache.blob(&etag);
    if !blob.is_file() {
        let lock = cache.lock_path(&etag);
        create_parent(&lock)?;
        let lock = OpenOptions::new().create(true).append(true).open(lock)?;
        let waited = match lock.try_lock() {
            Ok(()) => false,
            Err(TryLockError::WouldBlock) => {
                tracing::info!(file, "another process downloads this file; waiting for it");
                lock.lock()?;
                true
            }
            Err(TryLockError::Error(error)) => return Err(error.into()),
        };
        if !blob.is_file() {
            create_parent(&blob)?;
            // After a wait the Hub has closed the connection.
            let part = blob.with_file_name(format!("{etag}.incomplete"));
            let resumed = part.metadata().is_ok_and(|part| part.len() > 0);
            Part::open(&part, file, &remote)?.fill(client, (!waited).then_some(remote))?;
            if !is_intact(&part, &etag)? {
                fs::remove_file(&part)?;
                return Err(DownloadError::Damaged { resumed });
            }
            fs::rename(part, &blob)?;
        }
    }
    Ok(cache.link(&commit, file, &etag)?)
}

/// Returns whether a file has the content that its etag promises. The Hub's etag of a large file is its SHA-256; other
/// etags promise nothing.
fn is_intact(path: &Path, etag: &str) -> io::Result<bool> {
    let is_digest = etag.len() == 64 && etag.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !is_digest {
        return Ok(true);
    }
    let (mut file, mut digest) = (File::open(path)?, Context::new(&SHA256));
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => digest.update(&buffer[..read]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let hex = digest.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    Ok(hex.eq_ignore_ascii_case(etag))
}

/// The bytes of a file that have come so far.
struct Part<'a> {
    name: &'a str,
    etag: String,
    size: Option<u64>,
    file: File,
    /// Length of `file`.
    bytes: u64,
}

impl<'a> Part<'a> {
    fn open(path: &Path, name: &'a str, remote: &RemoteFile) -> io::Result<Part<'a>> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        let bytes = file.metadata()?.len();
        Ok(Part { name, etag: remote.etag.clone(), size: remote.size, file, bytes })
    }

    /// Appends what is missing. A connection that breaks is opened again as long as each brings something.
    fn fill(&mut self, client: &Client, first: Option<RemoteFile>) -> Result<(), DownloadError> {
        let progress = Progress::start(self.name, self.size, self.bytes);
        let mut first = first.filter(|_| self.bytes == 0);
        while self.size != Some(self.bytes) {
            let remote = match first.take() {
                Some(remote) => remote,
                None => self.request(client)?,
            };
            self.truncate_to(remote.start)?;
            let before = self.bytes;
            let end = self.append(remote, &progress);
            match end {
                Ok(()) if self.size.is_none() => break,
                // Without its size a file cannot be resumed: it would begin again for ever.
                Err(error) if self.size.is_none() => return Err(error.into()),
                _ if self.bytes > before => {}
                Ok(()) => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
                Err(error) => return Err(error.into()),
            }
        }
        self.file.sync_all()?;
        progress.finish(self.bytes);
        Ok(())
    }

    fn request(&mut self, client: &Client) -> Result<RemoteFile, DownloadError> {
        if self.size.is_none_or(|size| self.bytes > size) {
            self.truncate_to(0)?;
        }
        match client.get(self.name, self.bytes) {
            Ok(Answer::File(remote)) if remote.etag == self.etag && remote.start <= self.bytes => {
                Ok(remote)
            }
            Ok(_) => Err(DownloadError::Changed),
            Err(failure) => Err(DownloadError::Hub(failure)),
        }
    }

    /// Drops bytes that come again.
    fn truncate_to(&mut self, bytes: u64) -> io::Result<()> {
        if bytes < self.bytes {
            self.file.set_len(bytes)?;
            self.bytes = bytes;
        }
        Ok(())
    }

    fn append(&mut self, remote: RemoteFile, progress: &Progress) -> io::Result<()> {
        let missing = self.size.map_or(u64::MAX, |size| size - self.bytes);
        let mut reader = remote.body.into_reader().take(missing);
        let mut buffer = vec![0; 1 << 18];
        loop {
            let read = match reader.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            self.file.write_all(&buffer[..read])?;
            self.bytes += read as u64;
            progress.set(self.bytes);
        }
    }
}

/// A bar on a terminal; elsewhere log lines for large files.
struct Progress<'a> {
    file: &'a str,
    bar: Option<ProgressBar>,
}

impl Progress<'_> {
    fn start(file: &str, size: Option<u64>, resumed_at: u64) -> Progress<'_> {
        if !io::stderr().is_terminal() {
            let size = size.unwrap_or(0);
            if size >= LARGE_BYTES {
                tracing::info!(file, bytes = size, resumed_at, "downloading");
            }
            return Progress { file, bar: None };
        }
        let style = ProgressStyle::with_template(
            "{msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}",
        );
        let bar = size.map_or_else(ProgressBar::no_length, ProgressBar::new);
        let bar = bar.with_message(file.to_string()).with_position(resumed_at);
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.reset_eta();
        Progress { file, bar: Some(bar) }
    }

    fn set(&self, bytes: u64) {
        if let Some(bar) = &self.bar {
            bar.set_position(bytes);
        }
    }

    fn finish(&self, bytes: u64) {
        match &self.bar {
            Some(bar) => bar.finish(),
            None if bytes >= LARGE_BYTES => {
                tracing::info!(file = self.file, bytes, "downloaded");
            }
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_held_against_the_bytes() {
        // sha256sum of "abc".
        let digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let path = std::env::temp_dir().join(format!("bigbatch-digest-{}", std::process::id()));
        for (bytes, etag, intact) in [
            ("abc", digest, true),
            ("abd", digest, false),
            ("abd", "a9993e364706816aba3e25717850c26c9cd0d89d", true),
        ] {
            fs::write(&path, bytes).expect("writable");
            assert_eq!(is_intact(&path, etag).expect("readable"), intact, "{bytes} {etag}");
        }
        fs::remove_file(&path).expect("it is ours");
    }
}
