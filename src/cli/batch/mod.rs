//! The batch job behind `classify`, `tag`, `embed` and `fill-mask`: rows in, answers out, in the order of the rows.
//!
//! | file | what |
//! |---|---|
//! | `options.rs` | the options about texts and output |
//! | `input.rs`, `delimited.rs`, `json.rs` | rows of each format, read one at a time |
//! | `quotes.rs` | rejects quotes of CSV that swallow rows |
//! | `columns.rs`, `row.rs` | which columns are the text, the id, and kept; a row and its error |
//! | `render.rs` | an answer as text, JSON or CSV |
//! | `output.rs` | the file that rows are appended to, and where a later run continues |
//! | `progress.rs` | the bar on a terminal |
//!
//! The number of requests in flight is bounded by [`Engine::answer_all`], which reads rows as it needs them. Which
//! task is run on which model is decided in `predict`.

mod columns;
mod delimited;
mod input;
mod json;
mod options;
mod output;
mod progress;
mod quotes;
mod render;
mod row;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::error::Error;
use std::io::{IsTerminal, stdout};
use std::path::Path;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Instant;

use bigbatch_engine::{Engine, Head, Overlong, RequestError, TextAnswer, TextTask};

use self::input::{InputFormat, Rows, Source, read_rows};
pub(crate) use self::options::{BatchOptions, INPUT, OUTPUT};
use self::output::{OnError, Sink, Written, refuse_resume};
use self::progress::Progress;
pub(crate) use self::render::Detail;
use self::render::{OutputFormat, Renderer};
use self::row::{ErrorKind, Failure, Kept, Row, RowError, RowResult, overlong_remedy};
use super::{CommandResult, note};

/// Runs a task on all rows. The engine is started once the options, the input and the output are known to be sound; an
/// output that does not exist is created with its first row.
pub(crate) fn run(
    options: BatchOptions,
    task: TextTask,
    detail: Detail,
    start_engine: impl FnOnce() -> Result<Engine, Box<dyn Error>>,
) -> CommandResult {
    let format = options.output_format(detail)?;
    let input = options.open_input()?;
    let output =
        options.check_output(input.as_ref().and_then(|(source, _)| source.file.as_ref()))?;
    let engine = start_engine()?;
    let on_terminal = output.is_none() && stdout().is_terminal();
    let (source_name, progress, Rows { rows, kept_names }) = match input {
        Some((source, format)) => open_rows(source, format, &options, on_terminal)?,
        None => (String::new(), Progress::hidden(), arguments(options.texts.clone())),
    };
    let kept_names = match (format, kept_names) {
        (OutputFormat::Csv, None) => {
            return Err("--keep-columns without names needs JSON lines: rows of JSON differ in their columns, those of \
                        a CSV file do not; name the columns, or use --output-format jsonl"
                .into());
        }
        (_, names) => names.unwrap_or_default(),
    };
    let in_windows = matches!(task.overlong, Overlong::Chunk(_));
    let renderer =
        Renderer { format, task: task.task.kind(), in_windows, detail, kept_names, on_terminal };
    let on_error = options.on_error();
    let header = renderer.header()?;
    let (sink, written) = match output {
        Some(file) => file.begin(format, header, on_error)?,
        None => (Sink::standard(header), Written::default()),
    };
    let job = Job {
        options: &options,
        renderer,
        on_error,
        source_name,
        sink,
        progress,
        written,
        tally: Tally::default(),
    };
    job.run(&engine, task, rows)
}

/// Opens the rows of an input, with a progress display unless the answers are shown on the same terminal.
fn open_rows(
    source: Source,
    format: InputFormat,
    options: &BatchOptions,
    on_terminal: bool,
) -> Result<(String, Progress, Rows), String> {
    let name = source.name.clone();
    let progress = match on_terminal {
        true => Progress::hidden(),
        false => Progress::begin(source.read_bytes.clone(), source.total_bytes),
    };
    Ok((name, progress, read_rows(source, format, &options.columns(), options.delimiter)?))
}

/// Returns the texts of the command line as rows.
fn arguments(texts: Vec<String>) -> Rows {
    let row = |(index, text)| Ok((Row { index, line: None, kept: Kept::default() }, text));
    let rows = texts.into_iter().enumerate().map(row);
    Rows { rows: Box::new(rows), kept_names: Some(Vec::new()) }
}

/// Adds the command for the model to the error of a command that it is not for.
fn name_command(error: RequestError, head: &Head) -> Box<dyn Error> {
    if !matches!(error, RequestError::WrongTask { .. }) {
        return error.into();
    }
    let commands = match head {
        Head::Base => "`bigbatch embed`",
        Head::MaskedLm { .. } => "`bigbatch embed` or `bigbatch fill-mask`",
        Head::Sequence { .. } | Head::PairScorers => "`bigbatch classify`",
        Head::Token => "`bigbatch tag`",
    };
    format!("{error}; use {commands}, or another --model").into()
}

/// Returns the bytes of the columns that a row keeps.
fn kept_bytes(row: Result<&Row, &Failure>) -> usize {
    match row {
        Ok(row) | Err(Failure::Row(row, _)) => row.kept.bytes(),
        Err(Failure::Input(_)) => 0,
    }
}

/// What happened to the rows of this run.
#[derive(Default)]
struct Tally {
    answered: usize,
    cut: usize,
    tokens: usize,
    failed: BTreeMap<ErrorKind, usize>,
}

impl Tally {
    fn failed_rows(&self) -> usize {
        self.failed.values().sum()
    }

    fn rows(&self) -> usize {
        self.answered + self.failed_rows()
    }

    fn count(&mut self, outcome: &Result<TextAnswer, RowError>) {
        match outcome {
            Ok(answer) => {
                self.answered += 1;
                self.tokens += answer.tokens;
                self.cut += usize::from(answer.truncated);
            }
            Err(error) => *self.failed.entry(error.kind).or_default() += 1,
        }
    }

    /// Renders the summary.
    fn summary(&self, seconds: f64) -> String {
        let failed = self.failed_rows();
        let mut line = format!("{} rows in {seconds:.1} s", self.rows());
        line += &format!(": {} answered, {failed} failed", self.answered);
        if failed > 0 {
            let kinds = self.failed.iter().map(|(kind, count)| format!("{count} {kind}"));
            line += &format!(" ({})", kinds.collect::<Vec<_>>().join(", "));
        }
        let rate = self.tokens as f64 / seconds.max(1e-9);
        line + &format!("; {} tokens, {rate:.0} tokens/s", self.tokens)
    }
}

struct Job<'a> {
    options: &'a BatchOptions,
    renderer: Renderer,
    on_error: OnError,
    source_name: String,
    sink: Sink,
    progress: Progress,
    written: Written,
    tally: Tally,
}

impl Job<'_> {
    /// Answers the rows that the output does not hold yet, and reports what became of them. After a row that ends
    /// the job, the answers to the rows before it have been written, or the error is why they could not be.
    fn run(
        mut self,
        engine: &Engine,
        task: TextTask,
        rows: Box<dyn Iterator<Item = RowResult>>,
    ) -> CommandResult {
        let begun = Instant::now();
        let answered = self.answer(engine, task, rows);
        self.progress = Progress::hidden();
        self.sink.flush()?;
        answered?;
        self.sink.finish()?;
        self.report(begun.elapsed().as_secs_f64());
        let failed = self.tally.failed_rows() + self.written.failed;
        Ok(ExitCode::from(u8::from(failed > 0)))
    }

    /// Answers rows and writes them to the sink, whose last rows may still be in memory.
    fn answer(
        &mut self,
        engine: &Engine,
        task: TextTask,
        rows: Box<dyn Iterator<Item = RowResult>>,
    ) -> Result<(), Box<dyn Error>> {
        let samples: Vec<usize> = self.written.samples.iter().map(|(index, _)| *index).collect();
        let next = self.written.next;
        let read = Rc::new(Cell::new(0));
        let rows_read = read.clone();
        let wanted = move |item: &RowResult| match item {
            Ok((row, _)) | Err(Failure::Row(row, _)) => {
                rows_read.set(row.index + 1);
                row.index >= next || samples.contains(&row.index)
            }
            Err(Failure::Input(_)) => true,
        };
        let remedy = overlong_remedy(&task);
        let answers = engine.answer_all(task, rows.filter(wanted));
        let answers = answers.map_err(|error| name_command(error, &engine.model().config.head))?;
        for item in answers.with_held_bytes(kept_bytes) {
            let (row, outcome) = match item {
                Ok((row, Ok(answer))) => (row, Ok(answer)),
                // What every further text would fail with keeps its type, which decides the exit code.
                Ok((row, Err(error))) => (row, Err(RowError::of_text(error, remedy)?)),
                Err(Failure::Row(row, error)) => (row, Err(error)),
                Err(Failure::Input(reason)) => return Err(reason.into()),
            };
            if row.index >= next {
                self.write(&row, outcome)?;
                continue;
            }
            self.compare(&row, outcome)?;
            self.progress.restart();
        }
        if read.get() < next {
            return Err(self.refuse("it holds more rows than the input").into());
        }
        Ok(())
    }

    fn write(
        &mut self,
        row: &Row,
        outcome: Result<TextAnswer, RowError>,
    ) -> Result<(), Box<dyn Error>> {
        self.tally.count(&outcome);
        match (&outcome, self.on_error) {
            (Err(error), OnError::Stop) => {
                return Err(format!(
                    "{}: {}; add --on-error skip to leave such rows out, or --on-error report to write their errors",
                    self.place(row),
                    error.reason
                )
                .into());
            }
            (Err(_), OnError::Skip) => {}
            _ => {
                let rendered = self.render(row, &outcome)?;
                self.sink.write(&rendered)?;
            }
        }
        self.progress.update(self.tally.rows());
        Ok(())
    }

    fn render(&self, row: &Row, outcome: &Result<TextAnswer, RowError>) -> Result<Vec<u8>, String> {
        let mut rendered = Vec::new();
        let result = self.renderer.row(&mut rendered, row, outcome.as_ref());
        result.map_err(|error| format!("{}: {error}", self.place(row)))?;
        Ok(rendered)
    }

    /// Compares a row with the answer that the output has in its place.
    fn compare(&mut self, row: &Row, outcome: Result<TextAnswer, RowError>) -> Result<(), String> {
        if let Err(RowError { kind: ErrorKind::Device, reason }) = &outcome {
            return Err(format!(
                "--resume: the row with the index {} could not be computed again to compare it: {reason}; try again",
                row.index
            ));
        }
        let rendered = self.render(row, &outcome)?;
        match self.written.samples.pop_front() {
            Some((index, bytes)) if index == row.index && bytes == rendered => Ok(()),
            _ => Err(self.refuse(&format!("its row with the index {} is another now", row.index))),
        }
    }

    fn refuse(&self, reason: &str) -> String {
        refuse_resume(self.options.output_path().unwrap_or(Path::new("")), reason)
    }

    /// Names a row as a person would look it up.
    fn place(&self, row: &Row) -> String {
        match row.line {
            Some(line) => format!("line {line} of {}", self.source_name),
            None => format!("text {}", row.index + 1),
        }
    }

    /// Prints the summary, if the output is a file or rows failed.
    fn report(&self, seconds: f64) {
        let Tally { cut, answered, .. } = self.tally;
        // Other formats have a field for it.
        if cut > 0 && self.renderer.format == OutputFormat::Text {
            note!("bigbatch: {cut} of {answered} texts were too long and were cut (--truncate)");
        }
        if self.options.output_path().is_some() || self.tally.failed_rows() > 0 {
            let before = match (self.written.next, self.written.failed) {
                (0, _) => String::new(),
                (next, 0) => format!("; rows before index {next} had been written"),
                (next, failed) => {
                    format!("; rows before index {next} had been written; {failed} failed before")
                }
            };
            note!("bigbatch: {}{before}", self.tally.summary(seconds));
        }
    }
}

#[cfg(test)]
mod tests;
