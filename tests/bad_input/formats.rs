//! Folders that hold something else than a checkpoint, or a part of one: the message says what it is and what to
//! do.

use std::path::Path;

use crate::Rule;
use crate::support::{Bigbatch, Scratch, bigbatch, text};

const POINTER: &str = "version https://git-lfs.github.com/spec/v1\n\
                       oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\n\
                       size 149655232\n";

fn embed(dir: &Path) -> Bigbatch {
    bigbatch(["embed", "--model", text(dir), "a text"])
}

/// Writes files into the checkpoint, runs `embed` on it, and restores it.
struct Folder {
    scratch: Scratch,
    rule: Rule,
}

impl Folder {
    fn new() -> Folder {
        let scratch = Scratch::new();
        scratch.checkpoint("model", &[]);
        Folder { scratch, rule: Rule::default() }
    }

    /// Checks the message with these files added and these removed.
    fn case(&mut self, added: &[(&str, &[u8])], removed: &[&str], says: &[&str]) {
        let whole = self.scratch.path("model");
        let dir = self.scratch.path("case");
        std::fs::create_dir(&dir).expect("writable");
        for entry in std::fs::read_dir(&whole).expect("it was made") {
            let name = entry.expect("readable").file_name();
            if !removed.contains(&text(Path::new(&name))) {
                std::fs::copy(whole.join(&name), dir.join(&name)).expect("writable");
            }
        }
        for (name, bytes) in added {
            let path = dir.join(name);
            std::fs::create_dir_all(path.parent().expect("it is below the folder"))
                .expect("writable");
            std::fs::write(path, bytes).expect("writable");
        }
        let what =
            format!("{:?} without {removed:?}", added.iter().map(|(n, _)| n).collect::<Vec<_>>());
        for says in says {
            self.rule.check(&what, embed(&dir), says);
        }
        std::fs::remove_dir_all(&dir).expect("writable");
    }
}

const WEIGHTS: &str = "model.safetensors";

#[test]
fn pointers_and_pages_in_place_of_files() {
    let mut folder = Folder::new();
    for file in [WEIGHTS, "config.json", "tokenizer.json", "tokenizer_config.json"] {
        let says = [&format!("{file} is a Git LFS pointer")[..], "run `git lfs pull`"];
        folder.case(&[(file, POINTER.as_bytes())], &[], &says);
        folder.case(&[(file, b"")], &[], &[&format!("{file} is empty: get it again")]);
        let page = b"<!DOCTYPE html><html><body>401</body></html>";
        folder.case(&[(file, page)], &[], &[&format!("{file} is a web page")]);
    }
    let xet = b"# xet version 0\nfilesize = 3\nhash = 'x'\n";
    folder.case(&[(WEIGHTS, xet)], &[], &["is a Git Xet pointer"]);
    let index = br#"{"weight_map": {"final_norm.weight": "model-00001-of-00001.safetensors"}}"#;
    let shard = "model-00001-of-00001.safetensors";
    let files: [(&str, &[u8]); 2] =
        [("model.safetensors.index.json", index), (shard, POINTER.as_bytes())];
    folder.case(&files, &[WEIGHTS], &[&format!("{shard} is a Git LFS pointer")]);
    folder.rule.assert_held();
}

#[test]
fn weights_in_another_format() {
    let mut folder = Folder::new();
    let convert = "save_pretrained('.')";
    for (name, says) in [
        ("pytorch_model.bin", ["there is pytorch_model.bin, a PyTorch file", convert]),
        ("pytorch_model.bin.index.json", ["there is pytorch_model.bin.index.json", convert]),
        ("checkpoint.pt", ["there is checkpoint.pt, a PyTorch file", convert]),
        ("onnx/model.onnx", ["there is onnx/model.onnx, an export to ONNX", "as safetensors"]),
        ("model-Q8_0.gguf", ["model-Q8_0.gguf, a GGUF file for llama.cpp", "as safetensors"]),
        ("openvino/openvino_model.xml", ["an export to OpenVINO", "as safetensors"]),
        ("tf_model.h5", ["there is tf_model.h5, a TensorFlow file", "as safetensors"]),
        ("flax_model.msgpack", ["there is flax_model.msgpack, a Flax file", "as safetensors"]),
        ("model.fp16.safetensors", ["there is model.fp16.safetensors", "rename it"]),
        (
            "model-00001-of-00002.safetensors",
            ["the shard model-00001-of-00002.safetensors", "get model.safetensors.index.json"],
        ),
    ] {
        let says = [&says[..], &["neither model.safetensors nor model.safetensors.index.json"]];
        folder.case(&[(name, b"x")], &[WEIGHTS], &says.concat());
    }
    // Repositories of GGUF files alone have no config.json either.
    let says = ["it has no config.json", "there is model.gguf, a GGUF file"];
    folder.case(&[("model.gguf", b"GGUF")], &["config.json", WEIGHTS], &says);
    let index = br#"{"weight_map": {"final_norm.weight": "model-00002-of-00002.safetensors"}}"#;
    let says =
        ["the index names model-00002-of-00002.safetensors, which is missing: get that file"];
    folder.case(&[("model.safetensors.index.json", index)], &[WEIGHTS], &says);
    folder.rule.assert_held();
}

#[test]
fn weights_that_are_not_safetensors() {
    let mut folder = Folder::new();
    let whole = std::fs::read(folder.scratch.path("model/model.safetensors")).expect("just made");
    let cases: [(&[u8], &str); 6] = [
        (&whole[..100], "its header alone"),
        (&whole[..whole.len() - 1], "get it again"),
        (b"PK\x03\x04 archive/data.pkl", "model.safetensors is a PyTorch file under another name"),
        (b"\x80\x02}q\x00.", "model.safetensors is a PyTorch file under another name"),
        (b"GGUF\x03\x00\x00\x00", "model.safetensors is a GGUF file under another name"),
        (b"\x89HDF\r\n\x1a\n", "model.safetensors is an HDF5 file under another name"),
    ];
    for (bytes, says) in cases {
        folder.case(&[(WEIGHTS, bytes)], &[], &[says]);
    }
    folder.rule.assert_held();
}

#[test]
fn adapters_alone_and_beside_a_model() {
    let mut folder = Folder::new();
    let config = br#"{"base_model_name_or_path": "somebody/base", "peft_type": "LORA"}"#;
    let adapter: [(&str, &[u8]); 2] =
        [("adapter_config.json", config), ("adapter_model.safetensors", b"x")];
    let says = ["PEFT adapter", "its base model 'somebody/base' with peft (merge_and_unload"];
    folder.case(&adapter, &["config.json", WEIGHTS], &says);
    folder.case(&adapter, &[WEIGHTS], &says);
    folder.case(&adapter, &[], &says);
    folder.case(&adapter[1..], &["config.json", WEIGHTS], &["merge it into its base model with"]);
    folder.rule.assert_held();
}

#[test]
fn tokenizers_of_another_format() {
    let mut folder = Folder::new();
    let none = ["tokenizer.json", "tokenizer_config.json"];
    for name in ["vocab.txt", "vocab.json", "spiece.model", "tokenizer.model"] {
        let says =
            [&format!("there is {name}, a slow tokenizer's file")[..], "['tokenizer_class'])"];
        folder.case(&[(name, b"x")], &none, &says);
    }
    let says = ["it has no tokenizer.json", "there is tokenizer_config.json alone"];
    folder.case(&[], &["tokenizer.json"], &says);
    folder.rule.assert_held();
}

#[test]
fn models_in_a_folder_below() {
    let mut folder = Folder::new();
    let all = ["config.json", WEIGHTS, "tokenizer.json", "tokenizer_config.json"];
    let below: [(&str, &[u8]); 4] = [
        ("checkpoint-500/config.json", b"{}"),
        ("checkpoint-500/tokenizer.json", b"{}"),
        ("1_Pooling/config.json", b"{}"),
        ("README.md", b"x"),
    ];
    folder.case(
        &below,
        &all,
        &["it has no config.json; a model is in its folder 'checkpoint-500'"],
    );
    let cache: [(&str, &[u8]); 2] =
        [("snapshots/abc/config.json", b"{}"), ("snapshots/abc/tokenizer_config.json", b"{}")];
    folder.case(&cache, &all, &["a model is in its folder 'snapshots/abc': give that"]);
    let both = [below, [cache[0], cache[1], cache[0], cache[1]]].concat();
    folder.case(&both, &all, &["its folders 'checkpoint-500' to 'snapshots/abc' (2 of them)"]);
    folder.rule.assert_held();
}
