//! The command line: one file a command.

mod bench;
mod doctor;
mod model;
mod options;
mod predict;
mod texts;
mod validate;

use std::error::Error;
use std::io;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Any error ends the program with one line and exit code 2.
pub(crate) type Outcome = Result<ExitCode, Box<dyn Error>>;

/// Serves long-context ModernBERT encoders at high concurrency in a fixed memory budget, and proves it.
#[derive(Parser)]
#[command(name = "bigbatch", version, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Labels of texts
    Classify(predict::Classify),
    /// Entities in texts: token classification
    Tag(predict::Tag),
    /// Vectors of texts
    Embed(predict::Embed),
    /// Tokens for the masked places of texts
    FillMask(predict::FillMask),
    /// Run a test plan and write its report
    Validate(validate::Validate),
    /// Time one part of the engine
    Bench(bench::Bench),
    /// What this machine can do, and the limits that would be set
    Doctor(doctor::Doctor),
    /// Look at checkpoints, or make one of random weights
    Model(model::ModelCommand),
}

pub(crate) fn run(command: Command) -> Outcome {
    match command {
        Command::Classify(args) => predict::classify(args),
        Command::Tag(args) => predict::tag(args),
        Command::Embed(args) => predict::embed(args),
        Command::FillMask(args) => predict::fill_mask(args),
        Command::Validate(args) => validate::validate(args),
        Command::Bench(args) => bench::bench(args),
        Command::Doctor(args) => doctor::doctor(args),
        Command::Model(args) => model::model(args),
    }
}

/// Whoever read our output has gone, as `head` does: no error.
pub(crate) fn is_broken_pipe(error: &Box<dyn Error>) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe)
}
