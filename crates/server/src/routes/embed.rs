//! Vectors in text-embeddings-inference's dialect: `/embed`, `/embed_all`, `/similarity`.

use axum::response::Response;
use bigbatch_engine::{Input, Overlong, Task, prompted};

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
    responses((status = 200, description = "The cosine of each sentence and the source sentence",
        body = Vec<f32>), TeiErrors))]
/// Compares sentences with a source sentence.
pub(crate) async fn similarity(
    call: Call,
    request: SimilarityRequest,
) -> Result<Response, Refusal> {
    let parameters = request.parameters.unwrap_or_default();
    let overlong = call.overlong_by(parameters.length())?;
    let prompt = call.served.prompt(parameters.prompt_name.as_deref())?;
    let PairCosines { cosines, outputs, characters } =
        compare_sentences(&call, request.inputs, prompt, overlong).await?;
    Ok(call.answer(characters, &outputs, cosines))
}

/// Cosines of pairs of texts, and how the texts were read.
pub(super) struct PairCosines {
    pub(super) cosines: Vec<f32>,
    pub(super) outputs: Vec<Output>,
    pub(super) characters: usize,
}

/// Compares each sentence with the source sentence.
pub(super) async fn compare_sentences(
    call: &Call,
    SimilarityInput { source_sentence, sentences }: SimilarityInput,
    prompt: Option<&str>,
    overlong: Overlong,
) -> Result<PairCosines, Refusal> {
    call.app.check_count(sentences.len(), "sentences")?;
    compare_pairs(call, vec![source_sentence], sentences, prompt, overlong).await
}

/// Compares the texts of two lists pair by pair, or a single text with each of the other list.
pub(super) async fn compare_pairs(
    call: &Call,
    left: Vec<String>,
    right: Vec<String>,
    prompt: Option<&str>,
    overlong: Overlong,
) -> Result<PairCosines, Refusal> {
    let (lefts, rights) = (left.len(), right.len());
    let characters = left.iter().chain(&right).map(|text| text.chars().count()).sum();
    let run = |texts: Vec<String>| {
        let inputs = texts.into_iter().map(|text| Input::Text(prompted(prompt, text))).collect();
        let task = Task::Embed { pooling: None, normalize: true, dimensions: None };
        call.run(inputs, task, overlong)
    };
    call.app.check_admission(&call.served, lefts + rights)?;
    // Both at once: one after the other would wait in the queue twice.
    let (mut outputs, of_right) = tokio::try_join!(run(left), run(right))?;
    outputs.extend(of_right);
    let vectors = take_vectors(&mut outputs);
    let (left, right) = vectors.split_at(lefts);
    let cosine = |n: usize| {
        let (a, b) = (&left[if lefts == 1 { 0 } else { n }], &right[n]);
        let products = a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b));
        products.sum::<f64>() as f32
    };
    let cosines = (0..rights).map(cosine).collect();
    Ok(PairCosines { cosines, outputs, characters })
}
