//! `POST /` and `POST /invocations`: the model's own task, in the shapes that `huggingface_hub` reads.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use bigbatch_engine::chunk::Overlong;
use bigbatch_engine::task::{Answer, Task};
use bigbatch_engine::tokenize::Input;

use super::call::{Call, overlong};
use super::docs::TeiErrors;
use super::embed::{prompt, similarities, take_vectors};
use super::native::fills;
use super::predict::take_labels;
use super::rerank::ranks;
use crate::App;
use crate::error::{Refusal, Tei};
use crate::jobs::{Answered, Job};
use crate::models::{Kind, Served};
use crate::wire::hub::{EntityGroup, HubAnswer, HubInputs, HubParameters, HubRequest};
use crate::wire::inputs::{Inputs, Read, one_or_many};
use crate::wire::native::five;
use crate::wire::shared::RerankRequest;
use crate::wire::tei::Prediction;

#[utoipa::path(post, path = "/", tag = "Hugging Face Hub", request_body = HubRequest,
    responses((status = 200, description = "By the model's kind: vectors, labels of each text, entities, \
        candidates for masks, ranks, or similarities where `inputs` has a source_sentence",
        body = HubAnswer), TeiErrors))]
/// What the model is for.
pub(crate) async fn hub(State(app): State<Arc<App>>, call: Call) -> Result<Response, Tei> {
    let mut request: HubRequest = call.read()?;
    let parameters = request.parameters.take().unwrap_or_default().or(request.beside);
    let served = call.served(&app, request.model.as_deref())?;
    if let (Some(query), Some(texts)) = (request.query, request.texts) {
        return ranks(&app, &call, rerank_request(query, request.model, &parameters), texts).await;
    }
    let (truncate, direction) = (parameters.truncate, parameters.truncation_direction);
    let overlong = overlong(&app, truncate, direction, parameters.chunk)?;
    let inputs = match request.inputs {
        None => return Err(Tei(Refusal::Shape("missing field `inputs`".into()))),
        Some(HubInputs::Similarity(input)) => {
            let prompt = prompt(served, parameters.prompt_name.as_deref())?;
            let (cosines, answers, characters) =
                similarities(&app, served, input, prompt, overlong).await?;
            let body = HubAnswer::Similarities(cosines);
            return Ok(call.answer(served, characters, &answers, body));
        }
        Some(HubInputs::Texts(inputs)) => inputs,
    };
    let asked = Asked { app: &app, call: &call, served, parameters, overlong };
    match served.kind {
        Kind::MaskedLm if asked.wants_fills(&inputs) => asked.fills(inputs).await,
        Kind::MaskedLm | Kind::Embedding => asked.vectors(inputs).await,
        Kind::Classifier | Kind::Reranker => asked.labels(inputs).await,
        Kind::TokenClassifier => asked.entities(inputs).await,
    }
    .map_err(Tei)
}

/// One request, its inputs aside.
struct Asked<'a> {
    app: &'a App,
    call: &'a Call,
    served: &'a Arc<Served>,
    parameters: HubParameters,
    overlong: Overlong,
}

impl Asked<'_> {
    async fn run(&self, inputs: Vec<Input>, task: Task) -> Result<Vec<Answered>, Refusal> {
        self.app.run(self.served, Job { inputs, task, overlong: self.overlong }).await
    }

    async fn vectors(self, inputs: Inputs) -> Result<Response, Refusal> {
        let prompt = prompt(self.served, self.parameters.prompt_name.as_deref())?;
        let read = inputs.read(prompt).map_err(Refusal::Shape)?;
        let normalize = self.parameters.normalize.unwrap_or(true);
        let task = Task::Embed { pooling: None, normalize, dimensions: self.parameters.dimensions };
        let mut answers = self.run(read.inputs, task).await?;
        let vectors = HubAnswer::Vectors(take_vectors(&mut answers));
        Ok(self.call.answer(self.served, read.characters, &answers, vectors))
    }

    async fn labels(self, inputs: Inputs) -> Result<Response, Refusal> {
        let read = inputs.read(None).map_err(Refusal::Shape)?;
        let own = self.served.engine.model().scoring().name();
        let raw_scores = match self.parameters.function_to_apply.as_deref() {
            None => self.parameters.raw_scores.unwrap_or(false),
            Some("none") => true,
            Some(function) if function == own => false,
            Some(function) => {
                return Err(Refusal::Invalid(format!(
                    "function_to_apply is '{function}'; of this model it may be none or {own}"
                )));
            }
        };
        let mut answers = self.run(read.inputs, Task::Classify { raw_scores }).await?;
        let top_k = self.parameters.top_k.unwrap_or(usize::MAX);
        let lists = take_labels(&mut answers).into_iter();
        let lists = lists.map(|list| list.into_iter().take(top_k).map(Prediction::from).collect());
        let body = HubAnswer::Labels(lists.collect());
        Ok(self.call.answer(self.served, read.characters, &answers, body))
    }

    async fn entities(self, inputs: Inputs) -> Result<Response, Refusal> {
        if let Some(strategy) = self.parameters.aggregation_strategy.as_deref()
            && strategy != "simple"
        {
            return Err(Refusal::Invalid(format!(
                "aggregation_strategy is '{strategy}'; there is simple (/tag gives every token's label)"
            )));
        }
        let read = inputs.read(None).map_err(Refusal::Shape)?;
        let mut answers = self.run(read.inputs, Task::Tag).await?;
        let group = |entity: bigbatch_engine::task::Entity| EntityGroup {
            entity_group: entity.label,
            score: entity.score,
            word: entity.text,
            start: entity.span.start,
            end: entity.span.end,
        };
        let groups = |answered: &mut Answered| match &mut answered.answer {
            Answer::Tags { entities, .. } => {
                std::mem::take(entities).into_iter().map(group).collect()
            }
            _ => Vec::new(),
        };
        let lists = answers.iter_mut().map(groups).collect();
        let body = one_or_many(lists, read.single, HubAnswer::Entities, HubAnswer::EntitiesOfMany);
        Ok(self.call.answer(self.served, read.characters, &answers, body))
    }

    /// A masked language model fills where there is a mask, or options that only filling has.
    fn wants_fills(&self, inputs: &Inputs) -> bool {
        let mask = self.served.engine.model().tokenizer.mask_token();
        let masked = |text: &str| mask.as_deref().is_some_and(|mask| text.contains(mask));
        self.parameters.top_k.is_some()
            || self.parameters.targets.is_some()
            || inputs.texts().any(masked)
    }

    async fn fills(self, inputs: Inputs) -> Result<Response, Refusal> {
        if self.parameters.targets.is_some() {
            return Err(Refusal::Invalid("`targets` is not supported; ask for `top_k`".into()));
        }
        let texts: Vec<String> = inputs.texts().map(str::to_owned).collect();
        let Read { inputs, characters, single } = inputs.read(None).map_err(Refusal::Shape)?;
        if texts.len() != inputs.len() {
            return Err(Refusal::Invalid("masks are filled in texts, not in token ids".into()));
        }
        let top_k = self.parameters.top_k.unwrap_or_else(five);
        let answers = self.run(inputs, Task::FillMask { top_k }).await?;
        let of_each = texts.iter().zip(&answers);
        let of_each =
            of_each.map(|(text, answered)| fills(self.served, text, answered, self.overlong));
        let body = one_or_many(
            of_each.flatten().collect(),
            single,
            HubAnswer::Fills,
            HubAnswer::FillsOfMany,
        );
        Ok(self.call.answer(self.served, characters, &answers, body))
    }
}

fn rerank_request(
    query: String,
    model: Option<String>,
    parameters: &HubParameters,
) -> RerankRequest {
    RerankRequest {
        query,
        texts: None,
        documents: None,
        model,
        raw_scores: parameters.raw_scores.unwrap_or(false),
        return_text: parameters.return_text.unwrap_or(false),
        top_n: None,
        return_documents: None,
        use_activation: None,
        truncate: parameters.truncate,
        truncation_direction: parameters.truncation_direction,
        truncate_prompt_tokens: None,
        chunk: parameters.chunk,
    }
}
