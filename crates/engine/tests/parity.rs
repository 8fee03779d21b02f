//! The engine against `transformers`: goldens written by `python/goldens/goldens.py`, at fixed tolerances.
//!
//! Each case is a small checkpoint and what `transformers` computes with it in f32. The fast backend runs
//! all lengths; the reference backend, the oracle of the other tests, runs those it is meant for.

use std::path::{Path, PathBuf};

use bigbatch_engine::backend::{Activation, reference};
use bigbatch_engine::{
    Answer, Checkpoint, Device, DeviceKind, DeviceOptions, EngineOptions, Head, Input, Model,
    PackedBatch, Pooling, RequestError, RopeOverride, Rows, Sequence, Task, Tokens, Truncate,
};
use serde_json::Value;

const HIDDEN_TOLERANCE: f32 = 2e-5;
const LOGITS_TOLERANCE: f32 = 2e-5;
const PROBABILITY_TOLERANCE: f32 = 5e-6;

fn goldens() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens")
}

fn cases() -> Vec<PathBuf> {
    let dir = std::fs::read_dir(goldens()).expect("goldens are in the repository");
    let mut cases: Vec<PathBuf> =
        dir.map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()).collect();
    cases.sort();
    assert!(cases.len() >= 6, "{} cases", cases.len());
    cases
}

fn token_ids(ids: &Value) -> Vec<u32> {
    assert_eq!(ids["kind"], "formula");
    let field = |key: &str| ids[key].as_u64().unwrap();
    let (seed, len, first, vocab) = (field("seed"), field("len"), field("first"), field("vocab"));
    let id = |i: u64| first + ((i + 1) * 7919 + seed * 104_729 + i * i / 3) % (vocab - first);
    let mut ids: Vec<u32> = (0..len).map(|i| id(i) as u32).collect();
    ids[0] = field("cls") as u32;
    if len > 1 {
        ids[len as usize - 1] = field("sep") as u32;
    }
    ids
}

fn floats(value: &Value) -> Vec<f32> {
    value.as_array().unwrap().iter().map(|x| x.as_f64().unwrap() as f32).collect()
}

fn difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    // NaN must not pass as a maximum of nothing.
    a.iter().zip(b).map(|(x, y)| (x - y).abs()).fold(0.0, |m, d| if d <= m { m } else { d })
}

/// The largest differences of one input, by what was compared.
#[derive(Default)]
struct Differences {
    hidden: f32,
    logits: f32,
    probabilities: f32,
}

fn rows_at(all: &[f32], width: usize, expected: &Value, worst: &mut f32) {
    let positions = expected["positions"].as_array().unwrap();
    assert!(!positions.is_empty());
    for (position, row) in positions.iter().zip(expected["values"].as_array().unwrap()) {
        let at = position.as_u64().unwrap() as usize * width;
        *worst = worst.max(difference(&all[at..at + width], &floats(row)));
    }
}

fn run(device: &mut Device, ids: &[u32], wants: Rows) -> (Vec<f32>, Vec<f32>) {
    let batch = PackedBatch::pack([Sequence { token_ids: ids, wants: &wants }]);
    let rows = device.forward(&batch).unwrap();
    (rows.pooled, rows.logits)
}

/// Probabilities in label order.
fn probabilities(model: &Model, logits: &[f32]) -> Vec<f32> {
    let task = Task::Classify { raw_scores: false };
    let tokens = Tokens::default();
    let Ok(Answer::Labels(labels)) = task.answer(model, "", &tokens, logits) else {
        unreachable!()
    };
    let score = |label: &String| labels.iter().find(|l| l.label == *label).unwrap().score;
    model.labels.iter().map(score).collect()
}

fn embedding(model: &Model, pooled: &[f32]) -> Vec<f32> {
    let task = Task::Embed { pooling: None, normalize: true, dimensions: None, layer: None };
    let tokens = Tokens::default();
    let Ok(Answer::Embedding(vector)) = task.answer(model, "", &tokens, pooled) else {
        unreachable!()
    };
    vector
}

fn compare(model: &Model, device: &mut Device, expected: &Value) -> Differences {
    let ids = token_ids(&expected["ids"]);
    let mut worst = Differences::default();
    let hidden_size = model.config.hidden_size;
    let all = Rows::All;
    let batch = PackedBatch::pack([Sequence { token_ids: &ids, wants: &all }]);
    let hidden = device.hidden(&batch).unwrap();
    rows_at(&hidden, hidden_size, &expected["hidden_rows"], &mut worst.hidden);
    match &model.config.head {
        Head::Base | Head::MaskedLm { .. } => {
            for (pooling, key) in
                [(Pooling::Mean, "embedding_mean"), (Pooling::Cls, "embedding_cls")]
            {
                let (pooled, _) = run(device, &ids, Rows::Pooled(pooling));
                let got = embedding(model, &pooled);
                worst.probabilities =
                    worst.probabilities.max(difference(&got, &floats(&expected[key])));
            }
        }
        Head::Sequence { pooling, .. } => {
            let (_, logits) = run(device, &ids, Rows::Pooled(*pooling));
            worst.logits = difference(&logits, &floats(&expected["logits"]));
            let got = probabilities(model, &logits);
            worst.probabilities = difference(&got, &floats(&expected["probabilities"]));
        }
        Head::PairScorers => unreachable!("no golden has one"),
        Head::Token => {
            let (_, logits) = run(device, &ids, Rows::All);
            rows_at(&logits, model.labels.len(), &expected["logits_rows"], &mut worst.logits);
            let softmaxed: Vec<f32> = logits
                .chunks(model.labels.len())
                .flat_map(|row| probabilities(model, row))
                .collect();
            let rows = &expected["probabilities_rows"];
            rows_at(&softmaxed, model.labels.len(), rows, &mut worst.probabilities);
        }
    }
    if let Head::MaskedLm { .. } = model.config.head {
        let rows = &expected["logits_rows"];
        let positions: Vec<u32> = rows["positions"]
            .as_array()
            .unwrap()
            .iter()
            .map(|p| p.as_u64().unwrap() as u32)
            .collect();
        let (_, logits) = run(device, &ids, Rows::At(positions));
        for (got, row) in
            logits.chunks(model.config.vocab_size).zip(rows["values"].as_array().unwrap())
        {
            worst.logits = worst.logits.max(difference(got, &floats(row)));
        }
    }
    worst
}

/// The comparisons of one backend, at most this many tokens long.
struct Comparison {
    kind: DeviceKind,
    longest: usize,
    compared: usize,
    failures: Vec<String>,
}

impl Comparison {
    fn new(kind: DeviceKind, longest: usize) -> Comparison {
        Comparison { kind, longest, compared: 0, failures: Vec::new() }
    }

    fn run(&mut self, what: &str, checkpoint: &Checkpoint, inputs: &Value) {
        let model = Model::load(checkpoint, RopeOverride::Checkpoint).unwrap();
        let options = DeviceOptions { kind: self.kind, ..EngineOptions::default().device };
        let mut device = Device::start(&model, &options).unwrap();
        for input in inputs.as_array().unwrap() {
            let len = input["ids"]["len"].as_u64().unwrap() as usize;
            if len > self.longest {
                continue;
            }
            self.compared += 1;
            let d = compare(&model, &mut device, input);
            println!(
                "{what} {len}: hidden {:.1e} logits {:.1e} probabilities {:.1e}",
                d.hidden, d.logits, d.probabilities
            );
            if !(d.hidden <= HIDDEN_TOLERANCE
                && d.logits <= LOGITS_TOLERANCE
                && d.probabilities <= PROBABILITY_TOLERANCE)
            {
                self.failures.push(format!("{what} at {len} tokens"));
            }
        }
    }

    fn assert_held(self, least: usize) {
        assert!(self.failures.is_empty(), "beyond tolerance: {:?}", self.failures);
        assert!(self.compared >= least, "only {} inputs were compared", self.compared);
    }
}

fn check(kind: DeviceKind, longest: usize) {
    let mut comparison = Comparison::new(kind, longest);
    for dir in cases() {
        let case = dir.file_name().unwrap().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(dir.join("expected.json")).unwrap();
        let expected: Value = serde_json::from_str(&text).unwrap();
        comparison.run(&case, &Checkpoint::directory(&dir), &expected["inputs"]);
    }
    comparison.assert_held(12);
}

/// The files of a case, with these keys of its config.json replaced.
fn variant(case: &str, keys: &Value) -> Checkpoint {
    let file = |entry: std::io::Result<std::fs::DirEntry>| {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        (name, std::fs::read(path).unwrap())
    };
    let dir = std::fs::read_dir(goldens().join(case)).unwrap();
    let mut files: Vec<(String, Vec<u8>)> = dir.map(file).collect();
    let (_, config) = files.iter_mut().find(|(name, _)| name == "config.json").unwrap();
    let mut json: Value = serde_json::from_slice(config).unwrap();
    json.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
    *config = json.to_string().into_bytes();
    Checkpoint::memory(case, files.into_iter().map(|(name, bytes)| (name, bytes.into())).collect())
}

fn check_variants(kind: DeviceKind) {
    let text = std::fs::read_to_string(goldens().join("variants.json")).unwrap();
    let golden: Value = serde_json::from_str(&text).unwrap();
    let mut comparison = Comparison::new(kind, usize::MAX);
    for entry in golden["variants"].as_array().unwrap() {
        let (case, keys) = (entry["case"].as_str().unwrap(), &entry["config"]);
        comparison.run(&format!("{case} {keys}"), &variant(case, keys), &entry["inputs"]);
    }
    comparison.assert_held(58);
}

#[test]
fn fast_backend_agrees_with_transformers() {
    check(DeviceKind::Cpu, usize::MAX);
}

#[test]
fn reference_backend_agrees_with_transformers() {
    check(DeviceKind::Reference, reference::MAX_TOKENS.min(300));
}

#[test]
fn fast_backend_agrees_with_transformers_under_other_configs() {
    check_variants(DeviceKind::Cpu);
}

#[test]
fn reference_backend_agrees_with_transformers_under_other_configs() {
    check_variants(DeviceKind::Reference);
}

#[test]
fn every_activation_has_a_golden() {
    let text = std::fs::read_to_string(goldens().join("variants.json")).unwrap();
    let golden: Value = serde_json::from_str(&text).unwrap();
    let variants = golden["variants"].as_array().unwrap();
    for key in ["hidden_activation", "classifier_activation"] {
        let mut tested: Vec<&str> =
            variants.iter().filter_map(|entry| entry["config"][key].as_str()).collect();
        let mut known: Vec<&str> = Activation::names().collect();
        tested.sort_unstable();
        known.sort_unstable();
        assert_eq!(tested, known, "{key}");
    }
}

#[test]
fn texts_encode_as_the_python_tokenizers_do() {
    let text = std::fs::read_to_string(goldens().join("text.json")).unwrap();
    let golden: Value = serde_json::from_str(&text).unwrap();
    let checkpoint =
        bigbatch_models::checkpoint("random", bigbatch_engine::TaskKind::Embed).unwrap();
    let tokenizer = bigbatch_engine::Tokenizer::open(&checkpoint).unwrap();
    let ids_of = |entry: &Value| -> Vec<u32> {
        entry["ids"].as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect()
    };
    let texts = golden["texts"].as_array().unwrap();
    let pairs = golden["pairs"].as_array().unwrap();
    assert!(texts.len() >= 10 && pairs.len() >= 3);
    for entry in texts {
        let text = entry["text"].as_str().unwrap();
        let input = Input::Text(text.into());
        if text.is_empty() {
            assert_eq!(tokenizer.encode(&input, 100_000, Truncate::No), Err(RequestError::Empty));
            continue;
        }
        let tokens = tokenizer.encode(&input, 100_000, Truncate::No).unwrap();
        assert_eq!(tokens.ids, ids_of(entry));
        let spans: Vec<[usize; 2]> = tokens.spans.iter().map(|s| [s.start, s.end]).collect();
        let expected: Vec<[usize; 2]> = serde_json::from_value(entry["offsets"].clone()).unwrap();
        assert_eq!(spans, expected);
    }
    for entry in pairs {
        let part = |key: &str| entry[key].as_str().unwrap().to_string();
        let input = Input::Pair(part("a").into(), part("b"));
        if part("a").is_empty() || part("b").is_empty() {
            assert_eq!(tokenizer.encode(&input, 100_000, Truncate::No), Err(RequestError::Empty));
            continue;
        }
        let tokens = tokenizer.encode(&input, 100_000, Truncate::No).unwrap();
        assert_eq!(tokens.ids, ids_of(entry));
    }
}
