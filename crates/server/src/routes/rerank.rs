//! Scores of texts against a query: `/rerank` in two dialects, and vLLM's `/score`.
//!
//! A reranker reads query and text together. With an embedding model vLLM's dialect answers with cosines, as
//! vLLM does; text-embeddings-inference's refuses.

use std::sync::Arc;

use axum::response::Response;
use bigbatch_engine::{Input, LabelScore, Overlong, Similarity, Task};

use super::call::Call;
use super::embed::{PairScores, compare_pairs};
use crate::error::Refusal;
use crate::jobs::FULL_INPUT;
use crate::jobs::{count_tokens, take_labels};
use crate::wire::inputs::Document;
use crate::wire::openai::{OpenAiErrors, TokenUsage};
use crate::wire::partial::listed;
use crate::wire::request::{LengthFields, PairCuts};
use crate::wire::shared::RerankRequest;
use crate::wire::tei::{Rank, RankItem, TeiErrors};
use crate::wire::vllm::{DocumentRanking, List, RerankDocument, RerankResult, Score, ScoreRequest};

/// The answer of `/rerank`.
#[derive(serde::Serialize, utoipa::ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "a name for the two shapes, in the document only")]
pub(crate) enum RerankAnswer {
    Texts(Vec<RankItem>),
    Documents(DocumentRanking),
}

#[utoipa::path(post, path = "/rerank", tag = "text-embeddings-inference",
    request_body = RerankRequest,
    responses((status = 200, description = "Best first: for `texts`, text-embeddings-inference's list; for \
        `documents`, vLLM's answer", body = RerankAnswer), TeiErrors))]
/// Ranks texts by how well they answer a query.
pub(crate) async fn rerank(call: Call, mut request: RerankRequest) -> Result<Response, Refusal> {
    if let Some(texts) = request.texts.take() {
        let options = RankOptions {
            raw_scores: request.logits()?,
            return_text: request.repeated(false)?,
            best: request.best(),
            length: call.length,
            cuts: request.cuts(),
        };
        return rank_texts(&call, request.query, texts, options).await;
    }
    rank_documents(&call, request).await
}

#[utoipa::path(post, path = "/v1/rerank", tag = "vLLM", request_body = RerankRequest,
    responses((status = 200, description = "Best first", body = DocumentRanking), OpenAiErrors))]
/// Ranks documents by how well they answer a query.
pub(crate) async fn rerank_v1(call: Call, request: RerankRequest) -> Result<Response, Refusal> {
    rank_documents(&call, request).await
}

#[utoipa::path(post, path = "/score", tag = "vLLM", request_body = ScoreRequest,
    responses((status = 200, description = "One score per pair", body = List<Score>), OpenAiErrors))]
/// Scores pairs: one query with each document, or each query with its own document.
pub(crate) async fn score(call: Call, mut request: ScoreRequest) -> Result<Response, Refusal> {
    let (raw_scores, cuts) = (request.activation()? == Some(false), request.cuts());
    let (queries, documents) = request.take_sides()?;
    let ((queries, _), (documents, _)) = (queries.into_vec(), documents.into_vec());
    call.check_count(queries.len(), "queries")?;
    call.check_count(documents.len(), "documents")?;
    if queries.len() != 1 && queries.len() != documents.len() {
        let (queries, documents) = (queries.len(), documents.len());
        return Err(Refusal::Invalid(format!(
            "{queries} queries and {documents} documents; give one query, or as many queries as documents"
        )));
    }
    let pairs =
        score_pairs(&call, queries, documents, raw_scores, (call.overlong()?, cuts)).await?;
    let data = pairs.scores.iter();
    let data = data.map(|&(index, score)| Score { index, object: "score", score }).collect();
    let list = call.vllm_list("score", data, &pairs.outputs);
    call.answer(pairs.characters, &pairs.outputs, list).await
}

/// The options of a ranking of `texts`.
pub(super) struct RankOptions {
    pub(super) raw_scores: bool,
    pub(super) return_text: bool,
    /// Maximum number of texts in the answer.
    pub(super) best: usize,
    pub(super) length: LengthFields,
    pub(super) cuts: PairCuts,
}

/// Answers with text-embeddings-inference's list, best first.
pub(super) async fn rank_texts(
    call: &Call,
    query: String,
    texts: Vec<String>,
    options: RankOptions,
) -> Result<Response, Refusal> {
    call.check_count(texts.len(), "texts")?;
    let overlong = call.overlong_by(options.length)?;
    let mut copies = options.return_text.then(|| texts.clone());
    let lengths = (overlong, options.cuts);
    let pairs = score_pairs(call, vec![query], texts, options.raw_scores, lengths).await?;
    let mut text = |index: usize| Some(std::mem::take(&mut copies.as_mut()?[index]));
    let rank = |&(index, score): &(usize, f32)| Rank { index, text: text(index), score };
    let mut ranks: Vec<Rank> = pairs.scores.iter().map(rank).collect();
    ranks.sort_by(|a, b| b.score.total_cmp(&a.score));
    ranks.truncate(options.best);
    let failed = pairs.outputs.failed.iter();
    let failed =
        failed.map(|one| RankItem::Failed { index: one.index, error: (&one.refusal).into() });
    let ranks: Vec<RankItem> = ranks.into_iter().map(RankItem::Done).chain(failed).collect();
    call.answer(pairs.characters, &pairs.outputs, ranks).await
}

/// Answers with vLLM's ranking, best first.
async fn rank_documents(call: &Call, request: RerankRequest) -> Result<Response, Refusal> {
    let (raw_scores, repeated, best) = (request.logits()?, request.repeated(true)?, request.best());
    let lengths = (call.overlong()?, request.cuts());
    let documents = request.documents.unwrap_or_default();
    call.check_count(documents.len(), "documents")?;
    let texts: Vec<String> = documents.into_iter().map(Document::into_text).collect();
    let mut copies = repeated.then(|| texts.clone());
    let pairs = score_pairs(call, vec![request.query], texts, raw_scores, lengths).await?;
    let result = |&(index, relevance_score): &(usize, f32)| {
        let text = copies.as_mut().map(|copies| std::mem::take(&mut copies[index]));
        RerankResult { index, document: text.map(|text| RerankDocument { text }), relevance_score }
    };
    let mut results: Vec<RerankResult> = pairs.scores.iter().map(result).collect();
    results.sort_by(|a, b| b.relevance_score.total_cmp(&a.relevance_score));
    results.truncate(best);
    let (id, model) = (call.app.answer_id("rerank"), call.served.name.clone());
    let usage = TokenUsage::of(count_tokens(&pairs.outputs));
    let errors = listed(&pairs.outputs.failed);
    let body = DocumentRanking { id, model, usage, results, errors };
    call.answer(pairs.characters, &pairs.outputs, body).await
}

/// Scores one query with each text, or each query with its own text.
async fn score_pairs(
    call: &Call,
    queries: Vec<String>,
    texts: Vec<String>,
    raw_scores: bool,
    (overlong, cuts): (Overlong, PairCuts),
) -> Result<PairScores, Refusal> {
    let (queries, of_queries) = shorten(call, queries, cuts.query).await?;
    let (texts, of_texts) = shorten(call, texts, cuts.document).await?;
    if call.app.options.require_full_input && of_queries + of_texts > 0 {
        return Err(Refusal::Invalid(format!(
            "{} tokens would be cut off; {FULL_INPUT}",
            of_queries + of_texts
        )));
    }
    let mut pairs = score_read(call, queries, texts, raw_scores, overlong).await?;
    // The headers are about the whole request.
    if let Some(output) = pairs.outputs.first_mut() {
        output.input_tokens += of_queries + of_texts;
    }
    Ok(pairs)
}

/// Cuts texts to their first `limit` tokens. Returns also the number of tokens that were cut off.
async fn shorten(
    call: &Call,
    texts: Vec<String>,
    limit: Option<usize>,
) -> Result<(Vec<String>, usize), Refusal> {
    let Some(limit) = limit else { return Ok((texts, 0)) };
    let served = call.served.clone();
    let cut = move || {
        let mut removed = 0;
        let mut first = |text: String| {
            // An empty text is refused with its index when it is scored.
            let tokenizer = &served.engine.model().tokenizer;
            let Ok(tokens) = tokenizer.encode_bare(&text) else { return text };
            let Some(next) = tokens.spans.get(limit) else { return text };
            removed += tokens.ids.len() - limit;
            // Tokens of one character share its span: a character that does not fit whole is left out.
            let end = next.start.min(tokens.spans[limit - 1].end);
            text.chars().take(end).collect()
        };
        let texts = texts.into_iter().map(&mut first).collect();
        (texts, removed)
    };
    call.app.tokenizer_pool.run(&call.charge, cut).await
}

/// Scores pairs of texts that are read as they are.
async fn score_read(
    call: &Call,
    queries: Vec<String>,
    texts: Vec<String>,
    raw_scores: bool,
    overlong: Overlong,
) -> Result<PairScores, Refusal> {
    if call.served.kind.embeds() {
        let prompt = call.served.prompt(None)?;
        // vLLM's answer is the cosine, whatever the checkpoint names.
        let how = (overlong, Similarity::Cosine);
        return compare_pairs(call, ("query", queries), texts, prompt, how).await;
    }
    let characters = queries.iter().chain(&texts).map(|text| text.chars().count()).sum();
    // Shared by all pairs, of which there may be thousands.
    let queries: Vec<Arc<str>> = queries.into_iter().map(Arc::from).collect();
    let alone = queries.len() == 1;
    let query = |n: usize| queries[if alone { 0 } else { n }].clone();
    let pair = |(n, text): (usize, String)| Input::Pair(query(n), text);
    let inputs = texts.into_iter().enumerate().map(pair).collect();
    let mut outputs = call.run(inputs, Task::Classify { raw_scores }, overlong).await?;
    let first = |labels: Vec<LabelScore>| labels.first().map(|label| label.score);
    let scores = take_labels(&mut outputs).into_iter().filter_map(first);
    let scores = outputs.iter().map(|output| output.index).zip(scores).collect();
    Ok(PairScores { scores, outputs, characters })
}
