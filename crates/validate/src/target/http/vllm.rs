//! vLLM's pooling models: `/classify` and `/pooling`. Its embeddings are OpenAI's.

use serde::Deserialize;
use serde_json::{Value, json};

use super::openai::{ANY_MODEL, check_item};
use super::shape::{Nested, Numbers};

/// The body of a request.
pub(super) fn body(model: Option<&str>, text: &str) -> Value {
    json!({"model": model.unwrap_or(ANY_MODEL), "input": text})
}

/// Whether a reply of `/classify` is the probabilities of one text, and the tokens it counts.
pub(super) fn check_classify(reply: &[u8]) -> Result<Option<usize>, serde_json::Error> {
    #[derive(Deserialize)]
    struct Item {
        #[serde(rename = "probs")]
        _probs: Numbers,
    }
    check_item::<Item>(reply)
}

/// Whether a reply of `/pooling` is rows of one text, and the tokens it counts.
pub(super) fn check_pooling(reply: &[u8]) -> Result<Option<usize>, serde_json::Error> {
    #[derive(Deserialize)]
    struct Item {
        #[serde(rename = "data")]
        _data: Nested,
    }
    check_item::<Item>(reply)
}
