//! The Transformer module's own settings: `sentence_bert_config.json`, under any of the names it has had.

use serde_json::{Value, json};

use crate::error::LoadError;
use crate::model::config_file::{ConfigFile, SettingsFiles};

/// The file's names, in the order in which sentence-transformers tries them.
const FILES: [&str; 7] = [
    "sentence_bert_config.json",
    "sentence_roberta_config.json",
    "sentence_distilbert_config.json",
    "sentence_camembert_config.json",
    "sentence_albert_config.json",
    "sentence_xlm-roberta_config.json",
    "sentence_xlnet_config.json",
];

/// Arguments of model, tokenizer and config loading that change no answer here.
const WITHOUT_EFFECT: [&str; 11] = [
    "attn_implementation",
    "cache_dir",
    "device_map",
    "dtype",
    "low_cpu_mem_usage",
    "padding_side",
    "reference_compile",
    "torch_dtype",
    "trust_remote_code",
    "use_fast",
    "use_safetensors",
];

/// How texts are read before the model.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::model) struct TransformerSettings {
    /// The longest input, in tokens.
    pub(in crate::model) max_seq_length: Option<usize>,
    /// Texts are lower-cased before they are tokenized.
    pub(in crate::model) do_lower_case: bool,
}

impl TransformerSettings {
    /// Reads the first of [`FILES`] that holds anything. If the checkpoint has modules and no file states the
    /// length, the tokenizer's `model_max_length` does, as in sentence-transformers.
    pub(super) fn read(
        files: &SettingsFiles<'_>,
        has_modules: bool,
    ) -> Result<TransformerSettings, LoadError> {
        let mut settings = TransformerSettings::default();
        for file in FILES {
            match ConfigFile::read(files, file.into())? {
                Some(config) if !config.is_empty() => {
                    settings = TransformerSettings::parse(config)?;
                    break;
                }
                _ => {}
            }
        }
        if settings.max_seq_length.is_none() && has_modules {
            settings.max_seq_length = model_max_length(files)?;
        }
        Ok(settings)
    }

    fn parse(mut config: ConfigFile) -> Result<TransformerSettings, LoadError> {
        let mut max_seq_length = config.size("max_seq_length")?;
        let do_lower_case = config.flag("do_lower_case")?.unwrap_or(false);
        config.one_of("transformer_task", &["feature-extraction", "sequence-classification"])?;
        config.one_of("module_output_name", &["token_embeddings", "scores"])?;
        // Padding changes no answer: packed batches have none.
        config.flag("unpad_inputs")?;
        let output =
            |name: &str| json!({"text": {"method": "forward", "method_output_name": name}});
        let modality = config.take("modality_config");
        if let Some(other) = modality
            && other != output("last_hidden_state")
            && other != output("logits")
        {
            let known = "text by forward, last_hidden_state or logits";
            return Err(config.bad(format!("modality_config is {other}; computed: {known}")));
        }
        for key in ["processing_kwargs", "query_expansion"] {
            if let Some((name, value)) = config.object(key)?.into_iter().next() {
                return Err(config.bad(format!("{key} has {name}: {value}, which is not computed")));
            }
        }
        for key in ["tokenizer_args", "processor_kwargs"] {
            let mut arguments = config.object(key)?;
            // It overrides max_seq_length.
            if let Some(length) = arguments.remove("model_max_length") {
                max_seq_length = Some(positive(&length).ok_or_else(|| {
                    config.bad(format!("{key}.model_max_length is {length}; it must be above 0"))
                })?);
            }
            refuse_arguments(&config, key, arguments.iter())?;
        }
        for key in ["model_args", "model_kwargs", "config_args", "config_kwargs"] {
            let arguments = config.object(key)?;
            refuse_arguments(&config, key, arguments.iter())?;
        }
        config.finish()?;
        Ok(TransformerSettings { max_seq_length, do_lower_case })
    }
}

fn refuse_arguments<'a>(
    config: &ConfigFile,
    key: &str,
    mut arguments: impl Iterator<Item = (&'a String, &'a Value)>,
) -> Result<(), LoadError> {
    let changes = |(name, value): &(&String, &Value)| {
        !value.is_null() && !WITHOUT_EFFECT.contains(&name.as_str())
    };
    match arguments.find(changes) {
        None => Ok(()),
        Some((name, value)) => {
            Err(config.bad(format!("{key} has {name}: {value}, which is not computed")))
        }
    }
}

/// Reads `model_max_length` of `tokenizer_config.json`, which is 10^30 where the author set none.
fn model_max_length(files: &SettingsFiles<'_>) -> Result<Option<usize>, LoadError> {
    let file = "tokenizer_config.json";
    let Some(mut config) = ConfigFile::read(files, file.into())? else { return Ok(None) };
    let Some(length) = config.take("model_max_length") else { return Ok(None) };
    match positive(&length) {
        Some(length) => Ok(Some(length)),
        None => Err(config.bad(format!("model_max_length is {length}; it must be above 0"))),
    }
}

/// Returns a positive number as a size; numbers beyond any size become the largest.
fn positive(value: &Value) -> Option<usize> {
    value.as_f64().filter(|&number| number >= 1.0).map(|number| number as usize)
}
