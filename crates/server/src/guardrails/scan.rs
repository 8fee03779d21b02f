//! Judges texts by guardrails: what each found in each text.

use std::sync::Arc;

use axum::http::HeaderValue;
use axum::response::{IntoResponse, Response};
use tokio::time::timeout;

use super::GuardrailCall;
use crate::app::App;
use crate::error::Refusal;
use crate::guardrail_options::Guardrail;
use crate::models::{ModelKind, ServedModel};
use crate::runtime::scan::{LabelledSpan, ModelScan, Scanned, scan_all};
use crate::wire::Dialect;

/// What one guardrail found, per text; `None` for a text that it could not judge, and that passes.
pub(super) type Findings = Vec<Option<Vec<LabelledSpan>>>;

/// What all guardrails found.
pub(super) struct Scan {
    /// One per guardrail.
    findings: Vec<Findings>,
    /// Tokens of the whole texts, all of which were read.
    tokens: usize,
}

/// Part of `--request-timeout` in which texts are judged.
const TIME_SHARE: f64 = 0.9;

impl Scan {
    /// Returns an answer with the headers on how much was read.
    pub(super) fn answer(tokens: usize, body: impl IntoResponse) -> Response {
        let tokens = HeaderValue::from(tokens);
        let headers = [("x-input-tokens", tokens.clone()), ("x-processed-tokens", tokens)];
        (headers, body).into_response()
    }

    /// Returns the findings, and the tokens for [`Scan::answer`].
    pub(super) fn into_parts(self) -> (Vec<Findings>, usize) {
        (self.findings, self.tokens)
    }
}

/// Returns the names of a model's labels as guardrails name them.
pub(super) fn label_names(served: &ServedModel) -> Vec<&str> {
    let model = served.engine.model();
    match served.kind {
        ModelKind::TokenClassifier => model.entity_names(),
        _ => model.labels.iter().map(String::as_str).collect(),
    }
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
) -> Result<Scan, Refusal> {
    let limit = Dialect::Native.max_inputs(&app.options);
    if texts.len() > limit {
        let (count, flag) = (texts.len(), "--max-client-batch-size");
        return Err(Refusal::TooMany { count, limit, flag });
    }
    // Guardrails that read a model in the same windows share its answers.
    let mut scans: Vec<ModelScan> = Vec::new();
    let mut scan_of = Vec::new();
    for guardrail in guardrails {
        let served = app.models.named(&guardrail.model)?.clone();
        let (window, overlap) = guardrail.window(served.engine.max_tokens());
        let scan = ModelScan { served, window, overlap };
        let same = scans.iter().position(|other| other.reads_as(&scan));
        scan_of.push(same.unwrap_or(scans.len()));
        if same.is_none() {
            scans.push(scan);
        }
    }
    let count = scans.len();
    // Before the whole server's own time limit, whose refusal some gateways let pass.
    let limit = app.options.request_timeout.mul_f64(TIME_SHARE);
    let scanned = scan_all(app, scans, texts, &received.charge, received.terms);
    let (found, tokens) = match timeout(limit, scanned).await {
        Ok(scanned) => scanned,
        Err(_) => {
            let late = || Refusal::Late { seconds: limit.as_secs() };
            ((0..count).map(|_| Err(late())).collect::<Vec<Result<Scanned, _>>>(), 0)
        }
    };
    let of_guardrail = |(guardrail, scan): (&&Guardrail, usize)| {
        let least = least(guardrail.threshold);
        match &found[scan] {
            Ok(found) => found.iter().map(|one| findings(guardrail, one, least)).collect(),
            Err(_) if guardrail.fail_open => Ok(texts.iter().map(|_| None).collect()),
            Err(refusal) => Err(refusal.clone()),
        }
    };
    let findings = guardrails.iter().zip(scan_of).map(of_guardrail).collect::<Result<_, Refusal>>();
    Ok(Scan { findings: findings?, tokens })
}

fn findings(
    guardrail: &Guardrail,
    found: &Result<Vec<LabelledSpan>, Refusal>,
    least: f32,
) -> Result<Option<Vec<LabelledSpan>>, Refusal> {
    let counts = |one: &&LabelledSpan| one.score >= least && guardrail.counts(&one.label);
    match found {
        Ok(found) => Ok(Some(found.iter().filter(counts).cloned().collect())),
        Err(_) if guardrail.fail_open => Ok(None),
        Err(refusal) => Err(refusal.clone()),
    }
}
