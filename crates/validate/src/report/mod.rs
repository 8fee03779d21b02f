//! Reports: the same results for a program, for a pull request, and for a person.
//!
//! - [`json`] writes `results.json` and `requests.jsonl.zst`, the raw records;
//! - [`markdown`] renders `report.md`, [`html`] renders `report.html`, from one list of `sections`;
//! - `recommended.toml` holds the settings that a server accepts, `values.recommended.yaml` the same for the Helm chart;
//! - [`text`] renders tables for a terminal;
//! - [`mod@compact`] removes the series that only charts need, for results that are committed;
//! - [`fill`] puts tables of a run into a page whose prose is written by hand;
//! - [`comparison`] renders a comparison of two systems;
//! - [`experiment`] writes the data and the chart of `bench memory`;
//! - [`policies`] renders `bench schedule`.
//!
//! Strings from a target or a plan are escaped where they are rendered. No figure is computed here: `results.json`
//! holds all of them.

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
pub mod policies;
mod sections;
mod sentences;
mod tables;
pub mod text;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::load::records::write_requests;
use crate::recommend::settings;
use crate::results::{Report, Results};

/// Name of the file in which a run keeps its finished cells, for `--resume`.
pub const JOURNAL: &str = "progress.jsonl";

const RECOMMENDED: &str = "recommended.toml";
const CHART_VALUES: &str = "values.recommended.yaml";
const MARKDOWN: &str = "report.md";
const HTML: &str = "report.html";

/// A directory that was found to be writable.
#[derive(Debug, Clone)]
pub struct OutputDir {
    path: PathBuf,
}

impl OutputDir {
    /// Creates the directory if it is missing and writes a probe file, before a run, so that no hour of load ends
    /// without a report.
    ///
    /// # Errors
    ///
    /// [`Error::OutputDirectory`] if the directory cannot be created or written to.
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

    /// Refuses a directory that holds a report, or the journal of a run that was interrupted.
    ///
    /// # Errors
    ///
    /// [`Error::OutputOccupied`] with the first file of another run.
    pub fn refuse_earlier_run(&self) -> Result<(), Error> {
        let files = [JOURNAL, json::REQUESTS, json::RESULTS, RECOMMENDED, MARKDOWN, HTML];
        match files.into_iter().find(|file| self.path.join(file).exists()) {
            Some(file) => Err(Error::OutputOccupied { path: self.path.clone(), file }),
            None => Ok(()),
        }
    }

    /// Returns the path of the directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes `name` and returns its path; an earlier file is replaced only by a complete one.
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

    fn write_text(&self, name: &str, text: &str) -> Result<PathBuf, Error> {
        self.write(name, |out| out.write_all(text.as_bytes()))
    }
}

/// The paths of the files that are rendered from the results.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RenderedFiles {
    /// `report.md`.
    pub markdown: PathBuf,
    /// `report.html`.
    pub html: PathBuf,
    /// `recommended.toml`.
    pub recommended: PathBuf,
    /// `values.recommended.yaml`.
    pub chart_values: PathBuf,
}

/// The paths of all files of a report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportFiles {
    /// `results.json`.
    pub results: PathBuf,
    /// `requests.jsonl.zst`.
    pub requests: PathBuf,
    /// The others.
    pub rendered: RenderedFiles,
}

/// Writes all files of a report, the raw records first: no measurement is lost if rendering fails.
///
/// # Errors
///
/// [`Error::ReportUnwritable`] if a file cannot be written.
pub fn write_reports(report: &Report, output: &OutputDir) -> Result<ReportFiles, Error> {
    let results = &report.results;
    Ok(ReportFiles {
        requests: output.write(json::REQUESTS, |out| write_requests(&report.requests, out))?,
        results: output.write(json::RESULTS, |out| json::results(results, out))?,
        rendered: write_rendered(results, output)?,
    })
}

/// Writes the files that are rendered from the results.
///
/// # Errors
///
/// [`Error::ReportUnwritable`] if a file cannot be written.
pub fn write_rendered(results: &Results, output: &OutputDir) -> Result<RenderedFiles, Error> {
    Ok(RenderedFiles {
        recommended: output.write_text(RECOMMENDED, &settings::toml(results))?,
        chart_values: output.write_text(CHART_VALUES, &settings::chart_values(results))?,
        markdown: output.write_text(MARKDOWN, &markdown::render(results))?,
        html: output.write_text(HTML, &html::render(results))?,
    })
}
