//! The text detector of FMS guardrails and TrustyAI: `POST /api/v1/text/contents`.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use super::receive;
use super::scan::{Finding, scan};
use crate::app::App;
use crate::error::Refusal;
use crate::guardrail_options::Guardrail;
use crate::models::ModelKind;
use crate::wire::Dialect;

pub(super) const PATH: &str = "/api/v1/text/contents";

/// The header that names the guardrail.
const DETECTOR: &str = "detector-id";

#[derive(Deserialize)]
struct Body {
    contents: Vec<String>,
    detector_params: Option<Parameters>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Parameters {
    threshold: Option<f32>,
}

#[derive(Serialize)]
struct Detection {
    start: usize,
    end: usize,
    text: String,
    detection: String,
    detection_type: &'static str,
    score: f32,
}

pub(super) async fn answer(State(app): State<Arc<App>>, request: Request) -> Response {
    match detect(&app, request).await {
        Ok(answer) => Json(answer).into_response(),
        Err(refusal) => Dialect::Fms.render(&refusal),
    }
}

async fn detect(app: &Arc<App>, request: Request) -> Result<Vec<Vec<Detection>>, Refusal> {
    let name = request.headers().get(DETECTOR).and_then(|name| name.to_str().ok());
    let name = name.unwrap_or_default().to_owned();
    let mut received = receive::<Body>(app, request).await?;
    let guardrail = choose(app, &name)?;
    let threshold = received.body.detector_params.take().unwrap_or_default().threshold;
    if threshold.is_some_and(|threshold| !(0.0..=1.0).contains(&threshold)) {
        return Err(Refusal::Invalid("`threshold` must lie between 0 and 1".into()));
    }
    let contents = std::mem::take(&mut received.body.contents);
    if contents.is_empty() {
        return Err(Refusal::Empty("`contents` cannot be empty".into()));
    }
    let served = app.models.named(&guardrail.model)?;
    let detection_type = match served.kind {
        ModelKind::TokenClassifier => "entity",
        _ => "classification",
    };
    let mut found = scan(app, &[guardrail], &contents, threshold, &received).await?;
    let detection = |Finding { label, span, text, score }: Finding| Detection {
        start: span.start,
        end: span.end,
        text,
        detection: label,
        detection_type,
        score,
    };
    let of_content = |findings: Option<Vec<Finding>>| {
        findings.unwrap_or_default().into_iter().map(detection).collect()
    };
    Ok(found.pop().unwrap_or_default().into_iter().map(of_content).collect())
}

fn choose<'a>(app: &'a App, name: &str) -> Result<&'a Guardrail, Refusal> {
    if name.is_empty() {
        return Err(Refusal::Shape(format!(
            "the header {DETECTOR} is missing; it names a guardrail"
        )));
    }
    let guardrails = &app.options.guardrails;
    let found = guardrails.iter().find(|guardrail| guardrail.name == name);
    found.ok_or_else(|| Refusal::NoRoute(format!("detector '{name}'")))
}
