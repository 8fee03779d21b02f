//! Hugging Face Hub: the files of a model repository, through the standard cache.

use std::path::{Path, PathBuf};

use hf_hub::api::sync::{ApiBuilder, ApiError};
use hf_hub::{Cache, Repo};

use super::checkpoint::{Checkpoint, no_source};
use super::weights::ShardIndex;
use crate::error::LoadError;

/// Read when they are there.
const OPTIONAL: [&str; 2] = ["training_config.json", "1_Pooling/config.json"];

/// Brings one file and says where it lies.
type Get = Box<dyn Fn(&str) -> Result<PathBuf, String>>;

/// Brings the files into the cache of `HF_HOME` and opens the snapshot they lie in. With
/// `HF_HUB_OFFLINE` set, only the cache is looked at.
pub(super) fn fetch(id: &str) -> Result<Checkpoint, LoadError> {
    let get = getter(id)?;
    let required = |file: &str| get(file).map_err(|e| no_source(id, &e));

    let config = required("config.json")?;
    required("tokenizer.json")?;
    if get("model.safetensors").is_err() {
        let index = required("model.safetensors.index.json")?;
        for shard in shards(&index).map_err(|e| no_source(id, &e))? {
            required(&shard)?;
        }
    }
    for file in OPTIONAL {
        // Absent from most repositories; one that cannot be fetched is as good as absent.
        let _ = get(file);
    }
    let snapshot = config.parent().ok_or_else(|| no_source(id, "the cache has no snapshot"))?;
    Ok(Checkpoint::directory(snapshot).named(id))
}

/// As [`fetch`], but brings the tokenizer only.
pub(super) fn fetch_tokenizer(id: &str) -> Result<Checkpoint, LoadError> {
    let get = getter(id)?;
    let tokenizer = get("tokenizer.json").map_err(|e| no_source(id, &e))?;
    // It only says which token is the mask.
    let _ = get("tokenizer_config.json");
    let snapshot = tokenizer.parent().ok_or_else(|| no_source(id, "the cache has no snapshot"))?;
    Ok(Checkpoint::directory(snapshot).named(id))
}

/// What brings files of the repository `id`.
fn getter(id: &str) -> Result<Get, LoadError> {
    let offline = std::env::var("HF_HUB_OFFLINE").is_ok_and(|v| !v.is_empty() && v != "0");
    let repo = Repo::model(id.to_string());
    let cached = Cache::from_env().repo(repo.clone());
    if offline {
        return Ok(Box::new(move |file| {
            cached.get(file).ok_or_else(|| {
                format!("{file} is not in the cache and HF_HUB_OFFLINE forbids fetching it")
            })
        }));
    }
    let mut builder = ApiBuilder::from_env().with_progress(false);
    if let Ok(token) = std::env::var("HF_TOKEN") {
        builder = builder.with_token(Some(token));
    }
    let api = builder.build().map_err(|e| no_source(id, &reason(&e)))?.repo(repo);
    Ok(Box::new(move |file| api.get(file).map_err(|e| format!("{file}: {}", reason(&e)))))
}

fn shards(index: &Path) -> Result<Vec<String>, String> {
    let json = std::fs::read(index).map_err(|e| e.to_string())?;
    let index = ShardIndex::parse(&json).map_err(|e| e.to_string())?;
    Ok(index.shards().into_iter().cloned().collect())
}

fn reason(error: &ApiError) -> String {
    format!("the Hub could not be read ({error}); with HF_HUB_OFFLINE=1 only the cache is used")
}
