//! Labels: `/predict` of text-embeddings-inference, and `/classify`, which a semantic router calls with
//! `inputs` and vLLM's clients with `input`.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bigbatch_engine::chunk::Overlong;
use bigbatch_engine::task::{Answer, LabelScore, Task};

use super::call::{Call, overlong, overlong_vllm};
use super::docs::TeiErrors;
use crate::App;
use crate::error::{OpenAi, Refusal, Tei};
use crate::jobs::{Answered, Job, tokens};
use crate::models::Served;
use crate::wire::inputs::{Inputs, Read, Texts, one_or_many};
use crate::wire::shared::ClassifyRequest;
use crate::wire::tei::{PredictRequest, Prediction, Predictions};
use crate::wire::vllm::{Class, List};

#[utoipa::path(post, path = "/predict", tag = "text-embeddings-inference",
    request_body = PredictRequest,
    responses((status = 200, description = "All labels, likeliest first; of a batch a list of them",
        body = Predictions), TeiErrors))]
/// The labels of texts or pairs.
pub(crate) async fn predict(State(app): State<Arc<App>>, call: Call) -> Result<Response, Tei> {
    let request: PredictRequest = call.read()?;
    let served = call.served(&app, request.model.as_deref())?;
    let read = request.inputs.read().map_err(Refusal::Shape)?;
    let overlong = overlong(&app, request.truncate, request.truncation_direction, request.chunk)?;
    Ok(labels(&app, &call, served, read, overlong, request.raw_scores).await?)
}

#[utoipa::path(post, path = "/classify", tag = "text-embeddings-inference",
    request_body = ClassifyRequest,
    responses((status = 200, description = "To `inputs` a flat list of all labels, likeliest first (of an \
        array a list of them); to `input` vLLM's list of classes", body = ClassifyAnswer), TeiErrors))]
/// The labels of texts: a flat list for `inputs`, vLLM's answer for `input`.
pub(crate) async fn classify(State(app): State<Arc<App>>, call: Call) -> Response {
    let mut request: ClassifyRequest = match call.read() {
        Ok(request) => request,
        Err(refusal) => return Tei(refusal).into_response(),
    };
    match (request.inputs.take(), request.input.take()) {
        (Some(inputs), None) => flat(&app, &call, request, inputs).await.into_response(),
        (None, Some(input)) => classes(&app, &call, request, input).await.into_response(),
        _ => Tei(Refusal::Shape("give either `inputs` or `input`".into())).into_response(),
    }
}

/// What `/classify` answers.
#[derive(serde::Serialize, utoipa::ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "a name for the two shapes, in the document only")]
pub(crate) enum ClassifyAnswer {
    Labels(Predictions),
    Classes(List<Class>),
}

async fn flat(
    app: &App,
    call: &Call,
    request: ClassifyRequest,
    inputs: Texts,
) -> Result<Response, Tei> {
    let served = call.served(app, request.model.as_deref())?;
    let overlong = overlong(app, request.truncate, request.truncation_direction, request.chunk)?;
    Ok(labels(app, call, served, inputs.read(), overlong, request.raw_scores).await?)
}

/// All labels of what was read, as text-embeddings-inference lists them.
async fn labels(
    app: &App,
    call: &Call,
    served: &Arc<Served>,
    Read { inputs, characters, single }: Read,
    overlong: Overlong,
    raw_scores: bool,
) -> Result<Response, Refusal> {
    let task = Task::Classify { raw_scores };
    let mut answers = app.run(served, Job { inputs, task, overlong }).await?;
    let labels = predictions(take_labels(&mut answers), single);
    Ok(call.answer(served, characters, &answers, labels))
}

async fn classes(
    app: &App,
    call: &Call,
    request: ClassifyRequest,
    input: Inputs,
) -> Result<Response, OpenAi> {
    let served = call.served(app, request.model.as_deref())?;
    let read = input.read(None).map_err(Refusal::Shape)?;
    let (truncate, prompt_tokens) = (request.truncate, request.truncate_prompt_tokens);
    let overlong = overlong_vllm(app, served, truncate, prompt_tokens, request.chunk)?;
    let raw_scores = request.raw_scores || request.use_activation == Some(false);
    let task = Task::Classify { raw_scores };
    let mut answers = app.run(served, Job { inputs: read.inputs, task, overlong }).await?;
    let tokens = tokens(&answers);
    let class = |(index, mut labels): (usize, Vec<LabelScore>)| {
        let label = labels.first().map_or_else(String::new, |likeliest| likeliest.label.clone());
        labels.sort_by_key(|label| label.id);
        let probs: Vec<f32> = labels.iter().map(|label| label.score).collect();
        Class { index, label, num_classes: probs.len(), probs }
    };
    let data = take_labels(&mut answers).into_iter().enumerate().map(class).collect();
    let list = app.list("classify", served, data, tokens);
    Ok(call.answer(served, read.characters, &answers, list))
}

/// The labels out of classifications' answers.
pub(super) fn take_labels(answers: &mut [Answered]) -> Vec<Vec<LabelScore>> {
    let labels = |answered: &mut Answered| match &mut answered.answer {
        Answer::Labels(labels) => Some(std::mem::take(labels)),
        _ => None,
    };
    answers.iter_mut().filter_map(labels).collect()
}

/// As they go over the wire: of a single input without a list around them.
pub(super) fn predictions(labels: Vec<Vec<LabelScore>>, single: bool) -> Predictions {
    let list = |labels: Vec<LabelScore>| labels.into_iter().map(Prediction::from).collect();
    one_or_many(labels.into_iter().map(list).collect(), single, Predictions::One, Predictions::Many)
}
