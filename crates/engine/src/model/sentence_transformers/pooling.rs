//! The Pooling module's settings, in the layouts of all releases.

use serde_json::Value;

use crate::error::LoadError;
use crate::model::config_file::ConfigFile;
use crate::pooling::Pooling;

/// The modes that older releases wrote as one boolean each, in the order in which they are concatenated.
const OLD_KEYS: [(&str, &str); 6] = [
    ("pooling_mode_cls_token", "cls"),
    ("pooling_mode_max_tokens", "max"),
    ("pooling_mode_mean_tokens", "mean"),
    ("pooling_mode_mean_sqrt_len_tokens", "mean_sqrt_len_tokens"),
    ("pooling_mode_weightedmean_tokens", "weightedmean"),
    ("pooling_mode_lasttoken", "lasttoken"),
];

/// How hidden states become one row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PoolingSettings {
    pub(super) pooling: Pooling,
    /// Whether a prompt's tokens are pooled with the text's.
    pub(super) include_prompt: bool,
}

impl PoolingSettings {
    /// Reads the settings; `given` overrides the mode.
    pub(super) fn read(
        mut config: ConfigFile,
        hidden_size: usize,
        given: Option<Pooling>,
    ) -> Result<PoolingSettings, LoadError> {
        for key in ["word_embedding_dimension", "embedding_dimension"] {
            if let Some(width) = config.size(key)?.filter(|&width| width != hidden_size) {
                return Err(config.bad(format!("{key} is {width}, the model's is {hidden_size}")));
            }
        }
        let include_prompt = config.flag("include_prompt")?.unwrap_or(true);
        let of_file = mode(&mut config)?;
        let pooling = match given {
            Some(pooling) => pooling,
            None => of_file.map_err(|reason| config.bad(reason))?,
        };
        if pooling == Pooling::Cls && !include_prompt {
            return Err(config.bad(
                "include_prompt is false, which is computed for mean pooling only: for cls, \
                 sentence-transformers itself takes one token with flash attention and another without",
            ));
        }
        config.finish()?;
        Ok(PoolingSettings { pooling, include_prompt })
    }
}

/// Takes the mode of the file; the inner error is a mode that is not computed.
fn mode(config: &mut ConfigFile) -> Result<Result<Pooling, String>, LoadError> {
    let mut old = Vec::new();
    for (key, mode) in OLD_KEYS {
        if config.flag(key)? == Some(true) {
            old.push((key, mode));
        }
    }
    let named = |key: &str, mode: &str| match mode {
        "cls" => Ok(Pooling::Cls),
        "mean" => Ok(Pooling::Mean),
        _ => Err(format!("{key} is '{mode}'; known are cls and mean")),
    };
    let one = match config.take("pooling_mode") {
        Some(Value::String(mode)) => return Ok(named("pooling_mode", &mode)),
        Some(Value::Array(modes)) => match modes.as_slice() {
            [Value::String(mode)] => return Ok(named("pooling_mode", mode)),
            _ => Err(format!("pooling_mode is {}", Value::Array(modes))),
        },
        Some(other) => Err(format!("pooling_mode is {other}")),
        None => match old.as_slice() {
            [] => return Ok(Ok(Pooling::Mean)),
            [(_, mode @ ("cls" | "mean"))] => return Ok(named("pooling_mode", mode)),
            several => Err(format!(
                "it asks for {:?}",
                several.iter().map(|(key, _)| key).collect::<Vec<_>>()
            )),
        },
    };
    Ok(one.map_err(|reason| format!("{reason}; known are cls and mean, one of them")))
}
