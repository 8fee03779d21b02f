//! The model: a checkpoint that was read and checked, and the forward pass that it asks for.
//!
//! [`Model::load`] reads every file of a checkpoint. The one family of models is [`modernbert`]: configuration,
//! tensors, activations, operations. Nothing here runs: devices differ below, in [`crate::backend`], and
//! [`crate::device`] brings the two together.

pub mod modernbert;
mod prompts;

use modernbert::forward;
pub use modernbert::forward::Program;
#[cfg(test)]
pub(crate) use modernbert::smallest;
pub use modernbert::{
    Architecture, Config, Head, Init, InitHead, LayerKind, PRESETS, Preset, Rope, RopeOverride,
    Scaling, Scoring, Workspace, attention_flops, forward_flops,
};
pub use prompts::{Prompts, prompted};

use serde_json::Value;

use crate::batch::{PackedBatch, RowLayout};
use crate::checkpoint::{Checkpoint, Weights};
use crate::error::LoadError;
use crate::pooling::Pooling;
use crate::text::tokenize::Tokenizer;

/// A loaded checkpoint, checked but not yet on a device.
pub struct Model {
    /// The name that messages use: the path, or the Hub id.
    pub name: String,
    /// The validated `config.json`.
    pub config: Config,
    /// Which tensors each part of the model uses.
    pub architecture: Architecture,
    /// The tensors, mapped.
    pub weights: Weights,
    /// From `tokenizer.json`.
    pub tokenizer: Tokenizer,
    /// Name of each output of the classifier; empty for base and masked-LM models.
    pub labels: Vec<String>,
    /// The default pooling of embeddings: from `1_Pooling/config.json`, else the mean.
    pub embedding_pooling: Pooling,
    /// Prompts for texts that are embedded.
    pub prompts: Prompts,
}

impl Model {
    /// Lists the operations of the forward pass of `batch` over the regions of `workspace`, which must hold it.
    pub fn program(&self, workspace: &Workspace, batch: &PackedBatch) -> Program {
        forward::program(&self.config, &self.architecture, workspace, batch)
    }

    /// Returns the sizes that memory and speed depend on: `22 layers of 768, 8192 tokens`.
    pub fn shape(&self) -> String {
        let Config { layers, hidden_size, max_tokens, .. } = &self.config;
        format!("{} layers of {hidden_size}, {max_tokens} tokens", layers.len())
    }

    /// Reads and checks every file of a checkpoint.
    ///
    /// # Errors
    /// [`LoadError`] with the file and what is wrong with it.
    pub fn load(checkpoint: &Checkpoint, rope: RopeOverride) -> Result<Model, LoadError> {
        let training = checkpoint.read("training_config.json")?;
        let mut config =
            Config::parse(&checkpoint.require("config.json")?, training.as_deref(), rope)?;
        let weights = Weights::open(checkpoint)?;
        if let Head::MaskedLm { tied, .. } = &mut config.head {
            // As upstream: a decoder that differs from the embedding is used, whatever the config says.
            *tied &= !weights.has_decoder_of_its_own();
        }
        let labels = labels(&config, &weights, checkpoint.name())?;
        if let Head::Sequence { scoring: scoring @ Scoring::Softmax, .. } = &mut config.head
            && labels.len() == 1
        {
            *scoring = Scoring::Sigmoid;
        }
        let architecture = Architecture::new(&config, labels.len());
        architecture.check(&weights, checkpoint.name())?;
        let tokenizer = Tokenizer::open(checkpoint)?;
        tokenizer.check(config.vocab_size, checkpoint.name())?;
        check_modules(checkpoint)?;
        let embedding_pooling = embedding_pooling(checkpoint)?;
        let prompts = Prompts::read(checkpoint)?;
        let name = checkpoint.name().into();
        Ok(Model {
            name,
            config,
            architecture,
            weights,
            tokenizer,
            labels,
            embedding_pooling,
            prompts,
        })
    }

    /// Returns how logits become scores. Each token of a token classifier has a softmax of its own.
    pub fn scoring(&self) -> Scoring {
        match self.config.head {
            Head::Sequence { scoring, .. } => scoring,
            _ => Scoring::Softmax,
        }
    }

    /// Returns the shape of the rows that the model returns for a batch.
    pub fn row_layout(&self) -> RowLayout {
        self.architecture.row_layout(&self.config)
    }

    /// Returns the number of elements of all tensors.
    pub fn parameters(&self) -> u64 {
        self.architecture.tensors.iter().map(|spec| spec.elements() as u64).sum()
    }
}

fn labels(config: &Config, weights: &Weights, model: &str) -> Result<Vec<String>, LoadError> {
    if !matches!(config.head, Head::Sequence { .. } | Head::Token) {
        return Ok(Vec::new());
    }
    let bad = |reason: String| LoadError::Weights { model: model.into(), reason };
    let rows = weights
        .rows_of("classifier.weight")
        .ok_or_else(|| bad("tensor classifier.weight is missing".into()))?;
    if rows == 0 {
        return Err(bad("tensor classifier.weight has no rows".into()));
    }
    if config.labels.is_empty() {
        return Ok((0..rows).map(|i| format!("LABEL_{i}")).collect());
    }
    if config.labels.len() != rows {
        return Err(bad(format!(
            "classifier.weight has {rows} rows, id2label in config.json names {} labels",
            config.labels.len()
        )));
    }
    Ok(config.labels.values().cloned().collect())
}

/// Rejects modules that sentence-transformers would run after the model, other than those that are computed
/// here or left to the caller.
fn check_modules(checkpoint: &Checkpoint) -> Result<(), LoadError> {
    const FILE: &str = "modules.json";
    const KNOWN: [&str; 3] = ["Transformer", "Pooling", "Normalize"];
    #[derive(serde::Deserialize)]
    struct Module {
        #[serde(rename = "type")]
        kind: String,
    }
    let bad = |reason: String| LoadError::Config { file: FILE.into(), reason };
    let Some(json) = checkpoint.read(FILE)? else { return Ok(()) };
    let modules: Vec<Module> = serde_json::from_slice(&json).map_err(|e| bad(e.to_string()))?;
    let known = |kind: &str| kind.rsplit('.').next().is_some_and(|name| KNOWN.contains(&name));
    match modules.iter().find(|module| !known(&module.kind)) {
        None => Ok(()),
        Some(Module { kind }) => Err(bad(format!(
            "it has {kind}, which is not computed; known are {}",
            KNOWN.join(", ")
        ))),
    }
}

fn embedding_pooling(checkpoint: &Checkpoint) -> Result<Pooling, LoadError> {
    const FILE: &str = "1_Pooling/config.json";
    let bad = |reason: String| LoadError::Config { file: FILE.into(), reason };
    let Some(json) = checkpoint.read(FILE)? else { return Ok(Pooling::Mean) };
    let config: Value = serde_json::from_slice(&json).map_err(|e| bad(e.to_string()))?;
    if let Some(mode) = config["pooling_mode"].as_str() {
        return serde_json::from_value(mode.into())
            .map_err(|_| bad(format!("pooling_mode is '{mode}'; known are cls and mean")));
    }
    let on: Vec<&str> = config
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(key, value)| key.starts_with("pooling_mode_") && value.as_bool() == Some(true))
        .map(|(key, _)| key.as_str())
        .collect();
    match on.as_slice() {
        ["pooling_mode_cls_token"] => Ok(Pooling::Cls),
        ["pooling_mode_mean_tokens"] => Ok(Pooling::Mean),
        other => Err(bad(format!("it asks for {other:?}; known are cls and mean, one of them"))),
    }
}
