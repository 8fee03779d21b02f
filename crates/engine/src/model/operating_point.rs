//! `operating_point.json`: the thresholds that a classifier was calibrated with, and the inputs that it was calibrated on.
//!
//! There are two forms. Independent scores have a threshold per label and may be read in windows; a grounded token
//! classifier reads a context with an answer and has one threshold for the tokens of the answer, which
//! [`crate::Task::Tag`] marks by it. Scores are compared by the callers. Keys besides those named here describe the
//! calibration.

use serde_json::{Map, Value};

use super::config_file::ConfigFile;
use super::modernbert::{Config, Head, Scoring};
use crate::checkpoint::{Checkpoint, sha256};
use crate::error::LoadError;

pub(super) const FILE: &str = "operating_point.json";

/// The label of a grounded token that is no finding.
const SUPPORTED: &str = "supported";
/// The fields of a grounded prompt.
const FIELDS: [&str; 2] = ["{question}", "{context}"];

/// The operating point of a classifier.
#[derive(Debug, Clone, PartialEq)]
pub enum OperatingPoint {
    /// Each label is scored by itself.
    Scores {
        /// The least score of each label that selects it, in the order of the labels; 0 to 1.
        thresholds: Vec<f64>,
        /// Whether a score equal to its threshold passes.
        inclusive: bool,
        /// Tokens per window, special ones included, and those that it shares with the one before; `None`: texts are
        /// read whole.
        window: Option<(usize, usize)>,
        /// The longest text in tokens, special ones included.
        max_document_tokens: Option<usize>,
    },
    /// Tokens of an answer are labelled beside the context that it should follow from.
    Grounded {
        /// The first text of the pair, with `{question}` and `{context}`.
        template: String,
        /// The probability that marks a token, 0 to 1.
        token_threshold: f64,
        /// Whether a probability equal to the threshold passes.
        inclusive: bool,
        /// The longest pair in tokens, special ones included.
        max_input_tokens: usize,
        /// The label that is a finding, by its id.
        positive: usize,
    },
}

/// What an operating point is checked against.
struct Classifier<'a> {
    labels: &'a [String],
    /// Tokens of the longest input that the positions allow.
    max_positions: usize,
    /// Special tokens around one text.
    special_tokens: usize,
}

impl OperatingPoint {
    /// Reads the file and returns it with the digest of its bytes; `None` if the checkpoint has none. `special_tokens` is
    /// the number of special tokens around one text.
    ///
    /// # Errors
    /// [`LoadError::Config`] with the key that is missing, of another type, out of range or not computed, and for a
    /// file beside a model that has no thresholds.
    pub(super) fn read(
        checkpoint: &Checkpoint,
        config: &Config,
        labels: &[String],
        special_tokens: usize,
    ) -> Result<Option<(OperatingPoint, String)>, LoadError> {
        let classifier = &Classifier { labels, max_positions: config.max_tokens, special_tokens };
        let Some(json) = checkpoint.read_if_known(FILE)? else { return Ok(None) };
        let mut file = ConfigFile::parse(FILE.into(), &json)?;
        let point = match config.head {
            Head::Sequence { scoring: Scoring::Sigmoid, .. } => scores(&mut file, classifier)?,
            Head::Sequence { .. } => {
                return Err(file.bad(
                    "the scores of the classifier are not independent (problem_type), so they have no thresholds; \
                     remove the file",
                ));
            }
            Head::Token => grounded(&mut file, classifier)?,
            Head::Base | Head::MaskedLm { .. } | Head::PairScorers => {
                return Err(file.bad("the model is no classifier; remove the file"));
            }
        };
        Ok(Some((point, sha256(&json))))
    }

    /// Returns whether a score passes a threshold: its own or one that a caller gives instead.
    pub fn passes(&self, score: f32, threshold: f32) -> bool {
        let (OperatingPoint::Scores { inclusive, .. } | OperatingPoint::Grounded { inclusive, .. }) =
            self;
        if *inclusive { score >= threshold } else { score > threshold }
    }

    /// Returns the longest input that a grounded classifier was calibrated on.
    pub(super) fn max_input_tokens(&self) -> Option<usize> {
        match self {
            OperatingPoint::Grounded { max_input_tokens, .. } => Some(*max_input_tokens),
            OperatingPoint::Scores { .. } => None,
        }
    }

    /// Renders the first text of a grounded pair; `None` for an operating point of another form.
    pub fn prompt(&self, question: &str, context: &str) -> Option<String> {
        let OperatingPoint::Grounded { template, .. } = self else { return None };
        let mut rest = template.as_str();
        let mut prompt = String::with_capacity(template.len() + question.len() + context.len());
        while let Some(at) = rest.find('{') {
            prompt.push_str(&rest[..at]);
            let [is_question, _] = FIELDS.map(|field| rest[at..].starts_with(field));
            let (field, value) =
                if is_question { (FIELDS[0], question) } else { (FIELDS[1], context) };
            prompt.push_str(value);
            rest = &rest[at + field.len()..];
        }
        prompt.push_str(rest);
        Some(prompt)
    }
}

fn scores(file: &mut ConfigFile, classifier: &Classifier<'_>) -> Result<OperatingPoint, LoadError> {
    const COMPARISONS: [&str; 2] = ["score >= threshold", "score > threshold"];
    file.needed_text("score_type", &["independent_sigmoid"])?;
    let inclusive = file.needed_text("comparison", &COMPARISONS)? == COMPARISONS[0];
    let labels = file.take("labels");
    if labels.as_ref() != Some(&Value::from(classifier.labels)) {
        return Err(file.bad("labels differ from id2label of config.json"));
    }
    let thresholds = file.take("thresholds").unwrap_or_default();
    let values: Option<Vec<f64>> =
        thresholds.as_array().and_then(|list| list.iter().map(probability).collect());
    let Some(thresholds) = values.filter(|list| list.len() == classifier.labels.len()) else {
        return Err(file.bad(format!(
            "thresholds is {thresholds}; it must list a number between 0 and 1 for each of the {} labels",
            classifier.labels.len()
        )));
    };
    let InputPolicy { window, max_document_tokens } = match file.section("input_policy")? {
        None => InputPolicy::default(),
        Some(policy) => input_policy(policy, classifier)?,
    };
    Ok(OperatingPoint::Scores { thresholds, inclusive, window, max_document_tokens })
}

/// How texts are cut.
#[derive(Default)]
struct InputPolicy {
    window: Option<(usize, usize)>,
    max_document_tokens: Option<usize>,
}

fn input_policy(
    mut policy: ConfigFile,
    classifier: &Classifier<'_>,
) -> Result<InputPolicy, LoadError> {
    const STRATEGY: &str = "overlapping_content_windows";
    const WINDOW: &str = "window_tokens_including_special_tokens";
    const OVERLAP: &str = "overlap_content_tokens";
    const DOCUMENT: &str = "max_document_tokens_including_special_tokens";
    policy.needed_text("strategy", &[STRATEGY])?;
    let window = policy.needed_size(WINDOW)?;
    let overlap = policy.take(OVERLAP).unwrap_or_default();
    let content = window.saturating_sub(classifier.special_tokens);
    let shared = overlap.as_u64().and_then(|overlap| usize::try_from(overlap).ok());
    let Some(shared) = shared.filter(|&shared| shared < content) else {
        return Err(policy.bad(format!(
            "{OVERLAP} is {overlap}; a window of {window} tokens has {content} of its text, so it must lie between 0 \
             and {}",
            content.saturating_sub(1)
        )));
    };
    let derived =
        [("content_tokens_per_window", content), ("stride_content_tokens", content - shared)];
    for (key, expected) in derived {
        if let Some(stated) = policy.size(key)?.filter(|&stated| stated != expected) {
            return Err(
                policy.bad(format!("{key} is {stated}; {WINDOW} and {OVERLAP} make it {expected}"))
            );
        }
    }
    let document = policy.size(DOCUMENT)?;
    let positions = classifier.max_positions;
    for (key, tokens) in [(WINDOW, Some(window)), (DOCUMENT, document)] {
        if let Some(tokens) = tokens.filter(|&tokens| tokens > positions) {
            return Err(
                policy.bad(format!("{key} is {tokens}; the model has {positions} positions"))
            );
        }
    }
    Ok(InputPolicy { window: Some((window, shared)), max_document_tokens: document })
}

fn grounded(
    file: &mut ConfigFile,
    classifier: &Classifier<'_>,
) -> Result<OperatingPoint, LoadError> {
    let positions = classifier.max_positions;
    let template = template(file)?;
    let ids = classifier.labels.iter().zip(0..).map(|(label, id)| (label.clone(), Value::from(id)));
    let expected: Map<String, Value> = ids.collect();
    if file.object("label2id")? != expected {
        return Err(file.bad("label2id differs from id2label of config.json"));
    }
    let findings = classifier.labels.iter().enumerate().filter(|(_, label)| *label != SUPPORTED);
    let findings: Vec<usize> = findings.map(|(id, _)| id).collect();
    let ([positive], 2) = (findings.as_slice(), classifier.labels.len()) else {
        return Err(file.bad(format!(
            "label2id has {} labels; a grounded classifier has two, one of them '{SUPPORTED}'",
            classifier.labels.len()
        )));
    };
    let threshold = file.take("token_threshold").unwrap_or_default();
    let Some(token_threshold) = probability(&threshold) else {
        return Err(file
            .bad(format!("token_threshold is {threshold}; it must be a number between 0 and 1")));
    };
    let comparison = file.text("threshold_comparison")?;
    let inclusive = match comparison.as_deref() {
        None | Some("strictly_greater") => false,
        Some("greater_or_equal") => true,
        Some(other) => {
            return Err(file.bad(format!(
                "threshold_comparison is '{other}'; known are strictly_greater and greater_or_equal"
            )));
        }
    };
    file.one_of("answer_offsets", &["Unicode code points"])?;
    let max_input_tokens = file.needed_size("max_input_tokens")?;
    if max_input_tokens > positions {
        return Err(file.bad(format!(
            "max_input_tokens is {max_input_tokens}; the model has {positions} positions"
        )));
    }
    let positive = *positive;
    Ok(OperatingPoint::Grounded {
        template,
        token_threshold,
        inclusive,
        max_input_tokens,
        positive,
    })
}

/// Reads the template of `input_pair`, whose second text is the answer.
fn template(file: &mut ConfigFile) -> Result<String, LoadError> {
    let pair = file.take("input_pair").unwrap_or_default();
    let bad = |file: &ConfigFile, why: &str| Err(file.bad(format!("input_pair is {pair}; {why}")));
    let [Value::String(template), Value::String(answer)] =
        pair.as_array().map_or(&[][..], Vec::as_slice)
    else {
        return bad(file, "a token classifier with thresholds needs a prompt and \"answer\"");
    };
    if answer != "answer" {
        return bad(file, "its second text must be \"answer\"");
    }
    let plain = FIELDS.iter().fold(template.clone(), |rest, field| rest.replace(field, ""));
    let has_both = FIELDS.iter().all(|field| template.contains(field));
    match has_both && !plain.contains(['{', '}']) {
        true => Ok(template.clone()),
        false => bad(file, "the prompt must have {question} and {context}, and no other braces"),
    }
}

fn probability(value: &Value) -> Option<f64> {
    value.as_f64().filter(|value| (0.0..=1.0).contains(value))
}
