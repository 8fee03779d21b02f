//! `recommended.toml`: settings for `bigbatch serve --config`, each below its evidence. Keys are the long names of
//! flags with underscores.

use std::fmt::Write;

use crate::format::bytes;
use crate::results::Results;
use crate::results::recommendation::{Support, Value};

/// Renders the file.
pub fn toml(results: &Results) -> String {
    let target = &results.target;
    let mut out = String::new();
    comment(
        &mut out,
        "Settings that a validation run supports; report.html beside this file has the evidence.",
    );
    comment(&mut out, "Load it with: bigbatch serve --config recommended.toml");
    let facts = [&results.plan.name, &target.model, &target.device, &target.dtype];
    let facts: Vec<&str> =
        facts.into_iter().map(String::as_str).filter(|f| !f.is_empty()).collect();
    comment(&mut out, &format!("{}, {}", facts.join(", "), results.started_at));
    if let Some(budget) = target.memory_budget_bytes {
        comment(&mut out, &format!("Measured with a memory budget of {}.", bytes(budget)));
    }
    let mut none = true;
    for recommendation in &results.recommendations {
        for setting in &recommendation.settings {
            out.push('\n');
            none = false;
            comment(&mut out, &recommendation.advice);
            comment(&mut out, &setting.comment);
            if recommendation.support == Support::Partly {
                comment(&mut out, recommendation.missing.as_deref().unwrap_or_default());
            }
            let _ = writeln!(out, "{} = {}", setting.key, value(&setting.value));
        }
    }
    if none {
        out.push('\n');
        comment(&mut out, "The run supports no setting; report.html names what is missing.");
    }
    out
}

/// Appends `text` as comment lines; no text of a target or a plan can leave them.
fn comment(out: &mut String, text: &str) {
    let clean: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let mut line = String::new();
    for word in clean.split_whitespace() {
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > 98 {
            let _ = writeln!(out, "# {line}");
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    if !line.is_empty() {
        let _ = writeln!(out, "# {line}");
    }
}

fn value(value: &Value) -> String {
    match value {
        Value::Switch(on) => on.to_string(),
        Value::Number(number) => number.to_string(),
        Value::Text(text) => toml::Value::String(text.clone()).to_string(),
    }
}
