//! Guardrails: models that judge texts in the dialects of gateways, as the config file says.
//!
//! A guardrail names a model, the labels that count, a threshold, and whether a text with one is blocked or has it masked.
//! Gateways ask at paths of their own: LiteLLM's generic guardrail (`litellm`), the detectors of FMS and TrustyAI (`fms`),
//! and Presidio's analyzer (`presidio`). `scan` reads every text whole, in windows where it is longer than the model, and
//! tokenizes it once for all guardrails with one tokenizer. A guardrail that cannot answer refuses the request, which the
//! gateways take for a block, unless it is configured to fail open.

mod fms;
mod litellm;
mod presidio;
mod scan;

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::routing::{get, post};
use serde::de::DeserializeOwned;
use utoipa::OpenApi;

use crate::app::App;
use crate::error::Refusal;
use crate::footprint;
use crate::guardrail_options::{Action, Guardrail};
use crate::memory::Charge;
use crate::middleware::take_body;
use crate::models::{ModelKind, Models};
use crate::runtime::scan::labels_texts;
use crate::terms::{HeadTerms, Terms};

/// Checks that all guardrails can be asked.
///
/// # Errors
/// One line that names the guardrail and what is wrong with it.
pub fn check(guardrails: &[Guardrail], models: &Models) -> Result<(), String> {
    for (index, guardrail) in guardrails.iter().enumerate() {
        let Guardrail { name, model, labels, threshold, action, .. } = guardrail;
        let wrong = |why: String| Err(format!("guardrail '{name}': {why}"));
        if !name.chars().all(|c| c.is_ascii_graphic() || c == ' ') {
            return wrong("its name has other characters than a header may carry".into());
        }
        if name.is_empty() || guardrails[..index].iter().any(|other| other.name == *name) {
            return wrong("its name is empty, or another one's too".into());
        }
        let Ok(served) = models.named(model) else {
            return wrong(format!("no model is called '{model}'"));
        };
        if !(0.0..=1.0).contains(threshold) {
            return wrong(format!("`threshold` is {threshold}; it must lie between 0 and 1"));
        }
        match (served.kind, action) {
            (ModelKind::TokenClassifier, _) | (ModelKind::Classifier, Action::Block) => {}
            (ModelKind::Classifier, Action::Mask) => {
                return wrong(format!("'{model}' labels whole texts, which cannot be masked"));
            }
            _ => return wrong(format!("'{model}' is no classifier")),
        }
        if !labels_texts(served) {
            return wrong(format!(
                "'{model}' labels neither texts nor parts of them by themselves: its scores are a regression, or those of \
                 an answer with its context"
            ));
        }
        let known = scan::label_names(served);
        if let Some(unknown) = labels.iter().find(|label| !known.contains(&label.as_str())) {
            return wrong(format!(
                "'{model}' has no label '{unknown}'; it has {}",
                known.join(", ")
            ));
        }
        if served.kind == ModelKind::Classifier && labels.is_empty() {
            return wrong(format!(
                "name the `labels` that count; '{model}' has {}",
                known.join(", ")
            ));
        }
        let (limit, special) =
            (served.engine.max_tokens(), served.engine.model().tokenizer.frame_tokens());
        let (window, overlap) = guardrail.window(limit);
        if window > limit || window <= special + overlap {
            return wrong(format!(
                "a window has {window} tokens, {overlap} of them shared; '{model}' takes {limit}, {special} of them special"
            ));
        }
    }
    Ok(())
}

/// Returns the paths of the gateways; none without a guardrail.
pub(crate) fn routes(guardrails: &[Guardrail]) -> Router<Arc<App>> {
    if guardrails.is_empty() {
        return Router::new();
    }
    Router::new()
        .route(litellm::PATH, post(litellm::answer))
        .route(fms::PATH, post(fms::answer))
        .route("/analyze", post(presidio::analyze))
        .route("/supportedentities", get(presidio::supported_entities))
        .route("/recognizers", get(presidio::recognizers))
}

/// The document of these paths.
#[derive(OpenApi)]
#[openapi(paths(
    litellm::answer,
    fms::answer,
    presidio::analyze,
    presidio::supported_entities,
    presidio::recognizers
))]
pub(crate) struct GuardrailDoc;

/// The path of the detectors of FMS, whose refusals have a form of their own.
pub(crate) const FMS_PATH: &str = fms::PATH;

/// A request whose body was read.
struct GuardrailCall<T> {
    body: T,
    charge: Arc<Charge>,
    terms: Terms,
}

/// Reads the body of a request. Fields that its type does not have are ignored: the dialects grow.
async fn receive<T: DeserializeOwned>(
    app: &App,
    request: Request,
) -> Result<GuardrailCall<T>, Refusal> {
    let started = tokio::time::Instant::now();
    let (mut parts, body) = request.into_parts();
    let terms = HeadTerms::read(&parts, &app.keys)?;
    let (body, charge) = take_body(app, &mut parts, body).await?;
    charge.set(footprint::of_parsing(&body))?;
    let parse = || crate::wire::body::parse::<T>(&body);
    let (body, _) = app.offload.run(body.len(), parse).await?;
    let terms = terms.with_body(None, None, started, app.options.request_timeout);
    Ok(GuardrailCall { body, charge, terms })
}
