//! `operating_point.json`: both forms are read, and every key that does not fit is named.

use std::borrow::Cow;

use bigbatch_engine::{
    Checkpoint, Chunks, Dtype, Init, LoadOptions, Model, OperatingPoint, Preset, RopeOverride, Task,
};
use serde_json::{Value, json};

const FILE: &str = "operating_point.json";

/// A small package, as memory or after `change` has had its files.
fn package(name: &str, change: impl FnOnce(&mut Vec<(String, Vec<u8>)>)) -> Checkpoint {
    let preset = Preset::named(name).unwrap();
    let head = preset.head().unwrap();
    let init = Init { preset, head, seed: 0, dtype: Dtype::F32 };
    let [tokenizer, config] = preset.tokenizer_files().unwrap();
    let made = init.checkpoint(name, tokenizer.into(), config.into()).unwrap();
    let names =
        ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", FILE];
    let file = |name: &str| Some((name.to_owned(), made.read(name).unwrap()?.into_owned()));
    let mut files: Vec<(String, Vec<u8>)> = names.iter().filter_map(|name| file(name)).collect();
    change(&mut files);
    let held = |(name, bytes)| (name, Cow::Owned(bytes));
    Checkpoint::memory(name, files.into_iter().map(held).collect())
}

fn set(files: &mut [(String, Vec<u8>)], file: &str, change: impl FnOnce(&mut Value)) {
    let (_, bytes) = files.iter_mut().find(|(name, _)| name == file).unwrap();
    let mut json: Value = serde_json::from_slice(bytes).unwrap();
    change(&mut json);
    *bytes = json.to_string().into_bytes();
}

fn load(checkpoint: &Checkpoint) -> Result<Model, String> {
    Model::load(checkpoint, RopeOverride::Checkpoint).map_err(|error| error.to_string())
}

/// The operating point of a package with one key replaced; `null` removes it.
fn with(name: &str, path: &[&str], value: Value) -> Result<Option<OperatingPoint>, String> {
    let made = package(name, |files| {
        set(files, FILE, |json| {
            let (key, above) = path.split_last().unwrap();
            let at = above.iter().fold(json, |json, key| &mut json[*key]);
            at[*key] = value;
        });
    });
    load(&made).map(|model| model.operating_point)
}

#[test]
fn scores_have_thresholds_and_windows() {
    let model = load(&package("random-scores", |_| {})).unwrap();
    let expected = OperatingPoint::Scores {
        thresholds: vec![0.45, 0.5, 0.55, 0.6],
        inclusive: true,
        window: Some((64, 16)),
        max_document_tokens: Some(32768),
    };
    assert_eq!(model.operating_point, Some(expected));
    let strict = with("random-scores", &["comparison"], json!("score > threshold")).unwrap();
    assert!(matches!(strict, Some(OperatingPoint::Scores { inclusive: false, .. })));
    let whole = with("random-scores", &["input_policy"], Value::Null).unwrap();
    assert!(matches!(whole, Some(OperatingPoint::Scores { window: None, .. })));
    // What else describes a calibration is no rule.
    assert!(with("random-scores", &["calibrated_on"], json!("a set")).is_ok());
    let [policy, content] = ["input_policy", "content_tokens_per_window"];
    assert!(with("random-scores", &[policy, content], json!(62)).is_ok());
}

#[test]
fn grounded_heads_have_a_template_and_one_threshold() {
    let model = load(&package("random-grounded", |_| {})).unwrap();
    let point = model.operating_point.unwrap();
    let OperatingPoint::Grounded { token_threshold, inclusive, max_input_tokens, positive, .. } =
        &point
    else {
        panic!("{point:?}")
    };
    assert_eq!((*token_threshold, *inclusive), (0.5, false));
    assert_eq!((*max_input_tokens, *positive), (8192, 1));
    // Braces of a question are text.
    let prompt = point.prompt("is {context} true?", "It {question} is.").unwrap();
    assert_eq!(prompt, "User request: is {context} true?\n\nIt {question} is.");
    let model = load(&package("random-grounded", |_| {})).unwrap();
    assert_eq!(model.entity_names(), ["hallucinated"]);
    assert!(Chunks::task(&model, &Task::Tag).is_err(), "it is not read in windows");
    let inclusive = with("random-grounded", &["threshold_comparison"], json!("greater_or_equal"));
    assert!(matches!(inclusive, Ok(Some(OperatingPoint::Grounded { inclusive: true, .. }))));
    let silent = with("random-grounded", &["threshold_comparison"], Value::Null);
    assert!(matches!(silent, Ok(Some(OperatingPoint::Grounded { inclusive: false, .. }))));
}

#[test]
fn a_score_that_equals_its_threshold_passes_where_the_package_says_so() {
    let point = |comparison| {
        with("random-scores", &["comparison"], json!(comparison)).unwrap().expect("a point")
    };
    let [inclusive, strict] = ["score >= threshold", "score > threshold"].map(point);
    assert!(inclusive.passes(0.5, 0.5) && !strict.passes(0.5, 0.5));
    assert!(strict.passes(0.6, 0.5) && !inclusive.passes(0.4, 0.5));
}

#[test]
fn an_input_is_no_longer_than_the_calibration_of_a_grounded_head() {
    let limited = package("random-grounded", |files| {
        set(files, FILE, |point| point["max_input_tokens"] = json!(512));
    });
    assert_eq!(load(&limited).unwrap().config.max_tokens, 512);
}

#[test]
fn a_key_that_does_not_fit_is_named() {
    let policy = |key: &'static str| vec!["input_policy", key];
    let scores = [
        (vec!["score_type"], json!("softmax")),
        (vec!["score_type"], Value::Null),
        (vec!["comparison"], json!("score < threshold")),
        (vec!["comparison"], Value::Null),
        (vec!["labels"], json!(["weapons", "violence", "self_harm", "privacy"])),
        (vec!["labels"], Value::Null),
        (vec!["thresholds"], json!([0.5, 0.5, 0.5])),
        (vec!["thresholds"], json!([0.5, 0.5, 0.5, 1.5])),
        (vec!["thresholds"], json!([0.5, 0.5, 0.5, "0.5"])),
        (vec!["thresholds"], Value::Null),
        (vec!["input_policy"], json!(7)),
        (policy("strategy"), json!("first_tokens")),
        (policy("window_tokens_including_special_tokens"), json!(0)),
        (policy("window_tokens_including_special_tokens"), json!(32769)),
        (policy("overlap_content_tokens"), json!(62)),
        (policy("overlap_content_tokens"), json!(-1)),
        (policy("overlap_content_tokens"), Value::Null),
        (policy("content_tokens_per_window"), json!(64)),
        (policy("stride_content_tokens"), json!(48)),
        (policy("max_document_tokens_including_special_tokens"), json!(32769)),
    ];
    for (path, value) in scores {
        let message = with("random-scores", &path, value).unwrap_err();
        let key = path.last().unwrap();
        assert!(message.starts_with(FILE) && message.contains(key), "{path:?}: {message}");
    }
    let grounded = [
        ("input_pair", Value::Null),
        ("input_pair", json!(["{question} {context}"])),
        ("input_pair", json!(["{question} {context}", "text"])),
        ("input_pair", json!(["{question}", "answer"])),
        ("input_pair", json!(["{question} {context} {answer}", "answer"])),
        ("input_pair", json!(["{{question}} {context}", "answer"])),
        ("token_threshold", json!(-0.1)),
        ("token_threshold", json!("0.5")),
        ("token_threshold", Value::Null),
        ("threshold_comparison", json!("less")),
        ("label2id", json!({"supported": 1, "hallucinated": 0})),
        ("label2id", Value::Null),
        ("max_input_tokens", json!(0)),
        ("max_input_tokens", json!(32769)),
        ("max_input_tokens", Value::Null),
        ("answer_offsets", json!("bytes")),
    ];
    for (key, value) in grounded {
        let message = with("random-grounded", &[key], value).unwrap_err();
        assert!(message.starts_with(FILE) && message.contains(key), "{key}: {message}");
    }
}

#[test]
fn an_operating_point_needs_a_classifier_that_has_one() {
    let problem = |problem: &'static str| {
        let made = package("random-scores", |files| {
            set(files, "config.json", |config| config["problem_type"] = json!(problem));
        });
        load(&made).err()
    };
    for other in ["single_label_classification", "regression"] {
        let message = problem(other).unwrap();
        assert!(message.contains("not independent (problem_type)"), "{other}: {message}");
    }
    assert_eq!(problem("multi_label_classification"), None);
    let beside = |name: &str| {
        let point = json!({"score_type": "independent_sigmoid"}).to_string().into_bytes();
        load(&package(name, |files| files.push((FILE.into(), point)))).err().unwrap()
    };
    assert!(beside("random-tags").contains("input_pair"));
    assert!(beside("random-exits").contains("the model is no classifier"));
    let none = load(&package("random-tags", |_| {})).unwrap();
    assert_eq!((none.operating_point, none.operating_point_sha256), (None, None));
    let preset = Preset::named("random").unwrap();
    assert!(preset.head().is_none() && preset.tokenizer_files().is_none());
}

#[test]
fn any_byte_that_is_loaded_changes_the_identity() {
    let hashed = |checkpoint: &Checkpoint| {
        let options = LoadOptions { hash: true, ..LoadOptions::default() };
        let model = Model::load(checkpoint, options).unwrap();
        (model.sha256.unwrap(), model.operating_point_sha256)
    };
    let (plain, point) = hashed(&package("random-scores", |_| {}));
    assert_eq!(hashed(&package("random-scores", |_| {})), (plain.clone(), point.clone()));
    assert!(plain.len() == 64 && plain.bytes().all(|byte| byte.is_ascii_hexdigit()));
    assert_eq!(load(&package("random-scores", |_| {})).unwrap().sha256, None, "nobody asked");
    let mut seen = vec![plain.clone()];
    for file in ["config.json", "tokenizer.json", "tokenizer_config.json", FILE] {
        // White space is a byte like any other.
        let changed = package("random-scores", |files| {
            let (_, bytes) = files.iter_mut().find(|(name, _)| name == file).unwrap();
            bytes.push(b' ');
        });
        let (identity, of_point) = hashed(&changed);
        assert!(!seen.contains(&identity), "{file}");
        assert_eq!(of_point != point, file == FILE);
        seen.push(identity);
    }
    let weights = package("random-scores", |files| {
        let (_, bytes) = files.iter_mut().find(|(name, _)| name == "model.safetensors").unwrap();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
    });
    assert!(!seen.contains(&hashed(&weights).0));
    let unread = package("random-scores", |files| files.push(("README.md".into(), vec![1])));
    assert_eq!(hashed(&unread).0, plain, "a file that is not loaded");
}

#[test]
fn a_directory_has_the_identity_of_its_files() {
    let preset = Preset::named("random-exits").unwrap();
    let init = Init { preset, head: preset.head().unwrap(), seed: 0, dtype: Dtype::F32 };
    let [tokenizer, config] = preset.tokenizer_files().unwrap();
    let dir = std::env::temp_dir().join(format!("bigbatch-identity-{}", std::process::id()));
    let hashed = || {
        let options = LoadOptions { hash: true, ..LoadOptions::default() };
        Model::load(&Checkpoint::directory(&dir), options).unwrap().sha256.unwrap()
    };
    init.write(&dir, tokenizer, config, false).unwrap();
    let written = hashed();
    init.write(&dir, tokenizer, config, true).unwrap();
    assert_eq!(hashed(), written, "the same seed");
    let pooling = dir.join("1_Pooling/config.json");
    let mut bytes = std::fs::read(&pooling).unwrap();
    bytes.push(b'\n');
    std::fs::write(&pooling, bytes).unwrap();
    let changed = hashed();
    std::fs::remove_dir_all(&dir).unwrap();
    assert_ne!(changed, written);
}
