//! `POST /v1/analyze`: several models over one text, which is tokenized once per distinct tokenizer.
//!
//! A semantic router runs a handful of classifiers on every prompt; one request per model would tokenize it once
//! per model. The error of one model stands in place of its result; the others answer all the same.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use axum::response::Response;
use bigbatch_engine::{
    Answer, Chunks, Input, InputLength, Overlong, RequestError, Task, Tokens, Truncate, prompted,
};
use tokio::task::JoinSet;

use super::call::Call;
use crate::admission::Grant;
use crate::app::App;
use crate::error::Refusal;
use crate::footprint::{self, Footprint};
use crate::jobs::{Job, Output, PROMPT_IN_WINDOWS};
use crate::memory::Charge;
use crate::models::ServedModel;
use crate::terms::Terms;
use crate::wire::fields::exactly_one;
use crate::wire::native::{Analysis, AnalyzeRequest, Finding, InputStats, ModelResult};
use crate::wire::openai::{self, OpenAiErrors};
use crate::wire::shared::Prediction;

#[utoipa::path(post, path = "/v1/analyze", tag = "bigbatch", request_body = AnalyzeRequest,
    responses((status = 200, description = "The result or error of each model, by its name", body = Analysis),
        OpenAiErrors))]
/// Runs several models on one text.
pub(crate) async fn analyze(call: Call, request: AnalyzeRequest) -> Result<Response, Refusal> {
    let app = &call.app;
    let names = [("text", request.text), ("inputs", request.inputs), ("input", request.input)];
    let text = exactly_one(names)?;
    if text.is_empty() {
        return Err(Refusal::Empty("`text` cannot be empty".into()));
    }
    let overlong = call.overlong()?;
    let names = choose_names(&call, request.models)?;
    let mut results = BTreeMap::new();
    let (mut chosen, mut admissions) = (Vec::new(), Vec::new());
    for name in names {
        let admit = |served: &Arc<ServedModel>| {
            if let Overlong::Chunk(chunking) = overlong {
                chunking.room(&served.engine.model().tokenizer, served.engine.max_tokens())?;
            }
            served.check_context(false)?;
            let task = Task::default_for(&served.engine.model().config.head);
            let length = [InputLength::Bytes(text.len())];
            let admitted = app.admit(served, length, overlong, &task, &call.terms)?;
            Ok((served.clone(), admitted))
        };
        match app.models.get(Some(&name)).and_then(admit) {
            Ok((served, admitted)) => {
                chosen.push((name, served));
                admissions.push(admitted);
            }
            Err(refusal) => {
                results.insert(name, ModelResult::Failed { error: openai::error(&refusal) });
            }
        }
    }
    charge(&call, &text, &chosen)?;
    let texts = tokenize_once(app, &text, &chosen, &call.charge).await?;
    let tokenizations = texts.len();
    let mut running = JoinSet::new();
    for ((name, served), admitted) in chosen.into_iter().zip(admissions) {
        let text = texts.get(&text_key(&served)?).cloned();
        let (app, charge, terms) = (app.clone(), call.charge.clone(), call.terms);
        running.spawn(async move {
            let output = match text {
                Some(Ok(text)) => {
                    run(&app, &served, admitted, text, overlong, (charge, terms)).await
                }
                Some(Err(error)) => Err(error.into()),
                None => Err(Refusal::Invalid("the text was not tokenized".into())),
            };
            (name, served, output)
        });
    }
    let mut outputs = Vec::new();
    while let Some(done) = running.join_next().await {
        let Ok((name, served, output)) = done else { continue };
        let result = match output {
            Err(refusal) => ModelResult::Failed { error: openai::error(&refusal) },
            Ok(mut output) => {
                let result = take_result(&served, &mut output);
                outputs.push(output);
                result
            }
        };
        results.insert(name, result);
    }
    let characters = text.chars().count();
    let body = Analysis { object: "analysis", tokenizations, results };
    call.answer(characters, &outputs.into(), body).await
}

/// Returns the models that the request names, or all of them.
fn choose_names(call: &Call, requested: Option<Vec<String>>) -> Result<Vec<String>, Refusal> {
    let Some(names) = requested else {
        return Ok(call.app.models.iter().map(|served| served.name.clone()).collect());
    };
    call.check_count(names.len(), "models")?;
    let twice = names.iter().enumerate().find(|(n, name)| names[..*n].contains(name));
    match twice {
        Some((_, name)) => {
            Err(Refusal::Invalid(format!("`models` names '{name}' twice; name each model once")))
        }
        None => Ok(names),
    }
}

/// Charges the text, its tokens and an answer per model.
fn charge(call: &Call, text: &str, chosen: &[(String, Arc<ServedModel>)]) -> Result<(), Refusal> {
    let of_model = |(_, served): &(String, Arc<ServedModel>)| {
        let model = served.engine.model();
        let task = Task::default_for(&model.config.head);
        let max_tokens = served.engine.max_tokens();
        let mut footprint = Footprint::of_text(model, &task, text, max_tokens);
        // The whole text is tokenized, whatever is read of it.
        footprint.inputs_bytes += footprint::of_tokenizing(text.len());
        footprint
    };
    let footprint = chosen.iter().map(of_model).sum();
    call.app.charge_footprint(&call.charge, footprint)
}

/// A text with a model's prompt before it, and its tokens without special ones.
struct TokenizedText {
    text: String,
    bare: Tokens,
}

/// Models that share it share the tokens: the fingerprint of the tokenizer, and the prompt before the text.
type TextKey = (u64, Option<String>);

fn text_key(served: &ServedModel) -> Result<TextKey, Refusal> {
    let before = served.prompt(None)?;
    let fingerprint = served.engine.model().tokenizer.fingerprint();
    Ok((fingerprint, before.map(str::to_owned)))
}

/// Tokenizes the text once per [`TextKey`].
async fn tokenize_once(
    app: &App,
    text: &str,
    chosen: &[(String, Arc<ServedModel>)],
    charge: &Arc<Charge>,
) -> Result<HashMap<TextKey, Result<Arc<TokenizedText>, RequestError>>, Refusal> {
    let mut texts = HashMap::new();
    for (_, served) in chosen {
        let key = text_key(served)?;
        if texts.contains_key(&key) {
            continue;
        }
        let (text, reader) = (prompted(key.1.as_deref(), text.to_owned()), served.clone());
        let read = move || {
            let tokenizer = &reader.engine.model().tokenizer;
            let bare = tokenizer.encode_bare(&text)?;
            let tokens = bare.ids.len() + tokenizer.frame_tokens();
            reader.engine.record_tokens(InputLength::Bytes(text.len()), tokens);
            Ok(Arc::new(TokenizedText { text, bare }))
        };
        texts.insert(key, app.tokenizer_pool.run(charge, read).await?);
    }
    Ok(texts)
}

async fn run(
    app: &App,
    served: &Arc<ServedModel>,
    admitted: Grant,
    tokenized: Arc<TokenizedText>,
    overlong: Overlong,
    (charge, terms): (Arc<Charge>, Terms),
) -> Result<Output, Refusal> {
    let task = Task::default_for(&served.engine.model().config.head);
    let limit = served.engine.max_tokens();
    let left_out = served.default_prompt_left_out()?;
    let job = |inputs| {
        let charge = charge.clone();
        let (task, special_tokens, partial) = (task.clone(), true, false);
        Job { inputs, task, overlong, special_tokens, partial, charge, terms }
    };
    let output = match overlong {
        Overlong::Chunk(_) if left_out > 0 => {
            return Err(Refusal::Invalid(PROMPT_IN_WINDOWS.into()));
        }
        Overlong::Chunk(chunking) => {
            let reader = served.clone();
            let cut = move || {
                let (TokenizedText { text, bare }, model) = (&*tokenized, reader.engine.model());
                Chunks::from_tokens(&model.tokenizer, text.clone(), bare.clone(), chunking, limit)
            };
            let chunks = app.tokenizer_pool.run(&charge, cut).await??;
            let outputs = app.run_chunks(served, admitted, &[Ok(chunks)], job(Vec::new())).await;
            outputs.map_err(|failure| failure.refusal)?.pop()
        }
        Overlong::Truncate(truncate) => {
            let (TokenizedText { text, bare }, tokenizer) =
                (&*tokenized, &served.engine.model().tokenizer);
            let (own, room) = (bare.ids.len(), limit.saturating_sub(tokenizer.frame_tokens()));
            let kept = truncate.kept(own, room);
            if kept.len() > room {
                let tokens = own + tokenizer.frame_tokens();
                return Err(RequestError::TooLong { tokens, at_least: false, limit }.into());
            }
            let tokens = Tokens { prompt: left_out, ..tokenizer.wrap(bare, kept) };
            let job = job(vec![Input::Tokens(text.clone(), tokens)]);
            let results = app.submit_all(served, admitted, job, Truncate::No).await;
            let result = results.map_err(|failure| failure.refusal)?.pop().transpose()?;
            result.map(Output::from)
        }
    };
    output.ok_or_else(|| {
        Refusal::Unavailable("the engine returned no answer; try again later".into())
    })
}

fn take_result(served: &ServedModel, output: &mut Output) -> ModelResult {
    let read = InputStats::from(&*output);
    let empty = Answer::Embedding(Vec::new());
    let finding = match std::mem::replace(&mut output.answer, empty) {
        Answer::Labels(labels) => {
            Finding::Labels(labels.into_iter().map(Prediction::from).collect())
        }
        Answer::Tags { entities, .. } => {
            Finding::Entities(entities.into_iter().map(Into::into).collect())
        }
        Answer::Embedding(vector) | Answer::Rows { rows: vector, .. } => Finding::Embedding(vector),
        // No model's default task gives these.
        Answer::Masks(_) | Answer::Groups(_) => Finding::Embedding(Vec::new()),
    };
    ModelResult::Done { kind: served.kind.name(), finding, read }
}
