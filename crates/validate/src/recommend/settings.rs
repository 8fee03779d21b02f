//! `recommended.toml` and `values.recommended.yaml`: settings for `bigbatch serve --config` and for the Helm chart, each
//! below its evidence. Keys are the long names of flags with underscores, in the chart below `options`. `for_model` names
//! the measured model, so that `serve` refuses the settings for another.

use std::fmt::Write;

use crate::format::bytes;
use crate::results::Results;
use crate::results::recommendation::{Support, Value};
use crate::system::TargetInfo;

/// One setting below its evidence.
struct Entry<'a> {
    evidence: Vec<&'a str>,
    key: &'a str,
    value: Value,
}

/// Renders `recommended.toml`.
pub fn toml(results: &Results) -> String {
    let mut out = Lines::default();
    out.comment(
        "Settings that a validation run supports; report.html beside this file has the evidence.",
    );
    out.comment(
        "Load it with: bigbatch serve --config recommended.toml, with --model for a model that is not embedded.",
    );
    describe_run(&mut out, results);
    let entries = entries(results);
    for Entry { evidence, key, value } in &entries {
        if !evidence.is_empty() {
            out.blank();
        }
        evidence.iter().for_each(|text| out.comment(text));
        let value = match value {
            Value::Switch(on) => on.to_string(),
            Value::Number(number) => number.to_string(),
            Value::Text(text) => toml::Value::String(text.clone()).to_string(),
        };
        out.line(&format!("{key} = {value}"));
    }
    if entries.is_empty() {
        out.blank();
        out.comment(NOTHING);
    }
    out.text
}

/// Renders `values.recommended.yaml`.
pub fn chart_values(results: &Results) -> String {
    let mut out = Lines::default();
    out.comment(
        "Values for deploy/helm/bigbatch that a validation run supports; report.html beside this file has the evidence.",
    );
    out.comment(
        "Use it with: helm upgrade --install NAME deploy/helm/bigbatch --values values.recommended.yaml, and further \
         values with the models, unless they are embedded.",
    );
    describe_run(&mut out, results);
    let (models, options): (Vec<_>, Vec<_>) =
        entries(results).into_iter().partition(|entry| entry.key == MODEL);
    if options.is_empty() {
        out.blank();
        out.comment(NOTHING);
        out.line("options: {}");
        return out.text;
    }
    for Entry { value, .. } in &models {
        out.blank();
        out.line("models:");
        out.line(&format!("  - source: {}", yaml_scalar(value)));
    }
    if results.target.device.starts_with("cuda") {
        out.blank();
        out.comment("The run was on a GPU, and its memory budget is memory of the card.");
        out.line("gpu:");
        out.line("  enabled: true");
    }
    out.blank();
    out.line("options:");
    out.indent = "  ";
    for (index, Entry { evidence, key, value }) in options.iter().enumerate() {
        if index > 0 {
            out.blank();
        }
        evidence.iter().for_each(|text| out.comment(text));
        out.line(&format!("{key}: {}", yaml_scalar(value)));
    }
    out.text
}

/// The key of the model's source.
const MODEL: &str = "model";
const NOTHING: &str = "The run supports no setting; report.html names what is missing.";

/// Writes what was measured, when, and with which memory budget, as comments.
fn describe_run(out: &mut Lines, results: &Results) {
    let target = &results.target;
    let facts = [&results.plan.name, &target.model, &target.device, &target.dtype];
    let facts: Vec<&str> =
        facts.into_iter().map(String::as_str).filter(|f| !f.is_empty()).collect();
    out.comment(&format!("{}, {}", facts.join(", "), results.started_at));
    if let Some(budget) = target.memory_budget_bytes {
        out.comment(&format!("Measured with a memory budget of {}.", bytes(budget)));
    }
}

/// Returns the settings of all recommendations, after those of the model that they hold for.
fn entries(results: &Results) -> Vec<Entry<'_>> {
    let mut settings = Vec::new();
    for recommendation in &results.recommendations {
        for setting in &recommendation.settings {
            let mut evidence = vec![recommendation.advice.as_str(), setting.comment.as_str()];
            if recommendation.support == Support::Partly {
                evidence.extend(recommendation.missing.as_deref());
            }
            settings.push(Entry { evidence, key: &setting.key, value: setting.value.clone() });
        }
    }
    let Some(model) = for_model(&results.target).filter(|_| !settings.is_empty()) else {
        return settings;
    };
    let evidence = vec!["The settings hold for this model; `serve` refuses them for another."];
    let mut all = vec![Entry { evidence, key: "for_model", value: Value::Text(model) }];
    // `serve` finds an embedded model by its name; the results do not have the source of any other model.
    if results.target.model.starts_with("embedded:") {
        let value = Value::Text(results.target.model.clone());
        all.push(Entry { evidence: Vec::new(), key: MODEL, value });
    }
    all.append(&mut settings);
    all
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

/// The lines of a file whose comments begin with `#`.
#[derive(Default)]
struct Lines {
    text: String,
    /// What precedes each line that is not blank.
    indent: &'static str,
}

impl Lines {
    fn blank(&mut self) {
        self.text.push('\n');
    }

    fn line(&mut self, line: &str) {
        let _ = writeln!(self.text, "{}{line}", self.indent);
    }

    /// Appends `text` as comment lines; no text of a target or a plan can leave them.
    fn comment(&mut self, text: &str) {
        let clean: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let mut line = String::new();
        for word in clean.split_whitespace() {
            if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > 98 {
                self.line(&format!("# {line}"));
                line.clear();
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        if !line.is_empty() {
            self.line(&format!("# {line}"));
        }
    }
}

/// Renders a value as YAML: text in double quotes, with all but printable ASCII escaped.
fn yaml_scalar(value: &Value) -> String {
    let text = match value {
        Value::Switch(on) => return on.to_string(),
        Value::Number(number) => return number.to_string(),
        Value::Text(text) => text,
    };
    let mut out = String::from("\"");
    for c in text.chars() {
        let _ = match c {
            '"' | '\\' => write!(out, "\\{c}"),
            ' '..='~' => write!(out, "{c}"),
            _ => write!(out, "\\U{:08X}", u32::from(c)),
        };
    }
    out + "\""
}
