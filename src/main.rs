//! `bigbatch`: long-context ModernBERT encoders at high concurrency in a fixed memory budget.
//!
//! The program parses the command line, reads and writes files of texts, prints, and maps outcomes to exit codes: 0
//! success, 1 a failed verdict, an interrupted run, a regression or rows that failed, 2 bad usage or input, 3 a device that only a new
//! process can use again. It has no logic of its own: inference is `bigbatch-engine`, HTTP `bigbatch-server`, test
//! plans `bigbatch-validate`. Each command is a file below `cli`.

mod cli;

use std::io::ErrorKind;
use std::process::ExitCode;

fn main() -> ExitCode {
    match cli::parse().and_then(cli::run) {
        Ok(code) => code,
        Err(error) => match cli::output_error(error.as_ref()) {
            // The reader closed the pipe, as `head` does: not an error.
            Some(error) if error.kind() == ErrorKind::BrokenPipe => ExitCode::SUCCESS,
            Some(error) => {
                cli::note!("bigbatch: cannot write to standard output: {error}");
                ExitCode::from(2)
            }
            None => {
                cli::note!("bigbatch: {error}");
                ExitCode::from(cli::exit_code(error.as_ref()))
            }
        },
    }
}
