//! Layer exits: vectors and logits before the last layer are those of an independent forward pass
//! (`python/goldens/exit_goldens.py`), the same bits in any batch, and only where the checkpoint offers them.

use std::borrow::Cow;
use std::path::PathBuf;

use bigbatch_engine::backend::Op;
use bigbatch_engine::{
    Answer, Checkpoint, Device, DeviceKind, DeviceOptions, Dtype, Engine, EngineOptions, Exits,
    Init, Input, LabelScore, Model, PackedBatch, Pooling, Preset, Request, RopeOverride, Rows,
    Sequence, Task, Tokenizer, Truncate,
};
use serde_json::{Value, json};

/// Largest difference from float64 of vectors of unit length; an exit of another layer differs by far more.
const TOLERANCE: f32 = 1e-5;
/// The same of logits, which are sums over a row.
const LOGIT_TOLERANCE: f32 = 5e-5;

fn goldens() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/exit_goldens")
}

fn read(file: &str) -> Vec<u8> {
    std::fs::read(goldens().join(file)).unwrap()
}

fn expected() -> Value {
    serde_json::from_slice(&read("expected.json")).unwrap()
}

fn tokenizer_json() -> &'static [u8] {
    Preset::named("random-exits").unwrap().tokenizer_files().unwrap()[0]
}

fn layout(pooling: &str) -> Value {
    json!({
        "layer_indices": [5, 1, 2, 4], "dim_indices": [8, 32, 16], "hidden_size": 32, "num_layers": 5,
        "pooling_strategy": pooling,
    })
}

fn embedder_contract(norm: &str) -> Value {
    json!({
        "version": 1, "intermediate_normalization": norm, "final_normalization": "final_norm",
        "pooling": "attention_mask_mean", "pooling_accumulation_dtype": "float32",
        "truncate_before_l2_normalize": true,
    })
}

fn reranker_contract() -> Value {
    json!({
        "version": 1, "pooling": "cls", "intermediate_normalization": "final_norm",
        "final_normalization": "final_norm", "head_dtype": "float32",
    })
}

/// The golden model with a contract and these files beside it.
fn checkpoint(contract: Option<Value>, files: &[(&str, Vec<u8>)]) -> Checkpoint {
    let mut config: Value = serde_json::from_slice(&read("config.json")).unwrap();
    if let Some(contract) = contract {
        config["representation_contract"] = contract;
    }
    let mut all: Vec<(String, Cow<'static, [u8]>)> = vec![
        ("config.json".into(), config.to_string().into_bytes().into()),
        ("model.safetensors".into(), read("model.safetensors").into()),
        ("tokenizer.json".into(), tokenizer_json().into()),
    ];
    all.extend(files.iter().map(|(name, bytes)| ((*name).into(), bytes.clone().into())));
    Checkpoint::memory("exits", all)
}

fn embedder(norm: &str) -> Checkpoint {
    let layout = ("matryoshka_config.json", layout("mean").to_string().into_bytes());
    checkpoint(Some(embedder_contract(norm)), &[layout])
}

fn reranker() -> Checkpoint {
    let heads = ("classification_heads.safetensors", read("classification_heads.safetensors"));
    let layout = ("matryoshka_config.json", layout("cls").to_string().into_bytes());
    checkpoint(Some(reranker_contract()), &[layout, heads])
}

fn load(checkpoint: &Checkpoint) -> Result<Model, String> {
    Model::load(checkpoint, RopeOverride::Checkpoint).map_err(|error| error.to_string())
}

fn start(checkpoint: &Checkpoint, kind: DeviceKind) -> Engine {
    let mut options = EngineOptions { tokenizer_threads: 1, ..EngineOptions::default() };
    options.device = DeviceOptions { kind, threads: 2, ..options.device };
    Engine::start(load(checkpoint).unwrap(), &options).unwrap()
}

fn ask(engine: &Engine, input: Input, task: Task) -> Result<Answer, String> {
    let pending = engine.submit(Request::new(input, task, Truncate::No));
    let response = pending.and_then(|pending| pending.wait());
    response.map(|response| response.answer).map_err(|error| error.to_string())
}

fn embed(layer: Option<usize>, dimensions: Option<usize>) -> Task {
    Task::Embed { pooling: None, normalize: true, dimensions, layer }
}

fn floats(values: &Value) -> Vec<f32> {
    values.as_array().unwrap().iter().map(|x| x.as_f64().unwrap() as f32).collect()
}

fn size(value: &Value) -> usize {
    value.as_u64().unwrap() as usize
}

#[test]
fn vectors_of_every_exit_agree_with_an_independent_forward_pass() {
    for kind in [DeviceKind::Cpu, DeviceKind::Reference] {
        for (norm, is_normed) in [("none", false), ("final_norm", true)] {
            let engine = start(&embedder(norm), kind);
            let mut compared = 0;
            for golden in expected()["texts"].as_array().unwrap() {
                for exit in golden["exits"].as_array().unwrap() {
                    if exit["norm"] != is_normed {
                        continue;
                    }
                    let (layer, width) = (size(&exit["layer"]), size(&exit["dimensions"]));
                    let input = Input::Text(golden["text"].as_str().unwrap().into());
                    let answer = ask(&engine, input, embed(Some(layer), Some(width))).unwrap();
                    let Answer::Embedding(vector) = answer else { panic!("{answer:?}") };
                    let expected = floats(&exit["vector"]);
                    assert_eq!(vector.len(), expected.len());
                    let difference = vector.iter().zip(&expected).map(|(a, b)| (a - b).abs());
                    let worst = difference.fold(0.0, f32::max);
                    assert!(worst < TOLERANCE, "{kind:?} {norm} {layer}/{width}: {worst:e}");
                    compared += 1;
                }
            }
            assert_eq!(compared, 72);
        }
    }
}

#[test]
fn logits_of_every_scorer_agree_with_an_independent_forward_pass() {
    for kind in [DeviceKind::Cpu, DeviceKind::Reference] {
        let engine = start(&reranker(), kind);
        let mut compared = 0;
        for golden in expected()["pairs"].as_array().unwrap() {
            let text = |key: &str| golden[key].as_str().unwrap().to_owned();
            let pair = || Input::Pair(text("query").into(), text("document"));
            let only = |task| match ask(&engine, pair(), task) {
                Ok(Answer::Labels(labels)) if labels.len() == 1 => labels[0].score,
                other => panic!("{other:?}"),
            };
            for exit in golden["logits"].as_array().unwrap() {
                let (layer, width) = (size(&exit["layer"]), size(&exit["dimensions"]));
                let expected = exit["logit"].as_f64().unwrap() as f32;
                let task = Task::Rank { layer: Some(layer), dimensions: Some(width) };
                let logit = only(task);
                assert!(
                    (logit - expected).abs() < LOGIT_TOLERANCE,
                    "{layer}/{width}: {logit} {expected}"
                );
                compared += 1;
            }
            let whole = only(Task::Rank { layer: Some(5), dimensions: Some(32) });
            assert_eq!(only(Task::Rank { layer: None, dimensions: None }), whole);
            assert_eq!(only(Task::Classify { raw_scores: true }), whole);
            let probability = only(Task::Classify { raw_scores: false });
            assert!((probability - 1.0 / (1.0 + (-whole).exp())).abs() < 1e-6);
        }
        assert_eq!(compared, 33);
    }
}

#[test]
fn texts_encode_as_the_python_tokenizers_do() {
    let tokenizer = Tokenizer::open(&embedder("none")).unwrap();
    let ids = |golden: &Value| -> Vec<u32> {
        golden["ids"].as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect()
    };
    for golden in expected()["texts"].as_array().unwrap() {
        let text = golden["text"].as_str().unwrap();
        let tokens = tokenizer.encode(&Input::Text(text.into()), 1000, Truncate::No).unwrap();
        assert_eq!(tokens.ids, ids(golden));
        let spans: Vec<[usize; 2]> = tokens.spans.iter().map(|s| [s.start, s.end]).collect();
        assert_eq!(json!(spans), golden["offsets"], "{text:?}");
        let own = &tokens.ids[1..tokens.ids.len() - 1];
        assert_eq!(tokenizer.decode_all(own, false).unwrap(), golden["decoded"].as_str().unwrap());
    }
    for golden in expected()["pairs"].as_array().unwrap() {
        let text = |key: &str| golden[key].as_str().unwrap().to_owned();
        let pair = Input::Pair(text("query").into(), text("document"));
        assert_eq!(tokenizer.encode(&pair, 1000, Truncate::No).unwrap().ids, ids(golden));
    }
}

fn device() -> Device {
    let options = DeviceOptions {
        threads: 2,
        max_batch_tokens: Some(4096),
        ..EngineOptions::default().device
    };
    Device::start(&load(&embedder("none")).unwrap(), &options).unwrap()
}

fn pack(requests: &[(Vec<u32>, Rows)]) -> PackedBatch {
    PackedBatch::pack(requests.iter().map(|(ids, wants)| Sequence { token_ids: ids, wants }))
}

fn ids(tokens: u32, seed: u32) -> Vec<u32> {
    (0..tokens).map(|at| 5 + (at * 31 + seed * 7) % 500).collect()
}

/// Requests of every kind of rows that a model without a head has.
fn mixed() -> Vec<(Vec<u32>, Rows)> {
    let exit = |layers, pooling| Rows::Exit { layers, pooling };
    vec![
        (ids(40, 1), exit(4, Pooling::Mean)),
        (ids(130, 2), Rows::Pooled(Pooling::Mean)),
        (ids(7, 3), exit(1, Pooling::Mean)),
        (ids(1, 4), exit(4, Pooling::Cls)),
        (ids(33, 5), Rows::Hidden),
        (ids(300, 6), exit(1, Pooling::Cls)),
        (ids(64, 7), exit(2, Pooling::Mean)),
        (ids(700, 8), Rows::Pooled(Pooling::Cls)),
        (ids(2, 9), exit(4, Pooling::Mean)),
    ]
}

#[test]
fn rows_do_not_depend_on_what_else_is_in_the_batch() {
    let (mut device, model) = (device(), load(&embedder("none")).unwrap());
    let own = |requests: &[(Vec<u32>, Rows)], device: &mut Device, in_slices: bool| {
        let batch = pack(requests);
        let rows = if in_slices {
            let go_on = &mut |_: &mut Device| std::ops::ControlFlow::Continue(());
            let started = device.start_batch_in_slices(&batch, go_on).unwrap();
            device.finish_batch(started).unwrap()
        } else {
            device.forward(&batch).unwrap()
        };
        let sequences = requests.iter().map(|(ids, wants)| Sequence { token_ids: ids, wants });
        let split = model.row_layout().split(sequences, &rows);
        let bits = |rows: &[f32]| rows.iter().map(|x| x.to_bits()).collect::<Vec<u32>>();
        split.into_iter().map(bits).collect::<Vec<_>>()
    };
    let requests = mixed();
    let together = own(&requests, &mut device, false);
    assert_eq!(own(&requests, &mut device, true), together, "in slices");
    for (n, request) in requests.iter().enumerate() {
        let alone = own(std::slice::from_ref(request), &mut device, false);
        assert!(!alone[0].is_empty());
        assert_eq!(alone[0], together[n], "request {n}");
    }
    // The last layer as an exit is the model's own vector.
    let (ids, _) = &requests[1];
    let last = Rows::Exit { layers: 5, pooling: Pooling::Mean };
    assert_eq!(own(&[(ids.clone(), last)], &mut device, false)[0], together[1]);
}

#[test]
fn a_batch_runs_as_deep_as_the_deepest_of_its_exits() {
    let (device, model) = (device(), load(&embedder("none")).unwrap());
    let attentions = |requests: &[(Vec<u32>, Rows)]| {
        let program = model.program(device.workspace(), &pack(requests));
        program.ops.iter().filter(|op| matches!(op, Op::Attention { .. })).count()
    };
    let requests = mixed();
    assert_eq!(attentions(&requests), 5);
    let of_exits = |least: usize| -> Vec<(Vec<u32>, Rows)> {
        let kept = requests.iter().filter(|(_, rows)| rows.layers().is_some_and(|n| n <= least));
        kept.cloned().collect()
    };
    assert_eq!([1, 2, 4].map(|least| attentions(&of_exits(least))), [1, 2, 4]);
    let size = |requests: &[(Vec<u32>, Rows)]| device.batch_size(&pack(requests));
    let exit = |layers| vec![(ids(1000, 1), Rows::Exit { layers, pooling: Pooling::Mean })];
    let whole = size(&[(ids(1000, 1), Rows::Pooled(Pooling::Mean))]);
    assert_eq!((whole.tokens, whole.squares), (1000, 1e6));
    let fifth = size(&exit(1));
    assert_eq!((fifth.tokens, fifth.squares, fifth.sequences), (200, 2e5, 1));
    assert_eq!(size(&exit(5)), whole);
}

#[test]
fn exits_are_those_that_the_checkpoint_names() {
    let exits = |checkpoint: &Checkpoint| load(checkpoint).map(|model| model.exits);
    let layers = |layers: &[usize], dimensions: &[usize]| Exits {
        layers: layers.to_vec(),
        dimensions: dimensions.to_vec(),
    };
    assert_eq!(exits(&embedder("none")), Ok(layers(&[1, 2, 4, 5], &[32, 16, 8])));
    assert_eq!(exits(&reranker()), Ok(layers(&[1, 2, 4, 5], &[32, 16, 8])));
    assert_eq!(exits(&checkpoint(None, &[])), Ok(layers(&[5], &[32])));
    let only_layout = [("matryoshka_config.json", layout("mean").to_string().into_bytes())];
    assert_eq!(exits(&checkpoint(None, &only_layout)), Ok(layers(&[5], &[32])), "no contract");
    // The names of exported graphs count, not what is in them.
    let graphs = ["onnx/model_layer_2.onnx", "onnx/model.onnx", "onnx/model_layer_1.onnx"];
    let graphs = graphs.map(|name| (name, Vec::new()));
    let with_graphs = checkpoint(Some(embedder_contract("none")), &graphs);
    assert_eq!(exits(&with_graphs), Ok(layers(&[1, 2, 5], &[32])));
    let beyond = [("onnx/model_layer_6.onnx", Vec::new())];
    let refused = exits(&checkpoint(Some(embedder_contract("none")), &beyond)).unwrap_err();
    assert_eq!(refused, "onnx/model_layer_6.onnx: the model has 5 layers");
}

#[test]
fn what_is_not_offered_is_refused() {
    let vectors = start(&embedder("none"), DeviceKind::Cpu);
    let text = || Input::Text("a text".into());
    let error = |engine: &Engine, task| ask(engine, text(), task).unwrap_err();
    assert_eq!(error(&vectors, embed(Some(3), None)), "layer is 3; the model offers 1, 2, 4, 5");
    assert!(error(&vectors, embed(Some(0), None)).starts_with("layer is 0"));
    assert!(error(&vectors, embed(Some(1), Some(33))).contains("between 1 and 32"));
    let rank = |layer, dimensions| Task::Rank { layer, dimensions };
    assert!(error(&vectors, rank(None, None)).contains("not scores of pairs at exits"));
    let pairs = start(&reranker(), DeviceKind::Cpu);
    let refused = error(&pairs, rank(Some(2), Some(16)));
    assert!(
        refused.starts_with("layer 2 with 16 dimensions has no scorer; there are"),
        "{refused}"
    );
    assert!(error(&pairs, embed(None, None)).contains("scores of pairs, not embeddings"));
}

#[test]
fn files_that_do_not_fit_are_named_with_their_key() {
    let refused = |contract: Value, layout: Value, heads: Option<Vec<u8>>| {
        let mut files = vec![("matryoshka_config.json", layout.to_string().into_bytes())];
        files.extend(heads.map(|bytes| ("classification_heads.safetensors", bytes)));
        load(&checkpoint(Some(contract), &files)).err().unwrap_or_else(|| "it loads".into())
    };
    let with = |mut base: Value, key: &str, value: Value| {
        base[key] = value;
        base
    };
    let heads = || Some(read("classification_heads.safetensors"));
    let cases = [
        ("layer_indices", json!([1, 6])),
        ("layer_indices", json!([1, 1])),
        ("layer_indices", json!([])),
        ("layer_indices", Value::Null),
        ("dim_indices", json!([0, 32])),
        ("dim_indices", json!("32")),
        ("hidden_size", json!(64)),
        ("num_layers", json!(6)),
        ("has_final_norm", json!(false)),
        ("pooling_strategy", json!("mean")),
        ("representation_contract", json!({"version": 1})),
    ];
    for (key, value) in cases {
        let message =
            refused(reranker_contract(), with(layout("cls"), key, value.clone()), heads());
        assert!(
            message.starts_with("matryoshka_config.json: ") && message.contains(key),
            "{message}"
        );
    }
    for (key, value) in [
        ("version", json!(2)),
        ("pooling", json!("attention_mask_mean")),
        ("intermediate_normalization", json!("none")),
        ("final_normalization", Value::Null),
        ("head_dtype", json!("bfloat16")),
        ("more", json!(1)),
    ] {
        let message = refused(with(reranker_contract(), key, value), layout("cls"), heads());
        let file = "representation_contract in config.json: ";
        assert!(message.starts_with(file) && message.contains(key), "{message}");
    }
    for (key, value) in [
        ("intermediate_normalization", json!("all")),
        ("pooling", json!("cls")),
        ("pooling_accumulation_dtype", json!("float16")),
        ("truncate_before_l2_normalize", json!(false)),
    ] {
        let contract = with(embedder_contract("none"), key, value);
        let message = load(&checkpoint(Some(contract), &[])).err().unwrap();
        let file = "representation_contract in config.json: ";
        assert!(message.starts_with(file) && message.contains(key), "{message}");
    }
    let message = refused(reranker_contract(), layout("cls"), None);
    assert!(message.contains("classification_heads.safetensors is missing"), "{message}");
    let message =
        refused(reranker_contract(), with(layout("cls"), "layer_indices", json!([1])), heads());
    assert!(message.contains("belongs to no exit of matryoshka_config.json"), "{message}");
    let message =
        refused(reranker_contract(), with(layout("cls"), "dim_indices", json!([8, 16])), heads());
    assert!(
        message.contains("belongs to no exit") || message.contains("no scorer 5.32"),
        "{message}"
    );
}

#[test]
fn presets_with_exits_answer_at_each_of_them() {
    let engine = |name: &str| {
        let preset = Preset::named(name).unwrap();
        let init = Init { preset, head: preset.head().unwrap(), seed: 3, dtype: Dtype::F32 };
        let [tokenizer, config] = preset.tokenizer_files().unwrap();
        let made = init.checkpoint(name, tokenizer.into(), config.into()).unwrap();
        start(&made, DeviceKind::Cpu)
    };
    let vectors = engine("random-exits");
    assert_eq!(vectors.model().exits.layers, [2, 4, 6]);
    let mut seen: Vec<Vec<f32>> = Vec::new();
    for layer in [2, 4, 6] {
        let answer = ask(&vectors, Input::Text("Some text.".into()), embed(Some(layer), Some(64)));
        let Ok(Answer::Embedding(vector)) = answer else { panic!("{answer:?}") };
        assert!(vector.len() == 64 && !seen.contains(&vector));
        seen.push(vector);
    }
    let pairs = engine("random-reranker-exits");
    let scorers = pairs.model().pair_scorers.as_ref().unwrap();
    let mut seen: Vec<f32> = Vec::new();
    for (layer, width) in scorers.exits() {
        let task = Task::Rank { layer: Some(layer), dimensions: Some(width) };
        let answer = ask(&pairs, Input::Pair("a query".into(), "a text".into()), task);
        let Ok(Answer::Labels(labels)) = answer else { panic!("{answer:?}") };
        let [LabelScore { score, .. }] = labels[..] else { panic!("one score") };
        assert!(!seen.contains(&score));
        seen.push(score);
    }
    assert_eq!(seen.len(), 9);
}
