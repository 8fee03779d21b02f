//! The input of a job: where its bytes come from, their format, and the reader for it. Each format reads one row at a
//! time.

use std::fs::{File, Metadata};
use std::io::{self, BufRead, BufReader, Cursor, Read, stdin};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use clap::ValueEnum;

use super::columns::{Columns, Keep, check_names};
use super::delimited::Delimiter;
use super::row::{ErrorKind, Failure, Kept, Row, RowError, RowResult};
use super::{delimited, json};

/// The formats that texts are read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum InputFormat {
    /// One text per line
    Lines,
    /// One JSON object or string per line
    Jsonl,
    /// Comma-separated values under a header
    Csv,
    /// Tab-separated values under a header
    Tsv,
    /// A JSON array of strings or objects
    Json,
}

impl InputFormat {
    /// Returns the format that the ending of a file's name stands for.
    pub(super) fn of(path: &Path) -> Option<InputFormat> {
        let ending = path.extension()?.to_str()?.to_ascii_lowercase();
        match ending.as_str() {
            "txt" => Some(InputFormat::Lines),
            "jsonl" | "ndjson" => Some(InputFormat::Jsonl),
            "csv" => Some(InputFormat::Csv),
            "tsv" => Some(InputFormat::Tsv),
            "json" => Some(InputFormat::Json),
            _ => None,
        }
    }
}

/// Upper limit on the bytes of a row: what follows a missing quote or line end would fill the memory otherwise.
const MAX_ROW_BYTES: u64 = 64 << 20;

/// The bytes of a source.
pub(super) type Bytes = Box<dyn Read + Send>;

/// Where the bytes of a job come from.
pub(super) struct Source {
    /// The path, or `standard input`, as messages name it.
    pub(super) name: String,
    pub(super) reader: Bytes,
    pub(super) limit: RowLimit,
    /// Bytes read so far.
    pub(super) read_bytes: Arc<AtomicU64>,
    /// Bytes of a regular file.
    pub(super) total_bytes: Option<u64>,
    /// The regular file that is read, which must not be the output.
    pub(super) file: Option<FileId>,
}

/// A regular file under any of its names: its device and its inode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FileId(u64, u64);

impl FileId {
    /// Returns the identity of a regular file, of which there is one; any number of jobs may share a device or a pipe.
    pub(super) fn of(metadata: &Metadata) -> Option<FileId> {
        metadata.is_file().then(|| FileId(metadata.dev(), metadata.ino()))
    }
}

impl Source {
    pub(super) fn standard_input() -> Source {
        let file = stdin().as_fd().try_clone_to_owned().map(File::from);
        let metadata = file.and_then(|file| file.metadata()).ok();
        let source = Source::new("standard input".into(), stdin(), None);
        Source { file: metadata.as_ref().and_then(FileId::of), ..source }
    }

    /// Opens a file.
    pub(super) fn open(path: &Path) -> Result<Source, String> {
        let name = path.display().to_string();
        let opened = File::open(path).and_then(|file| Ok((file.metadata()?, file)));
        let (metadata, file) = opened.map_err(|error| format!("cannot read {name}: {error}"))?;
        if metadata.is_dir() {
            return Err(format!("cannot read {name}: it is a directory; give a file of texts"));
        }
        let total_bytes = metadata.is_file().then_some(metadata.len());
        let source = Source::new(name, file, total_bytes);
        Ok(Source { file: FileId::of(&metadata), ..source })
    }

    pub(super) fn new(
        name: String,
        reader: impl Read + Send + 'static,
        total_bytes: Option<u64>,
    ) -> Source {
        let (read_bytes, limit) = (Arc::new(AtomicU64::new(0)), RowLimit::default());
        let (count, row) = (read_bytes.clone(), limit.clone());
        let reader = Box::new(CountingReader { reader, read_bytes: count, limit: row });
        Source { name, reader, limit, read_bytes, total_bytes, file: None }
    }
}

/// The bytes read since the last row began, which are limited. Clones share the count.
#[derive(Clone, Default)]
pub(super) struct RowLimit(Arc<AtomicU64>);

impl RowLimit {
    /// Must follow every row.
    pub(super) fn begin_row(&self) {
        self.0.store(0, Ordering::Relaxed);
    }
}

/// Counts the bytes that pass.
struct CountingReader<R> {
    reader: R,
    read_bytes: Arc<AtomicU64>,
    limit: RowLimit,
}

impl<R: Read> Read for CountingReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.limit.0.load(Ordering::Relaxed) > MAX_ROW_BYTES {
            return Err(io::Error::other(
                "a row has more than 64 MiB; a quote or a line end may be missing",
            ));
        }
        let read = self.reader.read(buffer)?;
        self.read_bytes.fetch_add(read as u64, Ordering::Relaxed);
        self.limit.0.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

/// The rows of an input.
pub(super) struct Rows {
    pub(super) rows: Box<dyn Iterator<Item = RowResult>>,
    /// Names of the columns that every row keeps; `None` if they differ from row to row.
    pub(super) kept_names: Option<Vec<String>>,
}

/// Opens the reader for a format.
///
/// # Errors
/// An input that cannot be read, or that lacks the columns.
pub(super) fn read_rows(
    source: Source,
    format: InputFormat,
    columns: &Columns,
    delimiter: Option<Delimiter>,
) -> Result<Rows, String> {
    let Source { name, reader, limit, .. } = source;
    let reader = skip_bom(reader).map_err(|error| format!("cannot read {name}: {error}"))?;
    if delimiter.is_some() && !matches!(format, InputFormat::Csv | InputFormat::Tsv) {
        return Err("--delimiter is for --input-format csv and tsv".into());
    }
    let default = |byte| delimiter.unwrap_or(Delimiter { byte, is_given: false });
    match format {
        InputFormat::Lines => {
            if let Some(option) = columns.first_option() {
                return Err(format!(
                    "{option}: plain lines have no columns; --input-format jsonl, csv, tsv and json have"
                ));
            }
            let rows = lines(reader, limit, name).enumerate().map(text_of_line);
            Ok(Rows { rows: Box::new(rows), kept_names: Some(Vec::new()) })
        }
        InputFormat::Csv => delimited::read(reader, limit, default(b','), &name, columns),
        InputFormat::Tsv => delimited::read(reader, limit, default(b'\t'), &name, columns),
        InputFormat::Jsonl | InputFormat::Json => {
            let named = columns.kept_names(std::iter::empty(), "");
            check_names(&named).map_err(|reason| format!("{name}: {reason}"))?;
            let kept_names = (columns.keep != Keep::Others)
                .then(|| named.into_iter().map(str::to_owned).collect());
            let rows = match format {
                InputFormat::Jsonl => {
                    json::objects(lines(reader, limit, name.clone()), &name, columns)
                }
                _ => json::array(reader, limit, name, columns),
            };
            Ok(Rows { rows, kept_names })
        }
    }
}

/// Drops the mark that some programs write at the beginning of UTF-8.
fn skip_bom(mut reader: Bytes) -> io::Result<Bytes> {
    const BOM: [u8; 3] = [0xef, 0xbb, 0xbf];
    let mut start = Vec::new();
    reader.by_ref().take(BOM.len() as u64).read_to_end(&mut start)?;
    if start == BOM {
        return Ok(reader);
    }
    Ok(Box::new(Cursor::new(start).chain(reader)))
}

/// Iterates over lines without their ends, or the error that ends the input.
fn lines(
    reader: Bytes,
    limit: RowLimit,
    name: String,
) -> impl Iterator<Item = Result<Vec<u8>, Failure>> {
    BufReader::new(reader).split(b'\n').map(move |line| {
        limit.begin_row();
        let failed = |error| Failure::Input(format!("cannot read {name}: {error}"));
        let mut line = line.map_err(failed)?;
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        Ok(line)
    })
}

fn text_of_line((index, line): (usize, Result<Vec<u8>, Failure>)) -> RowResult {
    let row = Row { index, line: Some(index as u64 + 1), kept: Kept::default() };
    match String::from_utf8(line?) {
        Ok(text) => Ok((row, text)),
        Err(_) => Err(Failure::Row(row, not_utf8())),
    }
}

pub(super) fn not_utf8() -> RowError {
    RowError::new(ErrorKind::NotUtf8, "the text is not valid UTF-8; convert it first")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A reader that returns one byte at a time.
    struct Slow(&'static [u8]);

    impl Read for Slow {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let read = self.0.len().min(buffer.len()).min(1);
            buffer[..read].copy_from_slice(&self.0[..read]);
            self.0 = &self.0[read..];
            Ok(read)
        }
    }

    #[test]
    fn a_byte_order_mark_is_dropped_and_nothing_else() {
        for (bytes, expected) in [
            (&b"\xef\xbb\xbfone"[..], &b"one"[..]),
            (b"\xef\xbb\xbf\xef\xbb\xbf", b"\xef\xbb\xbf"),
            (b"\xef\xbb", b"\xef\xbb"),
            (b"one", b"one"),
            (b"", b""),
        ] {
            let mut read = Vec::new();
            let mut reader = skip_bom(Box::new(Slow(bytes))).expect("it is in memory");
            reader.read_to_end(&mut read).expect("it is in memory");
            assert_eq!(read, expected);
        }
    }
}
