//! `bigbatch`: long-context ModernBERT encoders at high concurrency in a fixed memory budget.
//!
//! This program is glue. Inference lives in `bigbatch-engine`, the test plan in `bigbatch-validate`;
//! here are the command line, what is printed, and the exit codes: 0 done, 1 a verdict failed, 2 bad
//! usage or input.

mod cli;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let command = cli::Cli::parse().command;
    match cli::run(command) {
        Ok(code) => code,
        Err(error) if cli::is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bigbatch: {error}");
            ExitCode::from(2)
        }
    }
}
