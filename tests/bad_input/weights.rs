//! Weights that are damaged, incomplete, or of another model.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use crate::Rule;
use crate::support::{Scratch, bigbatch, text};

/// The tensors of a safetensors file, which is eight bytes of length, a JSON header, and the tensors' bytes.
struct Parts {
    tensors: Vec<(String, Value, Vec<u8>)>,
}

impl Parts {
    fn read(path: &Path) -> Parts {
        let bytes = std::fs::read(path).expect("the checkpoint was just made");
        let (length, rest) = bytes.split_first_chunk().expect("it has a header");
        let (header, data) = rest.split_at(u64::from_le_bytes(*length) as usize);
        let mut header: Map<String, Value> = serde_json::from_slice(header).expect("it is JSON");
        header.remove("__metadata__");
        let part = |(name, info): (String, Value)| {
            let end = |i: usize| info["data_offsets"][i].as_u64().expect("an offset") as usize;
            let bytes = data[end(0)..end(1)].to_vec();
            (name, info, bytes)
        };
        Parts { tensors: header.into_iter().map(part).collect() }
    }

    fn bytes(&self) -> Vec<u8> {
        let (mut header, mut data) = (Map::new(), Vec::new());
        for (name, info, bytes) in &self.tensors {
            let mut info = info.clone();
            info["data_offsets"] = json!([data.len(), data.len() + bytes.len()]);
            header.insert(name.clone(), info);
            data.extend_from_slice(bytes);
        }
        let header = Value::Object(header).to_string();
        [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &data].concat()
    }

    fn info(&mut self, name: &str) -> &mut Value {
        let found = self.tensors.iter_mut().find(|(n, ..)| n == name);
        &mut found.expect("the tensor is in the checkpoint").1
    }

    fn values(&mut self, name: &str) -> &mut Vec<u8> {
        let found = self.tensors.iter_mut().find(|(n, ..)| n == name);
        &mut found.expect("the tensor is in the checkpoint").2
    }

    /// Truncates a tensor to its first `rows` rows.
    fn cut(&mut self, name: &str, rows: usize) {
        let found = self.tensors.iter_mut().find(|(n, ..)| n == name);
        let (_, info, bytes) = found.expect("the tensor is in the checkpoint");
        let all = info["shape"][0].as_u64().expect("a size") as usize;
        bytes.truncate(bytes.len() / all * rows);
        info["shape"][0] = json!(rows);
    }
}

/// A checkpoint whose weights each case replaces.
struct DamagedWeights {
    scratch: Scratch,
    dir: PathBuf,
    rule: Rule,
}

impl DamagedWeights {
    fn new() -> DamagedWeights {
        let scratch = Scratch::new();
        let dir = scratch.checkpoint("model", &["--head", "classify", "--labels", "a,b,c"]);
        DamagedWeights { scratch, dir, rule: Rule::default() }
    }

    fn case(&mut self, what: &str, weights: &[u8], says: &str) {
        std::fs::write(self.dir.join("model.safetensors"), weights).expect("writable");
        self.run(what, says);
    }

    fn run(&mut self, what: &str, says: &str) {
        let run = bigbatch(["classify", "--model", text(&self.dir), "a text"]);
        self.rule.check(what, run, says);
    }
}

#[test]
fn damaged_files() {
    let mut damaged = DamagedWeights::new();
    let whole = std::fs::read(damaged.dir.join("model.safetensors")).expect("just made");
    let header_end = 8 + whole.first_chunk().map_or(0, |n| u64::from_le_bytes(*n)) as usize;
    let longer = [&whole[..], &[0; 64]].concat();
    let mut not_json = whole.clone();
    not_json[8] = b'!';
    let mut huge_header = whole.clone();
    huge_header[..8].copy_from_slice(&u64::MAX.to_le_bytes());
    let noise: Vec<u8> = (0..whole.len()).map(|i| (i * 7919 % 251) as u8).collect();
    let cases: [(&str, &[u8]); 9] = [
        ("empty", b""),
        ("three bytes", b"abc"),
        ("cut in the header", &whole[..header_end / 2]),
        ("cut after the header", &whole[..header_end]),
        ("cut by one byte", &whole[..whole.len() - 1]),
        ("bytes after the end", &longer),
        ("a header that is not JSON", &not_json),
        ("a header without end", &huge_header),
        ("noise", &noise),
    ];
    for (what, bytes) in cases {
        damaged.case(what, bytes, "model.safetensors");
    }
    std::fs::remove_file(damaged.dir.join("model.safetensors")).expect("it is there");
    damaged.run("no file", "neither model.safetensors nor model.safetensors.index.json");
    std::fs::create_dir(damaged.dir.join("model.safetensors")).expect("writable");
    damaged.run("a directory in its place", "model.safetensors");
    damaged.rule.assert_held();
}

#[test]
fn tensors_that_do_not_fit_the_config() {
    const MATRIX: &str = "model.layers.1.mlp.Wo.weight";
    let mut damaged = DamagedWeights::new();
    let path = damaged.scratch.path("model/model.safetensors");
    let mut case = |what: &str, damage: &dyn Fn(&mut Parts), says: &str| {
        let mut parts = Parts::read(&path);
        let whole = parts.bytes();
        damage(&mut parts);
        damaged.case(what, &parts.bytes(), says);
        std::fs::write(&path, whole).expect("writable");
    };
    let swap = |parts: &mut Parts| parts.info(MATRIX)["shape"] = json!([192, 128]);
    case("swapped dimensions", &swap, "mlp.Wo.weight has shape [192, 128]");
    let flat = |parts: &mut Parts| parts.info(MATRIX)["shape"] = json!([128 * 192]);
    case("one dimension", &flat, "mlp.Wo.weight has shape [24576]");
    let integers = |parts: &mut Parts| parts.info(MATRIX)["dtype"] = json!("I32");
    case("integers", &integers, "is I32");
    let overlong =
        |parts: &mut Parts| parts.info(MATRIX)["shape"] = json!([1u64 << 40, 1u64 << 40]);
    case("a shape that overflows", &overlong, "model.safetensors");
    let missing = |parts: &mut Parts| parts.tensors.retain(|(name, ..)| name != MATRIX);
    case("a missing tensor", &missing, "tensor layers.1.mlp.Wo.weight is missing");
    let none = |parts: &mut Parts| parts.tensors.clear();
    case("no tensor at all", &none, "is missing");
    let headless = |parts: &mut Parts| parts.tensors.retain(|(n, ..)| n != "classifier.weight");
    case("no classifier", &headless, "tensor classifier.weight is missing");
    let extra = |parts: &mut Parts| {
        let info = json!({"dtype": "F32", "shape": [2]});
        parts.tensors.push(("layers.1.adapter.weight".into(), info, vec![0; 8]));
    };
    case("an unexpected tensor", &extra, "tensor layers.1.adapter.weight has no place");
    let rows = |parts: &mut Parts| parts.cut("classifier.weight", 2);
    case("two rows for three labels", &rows, "classifier.weight has 2 rows, config.json names 3");
    let no_rows = |parts: &mut Parts| parts.cut("classifier.weight", 0);
    case("no rows", &no_rows, "classifier.weight has no rows");
    let vocabulary = |parts: &mut Parts| parts.cut("model.embeddings.tok_embeddings.weight", 4095);
    case("a row too few", &vocabulary, "tok_embeddings.weight has shape [4095, 128]");
    let infinite = |parts: &mut Parts| {
        parts.values("classifier.weight").as_chunks_mut().0.fill(f32::INFINITY.to_le_bytes());
    };
    case("weights that are not finite", &infinite, "not finite");
    damaged.rule.assert_held();
}

#[test]
fn shards_that_do_not_fit_their_index() {
    let mut damaged = DamagedWeights::new();
    let path = damaged.dir.join("model.safetensors");
    std::fs::rename(&path, damaged.dir.join("one.safetensors")).expect("writable");
    let cases = [
        ("not JSON", "{", "model.safetensors.index.json"),
        ("no map", "{}", "weight_map"),
        ("an empty map", r#"{"weight_map": {}}"#, "missing"),
        ("a missing shard", r#"{"weight_map": {"a": "two.safetensors"}}"#, "two.safetensors"),
        ("a shard elsewhere", r#"{"weight_map": {"a": "../one.safetensors"}}"#, "not beside it"),
        ("a tensor too many", r#"{"weight_map": {"a": "one.safetensors"}}"#, "names tensor a"),
    ];
    for (what, index, says) in cases {
        let path = damaged.dir.join("model.safetensors.index.json");
        std::fs::write(path, index).expect("writable");
        damaged.run(what, says);
    }
    damaged.rule.assert_held();
}
