//! The models that are loaded, each under the name of a slot.
//!
//! A function of the bindings names no model: `classify_mmbert_32k_intent` asks whatever
//! `init_mmbert_32k_intent_classifier` loaded. Here both name a slot. A slot keeps its model until the process ends: initialising it again with the same
//! path and device succeeds and does nothing, with another one it fails. The bindings' own libraries differ in that,
//! and a caller that was told of success would be answered by the old model.
//!
//! Slots with the same directory and device share an engine. Engines run until the process ends.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, PoisonError, RwLock};

use bigbatch_engine::{Checkpoint, DeviceKind, Engine, LoadOptions, Model, Task};

use crate::error::CallError;
use crate::{report, settings};

static SLOTS: LazyLock<Slots> = LazyLock::new(Slots::default);

/// What a slot's model must be able to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Head {
    /// Labels of a text.
    Sequence,
    /// Labels of tokens.
    Token,
    /// Vectors.
    Embedding,
}

/// A model in a slot.
#[derive(Clone)]
pub struct Loaded {
    /// As it was given.
    pub path: String,
    /// The engine that runs it.
    pub engine: Arc<Engine>,
    directory: PathBuf,
    kind: DeviceKind,
}

impl fmt::Display for Loaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        describe(f, &self.path, self.kind)
    }
}

fn describe(f: &mut impl fmt::Write, path: &str, kind: DeviceKind) -> fmt::Result {
    let device = if kind == DeviceKind::Cpu { "the CPU" } else { "a CUDA device" };
    write!(f, "{path} on {device}")
}

#[derive(Default)]
struct Slots {
    by_name: RwLock<HashMap<String, Loaded>>,
    /// Held while a model is loaded: one at a time, so that each finds the memory of those before it counted. Calls to
    /// models that are loaded do not wait.
    loading: Mutex<()>,
}

impl Slots {
    fn get(&self, slot: &str) -> Option<Loaded> {
        self.by_name.read().unwrap_or_else(PoisonError::into_inner).get(slot).cloned()
    }

    /// Returns the engine of another slot with this model, and the bytes of the device that all engines use.
    fn find(&self, directory: &Path, kind: DeviceKind) -> (Option<Arc<Engine>>, u64) {
        let by_name = self.by_name.read().unwrap_or_else(PoisonError::into_inner);
        let same = |loaded: &&Loaded| loaded.directory == directory && loaded.kind == kind;
        let engine = by_name.values().find(same).map(|loaded| loaded.engine.clone());
        let on_device = by_name.values().filter(|loaded| loaded.kind == kind);
        let used = on_device.filter_map(|loaded| loaded.engine.device_used_bytes()).max();
        (engine, used.unwrap_or(0))
    }

    fn load(&self, slot: &str, head: Head, path: &str, use_cpu: bool) -> Result<(), CallError> {
        let _loading = self.loading.lock().unwrap_or_else(PoisonError::into_inner);
        let kind = if use_cpu { DeviceKind::Cpu } else { DeviceKind::auto() };
        // A directory that cannot be resolved cannot be read either, which the checkpoint reports.
        let directory = Path::new(path).canonicalize().unwrap_or_else(|_| path.into());
        if let Some(loaded) = self.get(slot) {
            if loaded.directory == directory && loaded.kind == kind {
                return Ok(());
            }
            let mut given = String::new();
            let _ = describe(&mut given, path, kind);
            let taken =
                CallError::SlotTaken { slot: slot.into(), loaded: loaded.to_string(), given };
            return Err(taken);
        }
        let (shared, used_bytes) = self.find(&directory, kind);
        let engine = match shared {
            Some(engine) => {
                head.check(engine.model())?;
                engine
            }
            None => start(head, &directory, kind, used_bytes)?,
        };
        let loaded = Loaded { path: path.into(), engine, directory, kind };
        report::loaded(slot, &loaded.to_string());
        let mut by_name = self.by_name.write().unwrap_or_else(PoisonError::into_inner);
        by_name.insert(slot.into(), loaded);
        Ok(())
    }
}

impl Head {
    /// Rejects a model with another head.
    fn check(self, model: &Model) -> Result<(), CallError> {
        let task = match self {
            Head::Sequence => Task::Classify { raw_scores: false },
            Head::Token => Task::Tag,
            Head::Embedding => {
                Task::Embed { pooling: None, normalize: true, dimensions: None, layer: None }
            }
        };
        Ok(task.check(model)?)
    }
}

fn start(
    head: Head,
    directory: &Path,
    kind: DeviceKind,
    used_bytes: u64,
) -> Result<Arc<Engine>, CallError> {
    let options = settings::engine_options(kind, used_bytes, |name| std::env::var(name).ok())?;
    let model = Model::load(&Checkpoint::directory(directory), LoadOptions::default())?;
    head.check(&model)?;
    Ok(Arc::new(Engine::start(model, &options)?))
}

/// Loads the model of a directory into a slot. `use_cpu` false takes the first CUDA device, and the CPU where this
/// build or the machine has none.
///
/// # Errors
/// [`CallError::SlotTaken`] if the slot has another model, [`CallError::Load`], [`CallError::Setting`], and
/// [`CallError::Request`] for a model with another head.
pub fn load(slot: &str, head: Head, path: &str, use_cpu: bool) -> Result<(), CallError> {
    SLOTS.load(slot, head, path, use_cpu)
}

/// Returns the model of a slot.
///
/// # Errors
/// [`CallError::NotLoaded`].
pub fn loaded(slot: &str) -> Result<Loaded, CallError> {
    SLOTS.get(slot).ok_or_else(|| CallError::NotLoaded { slot: slot.into() })
}

/// Returns whether a slot has a model.
pub fn is_loaded(slot: &str) -> bool {
    SLOTS.get(slot).is_some()
}
