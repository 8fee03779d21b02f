//! `POST /v1/rerank`: documents in the order of their logits for a query.

use std::sync::Arc;

use bigbatch_engine::{Answer, Input, Task, prompted};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::body::{Raw, field, object};
use super::cards::RerankCard;
use super::item::{InputUsage, Item, ItemError};
use super::reading::{Overflow, Reading};
use super::run::{InputOutcome, RequestRows};
use super::surface::{
    Common, Meta, Question, Surface, SurfaceRequest, Usage, WholeTextOptions, check_count,
    check_max_tokens, choose,
};
use crate::app::App;
use crate::error::Refusal;
use crate::models::ServedModel;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body<'a> {
    #[serde(borrow)]
    model: Raw<'a>,
    #[serde(borrow)]
    query: Raw<'a>,
    #[serde(borrow)]
    documents: Raw<'a>,
    #[serde(borrow)]
    top_n: Raw<'a>,
    #[serde(borrow)]
    return_documents: Raw<'a>,
    #[serde(borrow)]
    layer: Raw<'a>,
    #[serde(borrow)]
    dimensions: Raw<'a>,
    #[serde(borrow)]
    options: Raw<'a>,
}

/// The part of a request that decides how logits are answered.
pub(super) struct RerankRequest {
    top_n: usize,
    /// Those that the answer repeats.
    documents: Option<Vec<String>>,
}

/// Checks a request.
///
/// # Errors
/// The refusals of the contract, in its order.
pub(super) fn prepare(app: &App, body: &RawValue) -> Result<SurfaceRequest, Refusal> {
    let body: Body<'_> = object(body, "the body")?;
    let served = choose(app, body.model, Surface::Rerank)?;
    let options = WholeTextOptions::read(body.options)?;
    let common = options.common()?;
    if let Some(other) = options.overflow.as_deref().filter(|&overflow| overflow != "reject") {
        return Err(Refusal::Invalid(format!(
            "`options.overflow` is '{other}'; pairs are read whole, it must be reject"
        )));
    }
    let max_tokens = check_max_tokens(options.max_tokens, usize::MAX, &served)?;
    let card = RerankCard::of(&served);
    let (layer, dimensions) = (field(body.layer, "layer")?, field(body.dimensions, "dimensions")?);
    let exit = card.exit(layer, dimensions).ok_or_else(|| {
        Refusal::Invalid(format!(
            "`layer` and `dimensions` are none of the exits of '{}' (GET /v1/models)",
            served.name
        ))
    })?;
    let top_n = match field::<usize>(body.top_n, "top_n")? {
        Some(0) => return Err(Refusal::Invalid("`top_n` is 0; it must be at least 1".into())),
        top_n => top_n.unwrap_or(usize::MAX),
    };
    let query = field::<String>(body.query, "query")?;
    let query = query.filter(|query| !query.trim().is_empty());
    let query = query.ok_or_else(|| Refusal::Empty("`query` is missing or blank".into()))?;
    let query: Arc<str> = prompted(served.prompt(None)?, query).into();
    let documents: Vec<String> = field(body.documents, "documents")?.unwrap_or_default();
    check_count(documents.len(), Surface::Rerank.max_inputs(&app.options), "documents")?;
    let repeats = field::<bool>(body.return_documents, "return_documents")?.unwrap_or_default();
    let repeated = repeats.then(|| documents.clone());
    let pair = |document: String| match document.trim().is_empty() {
        true => Err(ItemError::InvalidInput),
        false => Ok(Input::Pair(query.clone(), document)),
    };
    let inputs = documents.into_iter().map(pair).collect();
    let reading = Reading { overflow: Overflow::Reject, max_tokens, cut_text: false };
    let task = match served.engine.model().pair_scorers {
        Some(_) => Task::Rank { layer: Some(exit.layer), dimensions: Some(exit.dimension) },
        None => Task::Classify { raw_scores: true },
    };
    let question = Question::Rerank(RerankRequest { top_n, documents: repeated });
    Ok(SurfaceRequest { served, common, inputs, reading, task, question })
}

/// The answer of the surface.
#[derive(Debug, Serialize)]
pub(super) struct RerankAnswer {
    model: String,
    results: Vec<Item<RerankResult>>,
    usage: Usage,
    #[serde(skip_serializing_if = "Option::is_none")]
    meta: Option<Meta>,
}

#[derive(Debug, Serialize)]
struct RerankResult {
    index: usize,
    relevance_score: f32,
    logit: f32,
    #[serde(skip_serializing_if = "Option::is_none")]
    document: Option<String>,
    input: InputUsage,
}

impl RerankRequest {
    pub(super) fn answer(
        mut self,
        served: &ServedModel,
        common: &Common,
        ran: RequestRows,
    ) -> RerankAnswer {
        let meta = common.return_meta.then(|| Meta::of(served, &ran));
        let (mut ranked, mut failed, mut input_tokens) = (Vec::new(), Vec::new(), 0);
        for (index, InputOutcome { result, .. }) in ran.outcomes.into_iter().enumerate() {
            match result {
                Ok(answered) => {
                    input_tokens += answered.usage.tokens;
                    let logit = match answered.answers.first() {
                        Some(Answer::Labels(labels)) => {
                            labels.first().map_or(0.0, |label| label.score)
                        }
                        _ => 0.0,
                    };
                    let document = self
                        .documents
                        .as_mut()
                        .map(|documents| std::mem::take(&mut documents[index]));
                    let relevance_score = (1.0 / (1.0 + (-f64::from(logit)).exp())) as f32;
                    let input = answered.usage;
                    ranked.push(RerankResult { index, relevance_score, logit, document, input });
                }
                Err(error) => failed.push(Item::failed(index, error)),
            }
        }
        // Stable: ties stay in the order of their indices.
        ranked.sort_by(|a, b| b.logit.total_cmp(&a.logit));
        ranked.truncate(self.top_n);
        let results = ranked.into_iter().map(Item::Done).chain(failed).collect();
        let usage = Usage { input_tokens, output_tokens: 0 };
        RerankAnswer { model: served.name.clone(), results, usage, meta }
    }
}
