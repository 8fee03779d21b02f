//! LiteLLM's generic guardrail API: `POST /beta/litellm_basic_guardrail_api`.
//!
//! Fields that are not listed here are ignored, because the API grows; the operator's own settings for this server are not.

use std::ops::Range;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::receive;
use super::scan::{Findings, Scan, scan};
use crate::app::App;
use crate::error::Refusal;
use crate::guardrail_options::{Action, Guardrail};
use crate::runtime::scan::LabelledSpan;
use crate::wire::Dialect;
use crate::wire::fields::check_threshold;
use crate::wire::tei::TeiErrors;

pub(super) const PATH: &str = "/beta/litellm_basic_guardrail_api";

/// What a gateway sends. Fields that are not listed are ignored.
#[derive(Deserialize, ToSchema)]
#[schema(as = LiteLlmRequest)]
pub(crate) struct Body {
    texts: Option<Vec<String>>,
    images: Option<Vec<Value>>,
    tool_calls: Option<Vec<Value>>,
    /// The texts again, with who said them.
    structured_messages: Option<Vec<Value>>,
    additional_provider_specific_params: Option<Settings>,
}

/// The operator's settings for this server.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = LiteLlmSettings)]
pub(crate) struct Settings {
    /// The guardrails to ask; all of them if absent.
    guardrails: Option<Vec<String>>,
    /// Lowers the threshold of each: a request may ask for more to be found, not for less.
    threshold: Option<f32>,
}

/// The judgement on all texts.
#[derive(Serialize, ToSchema)]
#[schema(as = LiteLlmAnswer)]
pub(crate) struct Answer {
    /// `NONE`, `BLOCKED`, or `GUARDRAIL_INTERVENED`: `texts` has the masked ones.
    action: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    blocked_reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    texts: Option<Vec<String>>,
}

#[utoipa::path(post, path = "/beta/litellm_basic_guardrail_api", tag = "Guardrails", operation_id = "litellm",
    request_body = Body, responses((status = 200, description = "The judgement", body = Answer), TeiErrors))]
/// Judges texts for LiteLLM's generic guardrail.
pub(crate) async fn answer(State(app): State<Arc<App>>, request: Request) -> Response {
    match judge(&app, request).await {
        Ok((answer, tokens)) => Scan::answer(tokens, Json(answer)),
        // Gateways that fail open let these pass, and a text can be made so long that it is one of them.
        Err(
            refusal @ (Refusal::Late { .. }
            | Refusal::DeadlinePassed(_)
            | Refusal::Backend(_)
            | Refusal::Unavailable(_)),
        ) => Json(Answer::blocked(format!("the text could not be judged: {refusal}")))
            .into_response(),
        Err(refusal) => Dialect::Tei.render(&refusal),
    }
}

async fn judge(app: &Arc<App>, request: Request) -> Result<(Answer, usize), Refusal> {
    let mut received = receive::<Body>(app, request).await?;
    let settings = received.body.additional_provider_specific_params.take().unwrap_or_default();
    let threshold = settings.threshold;
    check_threshold("threshold", threshold)?;
    let guardrails = choose(app, settings.guardrails)?;
    let texts = received.body.texts.take().unwrap_or_default();
    if let Some(name) = received.body.unread(&texts)
        && guardrails.iter().any(|guardrail| !guardrail.pass_unscanned)
    {
        return Ok((Answer::blocked(format!("{name} cannot be read by this guardrail")), 0));
    }
    let least = |own: f32| threshold.map_or(own, |threshold| threshold.min(own));
    let scan = scan(app, &guardrails, &texts, least, &received).await?;
    let (found, tokens) = scan.into_parts();
    Ok((decide(&guardrails, texts, found), tokens))
}

impl Body {
    /// Returns the name of a field with content that is not among the texts.
    fn unread(&self, texts: &[String]) -> Option<&'static str> {
        let messages = self.structured_messages.as_ref().filter(|_| texts.is_empty());
        let lists = [
            ("images", self.images.as_ref()),
            ("tool_calls", self.tool_calls.as_ref()),
            ("structured_messages", messages),
        ];
        let has_content =
            |(_, list): &(_, Option<&Vec<Value>>)| list.is_some_and(|list| !list.is_empty());
        lists.into_iter().find(has_content).map(|(name, _)| name)
    }
}

/// Returns the guardrails of these names, or all.
fn choose(app: &App, names: Option<Vec<String>>) -> Result<Vec<&Guardrail>, Refusal> {
    let all = &app.options.guardrails;
    let Some(names) = names else { return Ok(all.iter().collect()) };
    if names.is_empty() {
        return Err(Refusal::Invalid("`guardrails` is empty; leave it out to ask all".into()));
    }
    let named = |name: &String| {
        let found = all.iter().find(|guardrail| guardrail.name == *name);
        found.ok_or_else(|| {
            let known: Vec<&str> = all.iter().map(|guardrail| guardrail.name.as_str()).collect();
            let known = known.join(", ");
            Refusal::Invalid(format!("no guardrail is called '{name}'; this server has {known}"))
        })
    };
    names.iter().map(named).collect()
}

fn decide(guardrails: &[&Guardrail], mut texts: Vec<String>, found: Vec<Findings>) -> Answer {
    let mut masks: Vec<Vec<LabelledSpan>> = texts.iter().map(|_| Vec::new()).collect();
    for (guardrail, findings) in guardrails.iter().zip(found) {
        for (text, findings) in findings.into_iter().enumerate() {
            let findings = findings.unwrap_or_default();
            match (guardrail.action, findings.first()) {
                (Action::Block, Some(first)) => {
                    let LabelledSpan { label, score, .. } = first;
                    let name = &guardrail.name;
                    return Answer::blocked(format!("{name}: {label} ({score:.2})"));
                }
                (Action::Mask, Some(_)) => masks[text].extend(findings),
                (_, None) => {}
            }
        }
    }
    if masks.iter().all(Vec::is_empty) {
        return Answer { action: "NONE", blocked_reason: None, texts: None };
    }
    for (text, findings) in texts.iter_mut().zip(masks) {
        *text = mask(text, findings);
    }
    Answer { action: "GUARDRAIL_INTERVENED", blocked_reason: None, texts: Some(texts) }
}

impl Answer {
    fn blocked(reason: String) -> Answer {
        Answer { action: "BLOCKED", blocked_reason: Some(reason), texts: None }
    }
}

/// Puts the label's name in place of each part, widened to whole words. Parts of several guardrails that overlap are one,
/// with the first one's name.
fn mask(text: &str, mut findings: Vec<LabelledSpan>) -> String {
    findings.sort_by_key(|finding| (finding.span.start, finding.span.end));
    let mut parts: Vec<(Range<usize>, String)> = Vec::new();
    let bytes_of = |from: usize, characters: usize| {
        let mut rest = text[from..].char_indices();
        rest.nth(characters).map_or(text.len(), |(bytes, _)| from + bytes)
    };
    // Characters and bytes before the last part.
    let mut place = (0, 0);
    for LabelledSpan { label, span, .. } in findings {
        let start = bytes_of(place.1, span.start - place.0);
        place = (span.start, start);
        let part = to_words(text, start..bytes_of(start, span.len()));
        match parts.last_mut() {
            Some((last, _)) if part.start < last.end => last.end = last.end.max(part.end),
            _ => parts.push((part, label)),
        }
    }
    let mut masked = String::with_capacity(text.len());
    let mut at = 0;
    for (part, label) in parts {
        masked.push_str(&text[at..part.start]);
        masked.push_str(&format!("<{label}>"));
        at = part.end;
    }
    masked + &text[at..]
}

/// Widens a part to the words that it cuts, in bytes: a model may mark the beginning of a name only, and the rest would
/// tell it. Where letters have no case, nothing says where a word ends.
fn to_words(text: &str, part: Range<usize>) -> Range<usize> {
    let is_accent = |c: char| ('\u{300}'..='\u{36f}').contains(&c);
    let in_word =
        |c: &char| c.is_lowercase() || c.is_uppercase() || c.is_ascii_digit() || is_accent(*c);
    let (before, inside, after) = (&text[..part.start], &text[part.clone()], &text[part.end..]);
    let length = |c: char| c.len_utf8();
    let left: usize = match inside.chars().next().filter(in_word) {
        Some(_) => before.chars().rev().take_while(in_word).map(length).sum(),
        None => 0,
    };
    let right: usize = match inside.chars().next_back().filter(in_word) {
        Some(_) => after.chars().take_while(in_word).map(length).sum(),
        None => 0,
    };
    part.start - left..part.end + right
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_masked_by_code_points_and_overlapping_ones_once() {
        let finding = |label: &str, start: usize, end: usize| LabelledSpan {
            label: label.into(),
            span: start..end,
            score: 1.0,
        };
        let text = "\u{1f600}Ada, a@b.c \u{e9}.";
        assert_eq!(
            mask(text, vec![finding("MAIL", 6, 11), finding("NAME", 1, 4)]),
            "\u{1f600}<NAME>, <MAIL> \u{e9}."
        );
        assert_eq!(mask(text, vec![finding("A", 0, 3), finding("B", 2, 4)]), "<A>, a@b.c \u{e9}.");
        assert_eq!(mask(text, Vec::new()), text);
    }

    #[test]
    fn a_part_of_a_word_is_masked_as_the_word() {
        let finding = |start: usize, end: usize| LabelledSpan {
            label: "A".into(),
            span: start..end,
            score: 1.0,
        };
        for (text, span, masked) in [
            ("x Ada Lovelace.", (2, 11), "x <A>."),
            ("xAda1 y", (1, 3), "<A> y"),
            ("cafe\u{301}s y", (0, 2), "<A> y"),
            ("555-1234", (0, 2), "<A>-1234"),
            ("(Ada)", (0, 4), "<A>)"),
            ("Ada b", (0, 4), "<A>b"),
            ("\u{6f22}\u{5b57}\u{304b}", (0, 1), "<A>\u{5b57}\u{304b}"),
        ] {
            assert_eq!(mask(text, vec![finding(span.0, span.1)]), masked, "{text}");
        }
        // Two parts of one word are one.
        assert_eq!(mask("Lovelace x", vec![finding(0, 2), finding(4, 6)]), "<A> x");
    }
}
