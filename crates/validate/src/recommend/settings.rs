//! `recommended.toml`: settings for `bigbatch serve --config`, each below its evidence. Keys are the long names of
//! flags with underscores. `for_model` names the measured model, so that `serve` refuses the file for another.

use std::fmt::Write;

use crate::format::bytes;
use crate::results::Results;
use crate::results::recommendation::{Support, Value};
use crate::system::TargetInfo;

/// Renders the file.
pub fn toml(results: &Results) -> String {
    let target = &results.target;
    let mut out = String::new();
    comment(
        &mut out,
        "Settings that a validation run supports; report.html beside this file has the evidence.",
    );
    comment(
        &mut out,
        "Load it with: bigbatch serve --config recommended.toml, with --model for a model that is not embedded.",
    );
    let facts = [&results.plan.name, &target.model, &target.device, &target.dtype];
    let facts: Vec<&str> =
        facts.into_iter().map(String::as_str).filter(|f| !f.is_empty()).collect();
    comment(&mut out, &format!("{}, {}", facts.join(", "), results.started_at));
    if let Some(budget) = target.memory_budget_bytes {
        comment(&mut out, &format!("Measured with a memory budget of {}.", bytes(budget)));
    }
    let any = results.recommendations.iter().any(|one| !one.settings.is_empty());
    if let Some(model) = for_model(&results.target).filter(|_| any) {
        out.push('\n');
        comment(
            &mut out,
            "The settings hold for this model; `serve` refuses the file for another.",
        );
        let _ = writeln!(out, "for_model = {}", value(&Value::Text(model)));
        // `serve` finds an embedded model by its name; the results do not have the source of any other model.
        if results.target.model.starts_with("embedded:") {
            let _ = writeln!(out, "model = {}", value(&Value::Text(results.target.model.clone())));
        }
    }
    for recommendation in &results.recommendations {
        for setting in &recommendation.settings {
            out.push('\n');
            comment(&mut out, &recommendation.advice);
            comment(&mut out, &setting.comment);
            if recommendation.support == Support::Partly {
                comment(&mut out, recommendation.missing.as_deref().unwrap_or_default());
            }
            let _ = writeln!(out, "{} = {}", setting.key, value(&setting.value));
        }
    }
    if !any {
        out.push('\n');
        comment(&mut out, "The run supports no setting; report.html names what is missing.");
    }
    out
}

/// Returns the measured model as `serve --for-model` takes it: its name, and its shape where that is known. `None`
/// if the target names no model.
fn for_model(target: &TargetInfo) -> Option<String> {
    let line = |text: &str| text.chars().filter(|c| !c.is_control()).collect::<String>();
    let (name, shape) = (line(&target.model), line(&target.model_shape));
    match (name.is_empty(), shape.is_empty()) {
        (true, _) => None,
        (false, true) => Some(name),
        (false, false) => Some(format!("{name}: {shape}")),
    }
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
