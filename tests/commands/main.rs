//! What the commands print and write when all is well: one file a family of commands.
//!
//! The lines of `--json` are a contract with whoever reads them, so their keys are compared whole and in
//! order. Numbers are checked for what must hold whatever the weights are; whether they are the right
//! ones is the engine's parity tests' business.

mod answers;
mod compare;
mod embedded;
mod https;
mod hub;
mod machine;
#[path = "../../crates/validate/tests/mock/mod.rs"]
mod mock;
mod models;
mod report;
mod servers;
#[path = "../support/mod.rs"]
mod support;
mod texts;
mod validate;

use serde_json::Value;
use support::bigbatch;

/// Runs a command and parses its lines.
fn lines(args: &[&str]) -> Vec<Value> {
    parse(&bigbatch(args).output())
}

fn parse(output: &str) -> Vec<Value> {
    output.lines().map(|line| serde_json::from_str(line).expect("a JSON object a line")).collect()
}

/// Runs a command on one text.
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
