//! What people have in place of the files that a model needs, and what to do about it.
//!
//! Everything here is about names and first bytes: [`absent`] explains why a file is not there from the names of
//! those that are, [`stand_in`] and [`other_format`] recognise content that belongs to another kind of file.

use serde::Deserialize;

/// Run in a model's directory, writes its weights as safetensors beside the old ones.
const CONVERT: &str = "python3 -c \"import transformers as t; getattr(t, t.AutoConfig.from_pretrained('.')\
                       .architectures[0]).from_pretrained('.').save_pretrained('.')\"";

/// Likewise for the tokenizer. `AutoTokenizer` would choose the class by the model instead.
const CONVERT_TOKENIZER: &str = "python3 -c \"import json, transformers as t; getattr(t, json.load(\
                                 open('tokenizer_config.json'))['tokenizer_class']).from_pretrained('.')\
                                 .save_pretrained('.')\"";

/// Explains that a checkpoint lacks `file`: a config, weights or a tokenizer. `files` are the names of all files
/// that it has, with `/` between folders; `adapter_config` is its adapter_config.json, where it is at hand.
pub(crate) fn absent(file: &str, files: &[String], adapter_config: Option<&[u8]>) -> String {
    let lacks = match file {
        "model.safetensors" => {
            "neither model.safetensors nor model.safetensors.index.json is there".into()
        }
        file => format!("it has no {file}"),
    };
    let adapter = || {
        let has_one = files.iter().any(|name| name.starts_with("adapter_"));
        has_one.then(|| adapter(adapter_config))
    };
    let hint = match file {
        // Beside safetensors it is the config alone that is missing.
        "config.json" if files.iter().any(|name| name.ends_with(".safetensors")) => adapter()
            .or_else(|| folder_below(files))
            .or_else(|| Some("get config.json from the model that these weights are of".into())),
        "config.json" => adapter().or_else(|| folder_below(files)).or_else(|| other_weights(files)),
        "model.safetensors" => adapter().or_else(|| other_weights(files)),
        "tokenizer.json" => other_tokenizer(files),
        _ => None,
    };
    hint.map_or(lacks.clone(), |hint| format!("{lacks}; {hint}"))
}

/// Explains that there is a PEFT adapter, which has this adapter_config.json, where it is at hand.
pub(crate) fn adapter(config: Option<&[u8]>) -> String {
    #[derive(Deserialize)]
    struct Adapter {
        base_model_name_or_path: Option<String>,
    }
    let config = config.and_then(|json| serde_json::from_slice::<Adapter>(json).ok());
    let base = config.and_then(|config| config.base_model_name_or_path);
    let base = base.map_or("its base model".into(), |name| format!("its base model '{name}'"));
    format!(
        "there is a PEFT adapter (adapter_config.json), which is not a whole model and is not applied: merge it \
         into {base} with peft (merge_and_unload, then save_pretrained) and give that directory"
    )
}

/// Names the folders below that hold a model.
fn folder_below(files: &[String]) -> Option<String> {
    let has =
        |folder: &str, file: &str| files.iter().any(|name| *name == format!("{folder}/{file}"));
    // A pooling or dense layer's folder has a config.json too, but no tokenizer.
    let holds_model =
        |folder: &&str| has(folder, "tokenizer.json") || has(folder, "tokenizer_config.json");
    let folders: Vec<&str> = files
        .iter()
        .filter_map(|name| name.strip_suffix("/config.json"))
        .filter(holds_model)
        .collect();
    match folders.as_slice() {
        [] => None,
        [one] => Some(format!("a model is in its folder '{one}': give that")),
        [first, .., last] => Some(format!(
            "its folders '{first}' to '{last}' ({} of them) hold a model each: give one of them",
            folders.len()
        )),
    }
}

/// Names weights that are there in another format.
fn other_weights(files: &[String]) -> Option<String> {
    let ending = |endings: &[&str]| {
        files.iter().find(|name| endings.iter().any(|ending| name.ends_with(ending)))
    };
    let top = |name: &&String| !name.contains('/');
    if let Some(name) = files.iter().filter(top).find(|name| name.ends_with(".safetensors")) {
        return Some(if name.contains("-of-") {
            format!(
                "there is the shard {name} without its index: get model.safetensors.index.json too"
            )
        } else {
            format!("there is {name}: if it is the whole model, rename it to model.safetensors")
        });
    }
    let torch = |name: &&String| {
        name.starts_with("pytorch_model")
            || [".pt", ".pth", ".ckpt"].iter().any(|ending| name.ends_with(ending))
    };
    if let Some(name) = files.iter().filter(top).find(torch) {
        return Some(format!(
            "there is {name}, a PyTorch file, and bigbatch reads safetensors only: run in its directory {CONVERT}"
        ));
    }
    let formats: [(&[&str], &str); 6] = [
        (&[".gguf"], "a GGUF file for llama.cpp"),
        (&[".onnx", ".onnx_data"], "an export to ONNX"),
        (&["openvino_model.xml", "openvino_model.bin"], "an export to OpenVINO"),
        (&["tf_model.h5", "saved_model.pb", ".tflite"], "a TensorFlow file"),
        (&["flax_model.msgpack"], "a Flax file"),
        (&[".mlmodel", ".npz", "rust_model.ot"], "a file for another program"),
    ];
    formats.iter().find_map(|(endings, what)| {
        let name = ending(endings)?;
        Some(format!(
            "there is {name}, {what}, and bigbatch reads safetensors only: get the model that it was made from, as \
             safetensors"
        ))
    })
}

fn other_tokenizer(files: &[String]) -> Option<String> {
    const KNOWN: [&str; 8] = [
        "vocab.txt",
        "vocab.json",
        "merges.txt",
        "spiece.model",
        "sentencepiece.bpe.model",
        "spm.model",
        "tokenizer.model",
        "tokenizer_config.json",
    ];
    let found = KNOWN.iter().find(|known| files.iter().any(|name| name == *known))?;
    Some(if *found == "tokenizer_config.json" {
        "there is tokenizer_config.json alone: get tokenizer.json from the model that this one was trained from".into()
    } else {
        format!(
            "there is {found}, a slow tokenizer's file: run in its directory {CONVERT_TOKENIZER}"
        )
    })
}

/// Recognises what stands in the place of any file, and says what to do.
pub(crate) fn stand_in(bytes: &[u8]) -> Option<&'static str> {
    let starts = |with: &str| {
        bytes.get(..with.len()).is_some_and(|start| start.eq_ignore_ascii_case(with.as_bytes()))
    };
    if bytes.is_empty() {
        Some("is empty: get it again")
    } else if starts("version https://git-lfs.github.com/spec/")
        || starts("version https://hawser.")
    {
        Some("is a Git LFS pointer, not the file itself: run `git lfs pull` in its directory")
    } else if starts("# xet version ") {
        Some("is a Git Xet pointer, not the file itself: run `git xet pull` in its directory")
    } else if starts("<!doctype") || starts("<html") {
        Some(
            "is a web page, not the file itself: the download met an error or a login; get it again",
        )
    } else {
        None
    }
}

/// Says what a weights file is that is no safetensors file, by its first bytes and its size.
pub(crate) fn other_format(bytes: &[u8], file_bytes: u64) -> Option<String> {
    let header = bytes.first_chunk().map_or(0, |length| u64::from_le_bytes(*length));
    let again = "get it again";
    let zip = bytes.starts_with(b"PK\x03\x04");
    Some(if zip || matches!(bytes, [0x80, 2..=5, ..]) {
        format!(
            "is a PyTorch file under another name: name it pytorch_model.bin and run in its directory {CONVERT}"
        )
    } else if bytes.starts_with(b"GGUF") {
        "is a GGUF file under another name: get the model that it was made from, as safetensors"
            .into()
    } else if bytes.starts_with(b"\x89HDF") {
        "is an HDF5 file under another name: get the model as safetensors".into()
    } else if bytes.get(8) == Some(&b'{') && header < 100 << 20 && file_bytes < 8 + header {
        format!("has {file_bytes} bytes, its header alone {}: it is truncated; {again}", 8 + header)
    } else {
        return None;
    })
}
