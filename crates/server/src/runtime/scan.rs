//! Whole texts read by several models, each text tokenized once per tokenizer, for guardrails.

use std::ops::Range;
use std::sync::Arc;

use bigbatch_engine::Input;

use super::classify::{ClassifyRequest, Finding, task_of};
use super::head::Head;
use super::item::ItemError;
use super::reading::{Overflow, Reading};
use super::run::{InputOutcome, RequestRows, run_all};
use super::spans::Span;
use super::surface::{Common, Question, SurfaceRequest};
use crate::app::App;
use crate::error::Refusal;
use crate::memory::Charge;
use crate::models::ServedModel;
use crate::terms::Terms;

/// A model, and the windows in which it reads.
pub(crate) struct ModelScan {
    pub(crate) served: Arc<ServedModel>,
    /// Tokens of a window, special ones included.
    pub(crate) window: usize,
    /// Tokens that a window shares with the one before.
    pub(crate) overlap: usize,
}

impl ModelScan {
    /// Returns whether the other scan has the same answers.
    pub(crate) fn reads_as(&self, other: &ModelScan) -> bool {
        Arc::ptr_eq(&self.served, &other.served)
            && (self.window, self.overlap) == (other.window, other.overlap)
    }
}

/// A label of a text or of a part of it.
#[derive(Clone)]
pub(crate) struct LabelledSpan {
    pub(crate) label: String,
    /// In Unicode code points.
    pub(crate) span: Range<usize>,
    pub(crate) score: f32,
}

/// The labels of each text.
pub(crate) type Scanned = Vec<Result<Vec<LabelledSpan>, Refusal>>;

/// Returns whether a model labels texts or parts of them.
pub(crate) fn labels_texts(served: &ServedModel) -> bool {
    Head::of(served).is_some_and(|head| !head.is_grounded)
}

/// Reads all texts by all models at the same time. Returns one result per model, and the tokens of the texts by the model
/// that has most. An empty text has no labels.
pub(crate) async fn scan_all(
    app: &Arc<App>,
    scans: Vec<ModelScan>,
    texts: &[String],
    charge: &Arc<Charge>,
    terms: Terms,
) -> (Vec<Result<Scanned, Refusal>>, usize) {
    let mut requests = Vec::new();
    let mut results = Vec::new();
    for scan in scans {
        let request = request(scan, texts);
        results.push(request.map(|request| requests.push(request)));
    }
    let (rows, _) = run_all(app, &mut requests, charge, |_| terms).await;
    let read =
        |rows: &RequestRows| rows.outcomes.iter().map(|outcome| outcome.tokens).sum::<usize>();
    let tokens = rows.iter().flatten().map(read).max().unwrap_or(0);
    let labelled = move || {
        let mut ran = requests.into_iter().zip(rows);
        let one = |result: Result<(), Refusal>| {
            result?;
            let (request, rows) = ran.next().ok_or_else(super::no_rows)?;
            let SurfaceRequest { served, question: Question::Classify(question), .. } = request
            else {
                return Err(super::no_rows());
            };
            let outcomes = texts.iter().zip(rows?.outcomes);
            Ok(outcomes.map(|(text, outcome)| labels(&question, &served, text, outcome)).collect())
        };
        results.into_iter().map(one).collect()
    };
    (app.offload.run(charge.bytes(), labelled).await, tokens)
}

fn request(
    ModelScan { served, window, overlap }: ModelScan,
    texts: &[String],
) -> Result<SurfaceRequest, Refusal> {
    let head = Head::of(&served).ok_or_else(|| {
        Refusal::WrongKind(format!("'{}' labels neither texts nor parts of them", served.name))
    })?;
    let input = |text: &String| match text.is_empty() {
        true => Err(ItemError::InvalidInput),
        false => Ok(Input::Text(text.clone())),
    };
    let overflow = Overflow::Window { tokens: window, overlap };
    Ok(SurfaceRequest {
        common: Common::default(),
        inputs: texts.iter().map(input).collect(),
        // The memory and the time that a request may take bound its texts.
        reading: Reading { overflow, max_tokens: usize::MAX, cut_text: false },
        task: task_of(&head),
        question: Question::Classify(ClassifyRequest::new(head)),
        served,
    })
}

fn labels(
    question: &ClassifyRequest,
    served: &ServedModel,
    text: &str,
    outcome: InputOutcome,
) -> Result<Vec<LabelledSpan>, Refusal> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let rows = outcome.result.map_err(|error| match error {
        ItemError::DeadlineExceeded => {
            Refusal::DeadlinePassed("no answer before the deadline of the request".into())
        }
        error => Refusal::Invalid(format!("a text cannot be judged: {error:?}")),
    })?;
    let whole = 0..text.chars().count();
    let of_labels = |scores: Vec<f32>| {
        let labels = served.engine.model().labels.iter().zip(scores);
        let label = |(label, score): (&String, f32)| LabelledSpan {
            label: label.clone(),
            span: whole.clone(),
            score,
        };
        labels.map(label).collect()
    };
    Ok(match question.find(served, rows) {
        Finding::Sequence { probabilities, .. } => of_labels(probabilities),
        Finding::Scores { scores, .. } => of_labels(scores),
        Finding::Token { spans, .. } => spans.into_iter().map(LabelledSpan::from).collect(),
    })
}

impl From<Span> for LabelledSpan {
    fn from(Span { label, start, end, probability, .. }: Span) -> LabelledSpan {
        LabelledSpan { label, span: start..end, score: probability }
    }
}
