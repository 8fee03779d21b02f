//! Texts against a query: `/rerank` in both dialects, and vLLM's `/score`.
//!
//! A reranker reads each pair together. With a model of embeddings vLLM's dialect takes cosines instead, as
//! vLLM does; text-embeddings-inference's refuses.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bigbatch_engine::chunk::Overlong;
use bigbatch_engine::task::Task;
use bigbatch_engine::tokenize::Input;

use super::call::{Call, overlong, overlong_vllm};
use super::docs::{OpenAiErrors, TeiErrors};
use super::embed::{cosines, prompt};
use super::predict::take_labels;
use crate::App;
use crate::error::{OpenAi, Refusal, Tei};
use crate::jobs::{Answered, Job, tokens};
use crate::models::{Kind, Served};
use crate::wire::shared::RerankRequest;
use crate::wire::tei::Rank;
use crate::wire::vllm::{
    Document, List, RerankDocument, RerankResult, RerankUsage, Reranked, Score, ScoreRequest,
};

/// What `/rerank` answers.
#[derive(serde::Serialize, utoipa::ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "a name for the two shapes, in the document only")]
pub(crate) enum RerankAnswer {
    Texts(Vec<Rank>),
    Documents(Reranked),
}

#[utoipa::path(post, path = "/rerank", tag = "text-embeddings-inference",
    request_body = RerankRequest,
    responses((status = 200, description = "Best first: to `texts` text-embeddings-inference's list, to \
        `documents` vLLM's answer", body = RerankAnswer), TeiErrors))]
/// Texts in the order of how well they answer a query.
pub(crate) async fn rerank(State(app): State<Arc<App>>, call: Call) -> Response {
    let mut request: RerankRequest = match call.read() {
        Ok(request) => request,
        Err(refusal) => return Tei(refusal).into_response(),
    };
    match (request.texts.take(), request.documents.take()) {
        (Some(texts), None) => ranks(&app, &call, request, texts).await.into_response(),
        (None, Some(documents)) => {
            documents_ranked(&app, &call, request, documents).await.into_response()
        }
        _ => Tei(Refusal::Shape("give either `texts` or `documents`".into())).into_response(),
    }
}

#[utoipa::path(post, path = "/v1/rerank", tag = "vLLM", request_body = RerankRequest,
    responses((status = 200, description = "Best first", body = Reranked), OpenAiErrors))]
/// Documents in the order of how well they answer a query.
pub(crate) async fn rerank_v1(State(app): State<Arc<App>>, call: Call) -> Result<Response, OpenAi> {
    let mut request: RerankRequest = call.read()?;
    let missing = || Refusal::Shape("missing field `documents`".into());
    let documents = request.documents.take().ok_or_else(missing)?;
    documents_ranked(&app, &call, request, documents).await
}

pub(super) async fn ranks(
    app: &App,
    call: &Call,
    request: RerankRequest,
    texts: Vec<String>,
) -> Result<Response, Tei> {
    let served = call.served(app, request.model.as_deref())?;
    app.check_count(texts.len(), "texts")?;
    if served.kind != Kind::Reranker {
        return Err(Tei(not_a_reranker(served)));
    }
    let overlong = overlong(app, request.truncate, request.truncation_direction, request.chunk)?;
    let kept = if request.return_text { texts.clone() } else { Vec::new() };
    let queries = vec![request.query];
    let scored = scores(app, served, (queries, texts), request.raw_scores, overlong).await?;
    let mut kept = kept.into_iter();
    let ranks = scored.scores.iter().enumerate();
    let ranks = ranks.map(|(index, &score)| Rank { index, text: kept.next(), score });
    let mut ranks: Vec<Rank> = ranks.collect();
    ranks.sort_by(|a, b| b.score.total_cmp(&a.score));
    Ok(call.answer(served, scored.characters, &scored.answers, ranks))
}

async fn documents_ranked(
    app: &App,
    call: &Call,
    request: RerankRequest,
    documents: Vec<Document>,
) -> Result<Response, OpenAi> {
    let served = call.served(app, request.model.as_deref())?;
    app.check_count(documents.len(), "documents")?;
    let (truncate, prompt_tokens) = (request.truncate, request.truncate_prompt_tokens);
    let overlong = overlong_vllm(app, served, truncate, prompt_tokens, request.chunk)?;
    let texts: Vec<String> = documents.into_iter().map(Document::text).collect();
    let kept = request.return_documents.unwrap_or(true).then(|| texts.clone());
    let raw_scores = request.use_activation == Some(false);
    let scored = scores(app, served, (vec![request.query], texts), raw_scores, overlong).await?;
    let result = |(index, &relevance_score): (usize, &f32)| {
        let text = kept.as_ref().map(|kept| kept[index].clone());
        RerankResult { index, document: text.map(|text| RerankDocument { text }), relevance_score }
    };
    let mut results: Vec<RerankResult> = scored.scores.iter().enumerate().map(result).collect();
    results.sort_by(|a, b| b.relevance_score.total_cmp(&a.relevance_score));
    results.truncate(request.top_n.filter(|&n| n > 0).unwrap_or(usize::MAX));
    let (id, model) = (app.answer_id("rerank"), served.name.clone());
    let usage = RerankUsage { prompt_tokens: scored.tokens(), total_tokens: scored.tokens() };
    let body = Reranked { id, model, usage, results };
    Ok(call.answer(served, scored.characters, &scored.answers, body))
}

#[utoipa::path(post, path = "/score", tag = "vLLM", request_body = ScoreRequest,
    responses((status = 200, description = "A score for each pair", body = List<Score>), OpenAiErrors))]
/// The scores of pairs: one query with each document, or each with its own.
pub(crate) async fn score(State(app): State<Arc<App>>, call: Call) -> Result<Response, OpenAi> {
    let request: ScoreRequest = call.read()?;
    let served = call.served(&app, request.model.as_deref())?;
    let (queries, _) = request.queries.list();
    let (documents, _) = request.documents.list();
    app.check_count(queries.len(), "queries")?;
    app.check_count(documents.len(), "documents")?;
    if queries.len() != 1 && queries.len() != documents.len() {
        let (queries, documents) = (queries.len(), documents.len());
        return Err(OpenAi(Refusal::Invalid(format!(
            "{queries} queries and {documents} documents: give one query, or as many of each"
        ))));
    }
    let (truncate, prompt_tokens) = (request.truncate, request.truncate_prompt_tokens);
    let overlong = overlong_vllm(&app, served, truncate, prompt_tokens, request.chunk)?;
    let raw_scores = request.use_activation == Some(false);
    let scored = scores(&app, served, (queries, documents), raw_scores, overlong).await?;
    let data = scored.scores.iter().enumerate();
    let data = data.map(|(index, &score)| Score { index, object: "score", score }).collect();
    let list = app.list("score", served, data, scored.tokens());
    Ok(call.answer(served, scored.characters, &scored.answers, list))
}

/// Scores of pairs, and how they were read.
struct Scored {
    scores: Vec<f32>,
    answers: Vec<Answered>,
    characters: usize,
}

impl Scored {
    fn tokens(&self) -> usize {
        tokens(&self.answers)
    }
}

/// One query with each text, or each with its own.
async fn scores(
    app: &App,
    served: &Arc<Served>,
    (queries, texts): (Vec<String>, Vec<String>),
    raw_scores: bool,
    overlong: Overlong,
) -> Result<Scored, Refusal> {
    let characters = queries.iter().chain(&texts).map(|text| text.chars().count()).sum();
    if served.kind.embeds() {
        let prompt = prompt(served, None)?;
        let (scores, answers) = cosines(app, served, queries, texts, prompt, overlong).await?;
        return Ok(Scored { scores, answers, characters });
    }
    if served.kind != Kind::Reranker {
        return Err(not_a_reranker(served));
    }
    let alone = queries.len() == 1;
    let query = |n: usize| queries[if alone { 0 } else { n }].clone();
    let pair = |(n, text): (usize, String)| Input::Pair(query(n), text);
    let inputs = texts.into_iter().enumerate().map(pair).collect();
    let task = Task::Classify { raw_scores };
    let mut answers = app.run(served, Job { inputs, task, overlong }).await?;
    let first = |labels: Vec<bigbatch_engine::task::LabelScore>| labels.first().map(|l| l.score);
    let scores = take_labels(&mut answers).into_iter().filter_map(first).collect();
    Ok(Scored { scores, answers, characters })
}

fn not_a_reranker(served: &Served) -> Refusal {
    Refusal::WrongKind(format!("model is not a re-ranker model but a {}", served.kind.name()))
}
