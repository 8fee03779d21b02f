//! The tensors that a configuration needs, under the names that checkpoints use.
//!
//! It reads no tensor: [`Weights`] has them, [`super::forward`] says what is computed with them.

use super::config::{Config, LayerKind};
use super::head::Head;
use crate::backend::{Activation, NormWeights, WeightId};
use crate::batch::RowLayout;
use crate::checkpoint::{TensorSpec, Weights};
use crate::error::LoadError;

/// The use of a tensor, which selects the distribution that [`super::Init`] draws it from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Scale of a norm.
    NormWeight,
    Bias,
    Embedding,
    /// Queries, keys and values.
    Qkv,
    MlpIn,
    /// Output projection of attention or the MLP, added to the residual stream.
    Out,
    /// Dense layer of the prediction head, or an untied decoder.
    HeadDense,
    Classifier,
}

/// A matrix and the bias that may go with it.
#[derive(Debug, Clone, Copy)]
pub struct LinearWeights {
    /// [out, in].
    pub weight: WeightId,
    /// [out].
    pub bias: Option<WeightId>,
}

/// One encoder layer's tensors.
#[derive(Debug, Clone)]
pub struct LayerWeights {
    /// Which keys its attention sees.
    pub kind: LayerKind,
    /// Absent in layer 0, whose input is normed by the embedding.
    pub attn_norm: Option<NormWeights>,
    /// [3 x hidden, hidden].
    pub wqkv: LinearWeights,
    /// [hidden, hidden].
    pub attn_out: LinearWeights,
    /// Before the MLP.
    pub mlp_norm: NormWeights,
    /// [2 x intermediate, hidden].
    pub mlp_in: LinearWeights,
    /// [hidden, intermediate].
    pub mlp_out: LinearWeights,
}

/// The prediction head shared by all tasks that have labels: dense, activation, norm, then `output`.
#[derive(Debug, Clone)]
pub struct HeadWeights {
    /// [hidden, hidden].
    pub dense: LinearWeights,
    /// After the dense layer.
    pub activation: Activation,
    /// After the activation.
    pub norm: NormWeights,
    /// [labels, hidden], or the decoder [vocab, hidden].
    pub output: LinearWeights,
    /// Rows of `output`.
    pub outputs: usize,
}

/// All tensors of a model, and which of them each part uses.
#[derive(Debug, Clone)]
pub struct Architecture {
    /// In the order of their [`WeightId`]s.
    pub tensors: Vec<TensorSpec>,
    /// The role of each tensor, in the same order.
    pub(super) roles: Vec<Role>,
    /// [vocab, hidden].
    pub embedding: WeightId,
    /// After the embedding.
    pub embedding_norm: NormWeights,
    /// In order.
    pub layers: Vec<LayerWeights>,
    /// After the last layer.
    pub final_norm: NormWeights,
    /// Absent for models without labels or a decoder.
    pub head: Option<HeadWeights>,
    /// Whether rows that are pooled before the last layer go through the final norm first.
    pub exit_norm: bool,
}

impl Architecture {
    /// Lists the tensors of a model with `labels` classifier outputs (ignored without a classifier).
    pub fn new(config: &Config, labels: usize) -> Architecture {
        let mut list = List { tensors: Vec::new(), roles: Vec::new(), norm_bias: config.norm_bias };
        let (h, i) = (config.hidden_size, config.intermediate_size);
        let embedding =
            list.add("embeddings.tok_embeddings.weight", &[config.vocab_size, h], Role::Embedding);
        let embedding_norm = list.norm("embeddings.norm", h);
        let layers = config.layers.iter().enumerate().map(|(n, &kind)| {
            let at = |part: &str| format!("layers.{n}.{part}");
            let (attn, mlp) = (config.attention_bias, config.mlp_bias);
            LayerWeights {
                kind,
                attn_norm: (n > 0).then(|| list.norm(&at("attn_norm"), h)),
                wqkv: list.linear(&at("attn.Wqkv"), 3 * h, h, attn, Role::Qkv),
                attn_out: list.linear(&at("attn.Wo"), h, h, attn, Role::Out),
                mlp_norm: list.norm(&at("mlp_norm"), h),
                mlp_in: list.linear(&at("mlp.Wi"), 2 * i, h, mlp, Role::MlpIn),
                mlp_out: list.linear(&at("mlp.Wo"), h, i, mlp, Role::Out),
            }
        });
        let layers = layers.collect();
        let final_norm = list.norm("final_norm", h);
        let has_head = !matches!(config.head, Head::Base | Head::PairScorers);
        let head = has_head.then(|| {
            let dense = list.linear("head.dense", h, h, config.classifier_bias, Role::HeadDense);
            let norm = list.norm("head.norm", h);
            let (output, outputs) = match &config.head {
                Head::MaskedLm { decoder_bias, tied } => {
                    let v = config.vocab_size;
                    let weight = if *tied {
                        embedding
                    } else {
                        list.add("decoder.weight", &[v, h], Role::HeadDense)
                    };
                    let bias = decoder_bias.then(|| list.add("decoder.bias", &[v], Role::Bias));
                    (LinearWeights { weight, bias }, v)
                }
                _ => (list.linear("classifier", labels, h, true, Role::Classifier), labels),
            };
            HeadWeights { dense, activation: config.classifier_activation, norm, output, outputs }
        });
        let List { tensors, roles, .. } = list;
        Architecture {
            tensors,
            roles,
            embedding,
            embedding_norm,
            layers,
            final_norm,
            head,
            exit_norm: false,
        }
    }

    /// Returns the shape of the rows that the model returns for a batch.
    pub fn row_layout(&self, config: &Config) -> RowLayout {
        RowLayout {
            logit_rows: config.head.logit_rows(),
            hidden_size: config.hidden_size,
            outputs: self.head.as_ref().map_or(0, |head| head.outputs),
        }
    }

    /// Checks that `weights` has every tensor in its shape and no other tensor.
    ///
    /// # Errors
    /// [`LoadError::Weights`] with the tensor that is missing, misshapen or unknown.
    pub fn check(&self, weights: &Weights, model: &str) -> Result<(), LoadError> {
        for spec in &self.tensors {
            weights.tensor(&spec.name, &spec.shape)?;
        }
        for (name, _) in weights.iter() {
            // Written by some exporters although it is the embedding again.
            let tied_copy = name == "decoder.weight";
            // A buffer of older versions, computed from the config here as there.
            let frequencies = name.contains("rotary_emb.") && name.ends_with("inv_freq");
            if !tied_copy && !frequencies && !self.tensors.iter().any(|spec| spec.name == name) {
                return Err(LoadError::Weights {
                    model: model.into(),
                    reason: format!(
                        "tensor {name} has no place in the architecture that config.json names"
                    ),
                });
            }
        }
        Ok(())
    }
}

struct List {
    tensors: Vec<TensorSpec>,
    roles: Vec<Role>,
    norm_bias: bool,
}

impl List {
    fn add(&mut self, name: &str, shape: &[usize], role: Role) -> WeightId {
        self.tensors.push(TensorSpec { name: name.into(), shape: shape.into() });
        self.roles.push(role);
        WeightId(self.tensors.len() - 1)
    }

    fn norm(&mut self, name: &str, hidden: usize) -> NormWeights {
        let weight = self.add(&format!("{name}.weight"), &[hidden], Role::NormWeight);
        let bias = self.norm_bias.then(|| self.add(&format!("{name}.bias"), &[hidden], Role::Bias));
        NormWeights { weight, bias }
    }

    fn linear(
        &mut self,
        name: &str,
        out: usize,
        input: usize,
        bias: bool,
        role: Role,
    ) -> LinearWeights {
        let weight = self.add(&format!("{name}.weight"), &[out, input], role);
        let bias = bias.then(|| self.add(&format!("{name}.bias"), &[out], Role::Bias));
        LinearWeights { weight, bias }
    }
}
