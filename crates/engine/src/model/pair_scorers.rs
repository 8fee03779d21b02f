//! Pair scorers: one small network per exit that scores how well a document answers a query.
//!
//! A reranker of this kind is a `ModernBertModel` with `matryoshka_config.json`, the exits, and
//! `classification_heads.safetensors`, the networks: `Linear(D, D / 2)`, GELU, `Linear(D / 2, 1)` over the first D
//! elements of the first token's row. They run on the host, in f32, in one order per row.

use std::collections::BTreeMap;

use super::exits::{Exits, check_pair_contract, stated_contract};
use super::matryoshka::Matryoshka;
use super::modernbert::Config;
use crate::checkpoint::{Checkpoint, Weights};
use crate::error::LoadError;

const FILE: &str = "classification_heads.safetensors";

/// The name of the only score, as a classifier with one label has it.
pub(super) const LABEL: &str = "LABEL_0";

/// Partial sums of a dot product.
const LANES: usize = 16;

/// The scorers of a reranker, by their exit.
#[derive(Debug, Clone, PartialEq)]
pub struct PairScorers {
    /// By layers that have run, and by width.
    scorers: BTreeMap<(usize, usize), Scorer>,
    /// All layers, the full width.
    default: (usize, usize),
}

/// One network.
#[derive(Debug, Clone, PartialEq)]
struct Scorer {
    /// [inner, width], row-major.
    weight: Vec<f32>,
    /// [inner].
    bias: Vec<f32>,
    /// [inner].
    output: Vec<f32>,
    output_bias: f32,
}

impl PairScorers {
    /// Reads the scorers; `None` unless the checkpoint is such a reranker.
    ///
    /// # Errors
    /// [`LoadError::Config`] for exits that do not fit the model, [`LoadError::Weights`] for a scorer that is
    /// incomplete or of the wrong shape, or if none is for the whole model.
    pub(super) fn read(
        checkpoint: &Checkpoint,
        config: &Config,
        trained: Option<&Matryoshka>,
    ) -> Result<Option<PairScorers>, LoadError> {
        let Some(trained) = trained else { return Ok(None) };
        let stated = stated_contract(checkpoint)?.unwrap_or_default();
        let Some(weights) = Weights::open_file(checkpoint, FILE)? else {
            return match stated["pooling"].as_str() {
                Some("cls") => Err(LoadError::Weights {
                    model: checkpoint.name().into(),
                    reason: format!(
                        "{FILE} is missing, whose scorers the reranker needs: get that file too"
                    ),
                }),
                _ => Ok(None),
            };
        };
        check_pair_contract(&stated)?;
        trained.check("cls", &stated)?;
        let scorers = read_scorers(&weights, checkpoint.name(), trained)?;
        let default = (config.layers.len(), config.hidden_size);
        if !scorers.contains_key(&default) {
            return Err(LoadError::Weights {
                model: checkpoint.name().into(),
                reason: format!(
                    "{FILE} has no scorer {}.{} for the whole model",
                    default.0, default.1
                ),
            });
        }
        Ok(Some(PairScorers { scorers, default }))
    }

    /// Iterates over the exits: layers that have run, and elements of the row that are read.
    pub fn exits(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        self.scorers.keys().copied()
    }

    /// Returns the exit of a request that names none: all layers, the whole row.
    pub fn default_exit(&self) -> (usize, usize) {
        self.default
    }

    /// Returns the exit of these options; `None` if it has no scorer.
    pub fn exit(&self, layer: Option<usize>, dimensions: Option<usize>) -> Option<(usize, usize)> {
        let exit = (layer.unwrap_or(self.default.0), dimensions.unwrap_or(self.default.1));
        self.scorers.contains_key(&exit).then_some(exit)
    }

    /// Returns the layers and the widths of all exits.
    pub(super) fn all_exits(&self) -> Exits {
        let mut layers: Vec<usize> = self.exits().map(|(layers, _)| layers).collect();
        layers.dedup();
        let mut dimensions: Vec<usize> = self.exits().map(|(_, width)| width).collect();
        dimensions.sort_unstable_by(|a, b| b.cmp(a));
        dimensions.dedup();
        Exits { layers, dimensions }
    }

    /// Computes the logit of a pair from the first token's row, [hidden], at an exit; `None` if it has no scorer.
    pub(crate) fn logit(&self, exit: (usize, usize), row: &[f32]) -> Option<f32> {
        Some(self.scorers.get(&exit)?.logit(row.get(..exit.1)?))
    }
}

impl Scorer {
    fn logit(&self, row: &[f32]) -> f32 {
        let inner = self.weight.chunks_exact(row.len()).zip(&self.bias);
        let inner: Vec<f32> = inner.map(|(weights, bias)| gelu(dot(weights, row) + bias)).collect();
        dot(&self.output, &inner) + self.output_bias
    }
}

/// 0.5 x (1 + erf(x / sqrt 2)).
fn gelu(x: f32) -> f32 {
    0.5 * x * (1.0 + libm::erff(x * std::f32::consts::FRAC_1_SQRT_2))
}

/// Sums in [`LANES`] interleaved partial sums, which a compiler can keep in vector registers.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0.0f32; LANES];
    for (a, b) in a.chunks(LANES).zip(b.chunks(LANES)) {
        lanes.iter_mut().zip(a.iter().zip(b)).for_each(|(lane, (a, b))| *lane += a * b);
    }
    lanes.iter().sum()
}

/// Reads the scorer of each trained exit that has one. An exit has none of its four tensors or all of them.
fn read_scorers(
    weights: &Weights,
    model: &str,
    trained: &Matryoshka,
) -> Result<BTreeMap<(usize, usize), Scorer>, LoadError> {
    let bad = |reason: String| LoadError::Weights { model: model.into(), reason };
    let has = |name: &str| weights.rows_of(name).is_some();
    let mut scorers = BTreeMap::new();
    let mut known = Vec::new();
    for (&layer, &width) in trained
        .layers
        .iter()
        .flat_map(|layer| trained.dimensions.iter().map(move |width| (layer, width)))
    {
        let names = ["0.weight", "0.bias", "3.weight", "3.bias"]
            .map(|part| format!("{layer}.{width}.{part}"));
        if !names.iter().any(|name| has(name)) {
            continue;
        }
        let inner = width / 2;
        if inner == 0 {
            return Err(bad(format!(
                "{FILE} has a scorer {layer}.{width}; a width must be at least 2"
            )));
        }
        let [weight, bias, output, output_bias] = &names;
        let floats = |name: &str, shape: &[usize]| weights.tensor(name, shape)?.to_f32();
        let scorer = Scorer {
            weight: floats(weight, &[inner, width])?,
            bias: floats(bias, &[inner])?,
            output: floats(output, &[1, inner])?,
            output_bias: floats(output_bias, &[1])?[0],
        };
        scorers.insert((layer, width), scorer);
        known.extend(names);
    }
    match weights.iter().find(|(name, _)| !known.iter().any(|known| known == name)) {
        None => Ok(scorers),
        Some((name, _)) => Err(bad(format!(
            "{FILE} has {name}, which belongs to no exit of matryoshka_config.json"
        ))),
    }
}
