//! `completions` and `man`: what shells and `man` read, generated from the definition of the command line.

use std::io::{Write, stdout};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::{Cli, CommandResult};

/// Arguments of `completions`.
#[derive(Args)]
#[command(after_help = "\
Examples:
  bigbatch completions bash > ~/.local/share/bash-completion/completions/bigbatch
  bigbatch completions zsh > \"${fpath[1]}/_bigbatch\"
  bigbatch completions fish > ~/.config/fish/completions/bigbatch.fish")]
pub(crate) struct Completions {
    /// Shell that reads them
    shell: Shell,
}

/// Arguments of `man`.
#[derive(Args)]
#[command(after_help = "\
Example:
  bigbatch man ~/.local/share/man/man1")]
pub(crate) struct Man {
    /// Directory to write to, created if absent: bigbatch.1, and a page per command; files of these names are replaced
    #[arg(value_name = "DIR")]
    dir: PathBuf,
}

pub(crate) fn completions(args: Completions) -> CommandResult {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "bigbatch", &mut script);
    stdout().write_all(&script)?;
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn man(args: Man) -> CommandResult {
    let dir = args.dir.display();
    std::fs::create_dir_all(&args.dir)
        .and_then(|()| clap_mangen::generate_to(Cli::command(), &args.dir))
        .map_err(|error| format!("cannot write man pages to {dir}: {error}"))?;
    Ok(ExitCode::SUCCESS)
}
