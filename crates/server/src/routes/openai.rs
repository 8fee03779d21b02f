//! `/v1/embeddings` of OpenAI.

use axum::response::Response;
use bigbatch_engine::Task;

use super::call::Call;
use crate::error::Refusal;
use crate::jobs::{count_tokens, take_vectors};
use crate::wire::openai::{Embedding, Embeddings, EmbeddingsRequest, OpenAiErrors, TokenUsage};
use crate::wire::partial::listed;

#[utoipa::path(post, path = "/v1/embeddings", tag = "OpenAI", request_body = EmbeddingsRequest,
    responses((status = 200, description = "One vector per input", body = Embeddings), OpenAiErrors))]
/// Computes one vector per input, of unit length unless the request says otherwise.
pub(crate) async fn embeddings(
    call: Call,
    request: EmbeddingsRequest,
) -> Result<Response, Refusal> {
    let prompt = call.served.prompt(request.prompt_name.as_deref())?;
    let (format, normalize, dimensions) = (request.format()?, request.scaled()?, request.kept()?);
    let batch = request.input.into_batch(prompt).map_err(Refusal::Shape)?;
    let overlong = call.overlong()?;
    let task = Task::Embed { pooling: None, normalize, dimensions, layer: None };
    let mut outputs = call.run(batch.inputs, task, overlong).await?;
    let embedding = |(index, vector)| {
        let embedding = format.encode_vector(vector);
        Embedding { object: "embedding", embedding, index }
    };
    let vectors = take_vectors(&mut outputs);
    let body = Embeddings {
        object: "list",
        data: outputs.iter().map(|output| output.index).zip(vectors).map(embedding).collect(),
        errors: listed(&outputs.failed),
        model: call.served.name.clone(),
        usage: TokenUsage::of(count_tokens(&outputs)),
    };
    call.answer(batch.characters, &outputs, body).await
}
