//! `/v1/embeddings` of OpenAI, and vLLM's `/pooling`, which answers in much the same way.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use bigbatch_engine::task::Task;

use super::call::{Call, overlong_vllm};
use super::docs::OpenAiErrors;
use super::embed::{prompt, take_rows, take_vectors};
use super::predict::take_labels;
use crate::App;
use crate::error::{OpenAi, Refusal};
use crate::jobs::{Answered, Job, tokens};
use crate::models::Kind;
use crate::wire::openai::{
    Embedding, EmbeddingUsage, Embeddings, EmbeddingsRequest, EncodingFormat, Numbers,
};
use crate::wire::vllm::{List, Pooled, PoolingRequest, PoolingTask};

#[utoipa::path(post, path = "/v1/embeddings", tag = "OpenAI", request_body = EmbeddingsRequest,
    responses((status = 200, description = "A vector for each input", body = Embeddings), OpenAiErrors))]
/// A vector of unit length for each input.
pub(crate) async fn embeddings(
    State(app): State<Arc<App>>,
    call: Call,
) -> Result<Response, OpenAi> {
    let request: EmbeddingsRequest = call.read()?;
    let served = call.served(&app, request.model.as_deref())?;
    let prompt = prompt(served, request.prompt_name.as_deref())?;
    let read = request.input.read(prompt).map_err(Refusal::Shape)?;
    let (truncate, prompt_tokens) = (request.truncate, request.truncate_prompt_tokens);
    let overlong = overlong_vllm(&app, served, truncate, prompt_tokens, request.chunk)?;
    let task = Task::Embed { pooling: None, normalize: true, dimensions: request.dimensions };
    let mut answers = app.run(served, Job { inputs: read.inputs, task, overlong }).await?;
    let tokens = tokens(&answers);
    let embedding = |(index, vector)| {
        let embedding = request.encoding_format.vector(vector);
        Embedding { object: "embedding", embedding, index }
    };
    let body = Embeddings {
        object: "list",
        data: take_vectors(&mut answers).into_iter().enumerate().map(embedding).collect(),
        model: served.name.clone(),
        usage: EmbeddingUsage { prompt_tokens: tokens, total_tokens: tokens },
    };
    Ok(call.answer(served, read.characters, &answers, body))
}

#[utoipa::path(post, path = "/pooling", tag = "vLLM", request_body = PoolingRequest,
    responses((status = 200, description = "For each input a list of numbers, or for the tasks on tokens a \
        list of such lists", body = List<Pooled>), OpenAiErrors))]
/// What the model gives, by task: vectors or scores, of texts or tokens.
pub(crate) async fn pooling(State(app): State<Arc<App>>, call: Call) -> Result<Response, OpenAi> {
    let request: PoolingRequest = call.read()?;
    let served = call.served(&app, request.model.as_deref())?;
    let activate = request.use_activation.unwrap_or(true);
    let dimensions = request.dimensions;
    let task = request.task.unwrap_or(match served.kind {
        Kind::Embedding | Kind::MaskedLm => PoolingTask::Embed,
        Kind::Classifier | Kind::Reranker => PoolingTask::Classify,
        Kind::TokenClassifier => PoolingTask::TokenClassify,
    });
    if dimensions.is_some() && task != PoolingTask::Embed {
        return Err(OpenAi(Refusal::Invalid("`dimensions` is for the task embed".into())));
    }
    let prompt = if served.kind.embeds() { prompt(served, None)? } else { None };
    let read = request.input.read(prompt).map_err(Refusal::Shape)?;
    let (truncate, prompt_tokens) = (request.truncate, request.truncate_prompt_tokens);
    let overlong = overlong_vllm(&app, served, truncate, prompt_tokens, request.chunk)?;
    let task = match task {
        PoolingTask::Embed => Task::Embed { pooling: None, normalize: activate, dimensions },
        PoolingTask::Classify => Task::Classify { raw_scores: !activate },
        PoolingTask::TokenEmbed => Task::EmbedAll,
        PoolingTask::TokenClassify => Task::TokenScores { raw_scores: !activate },
    };
    let job = Job { inputs: read.inputs, task: task.clone(), overlong };
    let mut answers = app.run(served, job).await?;
    let tokens = tokens(&answers);
    let data = numbers(&task, &mut answers, request.encoding_format).into_iter().enumerate();
    let data = data.map(|(index, data)| Pooled { index, object: "pooling", data }).collect();
    let list = app.list("pooling", served, data, tokens);
    Ok(call.answer(served, read.characters, &answers, list))
}

fn numbers(task: &Task, answers: &mut [Answered], format: EncodingFormat) -> Vec<Numbers> {
    match task {
        Task::Embed { .. } => {
            take_vectors(answers).into_iter().map(|vector| format.vector(vector)).collect()
        }
        Task::Classify { .. } => {
            let by_id = |mut labels: Vec<bigbatch_engine::task::LabelScore>| {
                labels.sort_by_key(|label| label.id);
                format.vector(labels.iter().map(|label| label.score).collect())
            };
            take_labels(answers).into_iter().map(by_id).collect()
        }
        _ => answers.iter_mut().filter_map(take_rows).map(|rows| format.rows(rows)).collect(),
    }
}
