//! `config_sentence_transformers.json`: what holds for the model as a whole. Keys besides these change no answer of
//! sentence-transformers, and none here.

use serde::Deserialize;

use super::activation::torch_class;
use super::embedding::Similarity;
use crate::error::LoadError;
use crate::model::config_file::SettingsFiles;
use crate::model::modernbert::Scoring;
use crate::model::prompts::Prompts;

const FILE: &str = "config_sentence_transformers.json";

/// The keys that are read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub(super) struct RootConfig {
    model_type: Option<String>,
    similarity_fn_name: Option<String>,
    truncate_dim: Option<i64>,
    activation_fn: Option<String>,
    #[serde(flatten)]
    prompts: Prompts,
}

fn bad(reason: String) -> LoadError {
    LoadError::Config { file: FILE.into(), reason }
}

impl RootConfig {
    /// Reads the file; an absent one is empty.
    pub(super) fn read(files: &SettingsFiles<'_>) -> Result<RootConfig, LoadError> {
        let Some(json) = files.read(FILE)? else { return Ok(RootConfig::default()) };
        let config: RootConfig = serde_json::from_slice(&json).map_err(|e| bad(e.to_string()))?;
        config.prompts.check().map_err(bad)?;
        Ok(config)
    }

    /// Whether it describes a CrossEncoder: a classifier of pairs.
    pub(super) fn is_cross_encoder(&self) -> bool {
        self.model_type.as_deref() == Some("CrossEncoder")
    }

    /// Rejects a file of a model whose vectors are of another kind, such as a SparseEncoder.
    pub(super) fn check_embeds(&self) -> Result<(), LoadError> {
        match self.model_type.as_deref() {
            None | Some("SentenceTransformer") => Ok(()),
            Some(other) => Err(bad(format!(
                "model_type is {other}; a model without a classifier is run as a SentenceTransformer only"
            ))),
        }
    }

    /// Returns the prompts.
    pub(super) fn prompts(&self) -> Prompts {
        self.prompts.clone()
    }

    /// Returns the number of dimensions that vectors are cut to.
    pub(super) fn truncate_dim(&self) -> Result<Option<usize>, LoadError> {
        match self.truncate_dim.map(usize::try_from) {
            None => Ok(None),
            Some(Ok(dimensions)) if dimensions > 0 => Ok(Some(dimensions)),
            Some(_) => Err(bad("truncate_dim must be a whole number above 0".into())),
        }
    }

    /// Returns how vectors are compared.
    pub(super) fn similarity(&self) -> Result<Similarity, LoadError> {
        match self.similarity_fn_name.as_deref() {
            None => Ok(Similarity::Cosine),
            Some(name) => Similarity::named(name).ok_or_else(|| {
                let known = "cosine, dot, euclidean and manhattan";
                bad(format!("similarity_fn_name is '{name}'; known are {known}"))
            }),
        }
    }

    /// Returns how a CrossEncoder's logits become scores, if the file states it.
    pub(super) fn scoring(&self) -> Result<Option<Scoring>, LoadError> {
        let name = self.activation_fn.as_deref();
        name.map(|path| scoring(path).map_err(|reason| bad(format!("activation_fn{reason}"))))
            .transpose()
    }
}

/// Returns the scoring that a class of torch stands for. The error lacks the key before it.
pub(super) fn scoring(path: &str) -> Result<Scoring, String> {
    match torch_class(path) {
        Some("Identity") => Ok(Scoring::None),
        Some("Sigmoid") => Ok(Scoring::Sigmoid),
        Some("Softmax") => Ok(Scoring::Softmax),
        _ => Err(format!(" is {path}; computed: Identity, Sigmoid and Softmax of torch.nn")),
    }
}
