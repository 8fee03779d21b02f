//! The Hugging Face Hub: downloads the files of a model repository into the standard cache.
//!
//! This is the engine's only HTTP. The files are interpreted elsewhere, from the snapshot that this opens.

use std::path::{Path, PathBuf};

use hf_hub::api::sync::{ApiBuilder, ApiError, ApiRepo};
use hf_hub::{Cache, CacheRepo, Repo};

use super::tensors::ShardIndex;
use crate::checkpoint::{Checkpoint, no_source};
use crate::error::LoadError;
use crate::model::fetch_files;

/// Downloaded if the repository has them.
const OPTIONAL: [&str; 2] = ["tokenizer_config.json", "training_config.json"];

/// Downloads the files into the cache of `HF_HOME` and opens the snapshot that holds them. With
/// `HF_HUB_OFFLINE` set, only the cache is read.
pub(super) fn fetch(id: &str) -> Result<Checkpoint, LoadError> {
    let files = Files::open(id)?;
    let config = files.required("config.json")?;
    files.required("tokenizer.json")?;
    if files.optional("model.safetensors")?.is_none() {
        let index = files.required("model.safetensors.index.json")?;
        for shard in shards(&index).map_err(|e| no_source(id, &e))? {
            files.required(&shard)?;
        }
    }
    for file in OPTIONAL {
        files.optional(file)?;
    }
    let modules = files.optional("modules.json")?.map(std::fs::read).transpose();
    let modules = modules.map_err(|error| no_source(id, &format!("modules.json: {error}")))?;
    fetch_files(modules.as_deref(), |file| Ok(files.optional(file)?.is_some()))?;
    snapshot(id, &config)
}

/// Downloads as [`fetch`] does, but only the tokenizer.
pub(super) fn fetch_tokenizer(id: &str) -> Result<Checkpoint, LoadError> {
    let files = Files::open(id)?;
    let tokenizer = files.required("tokenizer.json")?;
    files.optional("tokenizer_config.json")?;
    snapshot(id, &tokenizer)
}

fn snapshot(id: &str, file: &Path) -> Result<Checkpoint, LoadError> {
    let snapshot = file.parent().ok_or_else(|| no_source(id, "the cache has no snapshot"))?;
    Ok(Checkpoint::directory(snapshot).named(id))
}

/// The files of one repository.
struct Files<'a> {
    id: &'a str,
    origin: HubSource,
}

enum HubSource {
    Cache(CacheRepo),
    Hub(Box<ApiRepo>),
}

impl Files<'_> {
    fn open(id: &str) -> Result<Files<'_>, LoadError> {
        let offline = std::env::var("HF_HUB_OFFLINE").is_ok_and(|v| !v.is_empty() && v != "0");
        let repo = Repo::model(id.to_string());
        if offline {
            return Ok(Files { id, origin: HubSource::Cache(Cache::from_env().repo(repo)) });
        }
        let mut builder = ApiBuilder::from_env().with_progress(false);
        if let Ok(token) = std::env::var("HF_TOKEN") {
            builder = builder.with_token(Some(token));
        }
        let api = builder.build().map_err(|e| no_source(id, &reason(&e)))?;
        Ok(Files { id, origin: HubSource::Hub(Box::new(api.repo(repo))) })
    }

    /// Returns the path of a file in the cache; `None` if the repository has none. A file that cannot be
    /// downloaded is an error, not absent: without its pooling or its prompts a model gives wrong answers.
    fn optional(&self, file: &str) -> Result<Option<PathBuf>, LoadError> {
        let api = match &self.origin {
            HubSource::Cache(cache) => return Ok(cache.get(file)),
            HubSource::Hub(api) => api,
        };
        match api.get(file) {
            Ok(path) => Ok(Some(path)),
            Err(ApiError::RequestError(error))
                if matches!(*error, ureq::Error::StatusCode(404)) =>
            {
                Ok(None)
            }
            Err(error) => Err(no_source(self.id, &format!("{file}: {}", reason(&error)))),
        }
    }

    fn required(&self, file: &str) -> Result<PathBuf, LoadError> {
        let absent = || {
            let why = match &self.origin {
                HubSource::Cache(_) => "is not in the cache and HF_HUB_OFFLINE forbids fetching it",
                HubSource::Hub(_) => {
                    "is not in this repository of the Hub, or there is no such repository"
                }
            };
            no_source(self.id, &format!("{file} {why}"))
        };
        self.optional(file)?.ok_or_else(absent)
    }
}

fn shards(index: &Path) -> Result<Vec<String>, String> {
    let json = std::fs::read(index).map_err(|e| e.to_string())?;
    let index = ShardIndex::parse(&json).map_err(|e| e.to_string())?;
    Ok(index.shards().into_iter().cloned().collect())
}

fn reason(error: &ApiError) -> String {
    format!("the Hub could not be read ({error}); with HF_HUB_OFFLINE=1 only the cache is used")
}
