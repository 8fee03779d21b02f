//! `model list`, `model init` and `model inspect`.

use crate::line;
use crate::support::{Scratch, bigbatch, text};

#[test]
fn list_names_models_and_presets() {
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
fn init_is_a_function_of_its_seed() {
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
fn init_keeps_the_tokenizer_it_is_given() {
    let scratch = Scratch::new();
    let first = scratch.checkpoint("first", &[]);
    let mut tokenizer = std::fs::read(first.join("tokenizer.json")).expect("just made");
    // Still the same JSON, no longer the embedded bytes.
    tokenizer.push(b'\n');
    let file = scratch.file("mine.json", &tokenizer);
    let second = scratch.checkpoint("second", &["--tokenizer", text(&file)]);
    let kept = std::fs::read(second.join("tokenizer.json")).expect("just made");
    assert!(kept == tokenizer, "not the file given");
    line(&["fill-mask", "--json", "--model", text(&second), "a [MASK]"]);
}

#[test]
fn inspect_tells_what_the_checkpoint_says() {
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
    assert!(!output.contains("classifier.weight"), "tensors only when asked: {output}");
    let tensors = inspect(&["--tensors"]);
    assert!(tensors.contains("classifier.weight  f32 [2, 128]"), "{tensors}");
    assert!(bigbatch(["model", "inspect", "embedded:random"]).output().contains("random"));
}
