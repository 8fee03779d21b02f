//! The replies of each kind of server, written after its sources.

use serde_json::{Value, json};

/// A kind of server, with the routes it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    TeiEmbed,
    TeiPredict,
    OpenAi,
    /// OpenAI's dialect without the version in its paths.
    Infinity,
    VllmClassify,
    VllmPooling,
    VllmEmbed,
    /// Has no route that the harness knows.
    Nothing,
}

/// The model's name; tests replace it with hostile text.
pub(crate) const MODEL: &str = "acme/encoder-base";
pub(crate) const LONGEST: usize = 4096;
/// The only task of the pooling server's model.
pub(crate) const POOLING_TASK: &str = "token_classify";

impl Dialect {
    /// Returns the reply to a GET.
    pub(crate) fn get(self, path: &str, model: &str) -> Option<Value> {
        use Dialect::{Infinity, Nothing, OpenAi, TeiEmbed, TeiPredict};
        match (self, path) {
            (TeiEmbed, "/info") => Some(info(model, json!({"embedding": {"pooling": "mean"}}))),
            (TeiPredict, "/info") => Some(info(model, json!({"classifier": {"id2label": {}}}))),
            (OpenAi, "/v1/models") => {
                Some(json!({"object": "list", "data": [{"id": model, "object": "model"}]}))
            }
            (Infinity, "/models") => {
                Some(json!({"object": "list", "data": [{"id": model, "owned_by": "infinity"}]}))
            }
            (TeiEmbed | TeiPredict | OpenAi | Infinity | Nothing, _) => None,
            (_, "/v1/models") => Some(json!({"object": "list", "data": [
                {"id": model, "object": "model", "owned_by": "vllm", "max_model_len": LONGEST}]})),
            (_, "/version") => Some(json!({"version": "0.12.0"})),
            _ => None,
        }
    }

    /// Returns the reply to a POST of a text of `tokens` tokens.
    pub(crate) fn post(
        self,
        path: &str,
        model: &str,
        tokens: usize,
        dimensions: usize,
    ) -> Option<Value> {
        let vector = || (0..dimensions).map(|i| (i as f64 * 0.7).sin() * 0.05).collect::<Vec<_>>();
        let usage = json!({"prompt_tokens": tokens, "total_tokens": tokens});
        match (self, path) {
            (Dialect::TeiEmbed, "/embed") => Some(json!([vector()])),
            (Dialect::TeiPredict, "/predict") => Some(json!([
                {"score": 0.75, "label": "safe"}, {"score": 0.25, "label": "jailbreak"}])),
            (Dialect::OpenAi | Dialect::VllmEmbed, "/v1/embeddings")
            | (Dialect::Infinity, "/embeddings") => Some(json!({
                "object": "list", "model": model, "usage": usage,
                "data": [{"object": "embedding", "index": 0, "embedding": vector()}]})),
            (Dialect::VllmClassify, "/classify") => Some(json!({
                "id": "classify-1", "object": "list", "created": 1, "model": model, "usage": usage,
                "data": [{"index": 0, "label": "safe", "probs": [0.75, 0.25], "num_classes": 2}]})),
            (Dialect::VllmPooling, "/pooling") => Some(json!({
                "id": "pool-1", "object": "list", "created": 1, "model": model, "usage": usage,
                "data": [{"index": 0, "object": "pooling", "data": [vector(), vector()]}]})),
            _ => None,
        }
    }

    /// Returns the reason to reject a body before it is counted as a request.
    pub(crate) fn refuses(self, path: &str, body: &[u8]) -> Option<String> {
        let pooling = self == Dialect::VllmPooling && path == "/pooling";
        let body: Value = serde_json::from_slice(body).ok()?;
        (pooling && body["task"] != POOLING_TASK).then(|| {
            format!("Task {} is not supported, it must be one of ['{POOLING_TASK}'].", body["task"])
        })
    }

    pub(crate) fn is_tei(self) -> bool {
        matches!(self, Dialect::TeiEmbed | Dialect::TeiPredict)
    }

    /// Returns an error body of the dialect.
    pub(crate) fn error(self, status: u16, message: &str) -> Value {
        if self.is_tei() {
            json!({"error": message, "error_type": "Backend"})
        } else {
            json!({"error": {"message": message, "type": "Error", "param": null, "code": status}})
        }
    }
}

fn info(model: &str, kind: Value) -> Value {
    json!({"model_id": model, "model_sha": null, "model_dtype": "float16", "model_type": kind,
        "max_concurrent_requests": 512, "max_input_length": LONGEST, "max_batch_tokens": 16384,
        "max_batch_requests": null, "max_client_batch_size": 32, "auto_truncate": false,
        "tokenization_workers": 4, "version": "1.9.3", "sha": null, "docker_label": null})
}
