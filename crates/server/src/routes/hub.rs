//! `POST /` and `POST /invocations`: the task of the model's kind, in the shapes that `huggingface_hub` reads.

use axum::response::Response;
use bigbatch_engine::{Chunking, Input, Overlong, Task};

use super::call::Call;
use super::embed::{PairCosines, compare_sentences};
use super::entities::EntityChoice;
use super::native::mask_fills;
use super::rerank::{RankOptions, rank_texts};
use crate::error::Refusal;
use crate::jobs::{Output, take_labels, take_vectors};
use crate::models::ModelKind;
use crate::wire::hub::{HubAnswer, HubEntity, HubInputs, HubParameters, HubRequest};
use crate::wire::inputs::{InputBatch, Inputs, one_or_many};
use crate::wire::request::{LengthFields, ModelRequest};
use crate::wire::shared::{Prediction, default_top_k};
use crate::wire::tei::TeiErrors;

#[utoipa::path(post, path = "/", tag = "Hugging Face Hub", request_body = HubRequest,
    responses((status = 200, description = "By the model's kind: vectors, labels, entities, candidates for \
        masks, ranks, or similarities if `inputs` has a source_sentence",
        body = HubAnswer), TeiErrors))]
/// Runs the task of the model's kind.
pub(crate) async fn hub(call: Call, mut request: HubRequest) -> Result<Response, Refusal> {
    let parameters = request.parameters.take().unwrap_or_default().or(request.beside);
    refuse_other_tasks(&call, &parameters)?;
    let length = parameters.length();
    if let (Some(query), Some(texts)) = (request.query, request.texts) {
        let raw_scores = parameters.raw_scores.unwrap_or(false);
        let return_text = parameters.return_text.unwrap_or(false);
        let options = RankOptions { raw_scores, return_text, length };
        return rank_texts(&call, query, texts, options).await;
    }
    let overlong = match parameters.stride {
        Some(stride) => windows_by_stride(stride, length)?,
        None => call.overlong_by(length)?,
    };
    let inputs = match request.inputs {
        None => return Err(Refusal::Shape("missing field `inputs`".into())),
        Some(HubInputs::Similarity(input)) => {
            let prompt = call.served.prompt(parameters.prompt_name.as_deref())?;
            let PairCosines { cosines, outputs, characters } =
                compare_sentences(&call, input, prompt, overlong).await?;
            return Ok(call.answer(characters, &outputs, HubAnswer::Similarities(cosines)));
        }
        Some(HubInputs::Texts(inputs)) => inputs,
    };
    let kind = call.served.kind;
    let mut task = HubTask { call, parameters, overlong };
    match kind {
        ModelKind::MaskedLm if task.is_fill_request(&inputs) => task.fill_masks(inputs).await,
        ModelKind::MaskedLm | ModelKind::Embedding => task.embed(inputs).await,
        ModelKind::Classifier | ModelKind::Reranker => {
            match task.parameters.candidate_labels.take() {
                Some(candidates) => task.zero_shot(inputs, candidates).await,
                None => task.classify(inputs).await,
            }
        }
        ModelKind::TokenClassifier => task.tag(inputs).await,
    }
}

/// Refuses options of tasks that are not the model's.
fn refuse_other_tasks(call: &Call, parameters: &HubParameters) -> Result<(), Refusal> {
    let refuse = |field: &str, task: &str| {
        let (name, kind) = (&call.served.name, call.served.kind.name());
        Err(Refusal::Invalid(format!("`{field}` is for {task}; {name} is a {kind}")))
    };
    let of_tags = [
        ("aggregation_strategy", parameters.aggregation_strategy.is_some()),
        ("ignore_labels", parameters.ignore_labels.is_some()),
        ("stride", parameters.stride.is_some()),
    ];
    let of_zero_shots = [
        ("candidate_labels", parameters.candidate_labels.is_some()),
        ("hypothesis_template", parameters.hypothesis_template.is_some()),
        ("multi_label", parameters.multi_label.is_some()),
    ];
    let sent = |fields: &[(&'static str, bool)]| {
        fields.iter().find(|(_, sent)| *sent).map(|(field, _)| *field)
    };
    match (call.served.kind, sent(&of_tags), sent(&of_zero_shots)) {
        (ModelKind::TokenClassifier, _, None) | (ModelKind::Classifier, None, _) => {}
        (ModelKind::TokenClassifier, _, Some(field)) | (_, None, Some(field)) => {
            return refuse(field, "zero-shot classification by a classifier of entailment");
        }
        (_, Some(field), _) => return refuse(field, "token classification"),
        (_, None, None) => {}
    }
    match of_zero_shots[1..].iter().find(|(_, sent)| *sent) {
        Some((field, _)) if parameters.candidate_labels.is_none() => {
            Err(Refusal::Invalid(format!("`{field}` works with `candidate_labels` only")))
        }
        _ => Ok(()),
    }
}

/// Returns the windows of `stride`, which reads the whole of a text.
fn windows_by_stride(stride: usize, length: LengthFields) -> Result<Overlong, Refusal> {
    if length.chunk.is_some() || length.truncate == Some(true) {
        return Err(Refusal::Invalid(
            "`stride` reads a text in windows; leave out `truncate` and `chunk`, or give chunk.overlap instead"
                .into(),
        ));
    }
    Ok(Overlong::Chunk(Chunking { overlap: stride, ..Chunking::default() }))
}

/// One request without its inputs.
pub(super) struct HubTask {
    pub(super) call: Call,
    pub(super) parameters: HubParameters,
    pub(super) overlong: Overlong,
}

impl HubTask {
    pub(super) async fn run(&self, inputs: Vec<Input>, task: Task) -> Result<Vec<Output>, Refusal> {
        self.call.run(inputs, task, self.overlong).await
    }

    async fn embed(self, inputs: Inputs) -> Result<Response, Refusal> {
        let prompt = self.call.served.prompt(self.parameters.prompt_name.as_deref())?;
        let batch = inputs.into_batch(prompt).map_err(Refusal::Shape)?;
        let normalize = self.parameters.normalize.unwrap_or(true);
        let task = Task::Embed { pooling: None, normalize, dimensions: self.parameters.dimensions };
        let mut outputs = self.run(batch.inputs, task).await?;
        let vectors = HubAnswer::Vectors(take_vectors(&mut outputs));
        Ok(self.call.answer(batch.characters, &outputs, vectors))
    }

    async fn classify(self, inputs: Inputs) -> Result<Response, Refusal> {
        let batch = inputs.into_batch(None).map_err(Refusal::Shape)?;
        let own = self.call.served.engine.model().scoring().name();
        let raw_scores = match self.parameters.function_to_apply.as_deref() {
            None => self.parameters.raw_scores.unwrap_or(false),
            Some("none") => true,
            Some(function) if function == own => false,
            Some(function) => {
                return Err(Refusal::Invalid(format!(
                    "function_to_apply is '{function}'; this model supports none and {own}"
                )));
            }
        };
        let mut outputs = self.run(batch.inputs, Task::Classify { raw_scores }).await?;
        let top_k = self.parameters.top_k.unwrap_or(usize::MAX);
        let lists = take_labels(&mut outputs).into_iter();
        let lists = lists.map(|list| list.into_iter().take(top_k).map(Prediction::from).collect());
        let body = HubAnswer::Labels(lists.collect());
        Ok(self.call.answer(batch.characters, &outputs, body))
    }

    async fn tag(mut self, inputs: Inputs) -> Result<Response, Refusal> {
        let strategy = self.parameters.aggregation_strategy.take();
        let choice = EntityChoice::new(strategy.as_deref(), self.parameters.ignore_labels.take())?;
        let texts = inputs.into_texts("entities are found in").map_err(Refusal::Invalid)?;
        let batch = texts.into_batch();
        let mut outputs = self.run(batch.inputs, choice.task()).await?;
        let lists =
            outputs.iter_mut().map(|output| choice.take_groups(output).map(HubEntity::from));
        let lists = lists.map(Iterator::collect).collect();
        let body = one_or_many(lists, batch.single, HubAnswer::Entities, HubAnswer::EntitiesOfMany);
        Ok(self.call.answer(batch.characters, &outputs, body))
    }

    /// Returns whether a masked language model fills masks instead of embedding: the text has a mask, or the
    /// request an option of filling.
    fn is_fill_request(&self, inputs: &Inputs) -> bool {
        let mask = self.call.served.engine.model().tokenizer.mask_token();
        let masked = |text: &str| mask.as_deref().is_some_and(|mask| text.contains(mask));
        self.parameters.top_k.is_some()
            || self.parameters.targets.is_some()
            || inputs.texts().any(masked)
    }

    async fn fill_masks(self, inputs: Inputs) -> Result<Response, Refusal> {
        if self.parameters.targets.is_some() {
            return Err(Refusal::Invalid("`targets` is not supported; use `top_k`".into()));
        }
        let texts: Vec<String> = inputs.texts().map(str::to_owned).collect();
        let InputBatch { inputs, characters, single } =
            inputs.into_batch(None).map_err(Refusal::Shape)?;
        if texts.len() != inputs.len() {
            return Err(Refusal::Invalid(
                "masks are filled in texts, not in token ids; send texts".into(),
            ));
        }
        let top_k = self.parameters.top_k.unwrap_or_else(default_top_k);
        let outputs = self.run(inputs, Task::FillMask { top_k }).await?;
        let of_each = texts.iter().zip(&outputs);
        let of_each = of_each
            .map(|(text, output)| mask_fills(&self.call.served, text, output, self.overlong));
        let body = one_or_many(
            of_each.flatten().collect(),
            single,
            HubAnswer::Fills,
            HubAnswer::FillsOfMany,
        );
        Ok(self.call.answer(characters, &outputs, body))
    }
}
