//! Labels of texts: `/predict` of text-embeddings-inference, and `/classify`, which semantic routers call with
//! `inputs` and vLLM's clients with `input`.

use std::sync::Arc;

use axum::response::Response;
use bigbatch_engine::{Answer, Input, LabelScore, OperatingPoint, Task};

use super::call::Call;
use crate::error::Refusal;
use crate::jobs::{Output, take_labels};
use crate::models::ModelKind;
use crate::wire::inputs::{InputBatch, Inputs, Texts, one_or_many};
use crate::wire::native::EntitySpan;
use crate::wire::partial::Items;
use crate::wire::shared::{ClassifyRequest, Grounding, Prediction};
use crate::wire::tei::{PredictRequest, Predictions, TeiErrors};
use crate::wire::vllm::{Class, List};

#[utoipa::path(post, path = "/predict", tag = "text-embeddings-inference",
    request_body = PredictRequest,
    responses((status = 200, description = "All labels, likeliest first; for a batch, a list per input",
        body = Predictions), TeiErrors))]
/// Classifies texts or pairs of texts.
pub(crate) async fn predict(call: Call, request: PredictRequest) -> Result<Response, Refusal> {
    let batch = request.inputs.into_batch().map_err(Refusal::Shape)?;
    list_labels(&call, batch, request.raw_scores.unwrap_or(false)).await
}

#[utoipa::path(post, path = "/classify", tag = "text-embeddings-inference",
    request_body = ClassifyRequest,
    responses((status = 200, description = "For `inputs`, a flat list of all labels, likeliest first (for an \
        array, a list per text); for `input`, vLLM's list of classes; of a token classifier, a flat list of spans", body = ClassifyAnswer), TeiErrors))]
/// Classifies texts: a flat list of labels or of spans for `inputs`, vLLM's answer for `input`.
pub(crate) async fn classify(call: Call, request: ClassifyRequest) -> Result<Response, Refusal> {
    let raw_scores = request.logits()?;
    let ClassifyRequest { inputs, input, parameters, .. } = request;
    let grounding = parameters.filter(|parameters| *parameters != Grounding::default());
    if grounding.is_some() && (input.is_some() || !call.served.engine.model().is_grounded()) {
        return Err(Refusal::Invalid(
            "`parameters.context` and `parameters.question` are for `inputs` of a grounded classifier; leave them out"
                .into(),
        ));
    }
    if let Some(input) = input {
        return list_classes(&call, input, raw_scores).await;
    }
    let batch = inputs.map_or_else(InputBatch::default, Texts::into_batch);
    match call.served.kind {
        ModelKind::TokenClassifier => list_spans(&call, batch, grounding).await,
        _ => list_labels(&call, batch, raw_scores).await,
    }
}

/// The answer of `/classify`.
#[derive(serde::Serialize, utoipa::ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "a name for the two shapes, in the document only")]
pub(crate) enum ClassifyAnswer {
    Labels(Predictions),
    Spans(Spans),
    Classes(List<Class>),
}

/// Answers with all labels of each input, as text-embeddings-inference lists them.
async fn list_labels(
    call: &Call,
    InputBatch { inputs, characters, single }: InputBatch,
    raw_scores: bool,
) -> Result<Response, Refusal> {
    let overlong = call.overlong()?;
    let mut outputs = call.run(inputs, Task::Classify { raw_scores }, overlong).await?;
    let predictions = |labels: Vec<LabelScore>| labels.into_iter().map(Prediction::from).collect();
    let lists = take_labels(&mut outputs).into_iter().map(predictions).collect();
    let body = one_or_many(lists, &outputs.failed, single, Predictions::One, Predictions::Many);
    call.answer(characters, &outputs, body).await
}

/// The spans of one text, or of each of several.
#[derive(serde::Serialize, utoipa::ToSchema)]
#[serde(untagged)]
pub(crate) enum Spans {
    One(Vec<EntitySpan>),
    Many(Items<Vec<EntitySpan>>),
}

/// Answers with the labelled spans of each input, as semantic-router's HTTP classifier of tokens reads them.
async fn list_spans(
    call: &Call,
    batch: InputBatch,
    grounding: Option<Grounding>,
) -> Result<Response, Refusal> {
    let InputBatch { inputs, characters, single } = match grounding {
        Some(grounding) => ground(call, batch, grounding)?,
        None => batch,
    };
    let overlong = call.overlong()?;
    let mut outputs = call.run(inputs, Task::Tag, overlong).await?;
    let spans = |output: &mut Output| match std::mem::replace(
        &mut output.answer,
        Answer::Masks(Vec::new()),
    ) {
        Answer::Tags { entities, .. } => entities.into_iter().map(EntitySpan::from).collect(),
        _ => Vec::new(),
    };
    let lists: Vec<Vec<EntitySpan>> = outputs.iter_mut().map(spans).collect();
    let body = one_or_many(lists, &outputs.failed, single, Spans::One, Spans::Many);
    call.answer(characters, &outputs, body).await
}

/// Puts the context and the question of a grounded classifier before each text, as its operating point words them.
fn ground(
    call: &Call,
    batch: InputBatch,
    Grounding { context, question }: Grounding,
) -> Result<InputBatch, Refusal> {
    let context =
        context.ok_or_else(|| Refusal::Shape("`parameters.context` is missing".into()))?;
    let question = question.unwrap_or_default();
    let point = call.served.engine.model().operating_point.as_ref();
    let prompt = point.and_then(|point| OperatingPoint::prompt(point, &question, &context));
    let prompt: Arc<str> = prompt.unwrap_or(context).into();
    let after = |input| match input {
        Input::Text(text) => Input::InContext { context: prompt.clone(), text },
        other => other,
    };
    let InputBatch { inputs, characters, single } = batch;
    let characters = characters + inputs.len() * prompt.chars().count();
    Ok(InputBatch { inputs: inputs.into_iter().map(after).collect(), characters, single })
}

/// Answers with vLLM's list of classes.
async fn list_classes(call: &Call, input: Inputs, raw_scores: bool) -> Result<Response, Refusal> {
    let batch = input.into_batch(None).map_err(Refusal::Shape)?;
    let overlong = call.overlong()?;
    let mut outputs = call.run(batch.inputs, Task::Classify { raw_scores }, overlong).await?;
    let class = |(index, mut labels): (usize, Vec<LabelScore>)| {
        let label = labels.first().map_or_else(String::new, |likeliest| likeliest.label.clone());
        labels.sort_by_key(|label| label.id);
        let probs: Vec<f32> = labels.iter().map(|label| label.score).collect();
        Class { index, label, num_classes: probs.len(), probs }
    };
    let labels = take_labels(&mut outputs);
    let indices = outputs.iter().map(|output| output.index);
    let data = indices.zip(labels).map(class).collect();
    let list = call.vllm_list("classify", data, &outputs);
    call.answer(batch.characters, &outputs, list).await
}
