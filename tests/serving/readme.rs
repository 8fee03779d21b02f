//! README.md: its examples print what it shows, and its table has every command.
//!
//! Each line after `$ ` is a command, and the lines up to the next one or to the end of the block are its output. Those
//! of `bigbatch serve` are sent to a server that this test starts. Numbers may differ in their last digits, because
//! processors add in different orders.

use std::collections::BTreeSet;

use crate::process::Process;
use crate::support::{Scratch, bigbatch, commands};

/// Commands that are not run, because they build the program that this test runs.
const NOT_RUN: [&str; 1] = ["cargo "];

/// Names of files and models that only the reader has. A command with one must fail with an error that names it.
const PLACEHOLDERS: [&str; 4] = ["DIR", "OWNER/NAME", "reviews.csv", "before/results.json"];
/// The option that fails before the model is looked for, in a build without CUDA.
const CUDA: &str = "--device";

/// Commands whose output depends on the machine.
const OF_THE_MACHINE: [&str; 1] = ["bigbatch doctor"];

/// Largest difference between a number shown and a number printed.
const TOLERANCE: f64 = 2e-3;

struct Example {
    command: String,
    output: String,
}

fn readme() -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
    std::fs::read_to_string(path).expect("the README is UTF-8")
}

/// Returns the examples of every block that begins with "```console", one list per block.
fn blocks(text: &str) -> Vec<Vec<Example>> {
    let inside = text.split("```console\n").skip(1).filter_map(|rest| rest.split("```").next());
    let examples = |block: &str| {
        let block = block.replace("\\\n", " ");
        let parts = block.strip_prefix("$ ").expect("a block begins with a command").split("\n$ ");
        let example = |part: &str| {
            let (command, output) = part.split_once('\n').unwrap_or((part, ""));
            Example { command: command.into(), output: output.trim_end().into() }
        };
        parts.map(example).collect()
    };
    inside.map(examples).collect()
}

/// Splits a command line as a shell does: white space, quotes of both kinds, and comments.
fn words(command: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for c in command.chars() {
        match (quote, c) {
            (Some(open), _) if c == open => quote = None,
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, ' ') => words.extend(word.take()),
            (None, '#') if word.is_none() => break,
            _ => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

/// Splits a text into what is no number, and its numbers with a decimal point.
fn numbers(text: &str) -> (String, Vec<f64>) {
    let (mut rest, mut found) = (String::new(), Vec::new());
    for piece in text.split_inclusive(|c: char| !c.is_ascii_digit() && c != '.') {
        let number = piece.trim_end_matches(|c: char| !c.is_ascii_digit() && c != '.');
        match number.parse::<f64>() {
            Ok(value) if number.contains('.') => {
                found.push(value);
                rest += &piece.replacen(number, "#", 1);
            }
            _ => rest += piece,
        }
    }
    (rest, found)
}

fn assert_same(command: &str, shown: &str, printed: &str) {
    let (shown_text, shown_numbers) = numbers(shown);
    let (printed_text, printed_numbers) = numbers(printed.trim_end());
    assert_eq!(shown_text, printed_text, "$ {command}");
    for (shown, printed) in shown_numbers.iter().zip(&printed_numbers) {
        assert!(
            (shown - printed).abs() < TOLERANCE,
            "$ {command}: {shown} shown, {printed} printed"
        );
    }
}

/// Sends what `curl` would and returns the body of the answer.
fn curl(server: &Process, words: &[String]) -> String {
    let after =
        |flag: &str| words.iter().position(|word| word == flag).map(|at| words[at + 1].as_str());
    let url = words.iter().find_map(|word| word.strip_prefix("localhost:8080"));
    let url = url.expect("a request is to the server of the block");
    assert_eq!(after("-H"), Some("content-type: application/json"));
    let answer = server.post(url, after("-d").expect("a body"));
    answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or(answer)
}

#[test]
fn examples_print_what_is_shown() {
    let text = readme();
    let mut compared = 0;
    let scratch = Scratch::new();
    for block in blocks(&text) {
        let mut server = None;
        for Example { command, output } in &block {
            let words = words(command);
            let args = &words[1..];
            if NOT_RUN.iter().any(|start| command.starts_with(start)) {
                assert_eq!(output, "", "nobody compares this: $ {command}");
                continue;
            }
            let printed = match &*words[0] {
                "bigbatch" if args[0] == "serve" => {
                    let args: Vec<&str> = args[1..].iter().map(String::as_str).collect();
                    assert_eq!(&args[..2], ["--port", "8080"]);
                    let server = server.insert(Process::start(&args[2..]));
                    server.line.replace(&server.address.port().to_string(), "8080")
                }
                "bigbatch" if PLACEHOLDERS.iter().any(|name| command.contains(name)) => {
                    let run = bigbatch(args).directory(&scratch.path("")).run();
                    let lacking = PLACEHOLDERS.iter().filter(|name| command.contains(**name));
                    let named = lacking.chain([&CUDA]).any(|name| run.stderr.contains(name));
                    let refused = run.stderr.starts_with("bigbatch: ") && named;
                    assert!(run.code == Some(2) && refused, "$ {command}: {}", run.stderr);
                    String::new()
                }
                "bigbatch" => bigbatch(args).output(),
                "curl" => curl(server.as_ref().expect("the block has a server"), args),
                other => panic!("a reader of README.md may not have {other}"),
            };
            if !OF_THE_MACHINE.contains(&words.join(" ").as_str()) {
                assert_same(command, output, &printed);
                compared += 1;
            }
        }
    }
    assert!(compared >= 10, "only {compared} examples were found");
}

#[test]
fn the_table_has_every_command_and_no_other() {
    let text = readme();
    let table = text.split("| command | what it does |").nth(1).expect("the README has the table");
    let rows = table.split("\n\n").next().unwrap_or_default().lines().skip(2);
    let cells: String = rows.filter_map(|row| row.split('|').nth(1)).collect();
    let named: BTreeSet<&str> = cells.split('`').skip(1).step_by(2).collect();
    let expected = commands();
    assert_eq!(named, expected.iter().map(String::as_str).collect());
}
