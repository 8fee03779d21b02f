//! Output and files of commands that succeed; one file per family of commands. Failures are in `bad_input`.
//!
//! The lines of `--json` are an interface, so their keys are compared completely and in order. Numbers are
//! checked for properties that hold for any weights; the engine's parity tests check that they are correct.

mod answers;
mod batch;
mod compare;
mod embedded;
mod healthcheck;
mod https;
mod hub;
mod machine;
#[path = "../../crates/validate/tests/mock/mod.rs"]
mod mock;
mod models;
mod report;
mod resume;
mod servers;
mod shell;
#[path = "../support/mod.rs"]
mod support;
mod texts;
mod validate;

use serde_json::Value;
use support::bigbatch;

/// Runs a command and parses its output as one JSON object per line.
fn lines(args: &[&str]) -> Vec<Value> {
    parse(&bigbatch(args).output())
}

fn parse(output: &str) -> Vec<Value> {
    output
        .lines()
        .map(|line| serde_json::from_str(line).expect("one JSON object per line"))
        .collect()
}

/// Runs a command that must print exactly one line, and parses it.
fn line(args: &[&str]) -> Value {
    let mut lines = lines(args);
    assert_eq!(lines.len(), 1, "{args:?}");
    lines.remove(0)
}

fn keys(object: &Value) -> Vec<&str> {
    object.as_object().expect("an object").keys().map(String::as_str).collect()
}

fn numbers(value: &Value) -> Vec<f64> {
    let number = |x: &Value| x.as_f64().expect("a number");
    value.as_array().expect("an array").iter().map(number).collect()
}
