//! Other programs that chores run: their failures as one line, and the folders of this repository.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Returns the repository.
pub(crate) fn root() -> &'static Path {
    let crate_folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    crate_folder.parent().unwrap_or(crate_folder)
}

/// Returns the folder that cargo builds in.
pub(crate) fn target_dir() -> PathBuf {
    root().join(std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into()))
}

/// Returns cargo, to be run in the repository with what its lock file names.
pub(crate) fn cargo(command: &str) -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root()).args([command, "--locked"]);
    cargo
}

/// Runs a program to its end, with its output on this terminal.
///
/// # Errors
/// It cannot be started, or its exit code is not 0.
pub(crate) fn run(command: &mut Command) -> Result<(), String> {
    output(command.stdout(Stdio::inherit())).map(drop)
}

/// Runs a program to its end and returns its standard output.
///
/// # Errors
/// As [`run`]; an output that is not UTF-8.
pub(crate) fn output(command: &mut Command) -> Result<String, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.stderr(Stdio::inherit()).output();
    let output = output.map_err(|error| format!("cannot run {name}: {error}"))?;
    if !output.status.success() {
        return Err(format!("{name} failed with {}: {command:?}", output.status));
    }
    String::from_utf8(output.stdout).map_err(|_| format!("{name} printed what is not UTF-8"))
}
