//! The files of sentence-transformers give the vectors and scores that sentence-transformers gives.
//!
//! `python/goldens/sentence_transformers_goldens.py` wrote what is compared. Each case is a checkpoint in memory: the
//! tiny model, and the files that the case adds. Files that must be refused are at the end.

use std::borrow::Cow;
use std::path::Path;

use bigbatch_engine::{
    Answer, Checkpoint, DefaultPrompt, Engine, EngineOptions, Input, LoadOptions, Model, Pooling,
    Request, RequestError, Response, Scoring, Similarity, Task, Truncate, prompted,
};
use serde_json::{Map, Value, json};

const TOLERANCE: f32 = 5e-6;

fn golden(name: &str) -> Vec<u8> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sentence_transformers_goldens");
    std::fs::read(dir.join(name)).expect("goldens are in the repository")
}

fn expected() -> Value {
    serde_json::from_slice(&golden("expected.json")).unwrap()
}

/// Makes the checkpoint of a model with files added or replaced; `weights` names those of Dense modules.
fn checkpoint(model: &str, files: &Map<String, Value>, weights: &Value) -> Checkpoint {
    let expected = expected();
    let mut all: Map<String, Value> = [
        ("config.json".to_owned(), expected["config"][model].clone()),
        ("tokenizer_config.json".to_owned(), expected["tokenizer_config"].clone()),
    ]
    .into_iter()
    .collect();
    all.extend(files.clone());
    let mut held: Vec<(String, Cow<'static, [u8]>)> = all
        .into_iter()
        .map(|(name, json)| (name, Cow::Owned(json.to_string().into_bytes())))
        .collect();
    held.push(("tokenizer.json".into(), golden("tokenizer.json").into()));
    held.push(("model.safetensors".into(), golden(&format!("{model}.safetensors")).into()));
    for (folder, stored) in weights.as_object().into_iter().flatten() {
        let stored = golden(&format!("{}.safetensors", stored.as_str().unwrap()));
        held.push((format!("{folder}/model.safetensors"), stored.into()));
    }
    Checkpoint::memory("tiny", held)
}

fn start(checkpoint: &Checkpoint, options: LoadOptions) -> Engine {
    let model = Model::load(checkpoint, options).unwrap_or_else(|error| panic!("{error}"));
    let mut options = EngineOptions { tokenizer_threads: 1, ..EngineOptions::default() };
    options.device.max_batch_tokens = Some(256);
    options.device.threads = 1;
    Engine::start(model, &options).unwrap()
}

fn submit(engine: &Engine, input: Input, task: Task) -> Result<Response, RequestError> {
    engine.submit(Request::new(input, task, Truncate::Right))?.wait()
}

const RAW: Task = Task::Embed { pooling: None, normalize: false, dimensions: None, layer: None };

fn embed(engine: &Engine, text: &str) -> Vec<f32> {
    let prompt = engine.model().prompts.get(None).unwrap();
    let response = submit(engine, Input::prompted(prompt, text.into()), RAW).unwrap();
    let Answer::Embedding(vector) = response.answer else { panic!("no vector") };
    vector
}

fn difference(got: &[f32], expected: &Value) -> f32 {
    let expected: Vec<f32> = serde_json::from_value(expected.clone()).unwrap();
    assert_eq!(got.len(), expected.len());
    let differences = got.iter().zip(&expected).map(|(a, b)| (a - b).abs());
    // NaN must not pass as a maximum of nothing.
    differences.fold(0.0, |most, d| if d <= most { most } else { d })
}

fn texts(value: &Value) -> Vec<String> {
    serde_json::from_value(value.clone()).unwrap()
}

#[test]
fn vectors_are_those_of_sentence_transformers() {
    let expected = expected();
    let texts = texts(&expected["texts"]);
    let cases = expected["embed"].as_array().unwrap();
    assert!(cases.len() >= 24, "{} cases", cases.len());
    let mut failures = Vec::new();
    for case in cases {
        let name = case["name"].as_str().unwrap();
        let made = checkpoint("embed", case["files"].as_object().unwrap(), &case["weights"]);
        let engine = start(&made, LoadOptions::default());
        assert_eq!(engine.max_tokens() as u64, case["limit"].as_u64().unwrap(), "{name}");
        for (text, vector) in texts.iter().zip(case["vectors"].as_array().unwrap()) {
            let got = difference(&embed(&engine, text), vector);
            println!("{name}: {got:.1e}");
            if got.is_nan() || got > TOLERANCE {
                failures.push(format!("{name}: {got:e} for {text:?}"));
            }
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
}

#[test]
fn scores_are_those_of_a_cross_encoder() {
    let expected = expected();
    let pairs: Vec<[String; 2]> = serde_json::from_value(expected["pairs"].clone()).unwrap();
    let cases = expected["cross"].as_array().unwrap();
    assert!(cases.len() >= 10, "{} cases", cases.len());
    for case in cases {
        let name = case["name"].as_str().unwrap();
        let model = format!("cross-{}", case["labels"]);
        let made = checkpoint(&model, case["files"].as_object().unwrap(), &Value::Null);
        let engine = start(&made, LoadOptions::default());
        let prompt = engine.model().prompts.get(None).unwrap();
        for ([query, text], scores) in pairs.iter().zip(case["scores"].as_array().unwrap()) {
            let pair = Input::Pair(prompted(prompt, query.clone()).into(), text.clone());
            let task = Task::Classify { raw_scores: false };
            let Answer::Labels(mut labels) = submit(&engine, pair, task).unwrap().answer else {
                panic!("no labels")
            };
            labels.sort_by_key(|label| label.id);
            let got: Vec<f32> = labels.iter().map(|label| label.score).collect();
            let worst = difference(&got, scores);
            // Logits are a hundred times as large as probabilities.
            assert!(worst <= 2e-5, "{name}: {worst:e} for {query:?}");
        }
    }
    // CrossEncoder's own default for several labels: Identity.
    let mut files = Map::new();
    files.insert("config_sentence_transformers.json".into(), json!({"model_type": "CrossEncoder"}));
    let made = checkpoint("cross-3", &files, &Value::Null);
    assert_eq!(Model::load(&made, LoadOptions::default()).expect("loads").scoring(), Scoring::None);
    // The caller's default prompt is as good as the checkpoint's.
    let prompted = cases.iter().find(|case| case["name"] == "one label, default prompt").unwrap();
    let mut files = prompted["files"].as_object().unwrap().clone();
    files["config_sentence_transformers.json"]["default_prompt_name"] = Value::Null;
    let made = checkpoint("cross-1", &files, &Value::Null);
    let default = |name: &str| LoadOptions {
        default_prompt: Some(DefaultPrompt::Name(name.into())),
        ..LoadOptions::default()
    };
    let model = Model::load(&made, default("query")).expect("loads");
    assert_eq!(model.prompts.get(None), Ok(Some("Judge: ")));
    assert!(Model::load(&made, default("nope")).is_err());
}

/// An embedder's files: a Pooling and the given ones.
fn files(more: Value) -> Map<String, Value> {
    let module = |idx: usize, kind: &str, path: &str| {
        let kind = format!("sentence_transformers.models.{kind}");
        json!({"idx": idx, "name": idx.to_string(), "path": path, "type": kind})
    };
    let base = json!({
        "modules.json": [module(0, "Transformer", ""), module(1, "Pooling", "1_Pooling")],
        "1_Pooling/config.json": {"word_embedding_dimension": 32, "pooling_mode_mean_tokens": true},
    });
    let mut files = base.as_object().unwrap().clone();
    for (name, content) in more.as_object().unwrap() {
        match content {
            Value::Null => drop(files.remove(name)),
            content => drop(files.insert(name.clone(), content.clone())),
        }
    }
    files
}

fn vector(files: &Map<String, Value>, options: LoadOptions) -> Vec<f32> {
    embed(&start(&checkpoint("embed", files, &Value::Null), options), "hello there")
}

#[test]
fn the_caller_overrides_the_checkpoint() {
    let root = |more: Value| files(json!({"config_sentence_transformers.json": more}));
    let prompts =
        root(json!({"prompts": {"a": "one: ", "b": "two: "}, "default_prompt_name": "a"}));
    let with = |default| LoadOptions { default_prompt: Some(default), ..LoadOptions::default() };
    let text = |text: &str| DefaultPrompt::Text(text.into());
    let two = vector(&prompts, with(text("two: ")));
    assert_eq!(two, vector(&prompts, with(DefaultPrompt::Name("b".into()))));
    assert_ne!(two, vector(&prompts, LoadOptions::default()));
    assert_eq!(vector(&files(json!({})), LoadOptions::default()), vector(&prompts, with(text(""))));

    let cls = LoadOptions { pooling: Some(Pooling::Cls), ..LoadOptions::default() };
    let of_file = files(json!({"1_Pooling/config.json": {"pooling_mode": "cls"}}));
    let expected = vector(&of_file, LoadOptions::default());
    assert_ne!(expected, vector(&files(json!({})), LoadOptions::default()));
    assert_eq!(expected, vector(&files(json!({})), cls.clone()));
    // As in text-embeddings-inference, the option stands in for a file that is missing or of another mode.
    assert_eq!(expected, vector(&files(json!({"1_Pooling/config.json": null})), cls.clone()));
    let max = files(json!({"1_Pooling/config.json": {"pooling_mode": "max"}}));
    assert_eq!(expected, vector(&max, cls));

    let short = files(json!({"sentence_bert_config.json": {"max_seq_length": 16}}));
    let limit = |max_seq_length| {
        let options = LoadOptions { max_seq_length, ..LoadOptions::default() };
        Model::load(&checkpoint("embed", &short, &Value::Null), options)
            .map(|model| model.config.max_tokens)
            .map_err(|error| error.to_string())
    };
    assert_eq!((limit(None), limit(Some(128)), limit(Some(8))), (Ok(16), Ok(128), Ok(8)));
    let error = limit(Some(129)).unwrap_err();
    assert!(error.contains("--max-seq-length") && error.contains("128"), "{error}");
}

#[test]
fn dimensions_of_a_request_differ_from_truncate_dim() {
    let cut = files(json!({"config_sentence_transformers.json": {"truncate_dim": 8}}));
    let engine = start(&checkpoint("embed", &cut, &Value::Null), LoadOptions::default());
    let of = |dimensions| {
        let task = Task::Embed { pooling: None, normalize: false, dimensions, layer: None };
        let answer = submit(&engine, Input::Text("hello".into()), task)?.answer;
        let Answer::Embedding(vector) = answer else { panic!("no vector") };
        Ok::<_, RequestError>(vector.len())
    };
    assert_eq!((of(None), of(Some(32)), of(Some(3))), (Ok(8), Ok(32), Ok(3)));
    assert!(of(Some(33)).is_err());
}

#[test]
fn vectors_are_compared_as_the_checkpoint_asks() {
    let (a, b) = ([1.0, 2.0], [3.0, -1.0]);
    for (name, expected) in [("dot", 1.0), ("euclidean", -(13.0f32.sqrt())), ("manhattan", -5.0)] {
        let named =
            files(json!({"config_sentence_transformers.json": {"similarity_fn_name": name}}));
        let made = checkpoint("embed", &named, &Value::Null);
        let similarity = Model::load(&made, LoadOptions::default()).unwrap().embedding.similarity;
        assert_eq!(similarity.of(&a, &b), expected, "{name}");
    }
    assert_eq!(Similarity::default(), Similarity::Cosine);
}

#[test]
fn lower_case_keeps_offsets_and_special_tokens() {
    let lower = files(json!({"sentence_bert_config.json": {"do_lower_case": true}}));
    let load =
        |files| Model::load(&checkpoint("embed", files, &Value::Null), LoadOptions::default());
    let (lower, plain) =
        (load(&lower).unwrap().tokenizer, load(&files(json!({}))).unwrap().tokenizer);
    let read = |text: &str| lower.encode(&Input::Text(text.into()), 128, Truncate::No).unwrap();
    assert_eq!(read("AB [MASK]").ids, read("ab [MASK]").ids);
    assert_eq!(
        read("AB [MASK]").ids[3..],
        plain.encode(&Input::Text("b [MASK]".into()), 128, Truncate::No).unwrap().ids[2..]
    );
    assert_eq!(read("ÀB").spans, read("àb").spans);
    assert_ne!(lower.fingerprint(), plain.fingerprint(), "their tokens must not be shared");
}
