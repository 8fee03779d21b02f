//! Zero-shot classification, as `transformers`' pipeline does it: a classifier of entailment reads each text with a
//! sentence about each candidate label.

use std::sync::Arc;

use axum::response::Response;
use bigbatch_engine::{Input, LabelScore, Task};

use super::hub::HubTask;
use crate::error::Refusal;
use crate::jobs::take_labels;
use crate::models::ServedModel;
use crate::wire::hub::{CandidateLabels, HubAnswer};
use crate::wire::inputs::{Inputs, one_or_many};
use crate::wire::shared::Prediction;

const TEMPLATE: &str = "This example is {}.";

impl HubTask {
    /// Answers with the candidate labels of each text, likeliest first.
    pub(super) async fn zero_shot(
        mut self,
        inputs: Inputs,
        candidates: CandidateLabels,
    ) -> Result<Response, Refusal> {
        let scoring = Entailment::new(&self.call.served, self.parameters.multi_label)?;
        self.parameters
            .check("zero-shot classification", &["hypothesis_template", "multi_label", "top_k"])?;
        if self.call.partial {
            return Err(Refusal::Invalid(
                "`partial` does not work with `candidate_labels`: a label without a score changes those of the \
                 others; leave it out"
                    .into(),
            ));
        }
        let template = self.parameters.hypothesis_template.take();
        let (before, after) = split_template(template.as_deref().unwrap_or(TEMPLATE))?;
        let candidates = candidates.into_vec();
        if candidates.is_empty() {
            return Err(Refusal::Empty("`candidate_labels` cannot be empty".into()));
        }
        let texts = inputs.into_texts("candidate labels are for").map_err(Refusal::Invalid)?;
        let (texts, single) = texts.into_vec();
        // Before the pairs are made, of which a small body may ask for millions.
        self.call.check_count(texts.len().saturating_mul(candidates.len()), "inputs")?;
        let hypothesis = |label: &String| before.len() + label.len() + after.len();
        let hypotheses: usize = candidates.iter().map(hypothesis).sum();
        let charge = &self.call.charge;
        charge.set(charge.bytes().saturating_add(texts.len().saturating_mul(hypotheses)))?;
        // Shared by the pairs of a text, of which there may be thousands.
        let contexts: Vec<Arc<str>> = texts.iter().map(|text| text.as_str().into()).collect();
        let pair = |text: &Arc<str>, label: &String| Input::InContext {
            context: text.clone(),
            text: format!("{before}{label}{after}"),
        };
        let pairs =
            contexts.iter().flat_map(|text| candidates.iter().map(move |label| pair(text, label)));
        let mut outputs = self.run(pairs.collect(), Task::Classify { raw_scores: true }).await?;
        let logits = take_labels(&mut outputs);
        let top_k = self.parameters.top_k.unwrap_or(usize::MAX);
        let of_text = |logits: &[Vec<LabelScore>]| {
            let scores = scoring.scores(logits);
            let scored = candidates.iter().zip(scores);
            let prediction =
                |(label, score): (&String, f32)| Prediction { score, label: label.clone() };
            let mut list: Vec<Prediction> = scored.map(prediction).collect();
            // The pipeline reverses an ascending order: of equal scores the last comes first.
            list.sort_by(|a, b| a.score.total_cmp(&b.score));
            list.into_iter().rev().take(top_k).collect::<Vec<_>>()
        };
        let lists = logits.chunks(candidates.len()).map(of_text).collect();
        let body = one_or_many(lists, &[], single, HubAnswer::Candidates, HubAnswer::Labels);
        let characters = texts.iter().map(|text| text.chars().count()).sum();
        self.call.answer(characters, &outputs, body).await
    }
}

/// Splits a template at the place of the label.
fn split_template(template: &str) -> Result<(&str, &str), Refusal> {
    let parts = template.split_once("{}");
    parts.filter(|(a, b)| !a.contains(['{', '}']) && !b.contains(['{', '}'])).ok_or_else(|| {
        Refusal::Invalid(format!(
            "`hypothesis_template` is '{template}'; it needs {{}} once, where the label goes, and no other brace"
        ))
    })
}

/// How logits of entailment become scores of candidate labels.
struct Entailment {
    entailment: usize,
    contradiction: usize,
    multi_label: bool,
}

impl Entailment {
    /// Finds the labels as the pipeline does: the first that begins with `entail`, in any case, and against it
    /// the first label, or the last one if the first is entailment.
    fn new(served: &ServedModel, multi_label: Option<bool>) -> Result<Entailment, Refusal> {
        let labels = &served.engine.model().labels;
        let entails = |label: &String| label.to_lowercase().starts_with("entail");
        let entailment = labels.iter().position(entails).ok_or_else(|| {
            Refusal::Invalid(format!(
                "`candidate_labels` needs a classifier of entailment, with a label that begins with 'entail'; \
                 {} has none",
                served.name
            ))
        })?;
        let contradiction = if entailment == 0 { labels.len() - 1 } else { 0 };
        Ok(Entailment { entailment, contradiction, multi_label: multi_label.unwrap_or(false) })
    }

    /// Returns the score of each candidate from its logits.
    fn scores(&self, logits: &[Vec<LabelScore>]) -> Vec<f32> {
        let logit = |labels: &[LabelScore], id: usize| {
            labels.iter().find(|label| label.id == id).map_or(0.0, |label| f64::from(label.score))
        };
        let entailment: Vec<f64> =
            logits.iter().map(|labels| logit(labels, self.entailment)).collect();
        if self.multi_label || logits.len() == 1 {
            let against = logits.iter().map(|labels| logit(labels, self.contradiction));
            let score =
                |(for_it, against): (&f64, f64)| (1.0 / (1.0 + (against - for_it).exp())) as f32;
            return entailment.iter().zip(against).map(score).collect();
        }
        let highest = entailment.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let weights: Vec<f64> = entailment.iter().map(|logit| (logit - highest).exp()).collect();
        let total: f64 = weights.iter().sum();
        weights.into_iter().map(|weight| (weight / total) as f32).collect()
    }
}
