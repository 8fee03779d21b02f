//! Presidio's analyzer: `POST /analyze`, `GET /supportedentities`, `GET /recognizers`.
//!
//! The entities are those of all guardrails with token classifiers. What they cannot do is refused, not ignored.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::receive;
use super::scan::{Scan, label_names, scan};
use crate::app::App;
use crate::error::Refusal;
use crate::guardrail_options::Guardrail;
use crate::models::ModelKind;
use crate::runtime::scan::LabelledSpan;
use crate::wire::Dialect;
use crate::wire::fields::{NoEffect, NotSupported, check_threshold};
use crate::wire::tei::TeiErrors;

/// What a client of Presidio's analyzer sends.
#[derive(Deserialize, ToSchema)]
#[schema(as = PresidioRequest)]
pub(crate) struct Body {
    text: Option<Text>,
    /// Required and not looked at: a model reads the languages that it was trained on.
    language: Option<String>,
    entities: Option<Vec<String>>,
    score_threshold: Option<f32>,
    #[expect(dead_code, reason = "it only goes into logs there")]
    correlation_id: Option<NoEffect>,
    #[expect(dead_code, reason = "any value that matters is refused")]
    return_decision_process: Option<NotSupported>,
    #[expect(dead_code, reason = "any value that matters is refused")]
    context: Option<NotSupported>,
    #[expect(dead_code, reason = "any value that matters is refused")]
    ad_hoc_recognizers: Option<NotSupported>,
    #[expect(dead_code, reason = "any value that matters is refused")]
    allow_list: Option<NotSupported>,
    #[expect(dead_code, reason = "without a list it has no effect")]
    allow_list_match: Option<NoEffect>,
    #[expect(dead_code, reason = "without a list it has no effect")]
    regex_flags: Option<NoEffect>,
}

/// One text or several.
#[derive(Deserialize, ToSchema)]
#[schema(as = PresidioText)]
#[serde(untagged, expecting = "expected a string or an array of strings")]
pub(crate) enum Text {
    One(String),
    Many(Vec<String>),
}

/// The entities of the text, or of each.
#[derive(Serialize, ToSchema)]
#[schema(as = PresidioAnswer)]
#[serde(untagged)]
pub(crate) enum Answer {
    One(Vec<Entity>),
    Many(Vec<Vec<Entity>>),
}

/// A part of a text, in characters.
#[derive(Serialize, ToSchema)]
#[schema(as = PresidioEntity)]
pub(crate) struct Entity {
    entity_type: String,
    start: usize,
    end: usize,
    score: f32,
    /// Always null.
    #[schema(value_type = Option<Object>)]
    analysis_explanation: Option<()>,
}

#[utoipa::path(post, path = "/analyze", tag = "Guardrails", operation_id = "presidio", request_body = Body,
    responses((status = 200, description = "The entities", body = Answer), TeiErrors))]
/// Finds entities as Presidio's analyzer does.
pub(crate) async fn analyze(State(app): State<Arc<App>>, request: Request) -> Response {
    match find(&app, request).await {
        Ok((answer, tokens)) => Scan::answer(tokens, Json(answer)),
        Err(refusal) => Dialect::Tei.render(&refusal),
    }
}

async fn find(app: &Arc<App>, request: Request) -> Result<(Answer, usize), Refusal> {
    let mut received = receive::<Body>(app, request).await?;
    let missing = |name: &str| Refusal::Shape(format!("`{name}` is missing"));
    let text = received.body.text.take().ok_or_else(|| missing("text"))?;
    received.body.language.take().ok_or_else(|| missing("language"))?;
    let guardrails = token_guardrails(app);
    if guardrails.is_empty() {
        return Err(Refusal::WrongKind(
            "no guardrail of this server has a token classifier".into(),
        ));
    }
    let entities = received.body.entities.take().filter(|entities| !entities.is_empty());
    let known = entity_names(app, &guardrails);
    if let Some(unknown) =
        entities.iter().flatten().find(|entity| !known.contains(&entity.as_str()))
    {
        let known = known.join(", ");
        return Err(Refusal::Invalid(format!(
            "no entity is called '{unknown}'; there are {known}"
        )));
    }
    let (texts, single) = match text {
        Text::One(text) => (vec![text], true),
        Text::Many(texts) => (texts, false),
    };
    let threshold = received.body.score_threshold;
    check_threshold("score_threshold", threshold)?;
    let least = |own: f32| threshold.unwrap_or(own);
    let scan = scan(app, &guardrails, &texts, least, &received).await?;
    let (found, tokens) = scan.into_parts();
    let mut all: Vec<Vec<Entity>> = texts.iter().map(|_| Vec::new()).collect();
    for findings in found {
        for (text, findings) in findings.into_iter().enumerate() {
            let wanted = |finding: &LabelledSpan| {
                entities.as_ref().is_none_or(|entities| entities.contains(&finding.label))
            };
            let findings = findings.unwrap_or_default().into_iter().filter(wanted);
            all[text].extend(findings.map(Entity::from));
        }
    }
    all.iter_mut().for_each(merge);
    let answer = match (single, all.pop()) {
        (true, Some(only)) => Answer::One(only),
        (_, last) => {
            all.extend(last);
            Answer::Many(all)
        }
    };
    Ok((answer, tokens))
}

/// Sorts entities, and of equal ones of several guardrails keeps the likeliest.
fn merge(entities: &mut Vec<Entity>) {
    let place = |entity: &Entity| (entity.start, entity.end, entity.entity_type.clone());
    entities.sort_by(|a, b| place(a).cmp(&place(b)).then(b.score.total_cmp(&a.score)));
    entities.dedup_by(|later, earlier| place(later) == place(earlier));
}

impl From<LabelledSpan> for Entity {
    fn from(LabelledSpan { label, span, score }: LabelledSpan) -> Entity {
        let (start, end) = (span.start, span.end);
        Entity { entity_type: label, start, end, score, analysis_explanation: None }
    }
}

fn token_guardrails(app: &App) -> Vec<&Guardrail> {
    let finds_parts = |guardrail: &&Guardrail| {
        let served = app.models.named(&guardrail.model);
        served.is_ok_and(|served| served.kind == ModelKind::TokenClassifier)
    };
    app.options.guardrails.iter().filter(finds_parts).collect()
}

/// Returns the names of all entities, each once.
fn entity_names<'a>(app: &'a App, guardrails: &[&Guardrail]) -> Vec<&'a str> {
    let mut names: Vec<&str> = Vec::new();
    for guardrail in guardrails {
        let Ok(served) = app.models.named(&guardrail.model) else { continue };
        let own = label_names(served).into_iter().filter(|label| guardrail.counts(label));
        for label in own {
            if !names.contains(&label) {
                names.push(label);
            }
        }
    }
    names
}

#[utoipa::path(get, path = "/supportedentities", tag = "Guardrails", responses((status = 200,
    description = "The names of the entities", body = Vec<String>)))]
/// Lists the entities that `/analyze` can find.
pub(crate) async fn supported_entities(State(app): State<Arc<App>>) -> Json<Vec<String>> {
    let names = entity_names(&app, &token_guardrails(&app));
    Json(names.into_iter().map(str::to_owned).collect())
}

#[utoipa::path(get, path = "/recognizers", tag = "Guardrails", responses((status = 200,
    description = "The names of the guardrails", body = Vec<String>)))]
/// Lists the guardrails that `/analyze` asks.
pub(crate) async fn recognizers(State(app): State<Arc<App>>) -> Json<Vec<String>> {
    Json(token_guardrails(&app).into_iter().map(|guardrail| guardrail.name.clone()).collect())
}
