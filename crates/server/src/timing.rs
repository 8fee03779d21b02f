//! The timing headers of text-embeddings-inference, and which batch carried a request.

use std::time::{Duration, Instant};

use axum::http::{HeaderMap, HeaderName, HeaderValue};

use crate::jobs::{Answered, tokens};

/// What the headers say of one request. Times are those of its inputs: the longest total, the mean of each
/// stage, in whole milliseconds as the original has them.
pub(crate) fn headers(
    device: &str,
    started: Instant,
    characters: usize,
    answers: &[Answered],
) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let mut put = |name: &'static str, value: String| {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    };
    let count = answers.len().max(1) as u32;
    let mean = |stage: fn(&Answered) -> Duration| {
        (answers.iter().map(stage).sum::<Duration>() / count).as_millis().to_string()
    };
    let total = started.elapsed().as_millis().to_string();
    put("x-compute-type", if device.starts_with("cpu") { "cpu" } else { "gpu" }.into());
    put("x-compute-time", total.clone());
    put("x-compute-characters", characters.to_string());
    put("x-compute-tokens", tokens(answers).to_string());
    put("x-total-time", total);
    put("x-tokenization-time", mean(|answer| answer.timings.tokenize));
    put("x-queue-time", mean(|answer| answer.timings.queue));
    put("x-inference-time", mean(|answer| answer.timings.copy + answer.timings.compute));
    if answers.iter().any(|answer| answer.truncated) {
        put("x-truncated", "true".into());
    }
    let chunks: usize = answers.iter().filter_map(|answer| answer.chunks).sum();
    if chunks > 0 {
        put("x-chunks", chunks.to_string());
    }
    if let [answer] = answers {
        put("x-batch-id", answer.batch.id.to_string());
        put("x-batch-sequences", answer.batch.sequences.to_string());
        put("x-batch-tokens", answer.batch.tokens.to_string());
    }
    headers
}
