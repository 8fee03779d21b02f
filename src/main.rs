//! `bigbatch`: long-context ModernBERT encoders at high concurrency in a fixed memory budget.
//!
//! This program is glue. Inference lives in `bigbatch-engine`, the test plan in `bigbatch-validate`;
//! here are the command line, what is printed, and the exit codes: 0 done, 1 a verdict failed, 2 bad
//! usage or input, 3 the device is lost until the process is started again.

mod cli;

use std::io::ErrorKind;
use std::process::ExitCode;

fn main() -> ExitCode {
    match cli::parse().and_then(cli::run) {
        Ok(code) => code,
        Err(error) => match cli::output_error(error.as_ref()) {
            // Whoever read our output has gone, as `head` does.
            Some(error) if error.kind() == ErrorKind::BrokenPipe => ExitCode::SUCCESS,
            Some(error) => {
                eprintln!("bigbatch: standard output: {error}");
                ExitCode::from(2)
            }
            None => {
                eprintln!("bigbatch: {error}");
                ExitCode::from(cli::exit_code(error.as_ref()))
            }
        },
    }
}
