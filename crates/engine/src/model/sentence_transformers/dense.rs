//! A Dense module: a product with a matrix, a bias, an activation, on one pooled row.

use super::activation::{Activation, KNOWN};
use crate::checkpoint::{Checkpoint, Weights};
use crate::error::LoadError;
use crate::model::config_file::ConfigFile;

/// A dense layer after pooling. Its weights are held as f32 on the host: it runs once per text.
#[derive(Debug, Clone, PartialEq)]
pub struct Dense {
    inputs: usize,
    outputs: usize,
    /// [outputs, inputs], row-major.
    weight: Vec<f32>,
    /// [outputs].
    bias: Option<Vec<f32>>,
    activation: Activation,
    residual: Residual,
}

/// What is added to a layer's output.
#[derive(Debug, Clone, PartialEq)]
enum Residual {
    None,
    /// The input itself.
    Input,
    /// The input's product with [outputs, inputs].
    Projected(Vec<f32>),
}

impl Dense {
    /// Reads the module in `folder`, for rows of `width` elements.
    pub(super) fn read(
        checkpoint: &Checkpoint,
        folder: &str,
        mut config: ConfigFile,
        width: usize,
    ) -> Result<Dense, LoadError> {
        let missing = |key: &str| format!("{key} is missing");
        let inputs =
            config.size("in_features")?.ok_or_else(|| config.bad(missing("in_features")))?;
        let outputs =
            config.size("out_features")?.ok_or_else(|| config.bad(missing("out_features")))?;
        if inputs != width {
            return Err(config.bad(format!(
                "in_features is {inputs}, but the module before it returns {width} numbers"
            )));
        }
        let has_bias = config.flag("bias")?.unwrap_or(true);
        let activation = match config.text("activation_function")? {
            None => Activation::Tanh,
            Some(path) => Activation::named(&path).ok_or_else(|| {
                config.bad(format!("activation_function is {path}; computed: {KNOWN}"))
            })?,
        };
        for key in ["module_input_name", "module_output_name"] {
            config.one_of(key, &["sentence_embedding"])?;
        }
        let use_residual = config.flag("use_residual")?.unwrap_or(false);
        config.finish()?;
        let weights = open_weights(checkpoint, folder)?;
        let matrix = |name: &str| weights.tensor(name, &[outputs, inputs])?.to_f32();
        let bias = has_bias.then(|| weights.tensor("linear.bias", &[outputs])?.to_f32());
        let residual = match use_residual {
            false => Residual::None,
            true if inputs == outputs => Residual::Input,
            true => Residual::Projected(matrix("residual.weight")?),
        };
        let of_residual = matches!(residual, Residual::Projected(_));
        let used = |name: &str| match name {
            "linear.weight" => true,
            "linear.bias" => has_bias,
            "residual.weight" => of_residual,
            _ => false,
        };
        if let Some((name, _)) = weights.iter().find(|(name, _)| !used(name)) {
            return Err(LoadError::Weights {
                model: checkpoint.name().into(),
                reason: format!(
                    "{folder}/model.safetensors has {name}, which its config.json does not ask for"
                ),
            });
        }
        Ok(Dense {
            inputs,
            outputs,
            weight: matrix("linear.weight")?,
            bias: bias.transpose()?,
            activation,
            residual,
        })
    }

    /// Returns the number of elements of its output.
    pub(super) fn outputs(&self) -> usize {
        self.outputs
    }

    /// Computes the output for one row. Every sum is in f64, in order of the input's elements.
    pub(super) fn apply(&self, row: &[f32]) -> Vec<f32> {
        let product = |matrix: &[f32], n: usize| -> f64 {
            let weights = &matrix[n * self.inputs..(n + 1) * self.inputs];
            weights.iter().zip(row).map(|(&w, &x)| f64::from(w) * f64::from(x)).sum()
        };
        let output = |n: usize| {
            let bias = self.bias.as_ref().map_or(0.0, |bias| f64::from(bias[n]));
            let own = self.activation.apply(product(&self.weight, n) + bias);
            let added = match &self.residual {
                Residual::None => 0.0,
                Residual::Input => f64::from(row[n]),
                Residual::Projected(matrix) => product(matrix, n),
            };
            (own + added) as f32
        };
        (0..self.outputs).map(output).collect()
    }
}

fn open_weights(checkpoint: &Checkpoint, folder: &str) -> Result<Weights, LoadError> {
    let file = format!("{folder}/model.safetensors");
    Weights::open_file(checkpoint, &file)?.ok_or_else(|| LoadError::Weights {
        model: checkpoint.name().into(),
        reason: format!(
            "{file} is missing; if the folder has a pytorch_model.bin, load the model in \
             sentence-transformers and save it with safe_serialization=True"
        ),
    })
}
