//! The journal of a run: every finished cell is on disk before the next one begins.
//!
//! It has one line of JSON for the run's identity and, per finished cell, one line per raw record
//! followed by one line for the cell. Lines are only appended, so finished cells survive an interrupt, a
//! crash or a full disk. A cell without its own line was not finished and is run again.
//!
//! A run resumes from a journal only if it would have written the same identity: plan, target and
//! prompts. A cell that cannot be written is written with the next one. The report's files are not
//! written here but in [`crate::report`].

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, ErrorKind, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::figures::Cell;
use crate::load::RequestRecord;
use crate::plan::Plan;
use crate::plan::difference::describe_first_difference;
use crate::system::TargetInfo;

/// Version of the format of the lines.
const VERSION: u32 = 1;

/// The identity of a run: a journal is resumed only by a run whose identity is equal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct RunIdentity {
    pub(crate) version: u32,
    pub(crate) plan: Plan,
    pub(crate) target: TargetInfo,
    /// Digest of the corpus and of all prompts.
    pub(crate) prompts_digest: String,
}

impl RunIdentity {
    pub(crate) fn new(plan: &Plan, target: &TargetInfo, prompts_digest: String) -> RunIdentity {
        // The folder of the plan's file is not part of the plan, and is not serialised.
        let plan = Plan { folder: PathBuf::new(), ..plan.clone() };
        RunIdentity { version: VERSION, plan, target: target.clone(), prompts_digest }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum JournalLine {
    Begun { at: String, identity: Box<RunIdentity> },
    Resumed { at: String },
    Request(RequestRecord),
    Cell(Box<Cell>),
}

/// The contents of a journal: what earlier sittings finished.
#[derive(Debug, Default)]
pub(crate) struct JournalContents {
    /// Start of the run, in ISO 8601.
    pub(crate) started_at: String,
    /// Start of each later sitting, in ISO 8601.
    pub(crate) resumed_at: Vec<String>,
    /// Finished cells with their records, by index.
    pub(crate) cells: BTreeMap<usize, (Cell, Vec<RequestRecord>)>,
}

/// A journal open for appending.
pub(crate) struct Journal {
    file: File,
    /// Length of the file up to the end of the last complete cell.
    whole_bytes: u64,
    /// Lines that are not written yet.
    pending: Vec<u8>,
}

impl Journal {
    /// Starts a journal, replacing an existing one.
    pub(crate) fn begin(path: &Path, identity: RunIdentity, at: &str) -> Result<Journal, Error> {
        let attempt = || {
            File::create(path)?;
            let mut journal = Journal::append(path, 0)?;
            journal.push_line(&JournalLine::Begun {
                at: at.to_owned(),
                identity: Box::new(identity),
            })?;
            journal.flush()?;
            Ok(journal)
        };
        attempt().map_err(unwritable(path))
    }

    /// Opens an existing journal and returns its contents; starts a journal if there is none.
    pub(crate) fn resume(
        path: &Path,
        identity: RunIdentity,
        at: &str,
    ) -> Result<(Journal, JournalContents), Error> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(fault) if fault.kind() == ErrorKind::NotFound => {
                let contents =
                    JournalContents { started_at: at.to_owned(), ..JournalContents::default() };
                return Ok((Journal::begin(path, identity, at)?, contents));
            }
            Err(source) => return Err(unwritable(path)(source)),
        };
        let (found, mut contents, whole_bytes) = read(file).map_err(unwritable(path))?;
        let refused = |reason| Error::NotResumable { path: path.to_owned(), reason };
        let Some(found) = found else {
            return Err(refused("it has no readable first line".into()));
        };
        if let Some(reason) = difference(&found, &identity) {
            return Err(refused(reason));
        }
        let attempt = || {
            let mut journal = Journal::append(path, whole_bytes)?;
            journal.file.set_len(whole_bytes)?;
            journal.push_line(&JournalLine::Resumed { at: at.to_owned() })?;
            journal.flush()?;
            Ok(journal)
        };
        let journal = attempt().map_err(unwritable(path))?;
        contents.resumed_at.push(at.to_owned());
        Ok((journal, contents))
    }

    /// Writes a finished cell. After an error, the next call writes it too.
    pub(crate) fn append_cell(&mut self, cell: &Cell, records: &[RequestRecord]) -> io::Result<()> {
        for record in records {
            self.push_line(&JournalLine::Request(record.clone()))?;
        }
        self.push_line(&JournalLine::Cell(Box::new(cell.clone())))?;
        self.flush()
    }

    fn append(path: &Path, whole_bytes: u64) -> io::Result<Journal> {
        let file = OpenOptions::new().append(true).open(path)?;
        Ok(Journal { file, whole_bytes, pending: Vec::new() })
    }

    fn push_line(&mut self, line: &JournalLine) -> io::Result<()> {
        serde_json::to_writer(&mut self.pending, line)?;
        self.pending.push(b'\n');
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        let written = self.file.write_all(&self.pending).and_then(|()| self.file.sync_data());
        if let Err(fault) = written {
            // An incomplete cell in the middle would hide the cells after it.
            self.file.set_len(self.whole_bytes)?;
            return Err(fault);
        }
        self.whole_bytes += self.pending.len() as u64;
        // Not kept for the next cell: a target in this process would seem to have grown by it.
        self.pending = Vec::new();
        Ok(())
    }
}

fn unwritable(path: &Path) -> impl Fn(io::Error) -> Error {
    move |source| Error::JournalUnwritable { path: path.to_owned(), source }
}

/// Reads a journal: its identity, its contents, and its length up to the end of the last complete cell.
fn read(file: File) -> io::Result<(Option<RunIdentity>, JournalContents, u64)> {
    let (mut identity, mut contents) = (None, JournalContents::default());
    let mut records = Vec::new();
    let (mut read_bytes, mut whole_bytes) = (0, 0);
    let mut reader = BufReader::new(file);
    let mut text = Vec::new();
    loop {
        text.clear();
        read_bytes += reader.read_until(b'\n', &mut text)? as u64;
        // A torn line and everything after it count as not written.
        let whole = text.last() == Some(&b'\n');
        let Some(line) = whole.then(|| serde_json::from_slice(&text).ok()).flatten() else {
            return Ok((identity, contents, whole_bytes));
        };
        match line {
            JournalLine::Request(record) => {
                records.push(record);
                continue;
            }
            JournalLine::Begun { at, identity: found } => {
                (contents.started_at, identity) = (at, Some(*found));
            }
            JournalLine::Resumed { at } => contents.resumed_at.push(at),
            JournalLine::Cell(cell) => {
                contents.cells.insert(cell.index, (*cell, std::mem::take(&mut records)));
            }
        }
        whole_bytes = read_bytes;
    }
}

/// Describes the first difference between the journal's run and this one.
fn difference(found: &RunIdentity, wanted: &RunIdentity) -> Option<String> {
    let words = describe_first_difference(found, wanted)?;
    if words.starts_with("prompts_digest ") {
        return Some(
            "the prompts differ: the corpus, the tokenizer or a file that the plan names has changed"
                .into(),
        );
    }
    Some(words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::Status;
    use crate::plan::CellSpec;

    fn identity(concurrency: usize) -> RunIdentity {
        let plan = Plan::matrix("a plan", &[64], &[1, concurrency]);
        RunIdentity::new(&plan, &TargetInfo::default(), "0".into())
    }

    fn cell(index: usize) -> Cell {
        Cell {
            index,
            spec: CellSpec::matrix(64, 1),
            run: 0,
            repeats: None,
            sitting: 0,
            span_ms: None,
            status: Status::NotRun { reason: format!("number {index}") },
            memory: Vec::new(),
        }
    }

    fn scratch_file(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("bigbatch-journal-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("writable");
        folder.join(name)
    }

    fn reopened(path: &Path) -> JournalContents {
        Journal::resume(path, identity(2), "later").expect("resumable").1
    }

    #[test]
    fn what_is_torn_is_run_again_and_what_is_whole_is_kept() {
        let path = scratch_file("torn");
        let mut journal = Journal::begin(&path, identity(2), "once").expect("writable");
        journal.append_cell(&cell(0), &[]).expect("written");
        journal.append_cell(&cell(1), &[]).expect("written");
        let whole = std::fs::read(&path).expect("there");
        let lines = whole.iter().filter(|&&byte| byte == b'\n').count();
        assert_eq!(lines, 3, "the beginning and two cells");
        std::fs::write(&path, &whole[..whole.len() - 5]).expect("writable");
        let contents = reopened(&path);
        assert_eq!(contents.cells.keys().copied().collect::<Vec<_>>(), [0]);
        assert_eq!(
            (contents.started_at.as_str(), contents.resumed_at),
            ("once", vec!["later".to_owned()])
        );
        // The torn cell is gone from the file too, so what comes after it can be read.
        let (mut journal, _) = Journal::resume(&path, identity(2), "later").expect("resumable");
        journal.append_cell(&cell(1), &[]).expect("written");
        let contents = reopened(&path);
        assert_eq!(contents.cells.len(), 2);
        assert_eq!(contents.cells[&1].0, cell(1));
    }

    #[test]
    fn a_cell_that_could_not_be_written_is_written_with_the_next() {
        let path = scratch_file("full");
        let mut journal = Journal::begin(&path, identity(2), "once").expect("writable");
        // What cannot be written to stands for a full disk.
        let good = std::mem::replace(&mut journal.file, File::open(&path).expect("there"));
        journal.append_cell(&cell(0), &[]).expect_err("not open for writing");
        journal.file = good;
        journal.append_cell(&cell(1), &[]).expect("written");
        assert_eq!(reopened(&path).cells.len(), 2);
    }

    #[test]
    fn another_run_is_refused_by_what_is_different() {
        let path = scratch_file("other");
        Journal::begin(&path, identity(2), "once").expect("writable");
        let mut target = identity(2);
        target.target.device = "another".into();
        let mut prompts = identity(2);
        prompts.prompts_digest = "1".into();
        for (other, expected) in [
            (identity(3), "plan.concurrency was [1,2], now it is [1,3]"),
            (target, "target.device was \"\", now it is \"another\""),
            (prompts, "the prompts differ"),
        ] {
            let error = Journal::resume(&path, other, "later").err().expect("refused").to_string();
            assert!(error.contains(expected), "{error}");
            assert_eq!(error.lines().count(), 1, "{error}");
        }
        std::fs::write(&path, "nonsense\n").expect("writable");
        let error = Journal::resume(&path, identity(2), "later").err().expect("refused");
        assert!(error.to_string().contains("no readable first line"), "{error}");
    }

    #[test]
    fn without_a_journal_there_is_nothing_to_go_on_from() {
        let path = scratch_file("none");
        let _ = std::fs::remove_file(&path);
        let contents = reopened(&path);
        assert!(contents.cells.is_empty() && contents.resumed_at.is_empty());
        assert!(path.exists());
    }
}
