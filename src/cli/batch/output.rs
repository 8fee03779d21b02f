//! Where rows are written: standard output, or a file that a later run with `--resume` can continue.
//!
//! Nothing but the file itself is kept for that. Its rows have their index, so the next one is known; a last row
//! without its end is cut off. The first and the last row are computed again and compared byte by byte, which
//! shows another input, model or other options: the engine's answers have the same bits in every run on one device.

use std::collections::VecDeque;
use std::error::Error;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, BufRead, BufReader, BufWriter, Seek, SeekFrom, StdoutLock, Write, stdout};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::render::OutputFormat;

/// Longest time for which a written row stays in the program's memory, so that a reader can follow the file.
const FLUSH_AFTER: Duration = Duration::from_secs(1);

/// What rows are written to. Nothing changes before the first write.
pub(super) struct Sink {
    out: Out,
    /// What comes before the first row.
    header: Vec<u8>,
    begun: bool,
    flushed: Instant,
}

enum Out {
    /// Standard output, whose errors are returned as they are.
    Standard(BufWriter<StdoutLock<'static>>),
    File {
        path: PathBuf,
        out: BufWriter<File>,
        /// Length to cut a regular file to.
        cut_to: Option<u64>,
    },
}

impl Sink {
    pub(super) fn standard(header: Vec<u8>) -> Sink {
        Sink::new(Out::Standard(BufWriter::new(stdout().lock())), header)
    }

    fn new(out: Out, header: Vec<u8>) -> Sink {
        Sink { out, header, begun: false, flushed: Instant::now() }
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), Box<dyn Error>> {
        self.try_write(bytes).map_err(|error| self.name_error(error))
    }

    /// Writes what is still in memory.
    pub(super) fn finish(&mut self) -> Result<(), Box<dyn Error>> {
        let flushed = self.begin().and_then(|()| self.writer().flush());
        flushed.map_err(|error| self.name_error(error))
    }

    fn writer(&mut self) -> &mut dyn Write {
        match &mut self.out {
            Out::Standard(out) => out,
            Out::File { out, .. } => out,
        }
    }

    fn begin(&mut self) -> io::Result<()> {
        if self.begun {
            return Ok(());
        }
        if let Out::File { out, cut_to: Some(bytes), .. } = &mut self.out {
            out.get_ref().set_len(*bytes)?;
            out.get_mut().seek(SeekFrom::Start(*bytes))?;
        }
        let header = std::mem::take(&mut self.header);
        self.begun = true;
        self.writer().write_all(&header)
    }

    fn try_write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.begin()?;
        self.writer().write_all(bytes)?;
        if matches!(self.out, Out::File { .. }) && self.flushed.elapsed() >= FLUSH_AFTER {
            self.writer().flush()?;
            self.flushed = Instant::now();
        }
        Ok(())
    }

    fn name_error(&self, error: io::Error) -> Box<dyn Error> {
        match &self.out {
            Out::Standard(_) => error.into(),
            Out::File { path, .. } => {
                let path = path.display();
                format!(
                    "cannot write {path}: {error}; free space there, then continue with --resume"
                )
                .into()
            }
        }
    }
}

/// The rows that an output holds from an earlier run.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Written {
    /// Index of the first row that is missing.
    pub(super) next: usize,
    /// Rows that hold an error or were left out.
    pub(super) failed: usize,
    /// Index and bytes of the rows to compute again.
    pub(super) samples: VecDeque<(usize, Vec<u8>)>,
    /// Length up to the end of the last whole row.
    pub(super) whole_bytes: u64,
}

/// The file of `--output`, checked and not changed yet.
pub(super) struct OutputFile {
    path: PathBuf,
    file: File,
    /// Whether an earlier run's rows stay.
    resume: bool,
    is_regular: bool,
}

impl OutputFile {
    /// Opens or creates the file.
    ///
    /// # Errors
    /// A file that holds anything, unless it is to be resumed or replaced; one that is also the input or that
    /// another process writes.
    pub(super) fn open(
        path: &Path,
        input: Option<&Path>,
        resume: bool,
        force: bool,
    ) -> Result<OutputFile, String> {
        let name = path.display();
        let canonical = |path: &Path| path.canonicalize().ok();
        if input.and_then(canonical).is_some_and(|input| canonical(path) == Some(input)) {
            return Err(format!("--output {name} is also the input; name another file"));
        }
        let mut options = OpenOptions::new();
        let opened = options.read(resume).write(true).create(true).truncate(false).open(path);
        let opened = opened.and_then(|file| Ok((file.metadata()?, file)));
        let (metadata, file) = opened
            .map_err(|error| format!("cannot write {name}: {error}; choose another --output"))?;
        if !metadata.is_file() {
            return match resume {
                true => {
                    Err(format!("--resume: {name} is no regular file, so its rows are unknown"))
                }
                false => Ok(OutputFile { path: path.into(), file, resume, is_regular: false }),
            };
        }
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(format!(
                    "another process is writing {name}; wait for it or choose another --output"
                ));
            }
            Err(TryLockError::Error(error)) => return Err(format!("cannot lock {name}: {error}")),
        }
        if metadata.len() > 0 && !resume && !force {
            return Err(format!(
                "{name} exists; add --resume to continue it, --force to overwrite it, or choose another --output"
            ));
        }
        Ok(OutputFile { path: path.into(), file, resume, is_regular: true })
    }

    /// Finds what an earlier run wrote, and returns a sink that writes the header unless it is there.
    ///
    /// # Errors
    /// Content that these options do not write.
    pub(super) fn begin(
        self,
        format: OutputFormat,
        header: Vec<u8>,
        errors: ErrorRows,
    ) -> Result<(Sink, Written), String> {
        let OutputFile { path, file, resume, is_regular } = self;
        let mut written = Written::default();
        if resume {
            let reader = BufReader::with_capacity(1 << 16, &file);
            let scanned = scan(reader, format, &header, errors);
            let scanned =
                scanned.map_err(|error| format!("cannot read {}: {error}", path.display()))?;
            written = scanned.map_err(|reason| refuse_resume(&path, &reason))?;
        }
        let header = if written.whole_bytes == 0 { header } else { Vec::new() };
        let cut_to = is_regular.then_some(written.whole_bytes);
        let out = BufWriter::with_capacity(1 << 16, file);
        Ok((Sink::new(Out::File { path, out, cut_to }, header), written))
    }
}

/// Returns the error for an output that cannot be continued.
pub(super) fn refuse_resume(path: &Path, reason: &str) -> String {
    format!(
        "--resume: {}: {reason}; use the input, model and options of the first run, or start over with --force",
        path.display()
    )
}

/// What an output has in the place of rows that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ErrorRows {
    /// Rows with the error.
    Written,
    /// Nothing: indices may be missing.
    Missing,
    /// There are none: the job stops before.
    None,
}

/// Reads an output up to its last whole row; the inner error is the first thing that these options do not write.
pub(super) fn scan(
    mut reader: impl BufRead,
    format: OutputFormat,
    header: &[u8],
    errors: ErrorRows,
) -> io::Result<Result<Written, String>> {
    let mut written = Written::default();
    let mut record = Vec::new();
    let is_csv = format == OutputFormat::Csv;
    if is_csv {
        let whole = read_record(&mut reader, is_csv, &mut record)?;
        if record != header && (whole || !header.starts_with(&record)) {
            return Ok(Err("its header is not that of these options".into()));
        }
        if !whole {
            return Ok(Ok(written));
        }
        written.whole_bytes = record.len() as u64;
    }
    let mut number = 0;
    let mut last: Option<(usize, Vec<u8>)> = None;
    loop {
        number += 1;
        if !read_record(&mut reader, is_csv, &mut record)? {
            break;
        }
        let Some((index, failed)) = parse_record(&record, is_csv) else {
            return Ok(Err(format!("row {number} is no answer")));
        };
        let fits = match errors {
            ErrorRows::Missing => index >= written.next && !failed,
            ErrorRows::Written => index == written.next,
            ErrorRows::None => index == written.next && !failed,
        };
        if !fits {
            return Ok(Err(match failed && errors != ErrorRows::Written {
                true => format!(
                    "row {number} holds an error, which --on-error of this run does not write"
                ),
                false => {
                    format!("row {number} has the index {index}; {} was expected", written.next)
                }
            }));
        }
        written.whole_bytes += record.len() as u64;
        written.failed += usize::from(failed) + (index - written.next);
        written.next = index.saturating_add(1);
        if written.samples.is_empty() {
            written.samples.push_back((index, record.clone()));
        } else {
            let (at, bytes) = last.get_or_insert_default();
            *at = index;
            bytes.clone_from(&record);
        }
    }
    if !is_csv && !record.is_empty() && !is_row_start(&record) {
        return Ok(Err(format!("row {number} is no answer")));
    }
    written.samples.extend(last);
    Ok(Ok(written))
}

/// Returns whether a JSON line without its end may be the beginning of a row.
fn is_row_start(bytes: &[u8]) -> bool {
    const START: &[u8] = b"{\"index\":";
    bytes.starts_with(START) || START.starts_with(bytes)
}

/// Reads a record with its end into `record`; `false` if the end is missing. A line end inside of quotes, of which
/// there are as many as others, does not end a record of CSV.
fn read_record(reader: &mut impl BufRead, is_csv: bool, record: &mut Vec<u8>) -> io::Result<bool> {
    record.clear();
    let mut quotes = 0;
    loop {
        let read = reader.read_until(b'\n', record)?;
        let line = &record[record.len() - read..];
        if line.last() != Some(&b'\n') {
            return Ok(false);
        }
        quotes += line.iter().filter(|byte| **byte == b'"').count();
        if !is_csv || quotes % 2 == 0 {
            return Ok(true);
        }
    }
}

/// Returns the index of a row and whether it holds an error.
fn parse_record(record: &[u8], is_csv: bool) -> Option<(usize, bool)> {
    if is_csv {
        // The first field is a number, the last one a word or empty: neither is ever quoted.
        let record = str::from_utf8(record).ok()?.strip_suffix('\n')?;
        let (index, rest) = record.split_once(',')?;
        let (_, kind) = rest.rsplit_once(',')?;
        let is_kind = kind.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        return Some((index.parse().ok()?, !kind.is_empty())).filter(|_| is_kind);
    }
    #[derive(Deserialize)]
    struct WrittenRow {
        index: usize,
        error_kind: Option<IgnoredAny>,
    }
    let row: WrittenRow = serde_json::from_slice(record).ok()?;
    Some((row.index, row.error_kind.is_some()))
}
