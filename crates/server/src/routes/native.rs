//! `/tag` and `/fill_mask`: what text-embeddings-inference has no endpoint for.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use bigbatch_engine::chunk::Overlong;
use bigbatch_engine::task::{Answer, Task, TokenScore};
use bigbatch_engine::tokenize::Truncate;

use super::call::{Call, overlong};
use super::docs::TeiErrors;
use crate::App;
use crate::error::Tei;
use crate::jobs::{Answered, Job};
use crate::models::Served;
use crate::wire::hub::MaskFill;
use crate::wire::inputs::one_or_many;
use crate::wire::native::{FillMaskRequest, Filled, OneOrMany, ReadAs, TagRequest, Tagged};

#[utoipa::path(post, path = "/tag", tag = "bigbatch", request_body = TagRequest,
    responses((status = 200, description = "Entities with places in the whole text, counted in characters; \
        of an array a list of such answers", body = OneOrMany<Tagged>), TeiErrors))]
/// The entities of texts.
pub(crate) async fn tag(State(app): State<Arc<App>>, call: Call) -> Result<Response, Tei> {
    let request: TagRequest = call.read()?;
    let served = call.served(&app, request.model.as_deref())?;
    let read = request.inputs.read();
    let overlong = overlong(&app, request.truncate, request.truncation_direction, request.chunk)?;
    let job = Job { inputs: read.inputs, task: Task::Tag, overlong };
    let mut answers = app.run(served, job).await?;
    let tagged = answers.iter_mut().filter_map(|answered| tagged(answered, request.all_tokens));
    let body = one_or_many(tagged.collect(), read.single, OneOrMany::One, OneOrMany::Many);
    Ok(call.answer(served, read.characters, &answers, body))
}

#[utoipa::path(post, path = "/fill_mask", tag = "bigbatch", request_body = FillMaskRequest,
    responses((status = 200, description = "Candidates for each mask of a text, likeliest first; of an array \
        a list of such answers", body = OneOrMany<Filled>), TeiErrors))]
/// Tokens for the masks of texts.
pub(crate) async fn fill_mask(State(app): State<Arc<App>>, call: Call) -> Result<Response, Tei> {
    let request: FillMaskRequest = call.read()?;
    let served = call.served(&app, request.model.as_deref())?;
    let (texts, single) = request.inputs.clone().list();
    let read = request.inputs.read();
    let overlong = overlong(&app, request.truncate, request.truncation_direction, request.chunk)?;
    let job = Job { inputs: read.inputs, task: Task::FillMask { top_k: request.top_k }, overlong };
    let answers = app.run(served, job).await?;
    let filled = texts.iter().zip(&answers).map(|(text, answered)| Filled {
        masks: fills(served, text, answered, overlong),
        read: ReadAs::from(answered),
    });
    let body = one_or_many(filled.collect(), single, OneOrMany::One, OneOrMany::Many);
    Ok(call.answer(served, read.characters, &answers, body))
}

impl From<&Answered> for ReadAs {
    fn from(answered: &Answered) -> ReadAs {
        let Answered { tokens, truncated, chunks, .. } = *answered;
        ReadAs { tokens, truncated, chunks }
    }
}

/// The tags out of an answer of tags.
pub(super) fn tagged(answered: &mut Answered, all_tokens: bool) -> Option<Tagged> {
    let read = ReadAs::from(&*answered);
    let Answer::Tags { entities, token_labels } = &mut answered.answer else { return None };
    let entities = std::mem::take(entities).into_iter().map(Into::into).collect();
    let labels = std::mem::take(token_labels).into_iter().map(|label| label.label);
    Some(Tagged { entities, token_labels: all_tokens.then(|| labels.collect()), read })
}

/// For each mask of a text its candidates, with the text as it would then read.
pub(super) fn fills(
    served: &Served,
    text: &str,
    answered: &Answered,
    overlong: Overlong,
) -> Vec<Vec<MaskFill>> {
    let Answer::Masks(masks) = &answered.answer else { return Vec::new() };
    let mask = served.engine.model().tokenizer.mask_token().unwrap_or_default();
    // A text cut at its beginning may have lost its first masks: those that are left are its last.
    let places: Vec<usize> = text.match_indices(&mask).map(|(at, _)| at).collect();
    let lost = match overlong {
        Overlong::Truncate(Truncate::Left) => places.len().saturating_sub(masks.len()),
        _ => 0,
    };
    let places = &places[lost..];
    let fill = |at: usize, candidate: &TokenScore| {
        let (before, after) = (&text[..at], &text[at + mask.len()..]);
        // A mask takes the space before it in, and so does the token in its place.
        let own_space = candidate.token.starts_with(char::is_whitespace);
        let before = if own_space { before.trim_end() } else { before };
        MaskFill {
            score: candidate.score,
            token: candidate.id,
            token_str: candidate.token.clone(),
            sequence: format!("{before}{}{after}", candidate.token),
        }
    };
    let fills = masks.iter().zip(places);
    fills.map(|(mask, &at)| mask.iter().map(|candidate| fill(at, candidate)).collect()).collect()
}
