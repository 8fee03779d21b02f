//! Judges texts by guardrails: what each found in each text.

use std::ops::Range;
use std::sync::Arc;

use super::Received;
use crate::app::App;
use crate::error::Refusal;
use crate::guardrail_options::Guardrail;
use crate::models::{ModelKind, ServedModel};
use crate::runtime::scan::{Found, Scan, scan_all};

/// What a guardrail found in a text.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Finding {
    pub(super) label: String,
    /// In characters: Unicode code points.
    pub(super) span: Range<usize>,
    pub(super) text: String,
    pub(super) score: f32,
}

/// What one guardrail found, per text; `None` for a text that it could not judge, and that passes.
pub(super) type Findings = Vec<Option<Vec<Finding>>>;

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

/// Judges all texts by each of the guardrails, of which `threshold` replaces the own threshold. An empty text has nothing
/// to find.
///
/// # Errors
/// A guardrail that fails closed could not judge a text.
pub(super) async fn scan<T>(
    app: &Arc<App>,
    guardrails: &[&Guardrail],
    texts: &[String],
    threshold: Option<f32>,
    received: &Received<T>,
) -> Result<Vec<Findings>, Refusal> {
    let mut scans = Vec::new();
    for guardrail in guardrails {
        let served = app.models.named(&guardrail.model)?.clone();
        let (window, overlap) = guardrail.window(served.engine.max_tokens());
        scans.push(Scan { served, texts: texts.to_vec(), window, overlap });
    }
    let found = scan_all(app, scans, &received.charge, received.terms).await?;
    let mut all = Vec::new();
    for (guardrail, found) in guardrails.iter().zip(found) {
        let least = threshold.unwrap_or(guardrail.threshold);
        let findings = match found {
            Ok(found) => found.into_iter().map(|one| findings(guardrail, one, least)).collect(),
            Err(_) if guardrail.fail_open => texts.iter().map(|_| Ok(None)).collect(),
            Err(refusal) => return Err(refusal),
        };
        let findings: Result<Findings, Refusal> = findings;
        all.push(findings?);
    }
    Ok(all)
}

fn findings(
    guardrail: &Guardrail,
    found: Result<Vec<Found>, Refusal>,
    least: f32,
) -> Result<Option<Vec<Finding>>, Refusal> {
    let found = match found {
        Ok(found) => found,
        Err(_) if guardrail.fail_open => return Ok(None),
        Err(refusal) => return Err(refusal),
    };
    let counts = |found: &Found| found.score >= least && guardrail.counts(&found.label);
    let finding = |Found { label, span, text, score }: Found| Finding { label, span, text, score };
    Ok(Some(found.into_iter().filter(counts).map(finding).collect()))
}
