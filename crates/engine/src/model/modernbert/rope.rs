//! Rotary positions: the frequencies that a config asks for. The tables are [`RopeTable`]s.
//!
//! The merging of the old layout follows `transformers` 5.17 (`ModernBertConfig.convert_rope_params_to_dict`):
//! `rope_scaling` goes into both layer types, a missing `original_max_position_embeddings` is
//! `max_position_embeddings`, thetas default to 160000 and 10000. Two things are stricter here, because
//! upstream would silently continue with unscaled positions: an unsupported `rope_type` is rejected, and so
//! is a scaling given by the older key `type` alone.
//!
//! Frequencies and angles are rounded to f32 where upstream rounds them, since that is what checkpoints
//! were trained with and what the oracle computes: at 20000 tokens an exact angle differs by 1e-3. Their
//! cosines and sines are taken in f64; positions never pass through half precision.
//! YaRN: Peng et al., 2023, <https://arxiv.org/abs/2309.00071>.

use std::collections::BTreeMap;
use std::f64::consts::PI;

use serde::Deserialize;
use serde_json::Value;

use super::config::RawConfig;
use crate::backend::RopeTable;

/// Upper limit on every length in a configuration, in tokens.
const MAX_TOKENS: i64 = 1 << 20;
const THETA_FULL: f64 = 160_000.0;
const THETA_SLIDING: f64 = 10_000.0;

/// The choices of `--rope`, for published checkpoints that differ from how they were trained.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum RopeOverride {
    /// As the checkpoint asks.
    #[default]
    Checkpoint,
    /// YaRN, with the checkpoint's parameters where it has any, else factor 4 over 8192.
    Yarn,
    /// No scaling.
    Plain,
}

/// Rotary parameters of one layer type.
#[derive(Debug, Clone, PartialEq)]
pub struct Rope {
    /// Base of the geometric series of wavelengths.
    pub theta: f64,
    /// How the series is stretched.
    pub scaling: Scaling,
}

/// How the series is stretched to positions beyond the trained length.
#[derive(Debug, Clone, PartialEq)]
pub enum Scaling {
    /// `rope_type` default.
    None,
    /// `rope_type` linear: all frequencies divided by the factor.
    Linear {
        /// `factor`.
        factor: f64,
    },
    /// `rope_type` yarn: long wavelengths are interpolated, short ones kept, a ramp between.
    Yarn {
        /// `factor`.
        factor: f64,
        /// `original_max_position_embeddings`.
        original_max_tokens: usize,
        /// Multiplies cos and sin.
        attention_factor: f64,
        /// `beta_fast`.
        beta_fast: f64,
        /// `beta_slow`.
        beta_slow: f64,
    },
}

/// `training_config.json`, where some long-context checkpoints put their scaling.
#[derive(Debug, Default, Deserialize)]
pub(super) struct TrainingConfig {
    rope_scaling_type: Option<String>,
    model_max_length: Option<i64>,
    rope_original_max_position_embeddings: Option<i64>,
}

pub(super) struct Ropes {
    pub(super) full: Rope,
    pub(super) sliding: Rope,
    pub(super) max_tokens: usize,
}

const LAYER_TYPES: [&str; 2] = ["full_attention", "sliding_attention"];

type ConfigFault = (&'static str, String);
type Params = BTreeMap<String, Value>;

pub(super) fn resolve(
    raw: &RawConfig,
    training: &TrainingConfig,
    wanted: RopeOverride,
    max_positions: usize,
) -> Result<Ropes, ConfigFault> {
    let [full_type, sliding_type] = LAYER_TYPES;
    let full_theta = theta("global_rope_theta", raw.global_rope_theta, THETA_FULL)?;
    let sliding_theta = theta("local_rope_theta", raw.local_rope_theta, THETA_SLIDING)?;
    let mut full = layer_params(raw, full_type, full_theta, wanted)?;
    let mut sliding = layer_params(raw, sliding_type, sliding_theta, wanted)?;
    let mut max_tokens = max_positions;

    let scaled = |p: &Params| match p.get("rope_type").and_then(Value::as_str) {
        Some("default") => false,
        Some("yarn") => true,
        // Any other kind gives way to the override of the caller.
        _ => wanted != RopeOverride::Yarn,
    };
    if !scaled(&full) && !scaled(&sliding) {
        let side = side_scaling(training, wanted, max_positions)?;
        if let Some(side) = side {
            for params in [&mut full, &mut sliding] {
                params.insert("rope_type".into(), "yarn".into());
                params.insert("factor".into(), side.factor.into());
                let original = side.original_max_tokens.into();
                params.insert("original_max_position_embeddings".into(), original);
            }
        }
    }
    if wanted == RopeOverride::Plain {
        for params in [&mut full, &mut sliding] {
            params.insert("rope_type".into(), "default".into());
        }
    }
    let full = rope("rope_parameters.full_attention", &full, max_positions)?;
    let sliding = rope("rope_parameters.sliding_attention", &sliding, max_positions)?;
    for rope in [&full, &sliding] {
        max_tokens = max_tokens.max(rope.reach());
    }
    Ok(Ropes { full, sliding, max_tokens })
}

/// Rejects an explicit null: upstream fails on it, and older versions read it as the other theta.
fn theta(key: &str, given: Option<Option<f64>>, default: f64) -> Result<f64, ConfigFault> {
    match given {
        None => Ok(default),
        Some(Some(theta)) => Ok(theta),
        Some(None) => Err(("config.json", format!("{key} is null; it must be a number"))),
    }
}

/// Merges the parameters of one layer type as upstream does.
fn layer_params(
    raw: &RawConfig,
    layer_type: &str,
    theta: f64,
    wanted: RopeOverride,
) -> Result<Params, ConfigFault> {
    let file = "config.json";
    let mut params = Params::new();
    if let Some(all) = &raw.rope_parameters {
        let by_layer_type = all.keys().any(|key| LAYER_TYPES.contains(&key.as_str()));
        match all.get(layer_type) {
            Some(Value::Object(map)) => {
                params.extend(map.iter().map(|(k, v)| (k.clone(), v.clone())));
                if let Some(kind) = params.get("type").cloned() {
                    params.entry("rope_type".into()).or_insert(kind);
                }
            }
            None if by_layer_type || all.is_empty() => {}
            _ => {
                return Err((
                    file,
                    format!(
                        "rope_parameters has no '{layer_type}': it must have one entry per layer type"
                    ),
                ));
            }
        }
    }
    if let Some(scaling) = &raw.rope_scaling {
        params.extend(scaling.iter().map(|(k, v)| (k.clone(), v.clone())));
    }
    if !params.contains_key("rope_type") {
        let old = params.get("type").filter(|kind| kind.as_str() != Some("default"));
        let kind = match (old, wanted) {
            (Some(kind), RopeOverride::Checkpoint) => {
                return Err((
                    file,
                    format!(
                        "rope scaling has type {kind} but no rope_type, which transformers would \
                         ignore; write rope_type, or choose with --rope yarn|plain"
                    ),
                ));
            }
            (Some(kind), RopeOverride::Yarn) if kind.as_str() == Some("yarn") => "yarn",
            _ => "default",
        };
        params.insert("rope_type".into(), kind.into());
    }
    params.entry("rope_theta".into()).or_insert_with(|| theta.into());
    Ok(params)
}

struct SideScaling {
    factor: f64,
    original_max_tokens: usize,
}

fn side_scaling(
    training: &TrainingConfig,
    wanted: RopeOverride,
    max_positions: usize,
) -> Result<Option<SideScaling>, ConfigFault> {
    let file = "training_config.json";
    let declares_yarn = match training.rope_scaling_type.as_deref() {
        None | Some("none" | "default") => false,
        Some("yarn") => true,
        Some(other) => {
            return Err((file, format!("rope_scaling_type '{other}' is not known; known is yarn")));
        }
    };
    if !declares_yarn && wanted != RopeOverride::Yarn {
        return Ok(None);
    }
    let positive = |key: &str, value: Option<i64>, default: usize| match value {
        None => Ok(default),
        Some(v) if (1..=MAX_TOKENS).contains(&v) => Ok(v as usize),
        Some(v) => Err((file, format!("{key} is {v}; it must lie between 1 and {MAX_TOKENS}"))),
    };
    let original = positive(
        "rope_original_max_position_embeddings",
        training.rope_original_max_position_embeddings,
        max_positions.min(8192),
    )?;
    let longest = positive(
        "model_max_length",
        training.model_max_length,
        if max_positions > original { max_positions } else { 4 * original },
    )?;
    if longest < original {
        return Err((file, format!("model_max_length {longest} is below the original {original}")));
    }
    Ok(Some(SideScaling {
        factor: longest as f64 / original as f64,
        original_max_tokens: original,
    }))
}

fn rope(at: &str, params: &Params, max_positions: usize) -> Result<Rope, ConfigFault> {
    let file = "config.json";
    let number = |key: &str| match params.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => match value.as_f64() {
            Some(v) if v > 0.0 && v.is_finite() => Ok(Some(v)),
            _ => Err((file, format!("{at}.{key} is {value}; it must be a positive number"))),
        },
    };
    let needed = |key: &str| {
        number(key)?.ok_or_else(|| (file, format!("{at} has no {key}, which its rope_type needs")))
    };
    if number("partial_rotary_factor")?.is_some_and(|f| f != 1.0) {
        return Err((file, format!("{at}.partial_rotary_factor is not supported")));
    }
    let theta = needed("rope_theta")?;
    if theta <= 1.0 {
        return Err((file, format!("{at}.rope_theta is {theta}; it must be above 1")));
    }
    let kind = params.get("rope_type").cloned().unwrap_or(Value::Null);
    let scaling = match kind.as_str() {
        Some("default") => Scaling::None,
        Some("linear") => Scaling::Linear { factor: at_least_one(at, needed("factor")?)? },
        Some("yarn") => {
            let key = "original_max_position_embeddings";
            let original = number(key)?.unwrap_or(max_positions as f64);
            bounded(at, key, original, 1.0, MAX_TOKENS as f64)?;
            let attention_factor = match number("attention_factor")? {
                Some(factor) => Some(bounded(at, "attention_factor", factor, 0.01, 100.0)?),
                None => None,
            };
            let factor = match number("factor")? {
                Some(factor) => at_least_one(at, factor)?,
                None if !params.contains_key("factor") => needed("factor")?,
                None => at_least_one(at, max_positions as f64 / original)?,
            };
            let scales = (number("mscale")?, number("mscale_all_dim")?);
            let inferred = match scales {
                (Some(m), Some(all)) => mscale(factor, m) / mscale(factor, all),
                _ => mscale(factor, 1.0),
            };
            Scaling::Yarn {
                factor,
                original_max_tokens: original as usize,
                attention_factor: attention_factor.unwrap_or(inferred),
                beta_fast: number("beta_fast")?.unwrap_or(32.0),
                beta_slow: number("beta_slow")?.unwrap_or(1.0),
            }
        }
        _ => {
            return Err((
                file,
                format!("{at}.rope_type is {kind}; known are default, linear and yarn"),
            ));
        }
    };
    Ok(Rope { theta, scaling })
}

fn at_least_one(at: &str, factor: f64) -> Result<f64, ConfigFault> {
    bounded(at, "factor", factor, 1.0, 1024.0)
}

fn bounded(at: &str, key: &str, value: f64, low: f64, high: f64) -> Result<f64, ConfigFault> {
    if (low..=high).contains(&value) {
        Ok(value)
    } else {
        Err(("config.json", format!("{at}.{key} is {value}; it must lie between {low} and {high}")))
    }
}

fn mscale(factor: f64, mscale: f64) -> f64 {
    if factor <= 1.0 { 1.0 } else { 0.1 * mscale * factor.ln() + 1.0 }
}

impl Rope {
    /// Returns the longest sequence that the scaling was made for, in tokens; 0 without scaling.
    fn reach(&self) -> usize {
        match &self.scaling {
            Scaling::Yarn { factor, original_max_tokens, .. } => {
                (factor * *original_max_tokens as f64).round() as usize
            }
            Scaling::None | Scaling::Linear { .. } => 0,
        }
    }

    /// Tabulates the cosines and sines of positions 0 to `positions - 1`.
    pub fn table(&self, head_dim: usize, positions: usize) -> RopeTable {
        let scale = self.attention_factor() as f32;
        RopeTable::new(&self.inverse_frequencies(head_dim), scale, positions)
    }

    /// Returns the factor of cos and sin.
    pub fn attention_factor(&self) -> f64 {
        match &self.scaling {
            Scaling::Yarn { attention_factor, .. } => *attention_factor,
            Scaling::None | Scaling::Linear { .. } => 1.0,
        }
    }

    /// Returns the angle per position of each of the `head_dim / 2` pairs, in radians, rounded to f32 at each
    /// step as upstream rounds: powers are f64, everything computed from them is f32.
    pub fn inverse_frequencies(&self, head_dim: usize) -> Vec<f32> {
        let wavelength = |i: usize| {
            let exponent = (2 * i) as f32 / head_dim as f32;
            self.theta.powf(f64::from(exponent)) as f32
        };
        let pairs = 0..head_dim / 2;
        match &self.scaling {
            Scaling::None => pairs.map(|i| 1.0 / wavelength(i)).collect(),
            Scaling::Linear { factor } => {
                pairs.map(|i| 1.0 / wavelength(i) / *factor as f32).collect()
            }
            Scaling::Yarn { factor, original_max_tokens, beta_fast, beta_slow, .. } => {
                let dim = head_dim as f64;
                let turns_at = |rotations: f64| {
                    dim * (*original_max_tokens as f64 / (rotations * 2.0 * PI)).ln()
                        / (2.0 * self.theta.ln())
                };
                let low = turns_at(*beta_fast).floor().max(0.0);
                let mut high = turns_at(*beta_slow).ceil().min(dim - 1.0);
                if low == high {
                    high += 0.001;
                }
                let blend = |i: usize| {
                    let ramp = ((i as f32 - low as f32) / (high - low) as f32).clamp(0.0, 1.0);
                    let keep = 1.0 - ramp;
                    let interpolated = 1.0 / (*factor as f32 * wavelength(i));
                    interpolated * (1.0 - keep) + 1.0 / wavelength(i) * keep
                };
                pairs.map(blend).collect()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn yarn_keeps_the_fast_pairs_and_stretches_the_slow_ones() {
        let scaling = Scaling::Yarn {
            factor: 4.0,
            original_max_tokens: 8192,
            attention_factor: 1.0,
            beta_fast: 32.0,
            beta_slow: 1.0,
        };
        let plain = Rope { theta: THETA_FULL, scaling: Scaling::None }.inverse_frequencies(64);
        let yarn = Rope { theta: THETA_FULL, scaling }.inverse_frequencies(64);
        assert_eq!(plain[0], yarn[0]);
        assert!((plain[31] / yarn[31] - 4.0).abs() < 1e-5);
        assert!(plain.iter().zip(&yarn).all(|(p, y)| p >= y));
    }
}
