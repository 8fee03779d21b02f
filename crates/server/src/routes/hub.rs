//! `POST /` and `POST /invocations`: the task of the model's kind, in the shapes that `huggingface_hub` reads.

use std::sync::Arc;

use axum::response::Response;
use bigbatch_engine::{Chunking, Input, Overlong, Task};

use super::call::Call;
use super::embed::compare_sentences;
use super::entities::EntityChoice;
use super::native::mask_fills;
use super::rerank::{RankOptions, rank_texts};
use crate::error::Refusal;
use crate::jobs::{Output, Outputs, take_labels, take_vectors};
use crate::models::ModelKind;
use crate::wire::fields::{agreed, contradiction, exactly_one};
use crate::wire::hub::{HubAnswer, HubEntity, HubInputs, HubParameters, HubRequest};
use crate::wire::inputs::{InputBatch, Inputs, one_or_many};
use crate::wire::partial::{Item, Items, in_place};
use crate::wire::request::{LengthFields, ModelRequest, PairCuts};
use crate::wire::shared::{DEFAULT_TOP_K, MaskFill, Prediction};
use crate::wire::tei::TeiErrors;

#[utoipa::path(post, path = "/", tag = "Hugging Face Hub", request_body = HubRequest,
    responses((status = 200, description = "By the model's kind: vectors, labels, entities, candidates for \
        masks, ranks, or similarities if `inputs` has a source_sentence",
        body = HubAnswer), TeiErrors))]
/// Runs the task of the model's kind.
pub(crate) async fn hub(mut call: Call, mut request: HubRequest) -> Result<Response, Refusal> {
    let parameters = request.take_parameters()?;
    call.partial = parameters.partial.unwrap_or(false);
    let length = parameters.length();
    if request.query.is_some() || request.texts.is_some() {
        if request.inputs.is_some() {
            return Err(contradiction("inputs", "query"));
        }
        let query = exactly_one([("query", request.query)])?;
        let texts = exactly_one([("texts", request.texts)])?;
        parameters.check("ranking", &["raw_scores", "return_text"])?;
        let raw_scores = parameters.raw_scores.unwrap_or(false);
        let return_text = parameters.return_text.unwrap_or(false);
        let cuts = PairCuts::default();
        let options = RankOptions { raw_scores, return_text, best: usize::MAX, length, cuts };
        return rank_texts(&call, query, texts, options).await;
    }
    let overlong = match parameters.stride {
        Some(stride) => windows_by_stride(stride, length)?,
        None => call.overlong_by(length)?,
    };
    let inputs = match request.inputs {
        None => return Err(Refusal::Shape("missing field `inputs`".into())),
        Some(HubInputs::Similarity(input)) => {
            parameters.check("sentence similarity", &["prompt_name"])?;
            let prompt = call.served.prompt(parameters.prompt_name.as_deref())?;
            let pairs = compare_sentences(&call, input, prompt, overlong).await?;
            let similarities = in_place(pairs.values(), &pairs.outputs.failed);
            let body = HubAnswer::Similarities(similarities);
            return call.answer(pairs.characters, &pairs.outputs, body).await;
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
    pub(super) async fn run(&self, inputs: Vec<Input>, task: Task) -> Result<Outputs, Refusal> {
        self.call.run(inputs, task, self.overlong).await
    }

    async fn embed(self, inputs: Inputs) -> Result<Response, Refusal> {
        let known = ["normalize", "dimensions", "prompt_name"];
        self.parameters.check("feature extraction", &known)?;
        let prompt = self.call.served.prompt(self.parameters.prompt_name.as_deref())?;
        let batch = inputs.into_batch(prompt).map_err(Refusal::Shape)?;
        let normalize = self.parameters.normalize.unwrap_or(true);
        let task = Task::Embed {
            pooling: None,
            normalize,
            dimensions: self.parameters.dimensions,
            layer: None,
        };
        let mut outputs = self.run(batch.inputs, task).await?;
        let vectors = HubAnswer::Vectors(in_place(take_vectors(&mut outputs), &outputs.failed));
        self.call.answer(batch.characters, &outputs, vectors).await
    }

    async fn classify(self, inputs: Inputs) -> Result<Response, Refusal> {
        let known = ["top_k", "function_to_apply", "raw_scores"];
        self.parameters.check("text classification", &known)?;
        let batch = inputs.into_batch(None).map_err(Refusal::Shape)?;
        let own = self.call.served.engine.model().scoring().name();
        let applied = match self.parameters.function_to_apply.as_deref() {
            None => None,
            Some("none") => Some(true),
            Some(function) if function == own => Some(false),
            Some(function) => {
                return Err(Refusal::Invalid(format!(
                    "function_to_apply is '{function}'; this model supports none and {own}"
                )));
            }
        };
        let names = [("function_to_apply", applied), ("raw_scores", self.parameters.raw_scores)];
        let raw_scores = agreed(&names)?.unwrap_or(false);
        let mut outputs = self.run(batch.inputs, Task::Classify { raw_scores }).await?;
        let top_k = self.parameters.top_k.unwrap_or(usize::MAX);
        let lists = take_labels(&mut outputs).into_iter();
        let lists = lists.map(|list| list.into_iter().take(top_k).map(Prediction::from).collect());
        let body = HubAnswer::Labels(in_place(lists.collect(), &outputs.failed));
        self.call.answer(batch.characters, &outputs, body).await
    }

    async fn tag(mut self, inputs: Inputs) -> Result<Response, Refusal> {
        self.parameters
            .check("token classification", &["aggregation_strategy", "ignore_labels", "stride"])?;
        let strategy = self.parameters.aggregation_strategy.take();
        let choice = EntityChoice::new(strategy.as_deref(), self.parameters.ignore_labels.take())?;
        let texts = inputs.into_texts("entities are found in").map_err(Refusal::Invalid)?;
        let batch = texts.into_batch();
        let mut outputs = self.run(batch.inputs, choice.task()).await?;
        let lists =
            outputs.iter_mut().map(|output| choice.take_groups(output).map(HubEntity::from));
        let lists = lists.map(Iterator::collect).collect();
        let body = one_or_many(
            lists,
            &outputs.failed,
            batch.single,
            HubAnswer::Entities,
            HubAnswer::EntitiesOfMany,
        );
        self.call.answer(batch.characters, &outputs, body).await
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
        self.parameters.check("filling masks", &["top_k", "targets"])?;
        if self.parameters.targets.is_some() {
            return Err(Refusal::Invalid("`targets` is not supported; use `top_k`".into()));
        }
        let texts: Vec<Arc<str>> = inputs.texts().map(Arc::from).collect();
        let InputBatch { inputs, characters, single } =
            inputs.into_batch(None).map_err(Refusal::Shape)?;
        if texts.len() != inputs.len() {
            return Err(Refusal::Invalid(
                "masks are filled in texts, not in token ids; send texts".into(),
            ));
        }
        let top_k = self.parameters.top_k.unwrap_or(DEFAULT_TOP_K);
        let outputs = self.run(inputs, Task::FillMask { top_k }).await?;
        let fills = |output: &Output| {
            mask_fills(&self.call.served, &texts[output.index], output, self.overlong)
        };
        let of_texts = in_place(outputs.iter().map(fills).collect(), &outputs.failed);
        // A text with several masks has a list per mask.
        let lists = of_texts.0.into_iter().flat_map(|of_text| match of_text {
            Item::Done(masks) => masks.into_iter().map(Item::Done).collect(),
            Item::Failed(error) => vec![Item::Failed(error)],
        });
        let mut lists: Vec<Item<Vec<MaskFill>>> = lists.collect();
        let body = match lists.pop() {
            Some(Item::Done(only)) if single && lists.is_empty() => HubAnswer::Fills(only),
            last => {
                lists.extend(last);
                HubAnswer::FillsOfMany(Items(lists))
            }
        };
        self.call.answer(characters, &outputs, body).await
    }
}
