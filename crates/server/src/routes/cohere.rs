//! Cohere's `/v2/embed` and `/v1/embed`. Its rerankers are in `rerank`.
//!
//! Cohere cuts inputs that are too long unless told otherwise, and so does this dialect; the answer says so in
//! `meta.warnings` and in the header `x-truncated`.

use axum::response::Response;
use bigbatch_engine::{Input, Overlong, Task, Truncate};

use super::call::Call;
use crate::error::Refusal;
use crate::jobs::{Output, count_tokens, take_vectors};
use crate::wire::cohere::{
    CohereEmbedRequest, CohereEmbedded, CohereEmbeddingType, CohereEmbeddings, CohereErrors,
    CohereInput, CohereInputType, CohereMeta, CohereTruncate, CohereVectors,
};

#[utoipa::path(post, path = "/v2/embed", tag = "Cohere", request_body = CohereEmbedRequest,
    responses((status = 200, description = "One vector per input and type", body = CohereEmbedded), CohereErrors))]
/// Computes one vector of unit length per input.
pub(crate) async fn embed_v2(call: Call, request: CohereEmbedRequest) -> Result<Response, Refusal> {
    embed(call, request, "2").await
}

#[utoipa::path(post, path = "/v1/embed", tag = "Cohere", request_body = CohereEmbedRequest,
    responses((status = 200, description = "One vector per input: a list, or by type if `embedding_types` is given",
        body = CohereEmbedded), CohereErrors))]
/// Computes one vector of unit length per input.
pub(crate) async fn embed_v1(call: Call, request: CohereEmbedRequest) -> Result<Response, Refusal> {
    embed(call, request, "1").await
}

async fn embed(
    call: Call,
    request: CohereEmbedRequest,
    version: &'static str,
) -> Result<Response, Refusal> {
    let max_tokens = call.served.engine.max_tokens();
    let limit = request.max_tokens.filter(|&asked| asked < max_tokens);
    let prompt = prompt(&call, request.input_type)?;
    let cut = request.truncate.unwrap_or_default();
    let types = request.embedding_types.filter(|types| !types.is_empty());
    let texts = texts(request.texts, request.inputs, request.images)?;
    let characters = texts.iter().map(|text| text.chars().count()).sum();
    let input = |text: &String| Input::prompted(prompt, text.clone());
    let task = Task::Embed {
        pooling: None,
        normalize: true,
        dimensions: request.output_dimension,
        layer: None,
    };
    let overlong = Overlong::Truncate(match (cut, limit) {
        (CohereTruncate::None, None) => Truncate::No,
        (CohereTruncate::None, Some(asked)) => {
            return Err(Refusal::Invalid(format!(
                "max_tokens is {asked} and truncate is NONE; set truncate to START or END, or leave max_tokens out"
            )));
        }
        (CohereTruncate::Start, limit) => limit.map_or(Truncate::Left, Truncate::LeftTo),
        (CohereTruncate::End, limit) => limit.map_or(Truncate::Right, Truncate::RightTo),
    });
    let mut outputs = call.run(texts.iter().map(input).collect(), task, overlong).await?;
    let vectors = take_vectors(&mut outputs);
    let (response_type, embeddings) = match types {
        None if version == "1" => ("embeddings_floats", CohereEmbeddings::Floats(vectors)),
        types => {
            let types = types.unwrap_or_else(|| vec![CohereEmbeddingType::Float]);
            let by_type = CohereVectors::new(&types, vectors);
            ("embeddings_by_type", CohereEmbeddings::ByType(by_type))
        }
    };
    let warnings = warnings(&outputs, limit.unwrap_or(max_tokens));
    let body = CohereEmbedded {
        id: call.app.answer_id("embed"),
        response_type,
        embeddings,
        texts,
        meta: CohereMeta::new(version, count_tokens(&outputs), warnings),
    };
    call.answer(characters, &outputs, body).await
}

/// Returns the model's prompt for a purpose. A model without one for it reads the text alone, not with its
/// default prompt, which is for another purpose.
fn prompt(call: &Call, purpose: Option<CohereInputType>) -> Result<Option<&str>, Refusal> {
    let Some(purpose) = purpose else { return call.served.prompt(None) };
    let known: Vec<&str> = call.served.engine.model().prompts.names().collect();
    match purpose.prompt_names().iter().find(|name| known.contains(name)) {
        Some(name) => call.served.prompt(Some(name)),
        None => Ok(None),
    }
}

fn texts(
    texts: Option<Vec<String>>,
    inputs: Option<Vec<CohereInput>>,
    images: Option<Vec<String>>,
) -> Result<Vec<String>, Refusal> {
    if images.is_some_and(|images| !images.is_empty()) {
        return Err(Refusal::Invalid("images: the model reads texts only; send `texts`".into()));
    }
    match (texts, inputs) {
        (Some(texts), None) => Ok(texts),
        (None, Some(inputs)) => inputs.into_iter().enumerate().map(single_text).collect(),
        _ => Err(Refusal::Shape("give either `texts` or `inputs`".into())),
    }
}

fn single_text((index, input): (usize, CohereInput)) -> Result<String, Refusal> {
    let refuse = |what: String| Err(Refusal::Invalid(format!("inputs[{index}].content {what}")));
    let mut parts = input.content;
    if let Some(other) = parts.iter().find(|part| part.r#type != "text") {
        return refuse(format!("has type '{}'; the model reads type 'text' only", other.r#type));
    }
    match (parts.pop().and_then(|part| part.text), parts.len()) {
        (Some(text), 0) => Ok(text),
        (None, 0) => refuse("has no text".into()),
        (_, more) => refuse(format!("has {} texts; send one text per input", more + 1)),
    }
}

fn warnings(outputs: &[Output], max_tokens: usize) -> Vec<String> {
    match outputs.iter().filter(|output| output.is_truncated()).count() {
        0 => Vec::new(),
        cut => vec![format!(
            "{cut} of {} inputs had more than {max_tokens} tokens and were cut; set truncate to NONE to refuse them",
            outputs.len()
        )],
    }
}
