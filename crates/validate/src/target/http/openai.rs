//! OpenAI's embeddings: `/v1/embeddings`, and `/embeddings` where a server leaves the version out.

use serde::Deserialize;
use serde_json::{Value, json};

use super::shape::{Numbers, One};

/// Sent where neither the user nor the server names a model: the dialect requires one, and servers of
/// one model take any.
pub(super) const ANY_MODEL: &str = "default";

/// The body of a request.
pub(super) fn body(model: Option<&str>, text: &str) -> Value {
    json!({"model": model.unwrap_or(ANY_MODEL), "input": text, "encoding_format": "float"})
}

/// Tokens as replies count them.
#[derive(Deserialize)]
pub(super) struct Usage {
    prompt_tokens: Option<usize>,
}

/// Tokens that a usage counts, where it does.
pub(super) fn tokens(usage: Option<Usage>) -> Option<usize> {
    usage.and_then(|usage| usage.prompt_tokens)
}

/// Whether a reply is one vector, and the tokens it counts.
pub(super) fn check(reply: &[u8]) -> Result<Option<usize>, serde_json::Error> {
    #[derive(Deserialize)]
    struct Reply {
        #[serde(rename = "data")]
        _data: One<Item>,
        usage: Option<Usage>,
    }
    #[derive(Deserialize)]
    struct Item {
        #[serde(rename = "embedding")]
        _embedding: Numbers,
    }
    serde_json::from_slice::<Reply>(reply).map(|reply| tokens(reply.usage))
}

/// The first model of a list of models: its name, who serves it, the longest text it takes.
pub(super) fn first_model(reply: &Value) -> Option<(String, String, Option<usize>)> {
    let model = reply["data"].as_array()?.first()?;
    let name = model["id"].as_str()?.to_owned();
    let owner = model["owned_by"].as_str().unwrap_or_default().to_owned();
    let longest = model["max_model_len"].as_u64().and_then(|n| usize::try_from(n).ok());
    Some((name, owner, longest))
}
