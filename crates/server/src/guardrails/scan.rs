//! Judges texts by guardrails: what each found in each text.

use std::sync::Arc;

use super::GuardrailCall;
use crate::app::App;
use crate::error::Refusal;
use crate::guardrail_options::Guardrail;
use crate::models::{ModelKind, ServedModel};
use crate::runtime::scan::{LabelledSpan, Scan, Scanned, scan_all};

/// What one guardrail found, per text; `None` for a text that it could not judge, and that passes.
pub(super) type Findings = Vec<Option<Vec<LabelledSpan>>>;

/// Checks a threshold of a request.
pub(super) fn check_threshold(name: &str, threshold: Option<f32>) -> Result<(), Refusal> {
    match threshold {
        Some(threshold) if !(0.0..=1.0).contains(&threshold) => {
            Err(Refusal::Invalid(format!("`{name}` is {threshold}; it must lie between 0 and 1")))
        }
        _ => Ok(()),
    }
}

/// Returns the names of a model's labels as guardrails name them.
pub(super) fn label_names(served: &ServedModel) -> Vec<String> {
    let labels = &served.engine.model().labels;
    if served.kind != ModelKind::TokenClassifier {
        return labels.clone();
    }
    let mut names: Vec<String> = Vec::new();
    for label in labels.iter().filter(|label| *label != "O") {
        let name = match label.split_once('-') {
            Some((tag, name)) if tag.len() == 1 => name,
            _ => label,
        };
        if !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
        }
    }
    names
}

/// Judges all texts by each of the guardrails, whose own thresholds `least` may change. An empty text has nothing to find.
///
/// # Errors
/// A guardrail that fails closed could not judge a text.
pub(super) async fn scan<T>(
    app: &Arc<App>,
    guardrails: &[&Guardrail],
    texts: &[String],
    least: impl Fn(f32) -> f32,
    received: &GuardrailCall<T>,
) -> Result<Vec<Findings>, Refusal> {
    let mut scans = Vec::new();
    for guardrail in guardrails {
        let served = app.models.named(&guardrail.model)?.clone();
        let (window, overlap) = guardrail.window(served.engine.max_tokens());
        scans.push(Scan { served, window, overlap });
    }
    let found = scan_all(app, scans, texts, &received.charge, received.terms).await;
    let of_guardrail = |(guardrail, found): (&&Guardrail, Result<Scanned, Refusal>)| {
        let least = least(guardrail.threshold);
        match found {
            Ok(found) => found.into_iter().map(|one| findings(guardrail, one, least)).collect(),
            Err(_) if guardrail.fail_open => Ok(texts.iter().map(|_| None).collect()),
            Err(refusal) => Err(refusal),
        }
    };
    guardrails.iter().zip(found).map(of_guardrail).collect()
}

fn findings(
    guardrail: &Guardrail,
    found: Result<Vec<LabelledSpan>, Refusal>,
    least: f32,
) -> Result<Option<Vec<LabelledSpan>>, Refusal> {
    match found {
        Ok(mut found) => {
            found.retain(|one| one.score >= least && guardrail.counts(&one.label));
            Ok(Some(found))
        }
        Err(_) if guardrail.fail_open => Ok(None),
        Err(refusal) => Err(refusal),
    }
}
