//! OpenAI's embeddings: `/v1/embeddings`, or `/embeddings` on servers without the version.

use serde::Deserialize;
use serde_json::{Value, json};

use super::shape::{Numbers, SingleItem};

/// The model of requests if neither the user nor the server names one: the dialect requires a name, and
/// servers of a single model accept any.
pub(super) const ANY_MODEL: &str = "default";

/// Builds the body of a request.
pub(super) fn body(model: Option<&str>, text: &str) -> Value {
    json!({"model": model.unwrap_or(ANY_MODEL), "input": text, "encoding_format": "float"})
}

/// Checks that a reply is a list of one `Item`; returns its token count, if any.
pub(super) fn check_item<'a, Item: Deserialize<'a>>(
    reply: &'a [u8],
) -> Result<Option<usize>, serde_json::Error> {
    #[derive(Deserialize)]
    struct ItemList<Item> {
        #[serde(rename = "data")]
        _data: SingleItem<Item>,
        usage: Option<TokenUsage>,
    }
    #[derive(Deserialize)]
    struct TokenUsage {
        prompt_tokens: Option<usize>,
    }
    serde_json::from_slice::<ItemList<Item>>(reply)
        .map(|reply| reply.usage.and_then(|usage| usage.prompt_tokens))
}

/// Checks that a reply is one vector; returns its token count, if any.
pub(super) fn check(reply: &[u8]) -> Result<Option<usize>, serde_json::Error> {
    #[derive(Deserialize)]
    struct Embedding {
        #[serde(rename = "embedding")]
        _embedding: Numbers,
    }
    check_item::<Embedding>(reply)
}

/// Returns the first model of a list of models: name, owner, and longest sequence in tokens.
pub(super) fn first_model(reply: &Value) -> Option<(String, String, Option<usize>)> {
    let model = reply["data"].as_array()?.first()?;
    let name = model["id"].as_str()?.to_owned();
    let owner = model["owned_by"].as_str().unwrap_or_default().to_owned();
    let longest = model["max_model_len"].as_u64().and_then(|n| usize::try_from(n).ok());
    Some((name, owner, longest))
}
