//! vLLM's pooling models: `/classify` and `/pooling`. Its embeddings are OpenAI's.

use serde::Deserialize;
use serde_json::{Value, json};

use super::openai::{ANY_MODEL, check_item};
use super::shape::{NestedNumbers, Numbers};

/// The tasks of `/pooling`. No route reports which of them a model supports. Tasks with one row per token
/// come first, as they are the default since vLLM 0.11; other endpoints return one row per text. Before
/// 0.11 the key is ignored, or only `embed` and `classify` are known.
pub(super) const POOLING_TASKS: [&str; 4] = ["token_embed", "token_classify", "embed", "classify"];

/// Builds the body of a request.
pub(super) fn body(model: Option<&str>, task: Option<&str>, text: &str) -> Value {
    let mut body = json!({"model": model.unwrap_or(ANY_MODEL), "input": text});
    if let Some(task) = task {
        body["task"] = task.into();
    }
    body
}

/// Checks that a reply of `/classify` has the probabilities of one text; returns its token count, if any.
pub(super) fn check_classify(reply: &[u8]) -> Result<Option<usize>, serde_json::Error> {
    #[derive(Deserialize)]
    struct Classification {
        #[serde(rename = "probs")]
        _probs: Numbers,
    }
    check_item::<Classification>(reply)
}

/// Checks that a reply of `/pooling` has the rows of one text; returns its token count, if any.
pub(super) fn check_pooling(reply: &[u8]) -> Result<Option<usize>, serde_json::Error> {
    #[derive(Deserialize)]
    struct PooledRows {
        #[serde(rename = "data")]
        _data: NestedNumbers,
    }
    check_item::<PooledRows>(reply)
}
