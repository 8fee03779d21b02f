//! The Hugging Face Hub: opens a model repository at one commit and fetches its files into the standard cache when
//! they are read.
//!
//! This is the engine's only HTTP. The files are interpreted elsewhere. What is absent is remembered as
//! `huggingface_hub` remembers it, so a model that was opened once opens again without the network. A file that
//! is neither in the cache nor known to be absent is an error when it cannot be asked for: without its pooling
//! or its prompts a model gives wrong answers. Why not the `hf-hub` crate: 0.5 knows no absent files, never
//! looks for new commits, and gives up when another process downloads; 1.0 brings an async runtime.

mod cache;
mod client;
mod download;
mod refusal;
mod settings;

use std::path::PathBuf;

use self::cache::{Known, RepoCache, is_inside};
use self::client::{Answer, Client};
use self::download::store;
use self::refusal::Refusal;
use self::settings::Settings;
use crate::checkpoint::no_source;
use crate::error::LoadError;

/// The branch of a source without a revision.
const DEFAULT_REVISION: &str = "main";

/// How the Hub is used, besides what the environment says.
#[derive(Debug, Clone, Default)]
pub struct HubOptions {
    /// Directory of the cache; `None` takes that of `HF_HUB_CACHE`, `HUGGINGFACE_HUB_CACHE` or `HF_HOME`.
    pub cache_dir: Option<PathBuf>,
    /// Branch, tag or commit of a source that names none.
    pub revision: Option<String>,
}

/// One commit of a repository.
pub(super) struct HubRepo {
    id: String,
    commit: String,
    cache: RepoCache,
    access: Access,
}

enum Access {
    Online(Client),
    /// Only the cache can be read; the text says why.
    CacheOnly(String),
}

impl HubRepo {
    /// Finds the commit of a revision by requesting `first`, a file that every repository of interest has. Uses
    /// the commit in the cache, with a warning, if the Hub cannot tell.
    pub(super) fn open(
        id: &str,
        revision: Option<&str>,
        first: &str,
        options: &HubOptions,
    ) -> Result<HubRepo, LoadError> {
        let revision = revision.unwrap_or(DEFAULT_REVISION);
        let refuse = |refusal: Refusal| no_source(id, &refusal.to_string());
        if !is_inside(revision) {
            return Err(refuse(Refusal::BadRevision));
        }
        let settings = Settings::read(options).ok_or_else(|| refuse(Refusal::NoCacheDirectory))?;
        let cache = RepoCache::new(&settings.cache_dir, id);
        let (commit, access) = match (settings.offline, cache.commit_of(revision)) {
            (Some(variable), Some(commit)) => {
                (commit, Access::CacheOnly(format!("{variable} forbids asking the Hub")))
            }
            (Some(variable), None) => {
                let (folder, revision) = (cache.folder().into(), revision.into());
                return Err(refuse(Refusal::NotCached { revision, folder, variable }));
            }
            // A commit never changes.
            (None, Some(commit)) if commit == revision => {
                (commit, Access::Online(Client::new(settings, id, revision)))
            }
            (None, cached) => {
                let client = Client::new(settings, id, revision);
                match find_commit(&client, &cache, revision, first) {
                    Ok(commit) => (commit, Access::Online(client)),
                    Err(refusal) => match cached.filter(|_| !refusal.is_certain()) {
                        None => return Err(refuse(refusal)),
                        Some(commit) => {
                            tracing::warn!("{id}: {refusal}; using commit {commit} from the cache");
                            (commit, Access::CacheOnly(refusal.to_string()))
                        }
                    },
                }
            }
        };
        Ok(HubRepo { id: id.into(), commit, cache, access })
    }

    /// Returns the path of a file in the cache, fetching it first if need be; `None` if the commit lacks it.
    pub(super) fn path(&self, file: &str) -> Result<Option<PathBuf>, LoadError> {
        self.find(file).map_err(|refusal| no_source(&self.id, &refusal.to_string()))
    }

    /// Finds a file as [`HubRepo::path`] does, but takes one that the cache knows nothing of for absent when it
    /// cannot be asked for.
    pub(super) fn path_if_known(&self, file: &str) -> Result<Option<PathBuf>, LoadError> {
        match self.find(file) {
            Err(Refusal::Unknown { id, because, .. }) => {
                tracing::debug!(
                    "{id}: {file} is not in the cache and taken for absent ({because})"
                );
                Ok(None)
            }
            found => found.map_err(|refusal| no_source(&self.id, &refusal.to_string())),
        }
    }

    fn find(&self, file: &str) -> Result<Option<PathBuf>, Refusal> {
        if !is_inside(file) {
            return Err(Refusal::OutsideRepository { file: file.into() });
        }
        match self.cache.look_up(&self.commit, file) {
            Known::Present(path) => return Ok(Some(path)),
            Known::Absent => return Ok(None),
            Known::Unknown => {}
        }
        let listing = self.cache.listing(&self.commit);
        let listed = listing.map(|files| files.iter().any(|known| known == file));
        if listed == Some(false) {
            return Ok(None);
        }
        match &self.access {
            Access::Online(client) => self.fetch(client, file),
            Access::CacheOnly(_) if listed.is_none() && self.cache.is_whole(&self.commit) => {
                Ok(None)
            }
            Access::CacheOnly(because) => Err(Refusal::Unknown {
                id: self.id.clone(),
                file: file.into(),
                folder: self.cache.snapshot(&self.commit),
                because: because.clone(),
            }),
        }
    }

    fn fetch(&self, client: &Client, file: &str) -> Result<Option<PathBuf>, Refusal> {
        let refuse = |failure| Refusal::of_hub(client, file, failure).of_known_model();
        match client.get(file, 0).map_err(refuse)? {
            Answer::File(remote) if remote.commit != self.commit => Err(Refusal::Changed),
            Answer::File(remote) => {
                let stored = store(&self.cache, client, file, remote);
                stored.map(Some).map_err(|error| Refusal::of_download(client, file, error))
            }
            Answer::Absent { commit } if commit != self.commit => Err(Refusal::Changed),
            Answer::Absent { .. } => {
                remember(self.cache.remember_absence(&self.commit, file));
                Ok(None)
            }
        }
    }

    /// Lists the files of the commit, as far as the cache or the Hub can tell.
    pub(super) fn list(&self) -> Vec<String> {
        let of_hub = || match &self.access {
            Access::Online(client) => client.list(),
            Access::CacheOnly(_) => None,
        };
        self.cache.listing(&self.commit).or_else(of_hub).unwrap_or_default()
    }
}

fn find_commit(
    client: &Client,
    cache: &RepoCache,
    revision: &str,
    first: &str,
) -> Result<String, Refusal> {
    let answer = client.get(first, 0).map_err(|e| Refusal::of_hub(client, first, e))?;
    let commit = match answer {
        Answer::Absent { commit } => {
            remember(cache.remember_absence(&commit, first));
            commit
        }
        Answer::File(remote) => {
            let commit = remote.commit.clone();
            if !matches!(cache.look_up(&commit, first), Known::Present(_)) {
                store(cache, client, first, remote)
                    .map_err(|error| Refusal::of_download(client, first, error))?;
            }
            commit
        }
    };
    remember(cache.remember_commit(revision, &commit));
    Ok(commit)
}

/// A cache that cannot be written, such as a read-only volume, serves as it is.
fn remember(written: std::io::Result<()>) {
    if let Err(error) = written {
        tracing::debug!(%error, "cannot write to the Hub's cache");
    }
}
