//! `POST /v1/analyze`: several models over one text, which is tokenized once for each tokenizer that differs.
//!
//! A router asks a handful of classifiers about every prompt; asked one by one, they read it as often as
//! there are models. A model that fails says so in its place, and the others answer all the same.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use bigbatch_engine::{
    Answer, Chunks, Input, Overlong, RequestError, Task, Tokens, Truncate, prompted,
};
use tokio::task::JoinSet;

use super::call::{Call, overlong};
use super::docs::OpenAiErrors;
use super::embed::prompt;
use crate::App;
use crate::error::{OpenAi, Refusal};
use crate::models::{Kind, Served};
use crate::run::Answered;
use crate::wire::ours::{Analysis, AnalyzeRequest, Finding, ModelResult, ReadAs};
use crate::wire::tei::Prediction;

#[utoipa::path(post, path = "/v1/analyze", tag = "bigbatch", request_body = AnalyzeRequest,
    responses((status = 200, description = "Each model's result or error, by its name", body = Analysis),
        OpenAiErrors))]
/// What several models say of one text.
pub(crate) async fn analyze(State(app): State<Arc<App>>, call: Call) -> Result<Response, OpenAi> {
    let request: AnalyzeRequest = call.read()?;
    if request.text.is_empty() {
        return Err(OpenAi(Refusal::Empty("`text` cannot be empty".into())));
    }
    let overlong = overlong(&app, request.truncate, request.truncation_direction, request.chunk)?;
    let names = names(&app, request.models)?;
    let mut results = BTreeMap::new();
    let mut chosen = Vec::new();
    for name in names {
        match app.models.get(Some(&name)) {
            Ok(served) => chosen.push((name, served.clone())),
            Err(refusal) => {
                results.insert(name, ModelResult::Failed { error: refusal.openai() });
            }
        }
    }
    let texts = read_once(&app, &request.text, &chosen).await?;
    let tokenizations = texts.len();
    let mut running = JoinSet::new();
    for (name, served) in chosen {
        let text = texts.get(&reading(&served)?).cloned();
        let app = app.clone();
        running.spawn(async move {
            let answered = match text {
                Some(Ok(text)) => run(&app, &served, text, overlong).await,
                Some(Err(error)) => Err(error.into()),
                None => Err(Refusal::Invalid("the text was not read".into())),
            };
            (name, served, answered)
        });
    }
    let mut answers = Vec::new();
    while let Some(done) = running.join_next().await {
        let Ok((name, served, answered)) = done else { continue };
        let result = match answered {
            Err(refusal) => ModelResult::Failed { error: refusal.openai() },
            Ok(mut answered) => {
                let result = done_by(&served, &mut answered);
                answers.push(answered);
                result
            }
        };
        results.insert(name, result);
    }
    let characters = request.text.chars().count();
    let body = Analysis { object: "analysis", tokenizations, results };
    Ok(call.answer(app.models.first(), characters, &answers, body))
}

/// Those asked for, or all.
fn names(app: &App, asked: Option<Vec<String>>) -> Result<Vec<String>, Refusal> {
    let Some(names) = asked else {
        return Ok(app.models.iter().map(|served| served.name.clone()).collect());
    };
    app.check_count(names.len(), "models")?;
    let twice = names.iter().enumerate().find(|(n, name)| names[..*n].contains(name));
    match twice {
        Some((_, name)) => Err(Refusal::Invalid(format!("`models` names '{name}' twice"))),
        None => Ok(names),
    }
}

/// A text with the prompt that a model wants before it, and its tokens.
struct Reading {
    text: String,
    bare: Tokens,
}

/// What models have in common that read a text alike: the tokenizer, and the prompt before the text.
type ReadingKey = (u64, Option<String>);

fn reading(served: &Served) -> Result<ReadingKey, Refusal> {
    let before = if served.kind.embeds() { prompt(served, None)? } else { None };
    let fingerprint = served.engine.model().tokenizer.fingerprint();
    Ok((fingerprint, before.map(str::to_owned)))
}

/// Tokenizes the text as often as models read it differently.
async fn read_once(
    app: &App,
    text: &str,
    chosen: &[(String, Arc<Served>)],
) -> Result<HashMap<ReadingKey, Result<Arc<Reading>, RequestError>>, Refusal> {
    let mut readings = HashMap::new();
    for (_, served) in chosen {
        let key = reading(served)?;
        if readings.contains_key(&key) {
            continue;
        }
        let (text, reader) = (prompted(key.1.as_deref(), text.to_owned()), served.clone());
        let read = move || {
            let bare = reader.engine.model().tokenizer.encode_bare(&text)?;
            Ok(Arc::new(Reading { text, bare }))
        };
        readings.insert(key, app.tokenizing.run(read).await?);
    }
    Ok(readings)
}

async fn run(
    app: &App,
    served: &Arc<Served>,
    reading: Arc<Reading>,
    overlong: Overlong,
) -> Result<Answered, Refusal> {
    let task = match served.kind {
        Kind::Embedding | Kind::MaskedLm => {
            Task::Embed { pooling: None, normalize: true, dimensions: None }
        }
        Kind::Classifier | Kind::Reranker => Task::Classify { raw_scores: false },
        Kind::TokenClassifier => Task::Tag,
    };
    let limit = served.engine.max_tokens();
    let answered = match overlong {
        Overlong::Chunk(chunking) => {
            let reader = served.clone();
            let cut = move || {
                let (Reading { text, bare }, model) = (&*reading, reader.engine.model());
                Chunks::from_tokens(&model.tokenizer, text.clone(), bare, chunking, limit)
            };
            let chunks = app.tokenizing.run(cut).await??;
            app.run_windows(served, &[chunks], &task).await?.pop()
        }
        Overlong::Truncate(truncate) => {
            let (Reading { text, bare }, tokenizer) = (&*reading, &served.engine.model().tokenizer);
            let (own, room) = (bare.ids.len(), limit.saturating_sub(tokenizer.frame_tokens()));
            let kept = truncate.kept(own, room);
            if kept.len() > room {
                let tokens = own + tokenizer.frame_tokens();
                return Err(RequestError::TooLong { tokens, limit }.into());
            }
            let input = Input::Tokens(text.clone(), tokenizer.wrap(bare, kept));
            app.run_all(served, [input], &task, Truncate::No).await?.pop().map(Answered::from)
        }
    };
    answered.ok_or_else(|| Refusal::Unavailable("the engine gave no answer".into()))
}

fn done_by(served: &Served, answered: &mut Answered) -> ModelResult {
    let read = ReadAs::from(&*answered);
    let empty = Answer::Embedding(Vec::new());
    let finding = match std::mem::replace(&mut answered.answer, empty) {
        Answer::Labels(labels) => {
            Finding::Labels(labels.into_iter().map(Prediction::from).collect())
        }
        Answer::Tags { entities, .. } => {
            Finding::Entities(entities.into_iter().map(Into::into).collect())
        }
        Answer::Embedding(vector) | Answer::Rows { rows: vector, .. } => Finding::Embedding(vector),
        Answer::Masks(_) => Finding::Embedding(Vec::new()),
    };
    ModelResult::Done { kind: served.kind.name(), finding, read }
}
