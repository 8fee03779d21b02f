//! Vectors, as text-embeddings-inference gives them: `/embed`, `/embed_all`, `/similarity`.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use bigbatch_engine::chunk::Overlong;
use bigbatch_engine::model::prompted;
use bigbatch_engine::task::{Answer, Task};
use bigbatch_engine::tokenize::Input;

use super::call::{Call, overlong};
use super::docs::TeiErrors;
use crate::App;
use crate::error::{Refusal, Tei};
use crate::jobs::{Answered, Job};
use crate::models::Served;
use crate::wire::openai::RowsOf;
use crate::wire::tei::{EmbedAllRequest, EmbedRequest, SimilarityInput, SimilarityRequest};

#[utoipa::path(post, path = "/embed", tag = "text-embeddings-inference", request_body = EmbedRequest,
    responses((status = 200, description = "A vector for each input", body = Vec<Vec<f32>>), TeiErrors))]
/// A vector for each input.
pub(crate) async fn embed(State(app): State<Arc<App>>, call: Call) -> Result<Response, Tei> {
    let request: EmbedRequest = call.read()?;
    let served = call.served(&app, request.model.as_deref())?;
    let prompt = prompt(served, request.prompt_name.as_deref())?;
    let read = request.inputs.read(prompt).map_err(Refusal::Shape)?;
    let overlong = overlong(&app, request.truncate, request.truncation_direction, request.chunk)?;
    let (normalize, dimensions) = (request.normalize, request.dimensions);
    let task = Task::Embed { pooling: None, normalize, dimensions };
    let mut answers = app.run(served, Job { inputs: read.inputs, task, overlong }).await?;
    let vectors = take_vectors(&mut answers);
    Ok(call.answer(served, read.characters, &answers, vectors))
}

#[utoipa::path(post, path = "/embed_all", tag = "text-embeddings-inference",
    request_body = EmbedAllRequest,
    responses((status = 200, description = "For each input a vector a token, special ones included",
        body = Vec<Vec<Vec<f32>>>), TeiErrors))]
/// For each input the final hidden state of every token.
pub(crate) async fn embed_all(State(app): State<Arc<App>>, call: Call) -> Result<Response, Tei> {
    let request: EmbedAllRequest = call.read()?;
    let served = call.served(&app, request.model.as_deref())?;
    let prompt = prompt(served, request.prompt_name.as_deref())?;
    let read = request.inputs.read(prompt).map_err(Refusal::Shape)?;
    let overlong = overlong(&app, request.truncate, request.truncation_direction, request.chunk)?;
    let job = Job { inputs: read.inputs, task: Task::EmbedAll, overlong };
    let mut answers = app.run(served, job).await?;
    let rows: Vec<RowsOf> = answers.iter_mut().filter_map(take_rows).collect();
    Ok(call.answer(served, read.characters, &answers, rows))
}

#[utoipa::path(post, path = "/similarity", tag = "text-embeddings-inference",
    request_body = SimilarityRequest,
    responses((status = 200, description = "The cosine of each sentence with the source sentence",
        body = Vec<f32>), TeiErrors))]
/// How alike sentences are to one.
pub(crate) async fn similarity(State(app): State<Arc<App>>, call: Call) -> Result<Response, Tei> {
    let request: SimilarityRequest = call.read()?;
    let served = call.served(&app, request.model.as_deref())?;
    let parameters = request.parameters.unwrap_or_default();
    let (truncate, direction) = (parameters.truncate, parameters.truncation_direction);
    let overlong = overlong(&app, truncate, direction, parameters.chunk)?;
    let prompt = prompt(served, parameters.prompt_name.as_deref())?;
    let (cosines, answers, characters) =
        similarities(&app, served, request.inputs, prompt, overlong).await?;
    Ok(call.answer(served, characters, &answers, cosines))
}

/// The prompt that a request names, or the model's default.
pub(super) fn prompt<'a>(
    served: &'a Served,
    name: Option<&str>,
) -> Result<Option<&'a str>, Refusal> {
    Ok(served.engine.model().prompts.get(name)?)
}

/// Cosines of sentences with one, how each was read, and the characters of all.
pub(super) async fn similarities(
    app: &App,
    served: &Arc<Served>,
    input: SimilarityInput,
    prompt: Option<&str>,
    overlong: Overlong,
) -> Result<(Vec<f32>, Vec<Answered>, usize), Refusal> {
    let SimilarityInput { source_sentence, sentences } = input;
    app.check_count(sentences.len(), "sentences")?;
    let characters =
        sentences.iter().chain([&source_sentence]).map(|text| text.chars().count()).sum();
    let (cosines, answers) =
        cosines(app, served, vec![source_sentence], sentences, prompt, overlong).await?;
    Ok((cosines, answers, characters))
}

/// The cosine of each pair of the two lists; of one text with each of the other list where it is alone.
pub(super) async fn cosines(
    app: &App,
    served: &Arc<Served>,
    left: Vec<String>,
    right: Vec<String>,
    prompt: Option<&str>,
    overlong: Overlong,
) -> Result<(Vec<f32>, Vec<Answered>), Refusal> {
    let (lefts, rights) = (left.len(), right.len());
    let job = |texts: Vec<String>| {
        let inputs = texts.into_iter().map(|text| Input::Text(prompted(prompt, text))).collect();
        let task = Task::Embed { pooling: None, normalize: true, dimensions: None };
        Job { inputs, task, overlong }
    };
    app.check_places(served, lefts + rights)?;
    // Both at once: one after the other would wait in the queue twice.
    let (mut answers, of_right) =
        tokio::try_join!(app.run(served, job(left)), app.run(served, job(right)))?;
    answers.extend(of_right);
    let vectors = take_vectors(&mut answers);
    let (left, right) = vectors.split_at(lefts);
    let cosine = |n: usize| {
        let (a, b) = (&left[if lefts == 1 { 0 } else { n }], &right[n]);
        let products = a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b));
        products.sum::<f64>() as f32
    };
    Ok(((0..rights).map(cosine).collect(), answers))
}

/// The vectors out of embeddings' answers.
pub(super) fn take_vectors(answers: &mut [Answered]) -> Vec<Vec<f32>> {
    let vector = |answered: &mut Answered| match &mut answered.answer {
        Answer::Embedding(vector) => Some(std::mem::take(vector)),
        _ => None,
    };
    answers.iter_mut().filter_map(vector).collect()
}

/// The rows out of an answer of rows.
pub(super) fn take_rows(answered: &mut Answered) -> Option<RowsOf> {
    match &mut answered.answer {
        Answer::Rows { rows, width } => Some(RowsOf { rows: std::mem::take(rows), width: *width }),
        _ => None,
    }
}
