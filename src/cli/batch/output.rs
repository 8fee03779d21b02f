//! Where rows are written: standard output, or a file that a later run with `--resume` can continue.
//!
//! Nothing but the file itself is kept for that. Its rows have their index, so the next one is known; a last row
//! without its end is cut off. The first and the last row with an answer are computed again and compared byte by byte,
//! which shows another input, model or other options: the engine's answers have the same bits in every run on one
//! device. Rows with an error are not compared, because an error of the device may not come again.

use std::collections::VecDeque;
use std::error::Error;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{
    self, BufRead, BufReader, BufWriter, ErrorKind, Seek, SeekFrom, StdoutLock, Write, stdout,
};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::ValueEnum;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::input::FileId;
use super::render::OutputFormat;

/// Age of the last flush after which a row is written to the file together with those in memory, so that a reader can
/// follow it. Nothing is flushed while no row is answered.
const FLUSH_AFTER: Duration = Duration::from_secs(1);

/// Bytes of the buffer between rows and the file.
const BUFFER: usize = 1 << 16;

/// What becomes of a row that cannot be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum OnError {
    /// End the job with exit code 2
    Stop,
    /// Leave the row out
    Skip,
    /// Write the error in place of the answer
    Report,
}

/// What rows are written to. Nothing changes before the first write: a file that does not exist is created then.
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
    /// A file that does not exist yet.
    Absent(PathBuf),
}

impl Sink {
    pub(super) fn standard(header: Vec<u8>) -> Sink {
        Sink::new(Out::Standard(BufWriter::new(stdout().lock())), header)
    }

    fn new(out: Out, header: Vec<u8>) -> Sink {
        Sink { out, header, begun: false, flushed: Instant::now() }
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), Box<dyn Error>> {
        self.begin()?;
        self.try_write(bytes).map_err(|error| self.name_error(error))
    }

    /// Writes what is still in memory; without any row, the header.
    pub(super) fn finish(&mut self) -> Result<(), Box<dyn Error>> {
        self.begin()?;
        self.flush()
    }

    /// Writes what is still in memory, and nothing if no row was written. Dropping the sink loses the error.
    pub(super) fn flush(&mut self) -> Result<(), Box<dyn Error>> {
        let flushed = self.writer().map_or(Ok(()), |writer| writer.flush());
        flushed.map_err(|error| self.name_error(error))
    }

    /// Returns the buffer; `None` if the file does not exist yet.
    fn writer(&mut self) -> Option<&mut dyn Write> {
        match &mut self.out {
            Out::Standard(out) => Some(out),
            Out::File { out, .. } => Some(out),
            Out::Absent(_) => None,
        }
    }

    /// Creates the file or cuts it to its whole rows, and writes the header.
    fn begin(&mut self) -> Result<(), Box<dyn Error>> {
        if self.begun {
            return Ok(());
        }
        if let Out::Absent(path) = &self.out {
            let path = path.clone();
            let Opened { file, is_regular } =
                Opened::open(&path, true, false, false)?.ok_or_else(|| absent(&path))?;
            let cut_to = is_regular.then_some(0);
            self.out = Out::File { out: BufWriter::with_capacity(BUFFER, file), path, cut_to };
        }
        let header = std::mem::take(&mut self.header);
        self.begun = true;
        self.try_begin(&header).map_err(|error| self.name_error(error))
    }

    fn try_begin(&mut self, header: &[u8]) -> io::Result<()> {
        if let Out::File { out, cut_to: Some(bytes), .. } = &mut self.out {
            out.get_ref().set_len(*bytes)?;
            out.get_mut().seek(SeekFrom::Start(*bytes))?;
        }
        self.writer().map_or(Ok(()), |writer| writer.write_all(header))
    }

    fn try_write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Some(writer) = self.writer() else { return Ok(()) };
        writer.write_all(bytes)?;
        if matches!(self.out, Out::File { .. }) && self.flushed.elapsed() >= FLUSH_AFTER {
            self.flushed = Instant::now();
            return self.writer().map_or(Ok(()), |writer| writer.flush());
        }
        Ok(())
    }

    fn name_error(&self, error: io::Error) -> Box<dyn Error> {
        let (path, is_regular) = match &self.out {
            Out::Standard(_) => return error.into(),
            Out::File { path, cut_to, .. } => (path.display(), cut_to.is_some()),
            Out::Absent(path) => (path.display(), true),
        };
        match error.kind() {
            ErrorKind::StorageFull if is_regular => format!(
                "cannot write {path}: {error}; free space there, then continue with --resume"
            )
            .into(),
            _ => format!("cannot write {path}: {error}").into(),
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
    /// Index and bytes of the rows to compute again, which hold answers.
    pub(super) samples: VecDeque<(usize, Vec<u8>)>,
    /// Length up to the end of the last whole row.
    pub(super) whole_bytes: u64,
}

/// The file of `--output`, checked and not changed yet.
pub(super) struct OutputFile {
    path: PathBuf,
    /// `None` if it does not exist.
    opened: Option<Opened>,
    /// Whether an earlier run's rows stay.
    resume: bool,
}

/// A file that is open for writing and, if regular, locked.
struct Opened {
    file: File,
    is_regular: bool,
}

impl Opened {
    /// Opens or creates a file; `None` if it does not exist and is not to be created. One that holds anything is an
    /// error unless `resume` or `force` is set.
    fn open(
        path: &Path,
        create: bool,
        resume: bool,
        force: bool,
    ) -> Result<Option<Opened>, String> {
        let name = path.display();
        let mut options = OpenOptions::new();
        let opened = options.read(resume).write(true).create(create).truncate(false).open(path);
        let opened = opened.and_then(|file| Ok((file.metadata()?, file)));
        let (metadata, file) = match opened {
            Ok(opened) => opened,
            Err(error) if error.kind() == ErrorKind::NotFound && !create => return Ok(None),
            Err(error) => {
                return Err(format!("cannot write {name}: {error}; choose another --output"));
            }
        };
        if !metadata.is_file() {
            return Ok(Some(Opened { file, is_regular: false }));
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
        // Another process may have written it until it was locked.
        let bytes = file.metadata().map_err(|error| format!("cannot read {name}: {error}"))?.len();
        if bytes > 0 && !resume && !force {
            return Err(format!(
                "{name} exists; add --resume to continue it, --force to overwrite it, or choose another --output"
            ));
        }
        Ok(Some(Opened { file, is_regular: true }))
    }
}

impl OutputFile {
    /// Opens the file if it exists.
    ///
    /// # Errors
    /// A file that holds anything, unless it is to be resumed or replaced; one that is also the input or that
    /// another process writes; one that cannot be created, because there is no such directory.
    pub(super) fn check(
        path: &Path,
        input: Option<&FileId>,
        resume: bool,
        force: bool,
    ) -> Result<OutputFile, String> {
        let name = path.display();
        let own = path.metadata().ok().and_then(|metadata| FileId::of(&metadata));
        if own.is_some() && own.as_ref() == input {
            return Err(format!("--output {name} is also the input; name another file"));
        }
        let opened = Opened::open(path, false, resume, force)?;
        match &opened {
            Some(Opened { is_regular: false, .. }) if resume => {
                return Err(format!(
                    "--resume: {name} is no regular file, so its rows are unknown"
                ));
            }
            None if !directory_exists(path) => return Err(absent(path)),
            _ => {}
        }
        Ok(OutputFile { path: path.into(), opened, resume })
    }

    /// Finds what an earlier run wrote, and returns a sink that writes the header unless it is there.
    ///
    /// # Errors
    /// Content that these options do not write.
    pub(super) fn begin(
        self,
        format: OutputFormat,
        header: Vec<u8>,
        on_error: OnError,
    ) -> Result<(Sink, Written), String> {
        let OutputFile { path, opened, resume } = self;
        let mut written = Written::default();
        let Some(Opened { file, is_regular }) = opened else {
            return Ok((Sink::new(Out::Absent(path), header), written));
        };
        if resume {
            let reader = BufReader::with_capacity(BUFFER, &file);
            let scanned = scan(reader, format, &header, on_error);
            let scanned =
                scanned.map_err(|error| format!("cannot read {}: {error}", path.display()))?;
            written = scanned.map_err(|reason| refuse_resume(&path, &reason))?;
        }
        let header = if written.whole_bytes == 0 { header } else { Vec::new() };
        let cut_to = is_regular.then_some(written.whole_bytes);
        let out = BufWriter::with_capacity(BUFFER, file);
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

/// Returns the error for an output in a directory that does not exist.
fn absent(path: &Path) -> String {
    format!("cannot write {}: there is no such directory; choose another --output", path.display())
}

/// Returns whether the directory exists that a file is to be created in.
fn directory_exists(path: &Path) -> bool {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    parent.unwrap_or(Path::new(".")).is_dir()
}

/// Reads an output up to its last whole row; the inner error is the first thing that these options do not write.
pub(super) fn scan(
    mut reader: impl BufRead,
    format: OutputFormat,
    header: &[u8],
    on_error: OnError,
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
        let fits = match on_error {
            OnError::Skip => index >= written.next && !failed,
            OnError::Report => index == written.next,
            OnError::Stop => index == written.next && !failed,
        };
        if !fits {
            return Ok(Err(match failed && on_error != OnError::Report {
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
        if failed {
            continue;
        }
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
