//! Weights whose file is cut, overwritten or removed: a model that has started answers as before, and one that is
//! starting reports the file.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use bigbatch_engine::{
    Answer, Checkpoint, Dtype, Engine, EngineOptions, Init, InitHead, Input, LoadError, Model,
    Preset, Request, RopeOverride, Task, Truncate,
};

/// A checkpoint on disk, removed when it is dropped.
struct OnDisk(PathBuf);

impl OnDisk {
    fn new(name: &str, dtype: Dtype) -> OnDisk {
        let dir = std::env::temp_dir().join(format!("bigbatch-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        let head = InitHead::Sequence(["a", "b", "c"].map(str::to_owned).into());
        let init = Init { preset: Preset::named("random").unwrap(), head, seed: 1, dtype };
        let (tokenizer, tokenizer_config) = bigbatch_models::tokenizer_files();
        init.write(&dir, tokenizer, tokenizer_config, false).unwrap();
        OnDisk(dir)
    }

    fn weights(&self) -> PathBuf {
        self.0.join("model.safetensors")
    }

    fn load(&self) -> Result<Model, LoadError> {
        Model::load(&Checkpoint::directory(&self.0), RopeOverride::Checkpoint)
    }
}

impl Drop for OnDisk {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn options() -> EngineOptions {
    EngineOptions { tokenizer_threads: 1, ..EngineOptions::default() }
}

fn answer(engine: &Engine) -> Answer {
    let input = Input::Text("hello there my friend".into());
    let task = Task::Classify { raw_scores: true };
    let request = Request::new(input, task, Truncate::No);
    engine.submit(request).unwrap().wait().unwrap().answer
}

fn truncate(weights: &Path) {
    OpenOptions::new().write(true).open(weights).unwrap().set_len(1000).unwrap();
}

fn overwrite(weights: &Path) {
    let file = OpenOptions::new().write(true).open(weights).unwrap();
    let bytes = file.metadata().unwrap().len();
    let noise: Vec<u8> = (0..bytes).map(|i| (i * 7919 % 251) as u8).collect();
    file.write_all_at(&noise, 0).unwrap();
}

fn replace(weights: &Path) {
    let other = weights.with_extension("new");
    File::create(&other).unwrap();
    fs::rename(other, weights).unwrap();
}

fn remove(weights: &Path) {
    fs::remove_file(weights).unwrap();
}

#[test]
fn a_started_model_does_not_depend_on_its_file() {
    for dtype in [Dtype::F32, Dtype::Bf16] {
        for (what, change) in [
            ("truncated", truncate as fn(&Path)),
            ("overwritten", overwrite),
            ("replaced", replace),
            ("removed", remove),
        ] {
            let made = OnDisk::new(&format!("{what}-after-{dtype}"), dtype);
            let engine = Engine::start(made.load().unwrap(), &options()).unwrap();
            let before = answer(&engine);
            change(&made.weights());
            assert_eq!(answer(&engine), before, "{what}, {dtype}");
        }
    }
}

#[test]
fn a_file_that_changes_during_the_start_is_named() {
    for (what, change) in [("truncated", truncate as fn(&Path)), ("overwritten", overwrite)] {
        let made = OnDisk::new(&format!("{what}-during"), Dtype::F32);
        let model = made.load().unwrap();
        change(&made.weights());
        let Err(error) = Engine::start(model, &options()) else { panic!("{what}: it starts") };
        let message = error.to_string();
        assert!(matches!(error, LoadError::Io { .. }), "{what}: {message}");
        assert!(
            message.contains("model.safetensors: it changed while it was read"),
            "{what}: {message}"
        );
    }
}

#[test]
fn the_budget_covers_weights_of_a_file() {
    let (floats, halves) =
        (OnDisk::new("budget-f32", Dtype::F32), OnDisk::new("budget-bf16", Dtype::Bf16));
    for made in [floats, halves] {
        let model = made.load().unwrap();
        let plan = Engine::start(made.load().unwrap(), &options()).unwrap().memory_plan();
        assert!(plan.fixed_bytes >= 4 * model.parameters(), "{plan:?}");
    }
}
