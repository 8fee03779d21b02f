//! What the program tells shells, `man` and people about itself.

use crate::support::{Scratch, bigbatch, commands, text};

#[test]
fn the_help_of_every_command_has_examples() {
    for command in commands() {
        if ["help", "version"].contains(&command.as_str()) {
            continue;
        }
        let help = bigbatch([&command, "--help"]).output();
        let (_, examples) = help.rsplit_once("Example").expect("the help ends with examples");
        let start = format!("  bigbatch {command}");
        assert!(examples.lines().any(|line| line.starts_with(&start)), "{command}: {examples}");
    }
}

#[test]
fn the_options_of_serve_are_in_groups() {
    let help = bigbatch(["serve", "--help"]).output();
    let groups =
        ["Model", "Device and memory", "Vectors", "Address and access", "Limits on requests"];
    let groups = groups.into_iter().chain(["Limits on connections", "Shutdown", "Log", "Options"]);
    let places: Vec<_> = groups.map(|name| (name, help.find(&format!("\n{name}:\n")))).collect();
    assert!(places.iter().all(|(_, place)| place.is_some()), "{places:?}\n{help}");
    let options = help.split("\nOptions:\n").nth(1).and_then(|rest| rest.split("\n\n").next());
    assert_eq!(options.map(|text| text.matches("--").count()), Some(1), "only --help has no group");
}

#[test]
fn completions_name_commands_and_options() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = bigbatch(["completions", shell]).output();
        assert!(script.contains("fill-mask") && script.contains("memory-budget"), "{shell}");
    }
}

#[test]
fn man_pages_are_written_for_every_command() {
    let scratch = Scratch::new();
    let dir = scratch.path("share/man/man1");
    assert_eq!(bigbatch(["man", text(&dir)]).output(), "");
    for command in commands() {
        let page = std::fs::read_to_string(dir.join(format!("bigbatch-{command}.1")));
        if command != "help" {
            assert!(page.expect("written").contains(".SH NAME"), "{command}");
        }
    }
    let file = scratch.file("file", "");
    let refused = bigbatch(["man", text(&file)]).run();
    assert_eq!(refused.code, Some(2));
    assert!(
        refused.stderr.starts_with("bigbatch: cannot write man pages to "),
        "{}",
        refused.stderr
    );
}

#[test]
fn version_prints_what_the_option_prints() {
    let version = bigbatch(["version"]).output();
    assert_eq!(version, bigbatch(["--version"]).output());
    let expected = format!("bigbatch {} (cpu", env!("CARGO_PKG_VERSION"));
    assert!(version.starts_with(&expected), "{version}");
}
