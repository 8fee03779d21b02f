//! Answers of `classify`, `tag`, `embed` and `fill-mask`: their keys, ranges, order and options.

use serde_json::{Value, json};

use crate::support::{Scratch, text};
use crate::{keys, line, lines, numbers};

const TEXT: &str = "The ship sailed at dawn with Captain Smith.";

fn scores(answer: &Value) -> Vec<(String, f64)> {
    let score = |label: &Value| {
        assert_eq!(keys(label), ["label", "score"]);
        let name = label["label"].as_str().expect("a string");
        (name.to_owned(), label["score"].as_f64().expect("a number"))
    };
    answer["labels"].as_array().expect("an array").iter().map(score).collect()
}

fn length(vector: &[f64]) -> f64 {
    vector.iter().map(|x| x * x).sum::<f64>().sqrt()
}

fn close(a: &[f64], b: &[f64]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(x, y)| (x - y).abs() < 1e-6)
}

#[test]
fn classify_returns_all_labels_highest_first() {
    let scratch = Scratch::new();
    let dir = scratch.checkpoint("three", &["--head", "classify", "--labels", "a,b,c"]);
    let model = ["classify", "--json", "--model", text(&dir), TEXT];
    let answer = line(&model);
    assert_eq!(keys(&answer), ["index", "tokens", "truncated", "labels"]);
    assert_eq!((&answer["index"], &answer["truncated"]), (&json!(0), &json!(false)));
    let softmax = scores(&answer);
    let mut names: Vec<&str> = softmax.iter().map(|(name, _)| name.as_str()).collect();
    assert!(softmax.is_sorted_by(|a, b| a.1 >= b.1), "{softmax:?}");
    assert!((softmax.iter().map(|s| s.1).sum::<f64>() - 1.0).abs() < 1e-6, "{softmax:?}");
    names.sort();
    assert_eq!(names, ["a", "b", "c"]);

    let raw = scores(&line(&[&model[..], &["--raw-scores"]].concat()));
    let total: f64 = raw.iter().map(|s| s.1.exp()).sum();
    for ((name, probability), (raw_name, logit)) in softmax.iter().zip(&raw) {
        assert_eq!(name, raw_name);
        assert!((probability - logit.exp() / total).abs() < 1e-6, "{softmax:?} of {raw:?}");
    }
}

#[test]
fn one_label_has_a_sigmoid_and_unnamed_labels_are_numbered() {
    let scratch = Scratch::new();
    let dir = scratch.checkpoint("one", &["--head", "classify", "--labels", "relevant"]);
    let config = std::fs::read(dir.join("config.json")).expect("just made");
    let mut config: Value = serde_json::from_slice(&config).expect("it is JSON");
    config.as_object_mut().expect("it is an object").shift_remove("id2label");
    scratch.file("one/config.json", config.to_string());
    // A reranker reads the query and the text as a pair.
    let pair = ["classify", "--json", "--model", text(&dir), "--query", "Who sailed?", TEXT];
    let answer = line(&pair);
    let raw = line(&[&pair[..], &["--raw-scores"]].concat());
    let ([(name, probability)], [(_, logit)]) = (&scores(&answer)[..], &scores(&raw)[..]) else {
        panic!("one label: {answer}");
    };
    assert_eq!(name, "LABEL_0");
    assert!((probability - 1.0 / (1.0 + (-logit).exp())).abs() < 1e-6, "{probability} of {logit}");

    let alone = line(&["classify", "--json", "--model", text(&dir), TEXT]);
    let query = line(&["classify", "--json", "--model", text(&dir), "Who sailed?"]);
    // A single text has [CLS] and [SEP]; a pair has one [CLS] and two [SEP].
    let tokens = |answer: &Value| answer["tokens"].as_u64().expect("a count");
    assert_eq!(tokens(&answer), tokens(&alone) + tokens(&query) - 1);
}

#[test]
fn tag_returns_character_offsets_of_entities() {
    let text = "Élodie Müller naïvely met 東京 and Zoë — at the café in Łódź.";
    let characters: Vec<char> = text.chars().collect();
    let answer = line(&["tag", "--json", "--model", "embedded:random", text]);
    assert_eq!(keys(&answer), ["index", "tokens", "truncated", "entities"]);
    let entities = answer["entities"].as_array().expect("an array");
    assert!(!entities.is_empty(), "random weights produce entities");
    let mut last_end = 0;
    for entity in entities {
        assert_eq!(keys(entity), ["label", "start", "end", "text", "score"]);
        let offset = |key: &str| entity[key].as_u64().expect("an offset") as usize;
        let quoted: String = characters[offset("start")..offset("end")].iter().collect();
        assert_eq!(entity["text"], json!(quoted), "{entity}");
        assert_eq!(quoted.trim(), quoted, "white space around an entity");
        assert!(offset("start") < offset("end"), "{entity}");
        assert!(offset("start") + 1 >= last_end, "out of order: {answer}");
        assert_eq!(entity["label"], "RANDOM", "without its B- or I-");
        last_end = offset("end");
    }
}

#[test]
fn tag_all_tokens_labels_every_token() {
    let answer = line(&["tag", "--json", "--model", "embedded:random", "--all-tokens", TEXT]);
    assert_eq!(keys(&answer), ["index", "tokens", "truncated", "entities", "token_labels"]);
    let labels = answer["token_labels"].as_array().expect("an array");
    assert_eq!(json!(labels.len()), answer["tokens"], "special tokens have labels too");
    for label in labels {
        assert!(["O", "B-RANDOM", "I-RANDOM"].iter().any(|name| label == name), "{label}");
    }
}

#[test]
fn embed_normalises_pools_and_cuts_dimensions() {
    let embed = |options: &[&str]| {
        let answer = line(&[&["embed", "--json", TEXT], options].concat());
        assert_eq!(keys(&answer), ["index", "tokens", "truncated", "embedding"]);
        numbers(&answer["embedding"])
    };
    let unit = embed(&[]);
    assert_eq!(unit.len(), 128);
    assert!((length(&unit) - 1.0).abs() < 1e-6, "{}", length(&unit));

    let raw = embed(&["--no-normalize"]);
    assert!(
        (length(&raw) - 1.0).abs() > 0.01,
        "raw vectors of random weights do not have length 1"
    );
    let scaled: Vec<f64> = raw.iter().map(|x| x / length(&raw)).collect();
    assert!(close(&unit, &scaled));

    let short = embed(&["--dimensions", "16"]);
    let scaled: Vec<f64> = raw[..16].iter().map(|x| x / length(&raw[..16])).collect();
    assert!(close(&short, &scaled), "cut first, then normalised");
    assert!(close(&embed(&["--dimensions", "16", "--no-normalize"]), &raw[..16]));

    assert!(close(&embed(&["--pooling", "mean"]), &unit), "the mean is the default");
    assert!(!close(&embed(&["--pooling", "cls"]), &unit));
}

#[test]
fn embed_uses_the_pooling_of_the_checkpoint() {
    let scratch = Scratch::new();
    let dir = scratch.checkpoint("model", &["--head", "base"]);
    std::fs::create_dir(dir.join("1_Pooling")).expect("writable");
    let embed = |options: &[&str]| {
        let model = ["embed", "--json", "--model", text(&dir), TEXT];
        numbers(&line(&[&model[..], options].concat())["embedding"])
    };
    let (mean, cls) = (embed(&["--pooling", "mean"]), embed(&["--pooling", "cls"]));
    assert!(!close(&mean, &cls));
    for (content, expected) in [
        (r#"{"pooling_mode_cls_token": true, "pooling_mode_mean_tokens": false}"#, &cls),
        (r#"{"pooling_mode_cls_token": false, "pooling_mode_mean_tokens": true}"#, &mean),
        (r#"{"pooling_mode": "cls"}"#, &cls),
    ] {
        scratch.file("model/1_Pooling/config.json", content);
        assert!(close(&embed(&[]), expected), "{content}");
        assert!(
            close(&embed(&["--pooling", "mean"]), &mean),
            "the option overrides the checkpoint"
        );
    }
}

#[test]
fn fill_mask_returns_the_likeliest_tokens_per_mask() {
    let answers = lines(&["fill-mask", "--json", "The [MASK] sailed at [MASK].", "One [MASK]"]);
    let masks = |answer: &Value| answer["masks"].as_array().expect("an array").clone();
    assert_eq!(answers.iter().map(|a| masks(a).len()).collect::<Vec<_>>(), [2, 1]);
    assert_eq!(keys(&answers[0]), ["index", "tokens", "truncated", "masks"]);
    for mask in answers.iter().flat_map(masks) {
        let candidates = mask.as_array().expect("an array");
        assert_eq!(candidates.len(), 5, "the default of --top-k");
        assert!(candidates.iter().all(|c| keys(c) == ["token", "id", "score"]));
        let score = |c: &Value| c["score"].as_f64().expect("a number");
        assert!(candidates.is_sorted_by(|a, b| score(a) >= score(b)), "{mask}");
    }
    let two = line(&["fill-mask", "--json", "--top-k", "2", "One [MASK]"]);
    let five = masks(&answers[1])[0].clone();
    assert_eq!(masks(&two)[0], json!([five[0], five[1]]), "the first two of five");
    let all = line(&["fill-mask", "--json", "--top-k", "5120", "One [MASK]"]);
    let all = masks(&all)[0].clone();
    let candidates = all.as_array().expect("an array");
    let total: f64 = candidates.iter().filter_map(|c| c["score"].as_f64()).sum();
    assert!((total - 1.0).abs() < 1e-4, "all probabilities sum to {total}");
}

#[test]
fn tag_reads_a_text_after_its_context() {
    let (context, answer) = ("Ada met Bob in London and wrote to him.", "Ada met C\u{e9}cile.");
    let tag = |options: &[&str], text: &str| {
        line(&[&["tag", "--json", "--all-tokens"], options, &[text]].concat())
    };
    let count = |answer: &Value| answer["token_labels"].as_array().expect("an array").len() as u64;
    let tokens = |answer: &Value| answer["tokens"].as_u64().expect("a count");
    let (alone, pair) = (tag(&[], answer), tag(&["--pair", context], answer));
    assert_eq!(count(&pair) + 2, tokens(&alone), "the second text's, without special ones");
    assert!(tokens(&pair) > tokens(&alone) + 5);
    assert_eq!(tag(&["--context", context], answer), pair, "the other name of --pair");
    let limit = (tokens(&alone) + 4).to_string();
    let cut = tag(&["--pair", context, "--truncate", "--max-batch-tokens", &limit], answer);
    assert_eq!((count(&cut), &cut["truncated"]), (count(&pair), &json!(true)));
}

#[test]
fn tag_takes_the_strategies_of_transformers() {
    let tag =
        |strategy| line(&["tag", "--json", "--aggregation-strategy", strategy, "Ada met Bob."]);
    for strategy in ["none", "simple", "first", "average", "max"] {
        let answer = tag(strategy);
        let entities = answer["entities"].as_array().expect("an array");
        let keys_are = |e: &Value| keys(e) == ["label", "start", "end", "text", "score"];
        assert!(entities.iter().all(keys_are), "{answer}");
        let tagged = entities.iter().any(|e| e["label"] == "B-RANDOM" || e["label"] == "I-RANDOM");
        assert_eq!(tagged, strategy == "none" && !entities.is_empty(), "{strategy}: {answer}");
    }
}
