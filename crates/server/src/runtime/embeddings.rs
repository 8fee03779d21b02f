//! `POST /v1/embeddings`: a vector per text.

use bigbatch_engine::{Answer, Input, Task};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::body::{Raw, field, object};
use super::cards::{EmbeddingCard, sha256};
use super::item::{InputUsage, Item, ItemError};
use super::reading::{Overflow, Reading};
use super::run::{InputOutcome, RequestRows};
use super::surface::{
    Common, Meta, Question, Representation, Surface, SurfaceRequest, WholeTextOptions, check_count,
    check_max_tokens, choose,
};
use crate::app::App;
use crate::error::Refusal;
use crate::models::ServedModel;
use crate::wire::fields::NoEffect;
use crate::wire::openai::TokenUsage;
use crate::wire::shared::{EncodingFormat, Numbers};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body<'a> {
    #[serde(borrow)]
    model: Raw<'a>,
    #[serde(borrow)]
    input: Raw<'a>,
    #[serde(borrow)]
    dimensions: Raw<'a>,
    #[serde(borrow)]
    layer: Raw<'a>,
    #[serde(borrow)]
    encoding_format: Raw<'a>,
    #[serde(borrow)]
    input_type: Raw<'a>,
    /// OpenAI's; read and ignored, as the contract says.
    #[serde(borrow)]
    user: Raw<'a>,
    #[serde(borrow)]
    options: Raw<'a>,
}

/// A part of the input. Models read text only.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Part {
    r#type: String,
    text: Option<String>,
}

/// The part of a request that decides how vectors are answered.
pub(super) struct EmbeddingsRequest {
    layer: usize,
    dimension: usize,
    format: EncodingFormat,
}

/// Checks a request.
///
/// # Errors
/// The refusals of the contract, in its order.
pub(super) fn prepare(app: &App, body: &RawValue) -> Result<SurfaceRequest, Refusal> {
    let body: Body<'_> = object(body, "the body")?;
    let served = choose(app, body.model, Surface::Embeddings)?;
    let options = WholeTextOptions::read(body.options)?;
    let common = options.common()?;
    let overflow = match options.overflow.as_deref() {
        None | Some("reject") => Overflow::Reject,
        Some("truncate") => Overflow::truncate_if_allowed(app),
        Some(other) => {
            return Err(Refusal::Invalid(format!(
                "`options.overflow` is '{other}'; it must be reject or truncate"
            )));
        }
    };
    let max_tokens = check_max_tokens(options.max_tokens, usize::MAX, &served)?;
    let card = EmbeddingCard::of(&served);
    let dimension = listed(body.dimensions, "dimensions", &card.dimensions)?;
    let layer = listed(body.layer, "layer", &card.layers)?;
    let format = match field::<String>(body.encoding_format, "encoding_format")?.as_deref() {
        None | Some("float") => EncodingFormat::Float,
        Some("base64") => EncodingFormat::Base64,
        Some(other) => {
            return Err(Refusal::Invalid(format!(
                "`encoding_format` is '{other}'; it must be float or base64"
            )));
        }
    };
    field::<NoEffect>(body.user, "user")?;
    let input_type = field::<String>(body.input_type, "input_type")?;
    if let Some(kind) =
        input_type.as_deref().filter(|kind| !card.input_types.iter().any(|own| own == kind))
    {
        return Err(Refusal::Invalid(format!(
            "`input_type` is '{kind}'; the model '{}' has {}",
            served.name,
            or_none(&card.input_types)
        )));
    }
    let prompt = served.prompt(input_type.as_deref())?;
    let input = body.input.ok_or_else(|| Refusal::Shape("`input` is missing".into()))?;
    let inputs = read_inputs(input, prompt)?;
    check_count(inputs.len(), Surface::Embeddings.max_inputs(&app.options), "input")?;
    // The module of a package scales before the cut; what is left is scaled again.
    let normalize = card.normalized;
    let task = Task::Embed { pooling: None, normalize, dimensions: dimension, layer };
    let request = EmbeddingsRequest {
        layer: layer.or(card.layers.last().copied()).unwrap_or(0),
        dimension: dimension.unwrap_or(card.dimensions[0]),
        format,
    };
    let reading = Reading { overflow, max_tokens, cut_text: false };
    let question = Question::Embeddings(request);
    Ok(SurfaceRequest { served, common, inputs, reading, task, question })
}

/// Joins what a card lists.
fn or_none(listed: &[impl ToString]) -> String {
    let listed: Vec<String> = listed.iter().map(ToString::to_string).collect();
    if listed.is_empty() { "none".into() } else { listed.join(", ") }
}

/// Returns the number of a field, which must be one of those that the card lists.
fn listed(raw: Raw<'_>, name: &str, card: &[usize]) -> Result<Option<usize>, Refusal> {
    match field::<usize>(raw, name)? {
        Some(number) if !card.contains(&number) => {
            Err(Refusal::Invalid(format!("`{name}` is {number}; the model has {}", or_none(card))))
        }
        number => Ok(number),
    }
}

fn read_inputs(
    input: &RawValue,
    prompt: Option<&str>,
) -> Result<Vec<Result<Input, ItemError>>, Refusal> {
    let items: Vec<&RawValue> = match input.get().as_bytes().first() {
        Some(b'"') => vec![input],
        Some(b'[') => field(Some(input), "input")?.unwrap_or_default(),
        _ => {
            return Err(Refusal::Shape(
                "`input` must be a string, or a list of strings or parts".into(),
            ));
        }
    };
    let one = |item: &RawValue| {
        let text = match item.get().starts_with('{') {
            true => part_text(object(item, "a part of `input`")?)?,
            false => field::<String>(Some(item), "input")?.unwrap_or_default(),
        };
        Ok(Ok(match prompt {
            Some(prompt) => Input::Prompted(prompt.to_owned(), text),
            None => Input::Text(text),
        }))
    };
    items.into_iter().map(one).collect()
}

fn part_text(part: Part) -> Result<String, Refusal> {
    match (part.r#type.as_str(), part.text) {
        ("text", Some(text)) => Ok(text),
        ("text", None) => Err(Refusal::Shape("a part of `input` has no `text`".into())),
        (other, _) => Err(Refusal::Invalid(format!(
            "a part of `input` is of type '{other}'; this model reads text"
        ))),
    }
}

/// The answer of the surface.
#[derive(Debug, Serialize)]
pub(super) struct EmbeddingsAnswer {
    object: &'static str,
    model: String,
    data: Vec<Item<EmbeddingResult>>,
    usage: TokenUsage,
    meta: Meta,
}

#[derive(Debug, Serialize)]
struct EmbeddingResult {
    object: &'static str,
    index: usize,
    embedding: Numbers,
    input: InputUsage,
}

const OBJECT: &str = "embedding";

impl EmbeddingsRequest {
    pub(super) fn answer(
        &self,
        served: &ServedModel,
        common: &Common,
        ran: RequestRows,
    ) -> EmbeddingsAnswer {
        let representation = Representation {
            model_sha256: sha256(served),
            layer: self.layer,
            dimension: self.dimension,
            normalized: EmbeddingCard::of(served).normalized,
        };
        let meta = match common.return_meta {
            true => Meta { representation: Some(representation), ..Meta::of(served, &ran) },
            false => Meta::of_vectors(representation),
        };
        let mut tokens = 0;
        let mut result = |(index, InputOutcome { result, .. }): (usize, InputOutcome)| match result
        {
            Ok(mut answered) => {
                tokens += answered.usage.processed_tokens;
                let vector = match answered.answers.pop() {
                    Some(Answer::Embedding(vector)) => vector,
                    _ => Vec::new(),
                };
                let embedding = self.format.encode_vector(vector);
                Item::Done(EmbeddingResult {
                    object: OBJECT,
                    index,
                    embedding,
                    input: answered.usage,
                })
            }
            Err(error) => Item::Failed { object: Some(OBJECT), index, error },
        };
        let data = ran.outcomes.into_iter().enumerate().map(&mut result).collect();
        let model = served.name.clone();
        EmbeddingsAnswer { object: "list", model, data, usage: TokenUsage::of(tokens), meta }
    }
}
