//! Whole texts read by several models, each text tokenized once per tokenizer: what guardrails are made of.

use std::ops::Range;
use std::sync::Arc;

use bigbatch_engine::Input;

use super::classify::{ClassifyRequest, Finding, task_of};
use super::head::Head;
use super::item::ItemError;
use super::reading::{Overflow, Reading};
use super::run::{Outcome, run_all};
use super::surface::{Common, Question, SurfaceRequest};
use crate::app::App;
use crate::error::Refusal;
use crate::memory::Charge;
use crate::models::ServedModel;
use crate::terms::Terms;

/// Texts for one model.
pub(crate) struct Scan {
    pub(crate) served: Arc<ServedModel>,
    pub(crate) texts: Vec<String>,
    /// Tokens of a window, special ones included.
    pub(crate) window: usize,
    /// Tokens that a window shares with the one before.
    pub(crate) overlap: usize,
}

/// A label of a text or of a part of it.
pub(crate) struct Found {
    pub(crate) label: String,
    /// In Unicode code points.
    pub(crate) span: Range<usize>,
    pub(crate) text: String,
    pub(crate) score: f32,
}

/// What a model found in each text.
pub(crate) type Scanned = Vec<Result<Vec<Found>, Refusal>>;

/// Runs all scans at the same time. Returns one result per scan.
///
/// # Errors
/// As [`run_all`].
pub(crate) async fn scan_all(
    app: &Arc<App>,
    scans: Vec<Scan>,
    charge: &Arc<Charge>,
    terms: Terms,
) -> Result<Vec<Result<Scanned, Refusal>>, Refusal> {
    let mut texts = Vec::new();
    let mut requests = Vec::new();
    for scan in scans {
        texts.push(scan.texts.clone());
        requests.push(request(scan)?);
    }
    let (ran, _) = run_all(app, &mut requests, charge, |_| terms).await?;
    let all = requests.into_iter().zip(texts).zip(ran);
    let one = |((request, texts), ran): ((SurfaceRequest, Vec<String>), Result<_, Refusal>)| {
        let ran: super::run::Ran = ran?;
        let SurfaceRequest { served, question: Question::Classify(question), .. } = request else {
            return Err(Refusal::WrongKind(NO_HEAD.into()));
        };
        let outcomes = texts.into_iter().zip(ran.outcomes);
        Ok(outcomes.map(|(text, outcome)| found(&question, &served, text, outcome)).collect())
    };
    Ok(all.map(one).collect())
}

const NO_HEAD: &str = "the model of the guardrail labels neither texts nor parts of them";

fn request(scan: Scan) -> Result<SurfaceRequest, Refusal> {
    let Scan { served, texts, window, overlap } = scan;
    let head = Head::of(&served).ok_or_else(|| Refusal::WrongKind(NO_HEAD.into()))?;
    let input = |text: String| match text.is_empty() {
        true => Err(ItemError::InvalidInput),
        false => Ok(Input::Text(text)),
    };
    let overflow = Overflow::Window { tokens: window, overlap };
    Ok(SurfaceRequest {
        common: Common::default(),
        inputs: texts.into_iter().map(input).collect(),
        // The memory and the time that a request may take bound its texts.
        reading: Reading { overflow, max_tokens: usize::MAX, cut_text: false },
        task: task_of(&head),
        question: Question::Classify(ClassifyRequest::new(head)),
        served,
    })
}

fn found(
    question: &ClassifyRequest,
    served: &ServedModel,
    text: String,
    outcome: Outcome,
) -> Result<Vec<Found>, Refusal> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let answered = outcome.result.map_err(|error| match error {
        ItemError::DeadlineExceeded => {
            Refusal::DeadlinePassed("no answer before the deadline of the request".into())
        }
        error => Refusal::Invalid(format!("a text cannot be judged: {error:?}")),
    })?;
    let span = 0..text.chars().count();
    let of_labels = |scores: Vec<f32>| {
        let labels = served.engine.model().labels.iter().zip(scores);
        let whole = |(label, score): (&String, f32)| {
            let (label, span, text) = (label.clone(), span.clone(), text.clone());
            Found { label, span, text, score }
        };
        labels.map(whole).collect()
    };
    Ok(match question.find(served, answered) {
        Finding::Sequence { probabilities, .. } => of_labels(probabilities),
        Finding::Scores { scores, .. } => of_labels(scores),
        Finding::Token { spans, .. } => spans.into_iter().map(Found::from).collect(),
    })
}

impl From<super::spans::Span> for Found {
    fn from(span: super::spans::Span) -> Found {
        let super::spans::Span { label, start, end, text, probability } = span;
        Found { label, span: start..end, text, score: probability }
    }
}
