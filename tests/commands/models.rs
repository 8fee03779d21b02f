//! The output and files of `model list`, `model init` and `model inspect`.

use std::path::Path;
use std::process::Command;

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
fn init_writes_whole_packages() {
    let scratch = Scratch::new();
    for (preset, command, file) in [
        ("random-scores", "classify", Some("operating_point.json")),
        ("random-grounded", "tag", Some("operating_point.json")),
        ("random-tags", "tag", None),
        ("random-exits", "embed", Some("1_Pooling/config.json")),
        ("random-reranker-exits", "classify", Some("classification_heads.safetensors")),
    ] {
        let dir = scratch.path(preset);
        let init = |options: &[&str]| {
            let all = [&["model", "init", "--preset", preset], options, &[text(&dir)]].concat();
            bigbatch(all).run()
        };
        let refused = init(&["--head", "tag"]);
        assert!(
            refused.code == Some(2) && refused.stderr.contains("remove --head"),
            "{}",
            refused.stderr
        );
        assert_eq!(init(&[]).code, Some(0));
        assert!(file.is_none_or(|file| dir.join(file).exists()), "{preset}");
        let context: &[&str] = match preset {
            "random-grounded" => &["--context", "a context"],
            _ => &[],
        };
        line(&[&[command, "--json", "--model", text(&dir), "a text"], context].concat());
        if !context.is_empty() {
            let alone = bigbatch([command, "--model", text(&dir), "a text"]).run();
            assert_eq!(alone.code, Some(2));
            assert!(alone.stderr.contains("(--pair)"), "{}", alone.stderr);
        }
        assert_eq!(init(&["--force"]).code, Some(0), "{preset} is replaced");
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

#[test]
fn inspect_prints_where_a_package_stops_and_what_it_was_calibrated_with() {
    let scratch = Scratch::new();
    for (preset, pieces) in [
        ("random-scores", vec![" >= 0.", "windows of 64 tokens, 16 shared"]),
        ("random-grounded", vec!["hallucinated > 0.5", "pairs up to 8192 tokens"]),
        ("random-exits", vec!["exits              after layers "]),
        ("random-reranker-exits", vec!["exits              layers/dimensions "]),
    ] {
        let dir = scratch.path(preset);
        bigbatch(["model", "init", "--preset", preset, text(&dir)]).output();
        let output = bigbatch(["model", "inspect", text(&dir)]).output();
        for piece in pieces {
            assert!(output.contains(piece), "{preset}: {piece} in {output}");
        }
    }
    let plain = bigbatch(["model", "inspect", "embedded:pii"]).output();
    assert!(!plain.contains("exits") && !plain.contains("operating point"), "{plain}");
}

#[test]
fn init_leaves_nothing_half_made_and_replaces_nothing() {
    let scratch = Scratch::new();
    let dir = scratch.path("model");
    let init = |args: &[&str]| {
        let all = [&["model", "init", "--preset", "random"], args, &[text(&dir)]].concat();
        bigbatch(all).run()
    };
    let entries = |dir: &Path| std::fs::read_dir(dir).expect("readable").count();
    // A limit on the size of files stands for a full disk: it is reached in the middle of the weights.
    let program = env!("CARGO_BIN_EXE_bigbatch");
    let limited = "trap '' XFSZ; ulimit -f 300; exec \"$0\" model init --preset random \"$1\"";
    let full = Command::new("sh").args(["-c", limited, program, text(&dir)]).output();
    let full = full.expect("a shell");
    let stderr = String::from_utf8_lossy(&full.stderr);
    assert!(full.status.code() == Some(2) && stderr.contains("model.safetensors"), "{stderr}");
    assert_eq!(entries(dir.parent().expect("the scratch directory")), 0, "all of it is removed");
    assert_eq!(init(&[]).code, Some(0));
    let weights = std::fs::read(dir.join("model.safetensors")).expect("just made");
    let again = init(&["--seed", "7"]);
    assert!(again.code == Some(2) && again.stderr.contains("--force"), "{}", again.stderr);
    assert!(std::fs::read(dir.join("model.safetensors")).expect("still there") == weights);
    assert_eq!(entries(&dir), 4);
    let forced = init(&["--seed", "7", "--force"]);
    assert_eq!(forced.code, Some(0), "{}", forced.stderr);
    assert!(std::fs::read(dir.join("model.safetensors")).expect("just made") != weights);
    assert_eq!((entries(&dir), entries(dir.parent().expect("the scratch directory"))), (4, 1));
    scratch.file("model/letter.txt", "to a friend");
    std::fs::remove_file(dir.join("config.json")).expect("it is ours");
    let other = init(&["--force"]);
    assert!(other.code == Some(2) && other.stderr.contains("no config.json"), "{}", other.stderr);
    assert!(dir.join("letter.txt").exists());
}

#[test]
fn names_from_model_files_do_not_control_the_terminal() {
    let scratch = Scratch::new();
    let hostile = "O,B-\u{1b}[2J\u{9b}31m\u{7f}\u{202e}";
    let dir = scratch.checkpoint("model", &["--head", "tag", "--labels", hostile]);
    let classifier = scratch.checkpoint("classes", &["--head", "classify", "--labels", hostile]);
    let (dir, classifier) = (text(&dir), text(&classifier));
    let text = "text \u{1b}[2J\u{9b}31m\u{7f}\u{202e}";
    for args in [
        vec!["model", "inspect", dir],
        vec!["classify", "--model", classifier, text],
        vec!["classify", "--json", "--model", classifier, text],
        vec!["tag", "--model", dir, text],
        vec!["tag", "--json", "--all-tokens", "--model", dir, text],
        vec!["classify", "--model", "\u{1b}[2J\u{9b}31m\u{7f}\u{202e}", text],
    ] {
        let run = bigbatch(&args).run();
        let output = format!("{}{}", run.stdout, run.stderr);
        let raw = |c: char| c != '\n' && (c.is_control() || c == '\u{202e}');
        assert!(!output.contains(raw), "{args:?}: {output:?}");
        let escaped = output.contains("\\u{202e}") || output.contains("\\u202e");
        assert!(escaped, "{args:?}: {output:?}");
    }
}
