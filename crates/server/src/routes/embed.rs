//! Vectors in text-embeddings-inference's dialect: `/embed`, `/embed_all`, `/similarity`.

use std::collections::BTreeMap;

use axum::response::Response;
use bigbatch_engine::{Input, Overlong, Similarity, Task};

use super::call::Call;
use crate::error::{FailedInput, Failure, Refusal};
use crate::jobs::{Outputs, take_rows, take_vectors};
use crate::wire::fields::agreed;
use crate::wire::inputs::SimilarityInput;
use crate::wire::partial::{Items, in_place};
use crate::wire::request::ModelRequest;
use crate::wire::shared::Matrix;
use crate::wire::tei::{EmbedAllRequest, EmbedRequest, SimilarityRequest, TeiErrors};

#[utoipa::path(post, path = "/embed", tag = "text-embeddings-inference", request_body = EmbedRequest,
    responses((status = 200, description = "One vector per input", body = Items<Vec<f32>>), TeiErrors))]
/// Computes one vector per input.
pub(crate) async fn embed(call: Call, request: EmbedRequest) -> Result<Response, Refusal> {
    let prompt = call.served.prompt(request.prompt_name.as_deref())?;
    let batch = request.inputs.into_batch(prompt).map_err(Refusal::Shape)?;
    let overlong = call.overlong()?;
    let (normalize, dimensions) = (request.normalize.unwrap_or(true), request.dimensions);
    let task = Task::Embed { pooling: None, normalize, dimensions, layer: None };
    let mut outputs = call.run(batch.inputs, task, overlong).await?;
    let vectors = in_place(take_vectors(&mut outputs), &outputs.failed);
    call.answer(batch.characters, &outputs, vectors).await
}

#[utoipa::path(post, path = "/embed_all", tag = "text-embeddings-inference",
    request_body = EmbedAllRequest,
    responses((status = 200, description = "Per input one vector per token, special tokens included",
        body = Items<Matrix>), TeiErrors))]
/// Computes the final hidden state of every token.
pub(crate) async fn embed_all(call: Call, request: EmbedAllRequest) -> Result<Response, Refusal> {
    let prompt = call.served.prompt(request.prompt_name.as_deref())?;
    let batch = request.inputs.into_batch(prompt).map_err(Refusal::Shape)?;
    let mut outputs = call.run(batch.inputs, Task::EmbedAll, call.overlong()?).await?;
    let rows: Vec<Matrix> = outputs.iter_mut().filter_map(take_rows).map(Matrix::from).collect();
    let rows = in_place(rows, &outputs.failed);
    call.answer(batch.characters, &outputs, rows).await
}

#[utoipa::path(post, path = "/similarity", tag = "text-embeddings-inference",
    request_body = SimilarityRequest,
    responses((status = 200, description = "The similarity of each sentence and the source sentence: their cosine, \
        unless the checkpoint names another",
        body = Items<f32>), TeiErrors))]
/// Compares sentences with a source sentence.
pub(crate) async fn similarity(
    mut call: Call,
    request: SimilarityRequest,
) -> Result<Response, Refusal> {
    let parameters = request.parameters.unwrap_or_default();
    let partial = [("partial", request.partial), ("parameters.partial", parameters.partial)];
    call.partial = agreed(&partial)?.unwrap_or(false);
    let overlong = call.overlong_by(parameters.length())?;
    let prompt = call.served.prompt(parameters.prompt_name.as_deref())?;
    let pairs = compare_sentences(&call, request.inputs, prompt, overlong).await?;
    let similarities = in_place(pairs.values(), &pairs.outputs.failed);
    call.answer(pairs.characters, &pairs.outputs, similarities).await
}

/// Similarities or scores of pairs of texts, and how the texts were read.
pub(super) struct PairScores {
    /// The index of each pair that has one, and its score.
    pub(super) scores: Vec<(usize, f32)>,
    /// The texts that were read; the failed inputs are pairs.
    pub(super) outputs: Outputs,
    pub(super) characters: usize,
}

impl PairScores {
    /// Returns the scores alone.
    pub(super) fn values(&self) -> Vec<f32> {
        self.scores.iter().map(|&(_, score)| score).collect()
    }
}

/// Compares each sentence with the source sentence.
pub(super) async fn compare_sentences(
    call: &Call,
    SimilarityInput { source_sentence, sentences }: SimilarityInput,
    prompt: Option<&str>,
    overlong: Overlong,
) -> Result<PairScores, Refusal> {
    call.check_count(sentences.len(), "sentences")?;
    let similarity = call.served.engine.model().embedding.similarity;
    let left = ("source sentence", vec![source_sentence]);
    compare_pairs(call, left, sentences, prompt, (overlong, similarity)).await
}

/// Compares the texts of two lists pair by pair, or a single text with each of the other list. Errors call the texts
/// of the first list by its name.
pub(super) async fn compare_pairs(
    call: &Call,
    (name, left): (&str, Vec<String>),
    right: Vec<String>,
    prompt: Option<&str>,
    (overlong, similarity): (Overlong, Similarity),
) -> Result<PairScores, Refusal> {
    let (lefts, rights) = (left.len(), right.len());
    let part = |index: usize| match index.checked_sub(lefts) {
        Some(index) => format!("input {index}, counted from 0"),
        None if lefts == 1 => format!("the {name}"),
        None => format!("{name} {index}, counted from 0"),
    };
    let refuse = |Failure { index, refusal }: Failure| match index {
        Some(index) => refusal.of_part(part(index)),
        None => refusal,
    };
    let characters = left.iter().chain(&right).map(|text| text.chars().count()).sum();
    let inputs = left.into_iter().chain(right);
    let inputs = inputs.map(|text| Input::prompted(prompt, text)).collect();
    let normalize = similarity == Similarity::Cosine;
    let task = Task::Embed { pooling: None, normalize, dimensions: None, layer: None };
    let mut outputs = call.run_counted(inputs, task, overlong).await.map_err(refuse)?;
    let failures = std::mem::take(&mut outputs.failed);
    let first = failures.first().cloned();
    // Of a pair's two failures, the one in the first list is reported.
    let mut failed = BTreeMap::new();
    for FailedInput { index, refusal } in failures {
        match index.checked_sub(lefts) {
            Some(index) => failed.entry(index).or_insert(refusal),
            None => failed.entry(index).or_insert(refusal.of_part(name)),
        };
    }
    let mut vectors = vec![None; lefts + rights];
    for (n, vector) in take_vectors(&mut outputs).into_iter().enumerate() {
        vectors[outputs[n].index] = Some(vector);
    }
    let (left, right) = vectors.split_at(lefts);
    let score = |n: usize| {
        let (a, b) = (left[if lefts == 1 { 0 } else { n }].as_ref()?, right[n].as_ref()?);
        Some((n, similarity.of(a, b)))
    };
    let scores: Vec<(usize, f32)> = (0..rights).filter_map(score).collect();
    match first {
        Some(first) if scores.is_empty() => Err(refuse(first.into())),
        _ => {
            let failed = failed.into_iter();
            outputs.failed =
                failed.map(|(index, refusal)| FailedInput { index, refusal }).collect();
            Ok(PairScores { scores, outputs, characters })
        }
    }
}
