//! `xtask rows`: runs packed batches on a device and writes the rows that come back.
//!
//! It compares nothing: `python/goldens/gpu_parity.py` holds the rows against those of `transformers`, and
//! `crates/engine/tests/cuda.rs` tests the engine on a GPU.

use std::error::Error;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use bigbatch_engine::{
    Checkpoint, Device, DeviceKind, DeviceOptions, Dtype, EngineOptions, Model, PackedBatch,
    Pooling, RopeOverride, Rows, Sequence,
};
use clap::{Args, ValueEnum};
use serde::Deserialize;

/// Arguments of `rows`.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Directory of the checkpoint
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// The CPU, or cuda:0 with this element type
    #[arg(long, value_enum, default_value_t = DeviceChoice::Bf16)]
    on: DeviceChoice,
    /// Rotary scaling: the checkpoint's own, or another in its place
    #[arg(long, value_enum, default_value_t = RopeChoice::Checkpoint)]
    rope: RopeChoice,
    /// A JSON array of batches: {"sequences": [[id, ...], ...], "rows": "hidden" | "mean" | "cls" | "all"}
    #[arg(long, value_name = "FILE")]
    batches: PathBuf,
    /// Directory for N.f32, the rows of batch N: little-endian f32, row after row
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

#[derive(Clone, Copy, ValueEnum)]
enum DeviceChoice {
    Cpu,
    Bf16,
    F16,
}

#[derive(Clone, Copy, ValueEnum)]
enum RopeChoice {
    Checkpoint,
    Yarn,
    Plain,
}

#[derive(Deserialize)]
struct Batch {
    sequences: Vec<Vec<u32>>,
    rows: RowsChoice,
}

#[derive(Deserialize, Clone, Copy, PartialEq)]
#[serde(rename_all = "lowercase")]
enum RowsChoice {
    /// Final hidden states.
    Hidden,
    /// One row per sequence, pooled by the mean, through the model's head if it has one.
    Mean,
    /// As `mean`, pooled by the first token.
    Cls,
    /// One row per token, through the head.
    All,
    /// Masked-LM logits of each sequence's first token.
    First,
}

/// Runs every batch of the file and writes one file of rows per batch.
///
/// # Errors
/// The first error of reading, loading, running or writing.
pub(crate) fn run(args: &Arguments) -> Result<(), Box<dyn Error>> {
    let rope = match args.rope {
        RopeChoice::Checkpoint => RopeOverride::Checkpoint,
        RopeChoice::Yarn => RopeOverride::Yarn,
        RopeChoice::Plain => RopeOverride::Plain,
    };
    let model = Model::load(&Checkpoint::directory(&args.model), rope)?;
    let options = DeviceOptions { kind: kind(args.on), ..EngineOptions::default().device };
    let mut device = Device::start(&model, &options)?;
    let batches: Vec<Batch> = serde_json::from_slice(&std::fs::read(&args.batches)?)?;
    std::fs::create_dir_all(&args.out)?;
    for (index, batch) in batches.iter().enumerate() {
        let wants = match batch.rows {
            RowsChoice::Mean => Rows::Pooled(Pooling::Mean),
            RowsChoice::Cls => Rows::Pooled(Pooling::Cls),
            RowsChoice::First => Rows::At(vec![0]),
            RowsChoice::Hidden | RowsChoice::All => Rows::All,
        };
        let sequences = batch.sequences.iter();
        let packed =
            PackedBatch::pack(sequences.map(|token_ids| Sequence { token_ids, wants: &wants }));
        let rows = if batch.rows == RowsChoice::Hidden {
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

fn kind(on: DeviceChoice) -> DeviceKind {
    match on {
        DeviceChoice::Cpu => DeviceKind::Cpu,
        DeviceChoice::Bf16 => DeviceKind::Cuda(0, Dtype::Bf16),
        DeviceChoice::F16 => DeviceKind::Cuda(0, Dtype::F16),
    }
}

fn write(path: &Path, rows: &[f32]) -> std::io::Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    rows.iter().try_for_each(|x| file.write_all(&x.to_le_bytes()))?;
    file.flush()
}
