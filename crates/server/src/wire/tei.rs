//! text-embeddings-inference 1.9.

use serde::Deserialize;

use super::inputs::Inputs;

/// `POST /embed`.
#[derive(Debug, Deserialize)]
pub(crate) struct EmbedRequest {
    pub(crate) inputs: Inputs,
    /// `None`: as the server was started.
    pub(crate) truncate: Option<bool>,
    #[serde(default = "yes")]
    pub(crate) normalize: bool,
    pub(crate) dimensions: Option<usize>,
    /// Not TEI's: which model, where there are several.
    pub(crate) model: Option<String>,
}

fn yes() -> bool {
    true
}
