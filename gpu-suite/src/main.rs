//! `gpu-suite`: hands rows of a device to a script that holds them against `transformers`.
//!
//! It is carried to a machine with a GPU as one stripped binary; `scripts/gpu-suite.sh` runs it there. It is
//! not a test runner: `crates/engine/tests/cuda.rs` is, and `scripts/gpu_parity.py` judges what this writes.

use std::error::Error;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[cfg(feature = "cuda")]
use bigbatch_engine::Dtype;
use bigbatch_engine::{
    Checkpoint, Device, DeviceKind, DeviceOptions, EngineOptions, Model, PackedBatch, Pooling,
    RopeOverride, Rows, Sequence,
};
use clap::{Parser, ValueEnum};
use serde::Deserialize;

/// Runs packed batches and writes the rows that come back.
#[derive(Parser)]
struct Args {
    /// A checkpoint
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// cpu, or the element type on cuda:0
    #[arg(long, value_enum, default_value_t = Where::Bf16)]
    on: Where,
    /// Rotary scaling
    #[arg(long, value_enum, default_value_t = Scaling::Checkpoint)]
    rope: Scaling,
    /// A JSON array of batches: {"sequences": [[id, ...], ...], "rows": "hidden" | "mean" | "cls" | "all"}
    #[arg(long, value_name = "FILE")]
    batches: PathBuf,
    /// Where N.f32 goes for batch N: little-endian f32, row after row
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

#[derive(Clone, Copy, ValueEnum)]
enum Where {
    Cpu,
    Bf16,
    F16,
}

#[derive(Clone, Copy, ValueEnum)]
enum Scaling {
    Checkpoint,
    Yarn,
    Plain,
}

#[derive(Deserialize)]
struct Batch {
    sequences: Vec<Vec<u32>>,
    rows: Wanted,
}

#[derive(Deserialize, Clone, Copy, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Wanted {
    /// Final hidden states.
    Hidden,
    /// A row a sequence, through the model's head where it has one.
    Mean,
    /// As `mean`, of the first token.
    Cls,
    /// A row a token, through the head.
    All,
    /// Masked-LM logits of each sequence's first token.
    First,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("gpu-suite: {error}");
            ExitCode::from(2)
        }
    }
}

fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let rope = match args.rope {
        Scaling::Checkpoint => RopeOverride::Checkpoint,
        Scaling::Yarn => RopeOverride::Yarn,
        Scaling::Plain => RopeOverride::Plain,
    };
    let model = Model::load(&Checkpoint::directory(&args.model), rope)?;
    let options = DeviceOptions { kind: kind(args.on)?, ..EngineOptions::default().device };
    let mut device = Device::start(&model, &options)?;
    let batches: Vec<Batch> = serde_json::from_slice(&std::fs::read(&args.batches)?)?;
    std::fs::create_dir_all(&args.out)?;
    for (index, batch) in batches.iter().enumerate() {
        let wants = match batch.rows {
            Wanted::Mean => Rows::Pooled(Pooling::Mean),
            Wanted::Cls => Rows::Pooled(Pooling::Cls),
            Wanted::First => Rows::At(vec![0]),
            Wanted::Hidden | Wanted::All => Rows::All,
        };
        let sequences = batch.sequences.iter();
        let packed =
            PackedBatch::pack(sequences.map(|token_ids| Sequence { token_ids, wants: &wants }));
        let rows = if batch.rows == Wanted::Hidden {
            device.hidden(&packed)?
        } else {
            let rows = device.forward(&packed)?;
            if rows.logits.is_empty() { rows.pooled } else { rows.logits }
        };
        write(&args.out.join(format!("{index}.f32")), &rows)?;
    }
    println!("{} batches on {}", batches.len(), device.info().name);
    Ok(())
}

#[cfg(feature = "cuda")]
fn kind(on: Where) -> Result<DeviceKind, Box<dyn Error>> {
    Ok(match on {
        Where::Cpu => DeviceKind::Cpu,
        Where::Bf16 => DeviceKind::Cuda(0, Dtype::Bf16),
        Where::F16 => DeviceKind::Cuda(0, Dtype::F16),
    })
}

#[cfg(not(feature = "cuda"))]
fn kind(on: Where) -> Result<DeviceKind, Box<dyn Error>> {
    match on {
        Where::Cpu => Ok(DeviceKind::Cpu),
        Where::Bf16 | Where::F16 => Err("built without `--features cuda`".into()),
    }
}

fn write(path: &Path, rows: &[f32]) -> std::io::Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    rows.iter().try_for_each(|x| file.write_all(&x.to_le_bytes()))?;
    file.flush()
}
