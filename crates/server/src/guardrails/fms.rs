//! The text detector of FMS guardrails and TrustyAI: `POST /api/v1/text/contents`.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::receive;
use super::scan::{Scan, scan};
use crate::app::App;
use crate::error::Refusal;
use crate::guardrail_options::Guardrail;
use crate::models::ModelKind;
use crate::runtime::scan::LabelledSpan;
use crate::wire::Dialect;
use crate::wire::fields::check_threshold;
use crate::wire::fms::DetectorError;

pub(super) const PATH: &str = "/api/v1/text/contents";

/// The header that names the guardrail.
const DETECTOR: &str = "detector-id";

/// What an orchestrator sends.
#[derive(Deserialize, ToSchema)]
#[schema(as = FmsRequest)]
pub(crate) struct Body {
    contents: Vec<String>,
    detector_params: Option<Parameters>,
}

#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = FmsParameters)]
pub(crate) struct Parameters {
    /// Smallest score, in place of the guardrail's own.
    threshold: Option<f32>,
}

/// A part of a content, in characters.
#[derive(Serialize, ToSchema)]
pub(crate) struct Detection {
    start: usize,
    end: usize,
    text: String,
    detection: String,
    detection_type: &'static str,
    score: f32,
}

#[utoipa::path(post, path = "/api/v1/text/contents", tag = "Guardrails", operation_id = "fms",
    params(("detector-id" = String, Header, description = "Name of the guardrail")), request_body = Body,
    responses((status = 200, description = "The detections in each content", body = Vec<Vec<Detection>>),
        (status = "4XX", description = "The reason of a refusal", body = DetectorError)))]
/// Finds what one guardrail counts, for FMS guardrails and TrustyAI.
pub(crate) async fn answer(State(app): State<Arc<App>>, request: Request) -> Response {
    match detect(&app, request).await {
        Ok((answer, tokens)) => Scan::answer(tokens, Json(answer)),
        Err(refusal) => Dialect::Fms.render(&refusal),
    }
}

async fn detect(app: &Arc<App>, request: Request) -> Result<(Vec<Vec<Detection>>, usize), Refusal> {
    let name = request.headers().get(DETECTOR).and_then(|name| name.to_str().ok());
    let name = name.unwrap_or_default().to_owned();
    let mut received = receive::<Body>(app, request).await?;
    let guardrail = choose(app, &name)?;
    let threshold = received.body.detector_params.take().unwrap_or_default().threshold;
    check_threshold("threshold", threshold)?;
    let contents = std::mem::take(&mut received.body.contents);
    if contents.is_empty() {
        return Err(Refusal::Empty("`contents` cannot be empty".into()));
    }
    let served = app.models.named(&guardrail.model)?;
    let detection_type = match served.kind {
        ModelKind::TokenClassifier => "entity",
        _ => "classification",
    };
    let least = |own: f32| threshold.unwrap_or(own);
    let scan = scan(app, &[guardrail], &contents, least, &received).await?;
    let (mut found, tokens) = scan.into_parts();
    let of_content = |(content, findings): (&String, Option<Vec<LabelledSpan>>)| {
        let detection = |LabelledSpan { label, span, score }: LabelledSpan| Detection {
            start: span.start,
            end: span.end,
            text: content.chars().skip(span.start).take(span.len()).collect(),
            detection: label,
            detection_type,
            score,
        };
        findings.unwrap_or_default().into_iter().map(detection).collect()
    };
    let findings = found.pop().unwrap_or_default();
    Ok((contents.iter().zip(findings).map(of_content).collect(), tokens))
}

fn choose<'a>(app: &'a App, name: &str) -> Result<&'a Guardrail, Refusal> {
    if name.is_empty() {
        return Err(Refusal::Shape(format!(
            "the header {DETECTOR} is missing; it names a guardrail"
        )));
    }
    let guardrails = &app.options.guardrails;
    let found = guardrails.iter().find(|guardrail| guardrail.name == name);
    found.ok_or_else(|| {
        let known: Vec<&str> = guardrails.iter().map(|known| known.name.as_str()).collect();
        Refusal::UnknownDetector { name: name.into(), known: known.join(", ") }
    })
}
