//! `matryoshka_config.json`: the layers and the widths at which a model was trained to stop.

use serde_json::Value;

use super::config_file::{ConfigFile, SettingsFiles};
use super::modernbert::Config;
use crate::checkpoint::Checkpoint;
use crate::error::LoadError;

const FILE: &str = "matryoshka_config.json";

/// The trained exits. Keys besides these describe the training.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Matryoshka {
    /// `layer_indices`, ascending; counts of layers that have run.
    pub(super) layers: Vec<usize>,
    /// `dim_indices`, descending.
    pub(super) dimensions: Vec<usize>,
    /// `pooling_strategy`.
    pub(super) pooling: Option<String>,
    /// `representation_contract`, where the file repeats that of `config.json`.
    pub(super) contract: Option<Value>,
}

impl Matryoshka {
    /// Reads the file; `None` if the checkpoint has none.
    ///
    /// # Errors
    /// [`LoadError::Config`] with the key that is missing or does not fit the model.
    pub(super) fn read(
        checkpoint: &Checkpoint,
        config: &Config,
    ) -> Result<Option<Matryoshka>, LoadError> {
        let files = SettingsFiles { checkpoint, must_know: false };
        let Some(mut file) = ConfigFile::read(&files, FILE.into())? else { return Ok(None) };
        let of_model = [("hidden_size", config.hidden_size), ("num_layers", config.layers.len())];
        for (key, expected) in of_model {
            let stated = file.needed_size(key)?;
            if stated != expected {
                return Err(file.bad(format!("{key} is {stated}, the model's is {expected}")));
            }
        }
        if file.flag("has_final_norm")? == Some(false) {
            return Err(file.bad("has_final_norm is false; computed: exits through the final norm"));
        }
        let mut list = |key: &str, most: usize| {
            let sizes = file.sizes(key, most)?;
            sizes.ok_or_else(|| file.bad(format!("{key} is missing")))
        };
        let mut layers = list("layer_indices", config.layers.len())?;
        let mut dimensions = list("dim_indices", config.hidden_size)?;
        layers.sort_unstable();
        dimensions.sort_unstable_by(|a, b| b.cmp(a));
        let pooling = file.text("pooling_strategy")?;
        let contract = file.take("representation_contract");
        Ok(Some(Matryoshka { layers, dimensions, pooling, contract }))
    }

    /// Rejects another pooling than `expected`, and another contract than that of `config.json`.
    ///
    /// # Errors
    /// [`LoadError::Config`] with the key.
    pub(super) fn check(&self, expected: &str, contract: &Value) -> Result<(), LoadError> {
        let bad = |reason: String| LoadError::Config { file: FILE.into(), reason };
        match (&self.pooling, &self.contract) {
            (Some(pooling), _) if pooling != expected => Err(bad(format!(
                "pooling_strategy is '{pooling}'; representation_contract of config.json asks for {expected}"
            ))),
            (_, Some(own)) if own != contract => {
                Err(bad("representation_contract differs from that of config.json".into()))
            }
            _ => Ok(()),
        }
    }
}
