//! Compresses the weights of the trained models and the tokenizers; `src/lib.rs` decompresses them.
//!
//! Of weights, all even bytes come first, then all odd ones, then DEFLATE. Most of a 16-bit number's exponent is in one of
//! its two bytes, and the exponents within one model differ little, so the two halves compress better apart.

use std::path::Path;
use std::{env, fs, io};

use flate2::Compression;
use flate2::read::ZlibEncoder;

const MODELS: [&str; 5] = ["embed", "intent", "jailbreak", "pii", "rerank"];
const TOKENIZERS: [(&str, &str); 2] = [
    ("tokenizer-trained", "jailbreak/tokenizer.json"),
    ("tokenizer-random", "random/tokenizer.json"),
];

fn main() -> io::Result<()> {
    let out = env::var_os("OUT_DIR").expect("cargo sets it");
    for name in MODELS {
        let file = format!("{name}/model.safetensors");
        println!("cargo::rerun-if-changed={file}");
        let bytes = fs::read(&file)?;
        let halves: Vec<u8> =
            [0, 1].iter().flat_map(|&i| bytes.iter().skip(i).step_by(2)).copied().collect();
        compress(&halves, &Path::new(&out).join(name))?;
    }
    // The trained models share the tokenizer of one of them.
    for (name, file) in TOKENIZERS {
        println!("cargo::rerun-if-changed={file}");
        compress(&fs::read(file)?, &Path::new(&out).join(name))?;
    }
    Ok(())
}

/// Writes bytes to a file, compressed.
fn compress(bytes: &[u8], path: &Path) -> io::Result<()> {
    let mut compressed = ZlibEncoder::new(bytes, Compression::best());
    io::copy(&mut compressed, &mut fs::File::create(path)?)?;
    Ok(())
}
