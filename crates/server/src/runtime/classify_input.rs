//! The forms of an input of `/v1/classify`: a text, a pair of texts, or an answer with its question and context.

use std::sync::Arc;

use bigbatch_engine::{Input, prompted};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::head::Head;
use super::item::ItemError;
use crate::error::Refusal;
use crate::models::ServedModel;

/// The fields of all forms.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    text: Option<String>,
    text_pair: Option<String>,
    context: Option<String>,
    question: Option<String>,
    answer: Option<String>,
}

/// Reads `input`: one item, or a list of them.
///
/// # Errors
/// It is neither a string nor an object nor a list. An item that the head does not read fails alone.
pub(super) fn read_inputs(
    input: &RawValue,
    head: &Head,
    served: &ServedModel,
) -> Result<Vec<Result<Input, ItemError>>, Refusal> {
    let prompt = match head.finds_spans() {
        // It would move the spans.
        true => None,
        false => served.prompt(None)?,
    };
    let reader = ItemReader { head, served, prompt };
    let one = |item: &RawValue| reader.read(item).ok_or(ItemError::InvalidInput);
    match input.get().as_bytes().first() {
        Some(b'"' | b'{') => Ok(vec![one(input)]),
        Some(b'[') => {
            let items: Vec<&RawValue> = serde_json::from_str(input.get())
                .map_err(|error| Refusal::Syntax(error.to_string()))?;
            Ok(items.into_iter().map(one).collect())
        }
        _ => Err(Refusal::Shape("`input` must be a string, an object or a list of either".into())),
    }
}

/// Reads the items of one request.
struct ItemReader<'a> {
    head: &'a Head,
    served: &'a ServedModel,
    prompt: Option<&'a str>,
}

impl ItemReader<'_> {
    /// Returns the input of the engine; `None` for a form that the head does not read, and for an empty text.
    fn read(&self, item: &RawValue) -> Option<Input> {
        let json = item.get();
        let fields = match json.as_bytes().first() {
            Some(b'"') => Fields { text: serde_json::from_str(json).ok(), ..Fields::default() },
            // A list would be taken for the fields in the order of their declaration.
            Some(b'{') => serde_json::from_str(json).ok()?,
            _ => return None,
        };
        self.to_input(fields)
    }

    fn to_input(&self, fields: Fields) -> Option<Input> {
        let not_empty = |text: &String| !text.is_empty();
        match (fields, self.head.is_grounded) {
            (Fields { text: None, text_pair: None, context, question, answer }, true) => {
                let (question, context) =
                    (question.unwrap_or_default(), context.unwrap_or_default());
                let point = self.served.engine.model().operating_point.as_ref()?;
                let context: Arc<str> = point.prompt(&question, &context)?.into();
                let text = answer.filter(not_empty)?;
                Some(Input::InContext { context, text })
            }
            (Fields { text, text_pair, context: None, question: None, answer: None }, false) => {
                let text = prompted(self.prompt, text.filter(not_empty)?);
                match text_pair {
                    None => Some(Input::Text(text)),
                    Some(pair) if self.head.inputs().contains(&"pair") => {
                        (!pair.is_empty()).then(|| Input::Pair(text.into(), pair))
                    }
                    Some(_) => None,
                }
            }
            _ => None,
        }
    }
}
