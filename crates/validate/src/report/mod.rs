//! Reports: the same results for a program, for a pull request, and for a person.
//!
//! - [`json`] writes `results.json`, whole, and `requests.jsonl.zst`, the raw records;
//! - [`markdown`] writes `report.md`;
//! - [`html`] writes `report.html`, one file that needs no network and no script, with charts;
//! - `recommended.toml` is what a server can be told of the recommendations;
//! - [`text`] makes a table for a terminal;
//! - [`mod@compact`] leaves out what only charts draw, for results that are committed;
//! - [`fill`] puts tables of a run into a page whose prose is written by hand;
//! - [`comparison`] writes a comparison of two systems;
//! - [`experiment`] writes the data and the chart of `bench memory`.
//!
//! The page and `report.md` are rendered from one list of `sections`; tables and sentences come from `tables` and
//! `words`, so they cannot disagree.
//! Strings that come from a target or a plan are escaped where they are printed.

pub(crate) mod chart;
pub mod compact;
pub mod comparison;
pub mod experiment;
pub mod fill;
pub mod html;
pub mod json;
pub mod markdown;
mod markup;
mod method;
mod sections;
mod tables;
pub mod text;
pub(crate) mod words;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::load::records::write_requests;
use crate::recommend::settings;
use crate::results::{Report, Results};

/// Name of the file in which a run keeps its finished cells, for `--resume`.
pub const JOURNAL: &str = "progress.jsonl";

/// A directory that was found to be writable.
#[derive(Debug, Clone)]
pub struct OutputDir {
    path: PathBuf,
}

impl OutputDir {
    /// Creates the directory where it is missing and proves that a file can be written there. Done
    /// before a run, so that no hour of load ends without a report.
    pub fn create(path: &Path) -> Result<OutputDir, Error> {
        let attempt = || {
            fs::create_dir_all(path)?;
            let probe = path.join(".bigbatch-write-test");
            fs::write(&probe, b"x")?;
            fs::remove_file(&probe)
        };
        attempt().map_err(|source| Error::OutputDirectory { path: path.to_owned(), source })?;
        Ok(OutputDir { path: path.to_owned() })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes `name` whole or not at all: an earlier report is replaced only by a complete one.
    fn write(
        &self,
        name: &str,
        content: impl FnOnce(&mut dyn Write) -> std::io::Result<()>,
    ) -> Result<PathBuf, Error> {
        let path = self.path.join(name);
        let unfinished = self.path.join(format!("{name}.tmp"));
        let attempt = || {
            let mut file = std::io::BufWriter::new(fs::File::create(&unfinished)?);
            content(&mut file)?;
            file.into_inner().map_err(|fault| fault.into_error())?.sync_all()?;
            fs::rename(&unfinished, &path)
        };
        attempt().map_err(|source| Error::ReportUnwritable { path: path.clone(), source })?;
        Ok(path)
    }
}

/// The files that are made up from the results.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    /// `report.md`.
    pub markdown: PathBuf,
    /// `report.html`.
    pub html: PathBuf,
    /// `recommended.toml`.
    pub recommended: PathBuf,
}

/// The files of a report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// `results.json`.
    pub results: PathBuf,
    /// `requests.jsonl.zst`.
    pub requests: PathBuf,
    /// The others.
    pub rendered: Rendered,
}

/// Writes all files of a report; the raw records come first, so that what was measured is safe
/// before it is made up.
pub fn write_reports(report: &Report, output: &OutputDir) -> Result<Written, Error> {
    let results = &report.results;
    Ok(Written {
        requests: output.write(json::REQUESTS, |out| write_requests(&report.requests, out))?,
        results: output.write(json::RESULTS, |out| json::results(results, out))?,
        rendered: write_rendered(results, output)?,
    })
}

/// Writes the files that are made up from the results.
pub fn write_rendered(results: &Results, output: &OutputDir) -> Result<Rendered, Error> {
    let write = |name, text: String| output.write(name, |out| out.write_all(text.as_bytes()));
    Ok(Rendered {
        recommended: write("recommended.toml", settings::toml(results))?,
        markdown: write("report.md", markdown::render(results))?,
        html: write("report.html", html::render(results))?,
    })
}
