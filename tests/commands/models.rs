//! The output and files of `model list`, `model init` and `model inspect`.

use crate::line;
use crate::support::{Scratch, bigbatch, text};

#[test]
fn list_prints_models_and_presets() {
    let output = bigbatch(["model", "list"]).output();
    for name in ["embedded:random", "modernbert-base-32k", "modernbert-large"] {
        assert!(output.contains(name), "{name} in {output}");
    }
    for piece in [
        "embedded:jailbreak",
        "labels: benign, injection",
        "(151 labels)",
        "fill-mask",
        "CC BY 3.0",
    ] {
        assert!(output.contains(piece), "{piece} in {output}");
    }
}

#[test]
fn init_depends_on_its_seed_only() {
    let scratch = Scratch::new();
    let weights = |name: &str, options: &[&str]| {
        let dir = scratch.checkpoint(name, options);
        std::fs::read(dir.join("model.safetensors")).expect("just made")
    };
    let seven = weights("a", &["--seed", "7"]);
    assert!(weights("b", &["--seed", "7"]) == seven, "the same seed, other weights");
    assert!(weights("c", &["--seed", "8"]) != seven, "another seed, the same weights");
    for dtype in ["bf16", "f16"] {
        let half = weights(dtype, &["--seed", "7", "--dtype", dtype]);
        assert!(half.len() < seven.len() * 6 / 10, "{dtype}: {} bytes", half.len());
        let dir = scratch.path(dtype);
        line(&["embed", "--json", "--model", text(&dir), "a text"]);
    }
}

#[test]
fn init_copies_the_given_tokenizer() {
    let scratch = Scratch::new();
    let first = scratch.checkpoint("first", &[]);
    let mut tokenizer = std::fs::read(first.join("tokenizer.json")).expect("just made");
    // The same JSON in other bytes than the embedded tokenizer.
    tokenizer.push(b'\n');
    let file = scratch.file("mine.json", &tokenizer);
    let second = scratch.checkpoint("second", &["--tokenizer", text(&file)]);
    let kept = std::fs::read(second.join("tokenizer.json")).expect("just made");
    assert!(kept == tokenizer, "not the file given");
    line(&["fill-mask", "--json", "--model", text(&second), "a [MASK]"]);
}

#[test]
fn inspect_prints_the_configuration_and_tensors() {
    let scratch = Scratch::new();
    let dir = scratch.checkpoint("model", &["--head", "tag", "--labels", "O,B-CITY"]);
    let inspect = |options: &[&str]| {
        let args = [&["model", "inspect", text(&dir)], options].concat();
        bigbatch(args).output()
    };
    let output = inspect(&[]);
    for piece in ["token classification", "O, B-CITY", "4096", "32768 tokens", "yarn, factor 4"] {
        assert!(output.contains(piece), "{piece} in {output}");
    }
    assert!(!output.contains("classifier.weight"), "tensors only with --tensors: {output}");
    let tensors = inspect(&["--tensors"]);
    assert!(tensors.contains("classifier.weight  f32 [2, 128]"), "{tensors}");
    assert!(bigbatch(["model", "inspect", "embedded:random"]).output().contains("random"));
}
