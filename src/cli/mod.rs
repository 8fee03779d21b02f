//! The command line: one file a command.

mod bench;
mod compare;
mod doctor;
mod edge;
mod model;
mod options;
mod pipeline;
mod predict;
mod report;
mod serve;
mod target;
mod texts;
mod validate;

use std::error::Error;
use std::io;
use std::process::ExitCode;

use bigbatch_engine::{DeviceError, LoadError, RequestError};
use clap::{FromArgMatches, Parser, Subcommand};

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
    /// Answer over HTTP
    Serve(Box<serve::Serve>),
    /// Run a test plan and write its report
    Validate(Box<validate::Validate>),
    /// Whether one system is slower than another, from repeated runs of both
    Compare(compare::Compare),
    /// Write the reports of a finished run again
    Report(report::Report),
    /// Time one part of the engine
    Bench(bench::Bench),
    /// What this machine can do, and the limits that would be set
    Doctor(doctor::Doctor),
    /// Look at checkpoints, or make one of random weights
    Model(model::ModelCommand),
}

/// The command line; what `serve` is told by its environment or a file included. Ends the program where clap
/// does: at `--help`, `--version` and wrong usage.
pub(crate) fn parse() -> Result<Command, Box<dyn Error>> {
    let layered =
        serve::config_sources::layered(std::env::args_os(), |name| std::env::var_os(name))?;
    let mut cli = Cli::from_arg_matches(&layered.matches).unwrap_or_else(|error| error.exit());
    if let Command::Serve(args) = &mut cli.command {
        let own = layered.matches.subcommand_matches("serve");
        args.printed = own.map(|own| serve::config_sources::print(own, &layered.origins));
    }
    Ok(cli.command)
}

pub(crate) fn run(command: Command) -> Outcome {
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
        Command::Model(args) => model::model(args),
    }
}

/// Prints a line; an error ends the command instead of panicking.
macro_rules! say {
    ($($arg:tt)*) => { std::io::Write::write_fmt(&mut std::io::stdout(), format_args!("{}\n", format_args!($($arg)*)))? };
}
pub(crate) use say;

/// What standard output said, the only thing that commands hand on as it is.
pub(crate) fn output_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a io::Error> {
    error.downcast_ref()
}

/// 3 where a device failed in a way that only a new process mends, else 2.
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
    use super::*;

    #[test]
    fn a_lost_device_has_an_exit_code_of_its_own() {
        let (device, reason) = ("cuda:0".to_owned(), "planted".to_owned());
        let poisoned = DeviceError::Poisoned { device, call: "launch", reason };
        assert_eq!(exit_code(&poisoned), 3);
        assert_eq!(exit_code(&LoadError::Device(poisoned)), 3);
        assert_eq!(exit_code(&RequestError::DeviceLost("planted".into())), 3);
        assert_eq!(exit_code(&RequestError::Device("planted".into())), 2);
        assert_eq!(exit_code(&std::io::Error::other("planted")), 2);
    }
}
