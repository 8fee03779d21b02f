//! `/tag` and `/fill_mask`: heads for which text-embeddings-inference has no endpoint.

use std::sync::Arc;

use axum::response::Response;
use bigbatch_engine::{Answer, Overlong, Task, TokenScore, Truncate};

use super::call::Call;
use super::entities::EntityChoice;
use crate::error::Refusal;
use crate::jobs::Output;
use crate::models::ServedModel;
use crate::wire::inputs::one_or_many;
use crate::wire::native::{
    FillMaskAnswer, FillMaskRequest, InputStats, OneOrMany, TagAnswer, TagRequest,
};
use crate::wire::shared::{DEFAULT_TOP_K, FilledText, MaskFill};
use crate::wire::tei::TeiErrors;

#[utoipa::path(post, path = "/tag", tag = "bigbatch", request_body = TagRequest,
    responses((status = 200, description = "Entities with offsets into the whole text, in characters; for an \
        array, one such answer per text", body = OneOrMany<TagAnswer>), TeiErrors))]
/// Finds entities in texts.
pub(crate) async fn tag(call: Call, request: TagRequest) -> Result<Response, Refusal> {
    let choice = EntityChoice::new(request.aggregation_strategy.as_deref(), request.ignore_labels)?;
    let all_tokens = request.all_tokens.unwrap_or(false);
    if choice.is_aggregated() && all_tokens {
        return Err(Refusal::Invalid(
            "`all_tokens` does not work with `aggregation_strategy`; leave one out, or choose none for an \
             entity per token"
                .into(),
        ));
    }
    let batch = request.inputs.into_batch();
    let mut outputs = call.run(batch.inputs, choice.task(), call.overlong()?).await?;
    let tags = outputs.iter_mut().map(|output| take_tags(output, &choice, all_tokens));
    let tags = tags.collect();
    let body = one_or_many(tags, &outputs.failed, batch.single, OneOrMany::One, OneOrMany::Many);
    call.answer(batch.characters, &outputs, body).await
}

#[utoipa::path(post, path = "/fill_mask", tag = "bigbatch", request_body = FillMaskRequest,
    responses((status = 200, description = "Candidates per mask, likeliest first; for an array, one such \
        answer per text", body = OneOrMany<FillMaskAnswer>), TeiErrors))]
/// Fills the masks of texts.
pub(crate) async fn fill_mask(call: Call, request: FillMaskRequest) -> Result<Response, Refusal> {
    let (texts, single) = request.inputs.clone().into_vec();
    let texts: Vec<Arc<str>> = texts.into_iter().map(Arc::from).collect();
    let batch = request.inputs.into_batch();
    let overlong = call.overlong()?;
    let task = Task::FillMask { top_k: request.top_k.unwrap_or(DEFAULT_TOP_K) };
    let outputs = call.run(batch.inputs, task, overlong).await?;
    let answers = outputs.iter().map(|output| FillMaskAnswer {
        masks: mask_fills(&call.served, &texts[output.index], output, overlong),
        read: InputStats::from(output),
    });
    let body =
        one_or_many(answers.collect(), &outputs.failed, single, OneOrMany::One, OneOrMany::Many);
    call.answer(batch.characters, &outputs, body).await
}

impl From<&Output> for InputStats {
    fn from(output: &Output) -> InputStats {
        let truncated = output.is_truncated();
        let Output { tokens, chunks, .. } = *output;
        InputStats { tokens, truncated, chunks }
    }
}

/// Takes the tags out of an output.
fn take_tags(output: &mut Output, choice: &EntityChoice, all_tokens: bool) -> TagAnswer {
    let read = InputStats::from(&*output);
    let entities = choice.take_groups(output).map(|group| group.entity.into()).collect();
    let token_labels = match &mut output.answer {
        Answer::Tags { token_labels, .. } if all_tokens => {
            let labels = std::mem::take(token_labels).into_iter();
            Some(labels.map(|label| label.label).collect())
        }
        _ => None,
    };
    TagAnswer { entities, token_labels, read }
}

/// Returns the candidates per mask of a text, each with the text that it makes.
pub(super) fn mask_fills(
    served: &ServedModel,
    text: &Arc<str>,
    output: &Output,
    overlong: Overlong,
) -> Vec<Vec<MaskFill>> {
    let Answer::Masks(masks) = &output.answer else { return Vec::new() };
    let mask = served.engine.model().tokenizer.mask_token().unwrap_or_default();
    // A text truncated on the left may have lost its first masks.
    let offsets: Vec<usize> = text.match_indices(&mask).map(|(at, _)| at).collect();
    let lost = match overlong {
        Overlong::Truncate(Truncate::Left | Truncate::LeftTo(_)) => {
            offsets.len().saturating_sub(masks.len())
        }
        _ => 0,
    };
    let offsets = &offsets[lost..];
    let fill = |at: usize, candidate: &TokenScore| {
        // A mask absorbs the space before it, and so does the token in its place.
        let own_space = candidate.token.starts_with(char::is_whitespace);
        let start = if own_space { text[..at].trim_end().len() } else { at };
        let (text, replaced) = (text.clone(), start..at + mask.len());
        MaskFill {
            score: candidate.score,
            token: candidate.id,
            token_str: candidate.token.clone(),
            sequence: FilledText { text, replaced, token: candidate.token.clone() },
        }
    };
    let fills = masks.iter().zip(offsets);
    fills.map(|(mask, &at)| mask.iter().map(|candidate| fill(at, candidate)).collect()).collect()
}
