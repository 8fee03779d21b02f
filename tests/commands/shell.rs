//! What the program tells shells, `man` and people about itself.

use crate::support::{Scratch, bigbatch, text};

/// Returns the commands that the help lists.
fn commands() -> Vec<String> {
    let help = bigbatch(["--help"]).output();
    let list = help.split("Commands:\n").nth(1).and_then(|rest| rest.split("\n\n").next());
    let list = list.expect("the help lists commands").lines();
    list.filter_map(|line| Some(line.split_whitespace().next()?.to_owned())).collect()
}

#[test]
fn the_help_of_every_command_has_an_example() {
    for command in commands() {
        if ["help", "version"].contains(&command.as_str()) {
            continue;
        }
        let help = bigbatch([&command, "--help"]).output();
        assert!(help.contains(&format!("bigbatch {command} ")), "{help}");
        let examples = help.split("Example").nth(1);
        assert!(examples.is_some_and(|text| text.contains("bigbatch")), "{command}: {help}");
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
