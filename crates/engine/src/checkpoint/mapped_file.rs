//! Files mapped read-only into memory.

use std::fs::File;
use std::io;
use std::path::Path;

/// A read-only file mapped into memory. Weights are read where they are mapped, and the operating system may
/// evict the pages, which is why a memory budget does not count them.
#[derive(Debug)]
pub struct MappedFile(memmap2::Mmap);

impl MappedFile {
    /// Maps the whole file.
    ///
    /// # Errors
    /// The operating system's error when it opens or maps the file.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        // SAFETY: the map is private and read-only. A file that another process shortens while it is
        // mapped raises SIGBUS; checkpoints are replaced by rename, never rewritten in place.
        let map = unsafe { memmap2::Mmap::map(&file)? };
        Ok(MappedFile(map))
    }
}

impl std::ops::Deref for MappedFile {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}
