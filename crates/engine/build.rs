//! Packs the weights of embedded models for `src/embedded.rs`, which holds the way back.
//!
//! All even bytes, then all odd ones, deflated: a number of 16 bits has most of its exponent in one of its two
//! bytes, and exponents of one model's weights differ little.

use std::path::Path;
use std::{env, fs, io};

use flate2::Compression;
use flate2::read::ZlibEncoder;

const MODELS: [&str; 4] = ["embed", "intent", "jailbreak", "pii"];

fn main() -> io::Result<()> {
    let out = env::var_os("OUT_DIR").expect("cargo sets it");
    for name in MODELS {
        let file = format!("../../models/{name}/model.safetensors");
        println!("cargo::rerun-if-changed={file}");
        let bytes = fs::read(&file)?;
        let apart: Vec<u8> =
            [0, 1].iter().flat_map(|&i| bytes.iter().skip(i).step_by(2)).copied().collect();
        let mut packed = ZlibEncoder::new(&apart[..], Compression::best());
        io::copy(&mut packed, &mut fs::File::create(Path::new(&out).join(name))?)?;
    }
    Ok(())
}
