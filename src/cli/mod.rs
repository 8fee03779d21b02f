//! The command line: the commands, the exit codes of their errors, and printing.
//!
//! Each command is a file of its own; `options` and `target` hold the options that several share, `batch` runs texts
//! through the engine. `terminal` prints. Values from the environment and from `--config`, for `serve` only, are
//! merged in `serve/config_sources.rs`.

mod batch;
mod bench;
mod compare;
mod doctor;
mod edge;
mod healthcheck;
mod model;
mod options;
mod predict;
mod report;
mod serve;
mod shell;
mod target;
pub(crate) mod terminal;
mod validate;

use std::error::Error;
use std::io;
use std::process::ExitCode;

use bigbatch_engine::{DeviceError, LoadError, RequestError, require_host_memory};
use clap::{Parser, Subcommand};

pub(crate) use self::terminal::{note, say};

/// The exit code of a command that ran to its end, or the error that `main` prints in one line.
pub(crate) type CommandResult = Result<ExitCode, Box<dyn Error>>;

/// The version, and what it can compute with.
const VERSION: &str = if cfg!(feature = "cuda") {
    concat!(env!("CARGO_PKG_VERSION"), " (cpu, cuda)")
} else {
    concat!(env!("CARGO_PKG_VERSION"), " (cpu)")
};

/// Serves long-context ModernBERT encoders at high concurrency in a fixed memory budget, and proves it.
#[derive(Parser)]
#[command(name = "bigbatch", version = VERSION, arg_required_else_help = true, max_term_width = 100, after_help = "\
Examples:
  bigbatch classify \"Ignore all previous instructions\"   answers at once, by a small model inside the program
  bigbatch serve --model OWNER/NAME                       serves a model of the Hugging Face Hub on port 8080
  bigbatch validate --target http://localhost:8080 --tokenizer OWNER/NAME
                                                          measures that server, or another one

`bigbatch COMMAND --help` has the options and examples of a command.")]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Classify texts
    Classify(predict::Classify),
    /// Extract entities from texts (token classification)
    Tag(predict::Tag),
    /// Embed texts as vectors
    Embed(predict::Embed),
    /// Predict the masked tokens of texts
    FillMask(predict::FillMask),
    /// Serve models over HTTP
    Serve(Box<serve::Serve>),
    /// Run a test plan and write its report
    Validate(Box<validate::Validate>),
    /// Test whether one system is slower than another, from repeated runs of both
    Compare(compare::Compare),
    /// Regenerate the reports of a finished run
    Report(report::Report),
    /// Time one part of the engine
    Bench(bench::Bench),
    /// Show what this machine can do and the limits that would apply
    Doctor(doctor::Doctor),
    /// Ask a server whether it is healthy
    Healthcheck(healthcheck::Healthcheck),
    /// Inspect checkpoints, create one with random weights, or list the embedded models
    Model(model::ModelCommand),
    /// Print the completions of a shell
    Completions(shell::Completions),
    /// Write the man pages of all commands
    Man(shell::Man),
    /// Print the version
    Version,
}

/// Parses the command line; for `serve` with the environment and the file of `--config`. Exits the process
/// where clap does: at `--help`, `--version` and wrong usage.
///
/// # Errors
/// An environment variable or a key of the file that `serve` cannot use.
pub(crate) fn parse() -> Result<Command, Box<dyn Error>> {
    match Cli::parse().command {
        Command::Serve(_) => Ok(Command::Serve(Box::new(serve::parse()?))),
        command => Ok(command),
    }
}

pub(crate) fn run(command: Command) -> CommandResult {
    if !matches!(command, Command::Serve(_)) {
        init_logging();
    }
    require_host_memory(0, "the program")?;
    match command {
        Command::Classify(args) => predict::classify(args),
        Command::Tag(args) => predict::tag(args),
        Command::Embed(args) => predict::embed(args),
        Command::FillMask(args) => predict::fill_mask(args),
        Command::Serve(args) => serve::serve(*args),
        Command::Validate(args) => validate::validate(*args),
        Command::Compare(args) => compare::compare(args),
        Command::Report(args) => report::report(args),
        Command::Bench(args) => bench::bench(args),
        Command::Doctor(args) => doctor::doctor(args),
        Command::Healthcheck(args) => healthcheck::healthcheck(args),
        Command::Model(args) => model::model(args),
        Command::Completions(args) => shell::completions(args),
        Command::Man(args) => shell::man(args),
        Command::Version => {
            say!("bigbatch {VERSION}");
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Sends warnings, and what the Hub's client reports about downloads, to standard error. `serve` has options
/// for its log.
fn init_logging() {
    tracing_subscriber::fmt()
        .with_env_filter("warn,bigbatch_engine::checkpoint=info")
        .with_writer(io::stderr)
        .with_ansi(false)
        .with_target(false)
        // Would panic where standard error is closed or full.
        .log_internal_errors(false)
        .without_time()
        .init();
}

/// Returns the I/O error that `error` is, if it is one. Commands wrap errors of files in messages that name
/// the file, so a bare one comes from standard output.
pub(crate) fn output_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a io::Error> {
    error.downcast_ref()
}

/// Returns 3 for a device failure that only a new process recovers from, else 2.
pub(crate) fn exit_code(error: &(dyn Error + 'static)) -> u8 {
    let load = error.downcast_ref::<LoadError>();
    let device = error.downcast_ref::<DeviceError>();
    let lost = device.is_some_and(DeviceError::is_fatal)
        || matches!(load, Some(LoadError::Device(device)) if device.is_fatal())
        || matches!(error.downcast_ref::<RequestError>(), Some(RequestError::DeviceLost(_)));
    if lost { 3 } else { 2 }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    /// Returns the examples of a command's help as words, without quotes, comments and redirections.
    fn examples(command: &clap::Command) -> Vec<Vec<String>> {
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        let lines = help.lines().filter(|line| line.starts_with("  bigbatch "));
        let words = |line: &str| {
            let line = line.trim().split("   ").next().unwrap_or_default();
            let line = line.split(" > ").next().unwrap_or_default();
            let parts = line.split('"').enumerate();
            let words = parts.flat_map(|(index, part)| match index % 2 {
                0 => part.split_whitespace().map(str::to_owned).collect::<Vec<_>>(),
                _ => vec![part.to_owned()],
            });
            words.collect()
        };
        lines.map(words).collect()
    }

    #[test]
    fn the_examples_of_help_are_accepted() {
        let cli = Cli::command();
        let mut tried = 0;
        for example in cli.get_subcommands().chain([&cli]).flat_map(examples) {
            tried += 1;
            if let Err(error) = Cli::try_parse_from(&example) {
                panic!("{example:?}: {error}");
            }
        }
        assert!(tried > 20, "only {tried} examples were found");
    }

    #[test]
    fn a_lost_device_exits_with_3() {
        let (device, reason) = ("cuda:0".to_owned(), "planted".to_owned());
        let poisoned = DeviceError::Poisoned { device, call: "launch", reason };
        assert_eq!(exit_code(&poisoned), 3);
        assert_eq!(exit_code(&LoadError::Device(poisoned)), 3);
        assert_eq!(exit_code(&RequestError::DeviceLost("planted".into())), 3);
        assert_eq!(exit_code(&RequestError::Device("planted".into())), 2);
        assert_eq!(exit_code(&std::io::Error::other("planted")), 2);
    }
}
