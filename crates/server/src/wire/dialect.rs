//! The dialects by name. How each renders a refusal is in its own file.

/// Whose clients an endpoint answers. The route table names one per endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// text-embeddings-inference.
    Tei,
    /// OpenAI's embeddings.
    OpenAi,
    /// vLLM's pooling endpoints.
    Vllm,
    /// `huggingface_hub`'s `InferenceClient`.
    HubClient,
    /// Endpoints that no other server has.
    Native,
}
