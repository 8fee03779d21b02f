//! Tokenizers that do not match the model, sources without a checkpoint, and arguments of `model init`.

use serde_json::{Value, json};

use crate::Rule;
use crate::support::{Scratch, bigbatch, text};

#[test]
fn tokenizers_that_do_not_match_the_model() {
    let scratch = Scratch::new();
    let dir = scratch.checkpoint("model", &[]);
    let good = std::fs::read(dir.join("tokenizer.json")).expect("just made");
    let tokenizer: Value = serde_json::from_slice(&good).expect("it is JSON");
    let mut beyond = tokenizer.clone();
    beyond["model"]["vocab"]["zzz"] = json!(4096);
    let mut added = tokenizer.clone();
    let mut token = added["added_tokens"][0].clone();
    token["id"] = json!(9000);
    token["content"] = json!("[EXTRA]");
    added["added_tokens"].as_array_mut().expect("a list").push(token);
    let mut unknown = tokenizer;
    unknown["model"]["type"] = json!("Oracle");
    let half = String::from_utf8_lossy(&good[..good.len() / 2]).into_owned();
    let mut rule = Rule::default();
    for (what, content, says) in [
        ("an id beyond the vocabulary", beyond.to_string(), "ids up to 4096"),
        ("an added token beyond it", added.to_string(), "ids up to 4096"),
        ("an unknown model", unknown.to_string(), "tokenizer.json"),
        ("cut", half, "tokenizer.json"),
        ("empty", String::new(), "tokenizer.json"),
        ("of another kind", "[1, 2]".into(), "tokenizer.json"),
    ] {
        scratch.file("model/tokenizer.json", &content);
        rule.check(what, bigbatch(["embed", "--model", text(&dir), "x"]), says);
        let file = scratch.file("other.json", &content);
        let (file, other) = (text(&file), scratch.path("other"));
        let init = ["model", "init", "--preset", "random", "--tokenizer", file, text(&other)];
        rule.check(&format!("model init, {what}"), bigbatch(init), says);
    }
    scratch.file("model/tokenizer.json", &good);
    scratch.file("model/tokenizer_config.json", "{");
    let run = bigbatch(["embed", "--model", text(&dir), "x"]);
    rule.check("a damaged tokenizer_config.json", run, "tokenizer_config.json");
    std::fs::remove_file(dir.join("tokenizer.json")).expect("it is there");
    rule.check("none", bigbatch(["embed", "--model", text(&dir), "x"]), "tokenizer.json");
    rule.assert_held();
}

#[test]
fn sources_without_a_checkpoint() {
    let scratch = Scratch::new();
    let file = scratch.file("a-file", "x");
    let empty = scratch.path("empty");
    std::fs::create_dir(&empty).expect("writable");
    let absent = scratch.path("absent");
    let mut rule = Rule::default();
    for (source, says) in [
        (text(&file), "it is a file"),
        (text(&empty), "config.json"),
        (
            text(&absent),
            "no such directory, and it is neither a Hub id (OWNER/NAME or OWNER/NAME@REVISION) nor embedded[:NAME]",
        ),
        ("somebody/some-model", "HF_HUB_OFFLINE"),
        ("embedded:nonsense", "embedded models are"),
        ("embedded:", "no model at"),
        ("", "no model at"),
    ] {
        rule.check(source, bigbatch(["embed", "--model", source, "x"]), says);
        let what = format!("model inspect {source}");
        rule.check(&what, bigbatch(["model", "inspect", source]), says);
    }
    rule.assert_held();
}

#[test]
fn checkpoints_that_cannot_be_written() {
    let scratch = Scratch::new();
    let file = scratch.file("a-file", "x");
    let below = file.join("below");
    let dir = scratch.path("new");
    let mut rule = Rule::default();
    for (args, says) in [
        (["--preset", "gigantic", text(&dir)], "'gigantic' is not known"),
        (["--preset", "random", text(&file)], "a-file"),
        (["--preset", "random", text(&below)], "below"),
        (["--tokenizer", text(&scratch.path("absent.json")), text(&dir)], "absent.json"),
    ] {
        let all = ["model", "init"].into_iter().chain(args);
        rule.check(&args.join(" "), bigbatch(all), says);
    }
    rule.assert_held();
}
