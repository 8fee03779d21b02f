//! The exits of a model: the layers after which its encoder may stop, and the widths that its rows may be cut to.
//!
//! An encoder that was trained for it returns useful rows before its last layer ("2D Matryoshka", Li et al., 2024,
//! <https://arxiv.org/abs/2402.14776>). `representation_contract` in `config.json` states how such rows are made; which
//! exits were trained is in `matryoshka_config.json`, or in the names of the graphs that a package exports for them.
//! Without a contract nothing says what a row before the last layer is, and none is offered.

use serde_json::Value;

use super::config_file::ConfigFile;
use super::matryoshka::Matryoshka;
use super::modernbert::{Config, Head};
use super::sentence_transformers::{Embedding, Module};
use crate::checkpoint::Checkpoint;
use crate::error::LoadError;
use crate::pooling::Pooling;

const CONFIG: &str = "config.json";
const KEY: &str = "representation_contract";

/// The widths of an embedder whose contract comes without a list of them.
const DIMENSIONS: [usize; 5] = [768, 512, 256, 128, 64];

/// Where a model may stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exits {
    /// Layers that have run, ascending; the last is all of them.
    pub layers: Vec<usize>,
    /// Elements of a vector, descending; the first is all of them.
    pub dimensions: Vec<usize>,
}

impl Exits {
    /// Returns the only exit of a model that was not trained for others.
    pub(super) fn only(layers: usize, width: usize) -> Exits {
        Exits { layers: vec![layers], dimensions: vec![width] }
    }

    /// Reads the exits of an embedder, and whether rows of an exit before the last layer go through the final norm.
    ///
    /// # Errors
    /// [`LoadError::Config`] for a contract that is not computed, and for exits that do not fit the model, its pooling
    /// or its modules.
    pub(super) fn of_embedder(
        checkpoint: &Checkpoint,
        config: &Config,
        trained: Option<Matryoshka>,
        embedding: &Embedding,
    ) -> Result<(Exits, bool), LoadError> {
        let (all, width) = (config.layers.len(), embedding.width);
        let stated = match config.head {
            Head::Base => stated_contract(checkpoint)?,
            _ => None,
        };
        let Some(stated) = stated else { return Ok((Exits::only(all, width), false)) };
        let exit_norm = check_embedder_contract(&stated)?;
        let bad = |file: &str, reason: &str| {
            let (file, reason) = (file.into(), reason.into());
            Err(LoadError::Config { file, reason })
        };
        if embedding.pooling != Pooling::Mean || !embedding.include_prompt {
            return bad(
                CONFIG,
                "representation_contract asks for the mean of all tokens, 1_Pooling/config.json or --pooling for another row",
            );
        }
        let (mut layers, mut dimensions) = match trained {
            Some(trained) => {
                trained.check("mean", &stated)?;
                (trained.layers, trained.dimensions)
            }
            None => (exported_layers(checkpoint, all)?, DIMENSIONS.to_vec()),
        };
        layers.retain(|&layer| layer < all);
        dimensions.retain(|&dimensions| dimensions < width);
        let has_dense = embedding.modules.iter().any(|module| matches!(module, Module::Dense(_)));
        if has_dense && !layers.is_empty() {
            return bad(
                CONFIG,
                "representation_contract offers exits before the last layer, and modules.json has a Dense module, \
                 which is computed after the last layer only",
            );
        }
        layers.push(all);
        dimensions.insert(0, width);
        Ok((Exits { layers, dimensions }, exit_norm))
    }
}

/// Returns the layers of the exported graphs, `onnx/model_layer_N.onnx`. Their contents are not read.
fn exported_layers(checkpoint: &Checkpoint, all: usize) -> Result<Vec<usize>, LoadError> {
    let layer = |name: &String| {
        let number = name.strip_prefix("onnx/model_layer_")?.strip_suffix(".onnx")?;
        number.parse::<usize>().ok()
    };
    let mut layers: Vec<usize> = checkpoint.file_names().iter().filter_map(layer).collect();
    layers.sort_unstable();
    match layers.iter().find(|layer| !(1..=all).contains(*layer)) {
        None => Ok(layers),
        Some(layer) => Err(LoadError::Config {
            file: format!("onnx/model_layer_{layer}.onnx"),
            reason: format!("the model has {all} layers"),
        }),
    }
}

/// Returns the value of `representation_contract` in `config.json`.
pub(super) fn stated_contract(checkpoint: &Checkpoint) -> Result<Option<Value>, LoadError> {
    let mut config = ConfigFile::parse(CONFIG.into(), &checkpoint.require(CONFIG)?)?;
    Ok(config.take(KEY))
}

/// Checks the contract of an embedder; returns whether rows of an exit before the last layer go through the final norm.
fn check_embedder_contract(stated: &Value) -> Result<bool, LoadError> {
    let mut keys = read_contract(stated)?;
    keys.needed_text("final_normalization", &["final_norm"])?;
    keys.needed_text("pooling", &["attention_mask_mean"])?;
    keys.needed_text("pooling_accumulation_dtype", &["float32"])?;
    if keys.flag("truncate_before_l2_normalize")? != Some(true) {
        return Err(keys.bad("truncate_before_l2_normalize must be true"));
    }
    let norm = keys.needed_text("intermediate_normalization", &["none", "final_norm"])?;
    Ok(norm == "final_norm")
}

/// Checks the contract of a reranker: the first token's row through the final norm at every exit, scored in f32.
///
/// # Errors
/// [`LoadError::Config`] with the key that asks for something else.
pub(super) fn check_pair_contract(stated: &Value) -> Result<(), LoadError> {
    let mut keys = read_contract(stated)?;
    keys.needed_text("pooling", &["cls"])?;
    keys.needed_text("intermediate_normalization", &["final_norm"])?;
    keys.needed_text("final_normalization", &["final_norm"])?;
    keys.needed_text("head_dtype", &["float32"])?;
    keys.finish()
}

/// Reads the keys of a contract of version 1.
fn read_contract(stated: &Value) -> Result<ConfigFile, LoadError> {
    let file = format!("{KEY} in {CONFIG}");
    let mut keys = ConfigFile::parse(file, stated.to_string().as_bytes())?;
    match keys.size("version")? {
        Some(1) => Ok(keys),
        _ => Err(keys.bad("version must be 1")),
    }
}
