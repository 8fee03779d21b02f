//! Text-embeddings-inference: `/embed`, `/predict`, `/info`, and the headers of its replies.
//!
//! Every request switches truncation off, so that a long text is an error instead of a shorter text. The
//! headers' times are whole milliseconds; fractions, as bigbatch writes them, are read too.

use hyper::HeaderMap;
use serde::Deserialize;
use serde_json::{Value, json};

use super::dialect::Endpoint;
use super::shape::{Numbers, SingleItem};
use crate::system::target::{BatchRef, StageTimes, TargetInfo};

/// Builds the body of `/embed` or `/predict`.
pub(super) fn body(model: Option<&str>, text: &str) -> Value {
    match model {
        Some(model) => json!({"inputs": text, "truncate": false, "model": model}),
        None => json!({"inputs": text, "truncate": false}),
    }
}

/// Checks that a reply of `/embed` is one vector.
pub(super) fn check_embed(reply: &[u8]) -> Result<(), serde_json::Error> {
    serde_json::from_slice::<SingleItem<Numbers>>(reply).map(|_| ())
}

/// Checks that a reply of `/predict` is a non-empty list of labels with scores.
pub(super) fn check_predict(reply: &[u8]) -> Result<(), serde_json::Error> {
    #[derive(Deserialize)]
    struct Label {
        #[serde(rename = "score")]
        _score: f64,
        #[serde(rename = "label")]
        _label: String,
    }
    let labels: Vec<Label> = serde_json::from_slice(reply)?;
    if labels.is_empty() {
        return Err(serde::de::Error::custom("there are no labels"));
    }
    Ok(())
}

/// Returns the token count of the headers.
pub(super) fn tokens(headers: &HeaderMap) -> Option<usize> {
    number(headers, "x-compute-tokens").map(|tokens| tokens as usize)
}

/// Returns the times of the headers; `None` without a total.
pub(super) fn stages(headers: &HeaderMap) -> Option<StageTimes> {
    let us = |name| number(headers, name).map(|ms| (ms * 1e3).round() as u64);
    Some(StageTimes {
        tokenize_us: us("x-tokenization-time").unwrap_or(0),
        queue_us: us("x-queue-time").unwrap_or(0),
        copy_us: None,
        compute_us: us("x-inference-time").unwrap_or(0),
        total_us: us("x-total-time")?,
    })
}

/// Returns the batch of the headers, which only bigbatch sends.
pub(super) fn batch(headers: &HeaderMap) -> Option<BatchRef> {
    Some(BatchRef {
        id: text(headers, "x-batch-id")?.parse().ok()?,
        sequences: number(headers, "x-batch-sequences")? as usize,
        tokens: number(headers, "x-batch-tokens")? as usize,
    })
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}

/// Parses a number from 0 to 1e12, which fits every integer type that it is cast to.
fn number(headers: &HeaderMap, name: &str) -> Option<f64> {
    text(headers, name)?.parse().ok().filter(|number| (0.0..1e12).contains(number))
}

/// Reads TEI's `/info`, and the endpoint for the kind of its model; `None` if the reply is not TEI's.
pub(super) fn info(reply: &Value) -> Option<(TargetInfo, Option<Endpoint>)> {
    let said = |key: &str| reply[key].as_str().unwrap_or_default().to_owned();
    let number = |key: &str| reply[key].as_u64().and_then(|n| usize::try_from(n).ok());
    let kind = &reply["model_type"];
    if kind.is_null() || reply["model_id"].as_str().is_none() {
        return None;
    }
    let is = |name: &str| kind.get(name).is_some() || kind.as_str() == Some(name);
    let endpoint = if is("embedding") {
        Some(Endpoint::TeiEmbed)
    } else if is("classifier") {
        Some(Endpoint::TeiPredict)
    } else {
        None
    };
    let mut info = TargetInfo {
        version: said("version"),
        model: said("model_id"),
        dtype: said("model_dtype"),
        device: said("device"),
        max_batch_tokens: number("max_batch_tokens"),
        max_batch_sequences: number("max_batch_requests"),
        tokenizer_threads: number("tokenization_workers"),
        max_sequence_tokens: number("max_input_length"),
        ..TargetInfo::default()
    };
    for key in ["max_concurrent_requests", "max_batch_requests", "auto_truncate", "docker_label"] {
        let value = &reply[key];
        if !value.is_null() {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            info.details.insert(key.to_owned(), value);
        }
    }
    Some((info, endpoint))
}
