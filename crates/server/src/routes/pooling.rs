//! `/pooling` of vLLM: vectors or scores, per text or per token.

use axum::response::Response;
use bigbatch_engine::{LabelScore, Task};

use super::call::Call;
use crate::error::Refusal;
use crate::jobs::{Output, take_labels, take_rows, take_vectors};
use crate::models::ModelKind;
use crate::wire::openai::OpenAiErrors;
use crate::wire::shared::{EncodingFormat, Matrix, Numbers};
use crate::wire::vllm::{List, PoolingOutput, PoolingRequest, PoolingTask};

#[utoipa::path(post, path = "/pooling", tag = "vLLM", request_body = PoolingRequest,
    responses((status = 200, description = "One list of numbers per input; for the tasks on tokens, one list \
        per token", body = List<PoolingOutput>), OpenAiErrors))]
/// Computes vectors or scores, per text or per token.
pub(crate) async fn pooling(call: Call, request: PoolingRequest) -> Result<Response, Refusal> {
    let served = &call.served;
    let activate = request.activation()?.unwrap_or(true);
    let dimensions = request.dimensions;
    let task = request.task.unwrap_or_else(|| default_task(served.kind));
    if dimensions.is_some() && task != PoolingTask::Embed {
        return Err(Refusal::Invalid(
            "`dimensions` is only for the task embed; leave it out".into(),
        ));
    }
    let prompt = if served.kind.embeds() { served.prompt(None)? } else { None };
    let batch = request.input.into_batch(prompt).map_err(Refusal::Shape)?;
    let overlong = call.overlong()?;
    let task = match task {
        PoolingTask::Embed => {
            Task::Embed { pooling: None, normalize: activate, dimensions, layer: None }
        }
        PoolingTask::Classify => Task::Classify { raw_scores: !activate },
        PoolingTask::TokenEmbed => Task::EmbedAll,
        PoolingTask::TokenClassify => Task::TokenScores { raw_scores: !activate },
    };
    let mut outputs = call.run(batch.inputs, task.clone(), overlong).await?;
    let format = request.encoding_format.unwrap_or_default();
    let numbers = encode(&task, activate, &mut outputs, format);
    let data = outputs.iter().map(|output| output.index).zip(numbers);
    let data = data.map(|(index, data)| PoolingOutput { index, object: "pooling", data }).collect();
    let list = call.vllm_list("pooling", data, &outputs);
    call.answer(batch.characters, &outputs, list).await
}

/// Returns the task for a request without one. A token classifier returns scores per token: vLLM has no
/// entities.
fn default_task(kind: ModelKind) -> PoolingTask {
    match kind {
        ModelKind::Embedding | ModelKind::MaskedLm => PoolingTask::Embed,
        ModelKind::Classifier | ModelKind::Reranker => PoolingTask::Classify,
        ModelKind::TokenClassifier => PoolingTask::TokenClassify,
    }
}

fn encode(
    task: &Task,
    activate: bool,
    outputs: &mut [Output],
    format: EncodingFormat,
) -> Vec<Numbers> {
    match task {
        Task::Embed { .. } => {
            take_vectors(outputs).into_iter().map(|vector| format.encode_vector(vector)).collect()
        }
        Task::Classify { .. } => {
            let by_id = |mut labels: Vec<LabelScore>| {
                labels.sort_by_key(|label| label.id);
                format.encode_vector(labels.iter().map(|label| label.score).collect())
            };
            take_labels(outputs).into_iter().map(by_id).collect()
        }
        _ => {
            let rows = outputs.iter_mut().filter_map(take_rows).map(|(mut rows, width)| {
                if activate && *task == Task::EmbedAll {
                    rows.chunks_mut(width.max(1)).for_each(scale_to_unit_length);
                }
                format.encode_rows(Matrix::from((rows, width)))
            });
            rows.collect()
        }
    }
}

/// Scales a vector to length one, as vLLM scales the vectors of tokens.
fn scale_to_unit_length(vector: &mut [f32]) {
    let length = vector.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>().sqrt();
    if length > 0.0 {
        vector.iter_mut().for_each(|x| *x = (f64::from(*x) / length) as f32);
    }
}
