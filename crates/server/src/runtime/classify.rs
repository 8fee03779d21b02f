//! `POST /v1/classify`: labels of texts, scores of labels, and labelled spans.
//!
//! The forms of an input are in `classify_input`, spans in `spans`.

use bigbatch_engine::{Answer, LabelScore, Task, find_entities, shares};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::body::{Raw, field, object};
use super::classify_input::read_inputs;
use super::head::{HEAD, Head, HeadKind};
use super::item::{InputUsage, Item};
use super::reading::{Overflow, Reading};
use super::run::{InputOutcome, InputRows, RequestRows, Source};
use super::spans::{Span, TokenRow, token_rows};
use super::surface::{
    Common, Meta, Question, Surface, SurfaceRequest, Usage, check_count, check_max_tokens, choose,
};
use crate::app::App;
use crate::error::Refusal;
use crate::models::ServedModel;
use crate::wire::fields::check_threshold;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body<'a> {
    #[serde(borrow)]
    model: Raw<'a>,
    #[serde(borrow)]
    input: Raw<'a>,
    #[serde(borrow)]
    head: Raw<'a>,
    #[serde(borrow)]
    options: Raw<'a>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Options<'a> {
    deadline_ms: Option<f64>,
    profile: Option<String>,
    return_meta: Option<bool>,
    overflow: Option<String>,
    max_tokens: Option<usize>,
    #[serde(borrow)]
    window: Raw<'a>,
    threshold: Option<f32>,
    return_tokens: Option<bool>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Window {
    tokens: usize,
    overlap: Option<usize>,
}

/// The part of a request that decides how rows are answered.
pub(super) struct ClassifyRequest {
    pub(super) head: Head,
    threshold: Option<f32>,
    return_tokens: bool,
}

/// Checks a request.
///
/// # Errors
/// The refusals of the contract, in its order.
pub(super) fn prepare(app: &App, body: &RawValue) -> Result<SurfaceRequest, Refusal> {
    let body: Body<'_> = object(body, "the body")?;
    let served = choose(app, body.model, Surface::Classify)?;
    let Some(head) = Head::of(&served) else {
        return Err(Refusal::WrongKind(format!("the model '{}' has no head", served.name)));
    };
    let options = match body.options {
        Some(options) => object(options, "`options`")?,
        None => Options::default(),
    };
    let common = Common::new(options.deadline_ms, options.profile.as_deref(), options.return_meta)?;
    check_head(body.head, &served)?;
    let reading = reading(app, &options, &head, &served)?;
    check_threshold("options.threshold", options.threshold)?;
    let input = body.input.ok_or_else(|| Refusal::Shape("`input` is missing".into()))?;
    let inputs = read_inputs(input, &head, &served)?;
    check_count(inputs.len(), Surface::Classify.max_inputs(&app.options), "input")?;
    let task = task_of(&head);
    let (threshold, return_tokens) = (options.threshold, options.return_tokens.unwrap_or_default());
    let question = Question::Classify(ClassifyRequest { head, threshold, return_tokens });
    Ok(SurfaceRequest { served, common, inputs, reading, task, question })
}

/// Returns the task whose rows a head is answered from.
pub(super) fn task_of(head: &Head) -> Task {
    match head.kind {
        HeadKind::Token => Task::TokenScores { raw_scores: false },
        HeadKind::Sequence | HeadKind::Scores => Task::Classify { raw_scores: false },
    }
}

fn check_head(head: Raw<'_>, served: &ServedModel) -> Result<(), Refusal> {
    match field::<String>(head, "head")? {
        Some(name) if name != HEAD => Err(Refusal::Invalid(format!(
            "`head` is '{name}'; the model '{}' has the head {HEAD}",
            served.name
        ))),
        _ => Ok(()),
    }
}

fn reading(
    app: &App,
    options: &Options<'_>,
    head: &Head,
    served: &ServedModel,
) -> Result<Reading, Refusal> {
    let default = head.max_tokens.unwrap_or(usize::MAX);
    let max_tokens = check_max_tokens(options.max_tokens, default, served)?;
    let window =
        options.window.map(|window| object::<Window>(window, "`options.window`")).transpose()?;
    if let Some(Window { tokens: tokens @ ..2, .. }) = window {
        return Err(Refusal::Invalid(format!(
            "`options.window.tokens` is {tokens}; it must be at least 2"
        )));
    }
    let given = window.map(|Window { tokens, overlap }| (tokens, overlap.unwrap_or(0)));
    let overflow = match options.overflow.as_deref() {
        None => match (head.overflow(), given) {
            // The request changes the windows of the head.
            (Overflow::Window { .. }, Some((tokens, overlap))) => {
                Overflow::Window { tokens, overlap }
            }
            (overflow, _) => overflow,
        },
        Some("reject") => Overflow::Reject,
        Some("truncate") => Overflow::truncate_if_allowed(app),
        Some("window") if head.reduction().is_none() => {
            return Err(Refusal::Invalid(
                "`options.overflow` is window, which a grounded head is not read in".into(),
            ));
        }
        Some("window") => {
            let (tokens, overlap) = given.or(head.window).ok_or_else(|| {
                Refusal::Invalid(
                    "`options.overflow` is window; give `options.window` too, the head has no own"
                        .into(),
                )
            })?;
            Overflow::Window { tokens, overlap }
        }
        Some(other) => {
            return Err(Refusal::Invalid(format!(
                "`options.overflow` is '{other}'; it must be reject, truncate or window"
            )));
        }
    };
    if let Overflow::Window { tokens, .. } = overflow
        && tokens > max_tokens
    {
        return Err(Refusal::Invalid(format!(
            "`options.window.tokens` is {tokens}; `options.max_tokens` is {max_tokens}"
        )));
    }
    Ok(Reading { overflow, max_tokens, cut_text: head.kind == HeadKind::Token })
}

/// The answer of the surface.
#[derive(Debug, Serialize)]
pub(super) struct ClassifyAnswer {
    model: String,
    head: &'static str,
    kind: HeadKind,
    labels: Vec<String>,
    results: Vec<Item<ClassifyResult>>,
    usage: Usage,
    #[serde(skip_serializing_if = "Option::is_none")]
    meta: Option<Meta>,
}

#[derive(Debug, Serialize)]
struct ClassifyResult {
    index: usize,
    #[serde(flatten)]
    finding: Finding,
    input: InputUsage,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Finding {
    Sequence {
        probabilities: Vec<f32>,
        label: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        windows: Option<Vec<WindowRow>>,
    },
    Scores {
        scores: Vec<f32>,
        #[serde(skip_serializing_if = "Option::is_none")]
        selected: Option<Vec<String>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        windows: Option<Vec<WindowRow>>,
    },
    Token {
        spans: Vec<Span>,
        #[serde(skip_serializing_if = "Option::is_none")]
        tokens: Option<Vec<TokenRow>>,
    },
}

/// The scores of one window. `start` and `end` count tokens of the text, without special ones.
#[derive(Debug, Serialize)]
pub(super) struct WindowRow {
    start: usize,
    end: usize,
    #[serde(flatten)]
    row: Row,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "lowercase")]
enum Row {
    Probabilities(Vec<f32>),
    Scores(Vec<f32>),
}

impl ClassifyRequest {
    /// Returns a request for everything that a head marks.
    pub(super) fn new(head: Head) -> ClassifyRequest {
        ClassifyRequest { head, threshold: None, return_tokens: false }
    }

    pub(super) fn answer(
        &self,
        served: &ServedModel,
        common: &Common,
        ran: RequestRows,
    ) -> ClassifyAnswer {
        let meta = common.return_meta.then(|| Meta { head: Some(HEAD), ..Meta::of(served, &ran) });
        let mut input_tokens = 0;
        let mut result = |(index, InputOutcome { tokens, result }): (usize, InputOutcome)| {
            input_tokens += tokens;
            match result {
                Ok(answered) => {
                    let input = answered.usage;
                    Item::Done(ClassifyResult {
                        index,
                        finding: self.find(served, answered),
                        input,
                    })
                }
                Err(error) => Item::failed(index, error),
            }
        };
        let results = ran.outcomes.into_iter().enumerate().map(&mut result).collect();
        ClassifyAnswer {
            model: served.name.clone(),
            head: HEAD,
            kind: self.head.kind,
            labels: served.engine.model().labels.clone(),
            results,
            usage: Usage { input_tokens, output_tokens: 0 },
            meta,
        }
    }

    pub(super) fn find(&self, served: &ServedModel, answered: InputRows) -> Finding {
        match self.head.kind {
            HeadKind::Token => self.find_spans(served, answered),
            HeadKind::Sequence => {
                let (probabilities, windows) = reduce(answered, Row::Probabilities);
                let label = served.engine.model().labels[first_largest(&probabilities)].clone();
                Finding::Sequence { probabilities, label, windows }
            }
            HeadKind::Scores => {
                let (scores, windows) = reduce(answered, Row::Scores);
                let model = served.engine.model();
                let point = model.operating_point.as_ref().zip(self.head.thresholds.as_ref());
                let selected = point.map(|(point, thresholds)| {
                    let passing = model.labels.iter().zip(scores.iter().zip(thresholds));
                    let passing =
                        passing.filter(|(_, (score, least))| point.passes(**score, **least));
                    passing.map(|(label, _)| label.clone()).collect()
                });
                Finding::Scores { scores, selected, windows }
            }
        }
    }

    fn find_spans(&self, served: &ServedModel, answered: InputRows) -> Finding {
        let model = served.engine.model();
        let labels = model.labels.len();
        let (text, spans, rows) = token_scores(answered, labels);
        let found = find_entities(model, &text, &spans, &rows, self.threshold);
        let found = found.into_iter().map(Span::from).collect();
        let tokens = self.return_tokens.then(|| token_rows(&spans, &rows, labels));
        Finding::Token { spans: found, tokens }
    }
}

/// Returns each label's score in its order, and those of the windows if there are any: the score is then the maximum.
fn reduce(answered: InputRows, row: fn(Vec<f32>) -> Row) -> (Vec<f32>, Option<Vec<WindowRow>>) {
    let scores: Vec<Vec<f32>> = answered.answers.into_iter().map(in_label_order).collect();
    let mut largest = scores.first().cloned().unwrap_or_default();
    for scores in &scores {
        largest.iter_mut().zip(scores).for_each(|(largest, score)| *largest = largest.max(*score));
    }
    let Source::Windows(chunks) = answered.source else { return (largest, None) };
    let windows = chunks.windows().iter().zip(scores);
    let window = |(window, scores): (&std::ops::Range<usize>, Vec<f32>)| WindowRow {
        start: window.start,
        end: window.end,
        row: row(scores),
    };
    (largest, Some(windows.map(window).collect()))
}

fn in_label_order(answer: Answer) -> Vec<f32> {
    let Answer::Labels(mut labels) = answer else { return Vec::new() };
    labels.sort_by_key(|label| label.id);
    labels.into_iter().map(|LabelScore { score, .. }| score).collect()
}

fn first_largest(scores: &[f32]) -> usize {
    let larger = |best: usize, at: usize| if scores[at] > scores[best] { at } else { best };
    (0..scores.len()).reduce(larger).unwrap_or(0)
}

/// Returns a text, the spans of its tokens without special ones, and their probabilities, [tokens, labels]. A token in
/// several windows has the row of the one in which its shorter side is longest.
fn token_scores(
    answered: InputRows,
    labels: usize,
) -> (String, Vec<std::ops::Range<usize>>, Vec<f32>) {
    let mut rows_of = answered.answers.into_iter().map(|answer| match answer {
        Answer::Rows { rows, .. } => rows,
        _ => Vec::new(),
    });
    match answered.source {
        Source::Whole(text, tokens) => {
            let own = tokens.own.clone();
            let rows = rows_of.next().unwrap_or_default();
            let rows = rows[own.start * labels..own.end * labels].to_vec();
            (text.as_ref().to_owned(), tokens.spans[own].to_vec(), rows)
        }
        Source::Windows(chunks) => {
            let mut rows = Vec::with_capacity(chunks.bare().ids.len() * labels);
            let parts = chunks.windows().iter().zip(shares(chunks.windows()));
            for ((window, share), own) in parts.zip(rows_of) {
                let first = chunks.special_tokens_before() + share.start - window.start;
                rows.extend_from_slice(&own[first * labels..(first + share.len()) * labels]);
            }
            (chunks.text().to_owned(), chunks.bare().spans.clone(), rows)
        }
    }
}
