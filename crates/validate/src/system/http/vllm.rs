//! vLLM's pooling models: `/classify` and `/pooling`. Its embeddings are OpenAI's.

use serde::Deserialize;
use serde_json::{Value, json};

use super::openai::{ANY_MODEL, check_item};
use super::shape::{NestedNumbers, Numbers};

/// What `/pooling` can be asked for; which of them a model has is not told anywhere. Rows for each token
/// come first, as vLLM 0.11 and later take it to mean where nothing is said: other endpoints give one row
/// for a text. Before 0.11 the key is ignored, or only `embed` and `classify` are known.
pub(super) const POOLING_TASKS: [&str; 4] = ["token_embed", "token_classify", "embed", "classify"];

/// The body of a request.
pub(super) fn body(model: Option<&str>, task: Option<&str>, text: &str) -> Value {
    let mut body = json!({"model": model.unwrap_or(ANY_MODEL), "input": text});
    if let Some(task) = task {
        body["task"] = task.into();
    }
    body
}

/// Whether a reply of `/classify` is the probabilities of one text, and the tokens it counts.
pub(super) fn check_classify(reply: &[u8]) -> Result<Option<usize>, serde_json::Error> {
    #[derive(Deserialize)]
    struct Classification {
        #[serde(rename = "probs")]
        _probs: Numbers,
    }
    check_item::<Classification>(reply)
}

/// Whether a reply of `/pooling` is rows of one text, and the tokens it counts.
pub(super) fn check_pooling(reply: &[u8]) -> Result<Option<usize>, serde_json::Error> {
    #[derive(Deserialize)]
    struct PooledRows {
        #[serde(rename = "data")]
        _data: NestedNumbers,
    }
    check_item::<PooledRows>(reply)
}
