//! The trained models hold the files of their directories and answer as `transformers` does.
//!
//! `python/goldens/embedded_goldens.py` wrote the answers of `transformers`; the tolerances are those of
//! `crates/engine/tests/parity.rs`. This does not test whether the answers are any good: the models' READMEs
//! give figures, and `tests/commands/embedded.rs` runs a few examples.

use std::path::Path;

use bigbatch_engine::{
    Answer, Checkpoint, Engine, EngineOptions, Input, Model, Request, RopeOverride, Task, TaskKind,
    Truncate,
};
use bigbatch_models::EmbeddedModel;
use serde_json::Value;

const LOGITS_TOLERANCE: f32 = 2e-5;
const PROBABILITY_TOLERANCE: f32 = 5e-6;
/// What the longest golden has, and room.
const BATCH_TOKENS: usize = 12_288;

fn here() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn trained() -> impl Iterator<Item = (&'static str, TaskKind)> {
    let trained = bigbatch_models::MODELS.iter().filter(|model| model.name != "random");
    trained.map(|EmbeddedModel { name, tasks, .. }| (*name, tasks[0]))
}

#[test]
fn they_are_the_files_of_their_directories() {
    for (name, task) in trained() {
        let held = bigbatch_models::checkpoint(name, task).unwrap();
        let written = Checkpoint::directory(&here().join(name));
        for file in ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]
        {
            let same = held.require(file).unwrap() == written.require(file).unwrap();
            assert!(same, "{name}: the program holds another {file}");
        }
    }
}

fn floats(value: &Value) -> Vec<f32> {
    value.as_array().unwrap().iter().map(|x| x.as_f64().unwrap() as f32).collect()
}

#[track_caller]
fn close(got: &[f32], expected: &Value, tolerance: f32, what: &str) {
    let expected = floats(expected);
    assert_eq!(got.len(), expected.len(), "{what}");
    let difference = |(a, b): (&f32, &f32)| (a - b).abs();
    // NaN must not pass as a maximum of nothing.
    let worst =
        got.iter().zip(&expected).map(difference).fold(0.0, |m, d| if d <= m { m } else { d });
    println!("{what}: {worst:.1e}");
    assert!(worst <= tolerance, "{what}: {worst:e} beyond {tolerance:e}");
}

struct TestCase<'a> {
    engine: &'a Engine,
    text: &'a str,
    expected: &'a Value,
    what: &'a str,
}

impl TestCase<'_> {
    fn ask(&self, task: Task) -> Answer {
        let request = Request::new(Input::Text(self.text.into()), task, Truncate::No);
        let response = self.engine.submit(request).unwrap().wait().unwrap();
        assert_eq!(
            response.tokens as u64,
            self.expected["tokens"].as_u64().unwrap(),
            "{}",
            self.what
        );
        response.answer
    }

    fn labels(&self, raw_scores: bool) -> Vec<f32> {
        let Answer::Labels(mut labels) = self.ask(Task::Classify { raw_scores }) else {
            panic!("no labels")
        };
        labels.sort_by_key(|label| label.id);
        labels.iter().map(|label| label.score).collect()
    }

    fn check(&self, kind: TaskKind) {
        let TestCase { expected, what, .. } = self;
        match kind {
            TaskKind::Classify => {
                close(&self.labels(true), &expected["logits"], LOGITS_TOLERANCE, what);
                let probabilities = &expected["probabilities"];
                close(&self.labels(false), probabilities, PROBABILITY_TOLERANCE, what);
            }
            TaskKind::Tag => {
                let Answer::Rows { rows, width } = self.ask(Task::TokenScores { raw_scores: true })
                else {
                    panic!("no rows")
                };
                for row in expected["rows"].as_array().unwrap() {
                    let at = row[0].as_u64().unwrap() as usize * width;
                    close(&rows[at..at + width], &row[1], LOGITS_TOLERANCE, what);
                }
            }
            TaskKind::Embed | TaskKind::FillMask => {
                let task =
                    Task::Embed { pooling: None, normalize: true, dimensions: None, layer: None };
                let Answer::Embedding(vector) = self.ask(task) else { panic!("no vector") };
                close(&vector, &expected["embedding"], PROBABILITY_TOLERANCE, what);
                self.check_masks();
            }
        }
    }

    fn check_masks(&self) {
        let masks = self.expected["masks"].as_array().unwrap();
        let Some(first) = masks.first() else { return };
        let top_k = first[0].as_array().unwrap().len();
        let Answer::Masks(found) = self.ask(Task::FillMask { top_k }) else { panic!("no masks") };
        assert_eq!(found.len(), masks.len(), "{}", self.what);
        for (found, mask) in found.iter().zip(masks) {
            let ids: Vec<u64> = found.iter().map(|token| token.id.into()).collect();
            assert_eq!(Value::from(ids), mask[0], "{}", self.what);
            let scores: Vec<f32> = found.iter().map(|token| token.score).collect();
            close(&scores, &mask[1], PROBABILITY_TOLERANCE, self.what);
        }
    }
}

#[test]
fn they_answer_as_transformers_does() {
    let goldens = here().join("tests/data/transformers.json");
    let goldens: Value = serde_json::from_str(&std::fs::read_to_string(goldens).unwrap()).unwrap();
    let prose = std::fs::read_to_string(here().join("../validate/corpus/prose.txt")).unwrap();
    for (name, kind) in trained() {
        let checkpoint = bigbatch_models::checkpoint(name, kind).unwrap();
        let model = Model::load(&checkpoint, RopeOverride::Checkpoint).unwrap();
        let mut options = EngineOptions::default();
        options.device.max_batch_tokens = Some(BATCH_TOKENS);
        let engine = Engine::start(model, &options).unwrap();
        let cases = goldens[name].as_array().unwrap_or_else(|| panic!("no goldens of {name}"));
        assert!(cases.len() >= 3, "{name}");
        for expected in cases {
            let characters = expected["prose_characters"].as_u64().unwrap_or(0) as usize;
            let long: String = prose.chars().take(characters).collect();
            let text = expected["text"].as_str().unwrap_or(&long);
            let what = format!("{name}, {} tokens", expected["tokens"]);
            TestCase { engine: &engine, text, expected, what: &what }.check(kind);
        }
    }
}
