//! Vectors in text-embeddings-inference's dialect: `/embed`, `/embed_all`, `/similarity`.

use axum::response::Response;
use bigbatch_engine::{Input, Overlong, Similarity, Task};

use super::call::Call;
use crate::error::Refusal;
use crate::jobs::{Output, take_rows, take_vectors};
use crate::wire::inputs::SimilarityInput;
use crate::wire::request::ModelRequest;
use crate::wire::shared::Matrix;
use crate::wire::tei::{EmbedAllRequest, EmbedRequest, SimilarityRequest, TeiErrors};

#[utoipa::path(post, path = "/embed", tag = "text-embeddings-inference", request_body = EmbedRequest,
    responses((status = 200, description = "One vector per input", body = Vec<Vec<f32>>), TeiErrors))]
/// Computes one vector per input.
pub(crate) async fn embed(call: Call, request: EmbedRequest) -> Result<Response, Refusal> {
    let prompt = call.served.prompt(request.prompt_name.as_deref())?;
    let batch = request.inputs.into_batch(prompt).map_err(Refusal::Shape)?;
    let overlong = call.overlong()?;
    let (normalize, dimensions) = (request.normalize.unwrap_or(true), request.dimensions);
    let task = Task::Embed { pooling: None, normalize, dimensions };
    let mut outputs = call.run(batch.inputs, task, overlong).await?;
    let vectors = take_vectors(&mut outputs);
    Ok(call.answer(batch.characters, &outputs, vectors))
}

#[utoipa::path(post, path = "/embed_all", tag = "text-embeddings-inference",
    request_body = EmbedAllRequest,
    responses((status = 200, description = "Per input one vector per token, special tokens included",
        body = Vec<Vec<Vec<f32>>>), TeiErrors))]
/// Computes the final hidden state of every token.
pub(crate) async fn embed_all(call: Call, request: EmbedAllRequest) -> Result<Response, Refusal> {
    let prompt = call.served.prompt(request.prompt_name.as_deref())?;
    let batch = request.inputs.into_batch(prompt).map_err(Refusal::Shape)?;
    let mut outputs = call.run(batch.inputs, Task::EmbedAll, call.overlong()?).await?;
    let rows: Vec<Matrix> = outputs.iter_mut().filter_map(take_rows).map(Matrix::from).collect();
    Ok(call.answer(batch.characters, &outputs, rows))
}

#[utoipa::path(post, path = "/similarity", tag = "text-embeddings-inference",
    request_body = SimilarityRequest,
    responses((status = 200, description = "The similarity of each sentence and the source sentence: their cosine, \
        unless the checkpoint names another",
        body = Vec<f32>), TeiErrors))]
/// Compares sentences with a source sentence.
pub(crate) async fn similarity(
    call: Call,
    request: SimilarityRequest,
) -> Result<Response, Refusal> {
    let parameters = request.parameters.unwrap_or_default();
    let overlong = call.overlong_by(parameters.length())?;
    let prompt = call.served.prompt(parameters.prompt_name.as_deref())?;
    let PairSimilarities { similarities, outputs, characters } =
        compare_sentences(&call, request.inputs, prompt, overlong).await?;
    Ok(call.answer(characters, &outputs, similarities))
}

/// Similarities of pairs of texts, and how the texts were read.
pub(super) struct PairSimilarities {
    pub(super) similarities: Vec<f32>,
    pub(super) outputs: Vec<Output>,
    pub(super) characters: usize,
}

/// Compares each sentence with the source sentence.
pub(super) async fn compare_sentences(
    call: &Call,
    SimilarityInput { source_sentence, sentences }: SimilarityInput,
    prompt: Option<&str>,
    overlong: Overlong,
) -> Result<PairSimilarities, Refusal> {
    call.app.check_count(sentences.len(), "sentences")?;
    let similarity = call.served.engine.model().embedding.similarity;
    let pairs = (vec![source_sentence], sentences);
    compare_pairs(call, pairs, prompt, overlong, similarity).await
}

/// Compares the texts of two lists pair by pair, or a single text with each of the other list.
pub(super) async fn compare_pairs(
    call: &Call,
    (left, right): (Vec<String>, Vec<String>),
    prompt: Option<&str>,
    overlong: Overlong,
    similarity: Similarity,
) -> Result<PairSimilarities, Refusal> {
    let (lefts, rights) = (left.len(), right.len());
    let characters = left.iter().chain(&right).map(|text| text.chars().count()).sum();
    let run = |texts: Vec<String>| {
        let inputs = texts.into_iter().map(|text| Input::prompted(prompt, text)).collect();
        let normalize = similarity == Similarity::Cosine;
        let task = Task::Embed { pooling: None, normalize, dimensions: None };
        call.run(inputs, task, overlong)
    };
    call.app.check_admission(&call.served, lefts + rights)?;
    // Both at once: one after the other would wait in the queue twice.
    let (mut outputs, of_right) = tokio::try_join!(run(left), run(right))?;
    outputs.extend(of_right);
    let vectors = take_vectors(&mut outputs);
    let (left, right) = vectors.split_at(lefts);
    let similarity_of = |n: usize| similarity.of(&left[if lefts == 1 { 0 } else { n }], &right[n]);
    let similarities = (0..rights).map(similarity_of).collect();
    Ok(PairSimilarities { similarities, outputs, characters })
}
