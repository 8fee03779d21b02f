//! Options about the texts of a command and the output of its answers.

use std::io::{IsTerminal, stdin};
use std::path::{Path, PathBuf};

use clap::Args;

use super::columns::{Columns, Keep};
use super::delimited::Delimiter;
use super::input::{FileId, InputFormat, Source};
use super::output::{OnError, OutputFile};
use super::render::{Detail, OutputFormat};
use crate::cli::note;

/// The headings of these options in `--help`.
pub(crate) const INPUT: &str = "Input";
pub(crate) const OUTPUT: &str = "Output";

/// The texts of a command, or where to read them, and where the answers go.
#[derive(Args)]
#[command(next_help_heading = INPUT)]
pub(crate) struct BatchOptions {
    /// Texts; without any, or with - alone, reads standard input, one text per line
    #[arg(value_name = "TEXT", help_heading = None::<&'static str>, conflicts_with = "input")]
    pub(super) texts: Vec<String>,
    /// Read the texts from a file; - is standard input
    #[arg(long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// Format of the input [default: by the ending of its name: .txt, .jsonl, .ndjson, .csv, .tsv or .json; lines for
    /// standard input]
    #[arg(long, value_enum, value_name = "FORMAT", conflicts_with = "texts")]
    input_format: Option<InputFormat>,
    /// Character between the columns of csv or tsv, such as ';'
    #[arg(long, value_name = "CHAR", conflicts_with = "texts", value_parser = Delimiter::parse)]
    pub(super) delimiter: Option<Delimiter>,
    /// Column with the texts [default: text, or the only one beside the id]
    #[arg(long, value_name = "NAME", conflicts_with = "texts")]
    column: Option<String>,
    /// Column whose value identifies the row; JSON lines and CSV have it too
    #[arg(long, value_name = "NAME", conflicts_with = "texts")]
    id_column: Option<String>,
    /// Copy these columns to JSON lines or CSV [without names: all but the text]
    #[arg(long, value_name = "A,B,...", num_args = 0..=1, require_equals = true, default_missing_value = "",
        conflicts_with = "texts", value_parser = parse_keep)]
    keep_columns: Option<Keep>,
    /// Write the answers to a file instead of standard output, and a summary to standard error
    #[arg(long, help_heading = OUTPUT, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Format of the output [default: by the ending of its name: .jsonl, .ndjson or .csv; text on standard output]
    #[arg(long, help_heading = OUTPUT, value_enum, value_name = "FORMAT")]
    output_format: Option<OutputFormat>,
    /// Print one JSON object per line, as --output-format jsonl
    #[arg(long, help_heading = OUTPUT, conflicts_with = "output_format")]
    json: bool,
    /// What becomes of a row that cannot be answered: it ends the job, is left out, or has its error in the output
    /// [default: report with --output, else stop]
    #[arg(long, help_heading = OUTPUT, value_enum, value_name = "ACTION")]
    on_error: Option<OnError>,
    /// Continue an interrupted job of the same input, model and options from what --output holds
    #[arg(long, help_heading = OUTPUT, requires = "output", conflicts_with = "force")]
    resume: bool,
    /// Overwrite --output
    #[arg(long, help_heading = OUTPUT, requires = "output")]
    force: bool,
}

fn parse_keep(text: &str) -> Result<Keep, String> {
    let names: Vec<String> = text.split(',').map(str::to_owned).collect();
    match names.iter().position(String::is_empty) {
        None => Ok(Keep::Named(names)),
        Some(_) if names.len() == 1 => Ok(Keep::Others),
        Some(at) => {
            Err(format!("name {} is empty; give A,B,... or no value for all columns", at + 1))
        }
    }
}

impl BatchOptions {
    pub(super) fn columns(&self) -> Columns {
        Columns {
            text: self.column.clone(),
            id: self.id_column.clone(),
            keep: self.keep_columns.clone().unwrap_or_default(),
        }
    }

    /// Opens the input and finds its format; `None` if the texts are arguments.
    ///
    /// # Errors
    /// A file that cannot be opened, or whose format its name does not tell.
    pub(super) fn open_input(&self) -> Result<Option<(Source, InputFormat)>, String> {
        if !self.texts.is_empty() && self.texts != ["-"] {
            return Ok(None);
        }
        let Some(path) = self.input.as_deref().filter(|path| *path != Path::new("-")) else {
            if stdin().is_terminal() {
                note!("bigbatch: reading texts from the terminal, one per line; Ctrl-D ends them");
            }
            let format = self.input_format.unwrap_or(InputFormat::Lines);
            return Ok(Some((Source::standard_input(), format)));
        };
        let format = self.input_format.or_else(|| InputFormat::of(path)).ok_or_else(|| {
            format!(
                "cannot tell the format of {} from its name; add --input-format lines, jsonl, csv, tsv or json",
                path.display()
            )
        })?;
        Ok(Some((Source::open(path)?, format)))
    }

    /// Checks the file of `--output`, if there is one. It is created with its first row.
    ///
    /// # Errors
    /// As [`OutputFile::check`].
    pub(super) fn check_output(
        &self,
        input: Option<&FileId>,
    ) -> Result<Option<OutputFile>, String> {
        let check = |path| OutputFile::check(path, input, self.resume, self.force);
        self.output.as_deref().map(check).transpose()
    }

    /// Returns the path of `--output`.
    pub(super) fn output_path(&self) -> Option<&Path> {
        self.output.as_deref()
    }

    /// Returns the format of the output.
    ///
    /// # Errors
    /// A file whose name does not tell it, and options that have no effect on text.
    pub(super) fn output_format(&self, detail: Detail) -> Result<OutputFormat, String> {
        let format = self.find_output_format()?;
        let unused = detail.all_tokens.then_some("--all-tokens");
        match unused.or_else(|| self.columns().first_copying_option()) {
            Some(option) if format == OutputFormat::Text => {
                Err(format!("`{option}` needs `--json` or `--output`"))
            }
            _ => Ok(format),
        }
    }

    fn find_output_format(&self) -> Result<OutputFormat, String> {
        let json = self.json.then_some(OutputFormat::Jsonl);
        if let Some(format) = self.output_format.or(json) {
            return Ok(format);
        }
        let Some(path) = &self.output else { return Ok(OutputFormat::Text) };
        let ending =
            path.extension().and_then(|ending| ending.to_str()).map(str::to_ascii_lowercase);
        match ending.as_deref() {
            Some("jsonl" | "ndjson") => Ok(OutputFormat::Jsonl),
            Some("csv") => Ok(OutputFormat::Csv),
            _ => Err(format!(
                "cannot tell the format of {} from its name; add --output-format jsonl or csv",
                path.display()
            )),
        }
    }

    pub(super) fn on_error(&self) -> OnError {
        let default = if self.output.is_some() { OnError::Report } else { OnError::Stop };
        self.on_error.unwrap_or(default)
    }
}
